"""Certificates of QUIC upstreams: which are taken, which are refused, and what is said of those."""

import datetime as dt
import logging
from pathlib import Path

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from trio.testing import MockClock, trio_test

from dnsproxy.address import Address
from dnsproxy.upstream.options import HealthOptions, TlsOptions
from dnsproxy.upstream.quic.trust import QuicTrust
from dnsproxy.upstream.tls import Refused, pin_of
from tests.support.offline import reply
from tests.support.quic_server import QuicServer
from tests.upstream.quic.world import AUTHORITY, CA, CERTIFICATE, answer, upstream

pytestmark = pytest.mark.usefixtures("autojump_clock")

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
ADDRESS = Address.of("127.0.0.1", 853)


def certificates(leaf: trustme.LeafCert) -> list[x509.Certificate]:
    return [x509.load_pem_x509_certificate(pem.bytes()) for pem in leaf.cert_chain_pems]


def self_signed(*purposes: x509.ObjectIdentifier, name: str = AUTHORITY) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW - DAY, NOW + DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(key, hashes.SHA256())


def pem(folder: Path, *certificates: x509.Certificate) -> str:
    path = folder / "authorities.pem"
    path.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates))
    return str(path)


@pytest.fixture
def ca(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


def reason(trust: QuicTrust, shown: list[x509.Certificate]) -> str | None:
    try:
        trust.verify(shown)
    except Refused as exc:
        return str(exc)
    return None


def test_without_a_name_a_certificate_must_carry_the_address(ca: str) -> None:
    trust = QuicTrust(TlsOptions(ca=ca), ADDRESS)
    assert reason(trust, certificates(CERTIFICATE)) is None
    assert reason(trust, certificates(CA.issue_cert(AUTHORITY))) == "host name mismatch"
    assert reason(trust, certificates(CA.issue_cert("127.0.0.2"))) == "host name mismatch"


def test_an_ipv6_address_is_one_without_its_zone(ca: str) -> None:
    trust = QuicTrust(TlsOptions(ca=ca), Address.of("fe80::1%1", 853))
    assert reason(trust, certificates(CA.issue_cert("fe80::1"))) is None
    assert reason(trust, certificates(CA.issue_cert("fe80::2"))) == "host name mismatch"


def test_a_name_is_compared_as_tls_does(ca: str) -> None:
    trust = QuicTrust(TlsOptions(ca=ca, server_name=AUTHORITY), ADDRESS)
    assert reason(trust, certificates(CERTIFICATE)) is None
    assert reason(trust, certificates(CA.issue_cert("*.example.org"))) is None
    assert reason(trust, certificates(CA.issue_cert("other.example.org"))) == "host name mismatch"
    assert (
        reason(trust, certificates(CA.issue_cert("other.example.org", common_name=AUTHORITY))) == "host name mismatch"
    )


def test_times_are_looked_at_after_names(ca: str) -> None:
    trust = QuicTrust(TlsOptions(ca=ca), ADDRESS)
    assert reason(trust, certificates(CA.issue_cert("127.0.0.1", not_after=NOW - DAY))) == "expired"
    assert reason(trust, certificates(CA.issue_cert("127.0.0.1", not_before=NOW + DAY))) == "not yet valid"
    assert reason(trust, certificates(CA.issue_cert("other.example.org", not_after=NOW - DAY))) == "host name mismatch"


def test_whoever_nobody_knows_is_told_apart(ca: str) -> None:
    trust = QuicTrust(TlsOptions(ca=ca, server_name=AUTHORITY), ADDRESS)
    stranger = trustme.CA()
    root = x509.load_pem_x509_certificate(stranger.cert_pem.bytes())
    assert reason(trust, certificates(stranger.issue_cert(AUTHORITY))) == "unknown issuer"
    assert reason(trust, [*certificates(stranger.issue_cert(AUTHORITY)), root]) == "unknown issuer"
    assert reason(trust, [self_signed()]) == "self-signed"
    assert reason(trust, []) == "no certificate"


def test_the_systems_authorities_do_not_know_ours() -> None:
    assert reason(QuicTrust(TlsOptions(), ADDRESS), certificates(CERTIFICATE)) == "unknown issuer"


def test_an_intermediate_authority_comes_with_the_certificate(ca: str) -> None:
    trust = QuicTrust(TlsOptions(ca=ca), ADDRESS)
    shown = certificates(CA.create_child_ca().issue_cert("127.0.0.1"))
    assert reason(trust, shown) is None
    assert reason(trust, shown[:1]) == "unknown issuer"


def test_a_self_signed_certificate_may_be_trusted(tmp_path: Path) -> None:
    own = self_signed()
    assert reason(QuicTrust(TlsOptions(ca=pem(tmp_path, own), server_name=AUTHORITY), ADDRESS), [own]) is None


def test_a_certificate_for_something_else_is_none_of_a_server(tmp_path: Path) -> None:
    for purpose, expected in (
        (ExtendedKeyUsageOID.CLIENT_AUTH, "unsuitable certificate purpose"),
        (ExtendedKeyUsageOID.SERVER_AUTH, None),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, None),
    ):
        own = self_signed(purpose)
        trust = QuicTrust(TlsOptions(ca=pem(tmp_path, own), server_name=AUTHORITY), ADDRESS)
        assert reason(trust, [own]) == expected


