"""Whom we trust over TLS: names, chains, dates and pins, and the words for what will not do."""

import contextlib
import logging
import ssl
from hashlib import sha256
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.address import Address
from dnsproxy.flight import Flights
from dnsproxy.upstream.options import HealthOptions, TlsOptions, UpstreamOptions
from dnsproxy.upstream.tls import REPEAT_S, Refusals, Refused, Trust, pin_of, refusal
from tests.upstream.certificates import ADDRESS, NAME, Certificates, shake_hands

UPSTREAM = Address.of(ADDRESS, 853)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def trust(
    certificates: Certificates, server_name: str | None = NAME, pins: tuple[bytes, ...] = (), at: Address = UPSTREAM
) -> Trust:
    return Trust(TlsOptions(ca=certificates.ca, server_name=server_name, pins=pins), at, ("dot",))


def reason(trust: Trust, server: ssl.SSLContext) -> str | None:
    """Why that server is refused; None when it is not."""
    try:
        trust.verify(shake_hands(trust.wrap, server)[0])
    except (ssl.SSLError, Refused) as exc:
        said = refusal(exc)
        assert said
        return said
    return None


@pytest.mark.parametrize("server_name", [NAME, None], ids=["name", "address"])
def test_a_certificate_for_the_name_or_else_the_address_will_do(
    certificates: Certificates, server_name: str | None
) -> None:
    assert reason(trust(certificates, server_name), certificates.good()) is None


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("expired", "expired"),
        ("not_yet_valid", "not yet valid"),
        ("wrong_name", "host name mismatch"),
        ("self_signed", "self-signed"),
        ("unknown_issuer", "unknown issuer"),
    ],
)
def test_a_bad_certificate_is_refused_with_the_reason(certificates: Certificates, kind: str, words: str) -> None:
    server = getattr(certificates, kind)()
    assert reason(trust(certificates, NAME), server) == words


def test_without_a_name_the_certificate_must_carry_the_address(certificates: Certificates) -> None:
    assert reason(trust(certificates, None), certificates.good(NAME)) == "host name mismatch"
    ours = trust(certificates, None, at=Address.of("2001:db8::1", 853))
    assert reason(ours, certificates.good("2001:db8::1")) is None
    assert reason(ours, certificates.good("2001:db8::2")) == "host name mismatch"


def test_a_zone_is_no_part_of_the_address_that_is_verified(certificates: Certificates) -> None:
    assert trust(certificates, None, at=Address.of("fe80::1%1", 853)).server_hostname == "fe80::1"


def test_the_systems_authorities_do_not_know_ours(certificates: Certificates) -> None:
    assert reason(Trust(TlsOptions(server_name=NAME), UPSTREAM), certificates.good()) == "unknown issuer"


def test_tls_below_1_2_is_not_spoken(certificates: Certificates) -> None:
    server = certificates.good()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        server.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError) as caught:
        shake_hands(trust(certificates).wrap, server)
    assert refusal(caught.value) is None


# pins


def pins_of(server: trustme.LeafCert) -> list[bytes]:
    """The usual way, by the library that we do without."""
    loaded = [x509.load_pem_x509_certificate(pem.bytes()) for pem in server.cert_chain_pems]
    keys = [one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for one in loaded]
    return [sha256(key).digest() for key in keys]


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_a_pin_is_the_digest_of_the_public_key_info(certificates: Certificates, key_type: trustme.KeyType) -> None:
    issued = certificates.authority.issue_cert(NAME, key_type=key_type)
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    assert [pin_of(der)] == pins_of(issued)[:1]