def test_a_pin_may_fit_any_certificate_of_the_chain(ca: str) -> None:
    shown = certificates(CERTIFICATE)
    leaf_pin = pin_of(shown[0].public_bytes(serialization.Encoding.DER))
    root = x509.load_pem_x509_certificate(CA.cert_pem.bytes())
    root_pin = pin_of(root.public_bytes(serialization.Encoding.DER))
    for pins in ((leaf_pin,), (root_pin,), (bytes(32), leaf_pin)):
        assert reason(QuicTrust(TlsOptions(ca=ca, pins=pins), ADDRESS), shown) is None
    assert reason(QuicTrust(TlsOptions(ca=ca, pins=(bytes(32),)), ADDRESS), shown) == "pin"


def test_a_pin_takes_no_place_of_a_chain() -> None:
    shown = certificates(CERTIFICATE)
    pin = pin_of(shown[0].public_bytes(serialization.Encoding.DER))
    assert reason(QuicTrust(TlsOptions(pins=(pin,)), ADDRESS), shown) == "unknown issuer"


def test_files_that_will_not_do_are_an_error(tmp_path: Path, ca: str) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for options in (TlsOptions(ca=str(nonsense)), TlsOptions(ca=str(tmp_path / "none")), TlsOptions(ca=ca, cert=ca)):
        with pytest.raises(OSError):
            QuicTrust(options, ADDRESS)


@trio_test
async def test_a_refused_certificate_is_told_once_and_asked_for_at_intervals(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = QuicServer(CA.issue_cert("other.example.org"), behaviour=answer)
    with caplog.at_level(logging.WARNING, "dnsproxy"):
        async with upstream(tmp_path, server, health=HealthOptions(interval=1.0, fall=100)) as world:
            for _ in range(5):
                assert await world.ask() == "tls_error"
                await trio.sleep(0.05)
            assert len(server.connections) == 1
            assert server.asked == []
            await trio.sleep(1)
            assert await world.ask() == "tls_error"
            assert len(server.connections) == 2
            server.keep(CERTIFICATE)
            await trio.sleep(1)
            assert await world.ask() == "answered"
    refusals = [record.getMessage() for record in caplog.records if "refused:" in record.getMessage()]
    address = f"127.0.0.1:{server.port}"
    assert refusals == [f"upstream quic://{address} certificate of {address} refused: host name mismatch"]


@trio_test
async def test_nobody_who_was_refused_can_be_resumed(autojump_clock: MockClock, tmp_path: Path) -> None:
    server = QuicServer(CA.issue_cert("other.example.org"), behaviour=answer)
    async with upstream(tmp_path, server, health=HealthOptions(interval=0.1, fall=100)) as world:
        assert await world.ask() == "tls_error"
        await trio.sleep(0.5)
        assert not world.pool.tickets
        assert await world.ask() == "tls_error"


@trio_test
async def test_the_server_gets_to_see_our_certificate(autojump_clock: MockClock, tmp_path: Path, ca: str) -> None:
    ours = CA.issue_cert("client.example.org")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    ours.cert_chain_pems[0].write_to_path(str(cert))
    ours.private_key_pem.write_to_path(str(key))
    server = QuicServer(CERTIFICATE, behaviour=lambda asked: asked.reply(reply(asked.octets)), wants_certificate=True)
    async with upstream(tmp_path, server, tls=TlsOptions(ca=ca, cert=str(cert), key=str(key))) as world:
        assert await world.ask() == "answered"
        assert server.connections[0].quic.tls._peer_certificate == certificates(ours)[0]


@trio_test
async def test_a_certificate_and_its_key_may_share_a_file(autojump_clock: MockClock, tmp_path: Path, ca: str) -> None:
    ours = CA.issue_cert("client.example.org")
    both = tmp_path / "both.pem"
    ours.private_key_and_cert_chain_pem.write_to_path(str(both))
    server = QuicServer(CERTIFICATE, behaviour=answer, wants_certificate=True)
    async with upstream(tmp_path, server, tls=TlsOptions(ca=ca, cert=str(both))) as world:
        assert await world.ask() == "answered"
        assert server.connections[0].quic.tls._peer_certificate == certificates(ours)[0]