@given(st.binary())
def test_what_is_no_certificate_has_no_pin(octets: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(pin_of(octets)) == sha256().digest_size


def test_a_certificate_that_was_cut_off_has_no_pin(certificates: Certificates) -> None:
    der = ssl.PEM_cert_to_DER_cert(certificates.authority.cert_pem.bytes().decode())
    for end in range(0, 200, 7):
        with pytest.raises(ValueError, match="no certificate"):
            pin_of(der[:end])


def test_one_pin_must_fit_a_certificate_of_the_chain(certificates: Certificates) -> None:
    issued = certificates.authority.issue_cert(NAME)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(server)
    authority = x509.load_pem_x509_certificate(certificates.authority.cert_pem.bytes())
    of_authority = pin_of(authority.public_bytes(Encoding.DER))
    wrong = sha256(b"another key").digest()
    for pins in ((pins_of(issued)[0],), (wrong, pins_of(issued)[0]), (of_authority,)):
        assert reason(trust(certificates, pins=pins), server) is None
    assert reason(trust(certificates, pins=(wrong,)), server) == "pin"


def test_a_pin_does_not_stand_for_chain_and_name(certificates: Certificates) -> None:
    issued = certificates.stranger.issue_cert(NAME)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(server)
    assert reason(trust(certificates, pins=tuple(pins_of(issued))), server) == "unknown issuer"


# sessions and contexts


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_and_its_pins_were_verified_before(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    issued = certificates.authority.issue_cert(NAME)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(server)
    server.maximum_version = version
    ours = trust(certificates, pins=(pins_of(issued)[0],))
    for _ in range(3):
        client, _ = shake_hands(ours.wrap, server)
        ours.verify(client)
        ours.remember(client)
    assert (ours.handshakes, ours.resumptions) == (3, 2)


def test_upstreams_that_agree_in_files_share_a_context_until_a_file_is_written_again(tmp_path: Path) -> None:
    ours = Certificates(tmp_path)
    first = trust(ours)
    assert trust(ours, None).context is first.context
    trustme.CA().cert_pem.write_to_path(ours.ca)
    assert trust(ours).context is not first.context


def test_files_that_will_not_do_are_an_os_error(certificates: Certificates, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for options in (
        TlsOptions(ca=str(tmp_path / "missing.pem")),
        TlsOptions(ca=str(empty)),
        TlsOptions(cert=str(empty)),
        TlsOptions(cert=certificates.ca),
    ):
        with pytest.raises(OSError):
            Trust(options, UPSTREAM)


def test_we_are_known_by_our_certificate(certificates: Certificates, tmp_path: Path) -> None:
    ours = certificates.authority.issue_cert("proxy.example.org")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "ours.pem")
    server = certificates.good()
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificates.ca)
    trusted = Trust(TlsOptions(certificates.ca, str(tmp_path / "ours.pem"), server_name=NAME), UPSTREAM)
    _, served = shake_hands(trusted.wrap, server)
    assert served.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(ours.cert_chain_pems[0].bytes().decode())


# what becomes of a refusal

URL = "tls://127.0.0.1:853"


@pytest.fixture
def refusals() -> Refusals:
    options = UpstreamOptions(UPSTREAM, "tls", TlsOptions(), health=HealthOptions(interval=0.5))
    return Refusals(options, Flights())


def test_a_refusal_is_told_once_in_ten_seconds_for_each_reason(
    refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    line = f"upstream {URL} certificate of 127.0.0.1:853 refused:"
    for at in (0.0, 1.0, REPEAT_S - 0.1):
        refusals.flights.now = at
        refusals.refused("expired")
    refusals.refused("pin")
    assert caplog.messages == [f"{line} expired", f"{line} pin"]
    refusals.flights.now = REPEAT_S
    refusals.refused("expired")
    assert caplog.messages[2:] == [f"{line} expired"]


def test_a_refusal_holds_for_an_interval_between_probes(refusals: Refusals) -> None:
    assert not refusals.holds()
    refusals.flights.now = 100.0
    refusals.begin()
    refusals.flights.now = 100.01
    refusals.refused("expired")
    assert refusals.holds()
    refusals.flights.now = 100.49
    assert refusals.holds()
    refusals.flights.now = 100.5
    assert not refusals.holds()


def test_a_handshake_that_fails_otherwise_is_told_and_holds_nothing(
    refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        refusals.failed(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"))
    assert len(caplog.messages) == 1
    assert "TLS with 127.0.0.1:853 failed" in caplog.messages[0]
    assert not refusals.holds()


def test_other_errors_are_no_refusals() -> None:
    assert refusal(ConnectionResetError()) is None
    assert refusal(ssl.SSLEOFError()) is None
    assert refusal(Refused("pin")) == "pin"
