"""Addresses of collectors and files, as operators write them."""

import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.destination import Destination, ListenUrl, TlsOptions


@pytest.mark.parametrize(
    ("written", "meant", "shown"),
    [
        ("unix:///run/tap.sock", Destination("unix", path="/run/tap.sock"), "unix:///run/tap.sock"),
        ("/run/tap.sock", Destination("unix", path="/run/tap.sock"), "unix:///run/tap.sock"),
        ("file:///var/log/dns.fstrm", Destination("file", path="/var/log/dns.fstrm"), "file:///var/log/dns.fstrm"),
        ("tcp://192.0.2.1:6000", Destination("tcp", host="192.0.2.1", port=6000), "tcp://192.0.2.1:6000"),
        ("TCP://[2001:db8::1]:6000", Destination("tcp", host="2001:db8::1", port=6000), "tcp://[2001:db8::1]:6000"),
        (
            "tls://tap.example.org.:853",
            Destination("tls", host="tap.example.org.", port=853),
            "tls://tap.example.org.:853",
        ),
        ("tcp://localhost:6000/", Destination("tcp", host="localhost", port=6000), "tcp://localhost:6000"),
    ],
)
def test_each_form_is_understood(written: str, meant: Destination, shown: str) -> None:
    assert Destination.from_toml(written) == meant
    assert str(meant) == shown
    assert Destination.from_toml(shown) == meant


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("run/tap.sock", "has no scheme"),
        ("", "has no scheme"),
        ("udp://192.0.2.1:53", '"udp://" is not known'),
        ("unix://run/tap.sock", "is no absolute path"),
        ("unix:///" + "x" * 110, "is too long for a unix socket; expected at most 107 octets"),
        ("unix:///run/", "names no file"),
        ("file:///a\0b", "names no file"),
        ("tcp://collector", "has no port"),
        ("tcp://2001:db8::1:6000", "has no port"),
        ("tcp://host:0", "has a bad port"),
        ("tcp://host:65536", "has a bad port"),
        ("tcp://host:http", "has a bad port"),
        ("tcp://:6000", "has a bad host"),
        ("tcp://user@host:6000", "has a bad host"),
        ("tls://a..example:6000", "has a bad host"),
        ("tls://[example]:6000", "has a bad host"),
    ],
)
def test_what_cannot_be_an_address_is_an_error_that_says_why(written: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Destination.from_toml(written)


@given(st.one_of(st.text(max_size=40), st.from_regex(r"(unix|tcp|tls|file)://.{0,20}", fullmatch=True)))
def test_any_text_is_an_address_or_the_documented_error(text: str) -> None:
    try:
        destination = Destination.from_toml(text)
    except ValueError:
        return
    assert Destination.from_toml(str(destination)) == destination


# where collectors dial in


@pytest.mark.parametrize(
    ("written", "meant", "shown"),
    [
        ("unix:///run/tap.sock", ListenUrl("unix", path="/run/tap.sock"), "unix:///run/tap.sock"),
        ("/run/tap.sock", ListenUrl("unix", path="/run/tap.sock"), "unix:///run/tap.sock"),
        ("tcp://127.0.0.1:0", ListenUrl("tcp", host="127.0.0.1", port=0), "tcp://127.0.0.1:0"),
        ("TLS://[::0]:6000/", ListenUrl("tls", host="::", port=6000), "tls://[::]:6000"),
        ("tcp://localhost:6000", ListenUrl("tcp", host="localhost", port=6000), "tcp://localhost:6000"),
    ],
)
def test_each_form_of_listening_is_understood(written: str, meant: ListenUrl, shown: str) -> None:
    assert ListenUrl.from_toml(written) == meant
    assert str(meant) == shown


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("127.0.0.1:6000", "has no scheme"),
        ("udp://127.0.0.1:6000", '"udp://" is not known; expected unix:///path'),
        ("file:///var/log/dns.fstrm", '"file://" is not known'),
        ("unix://run/tap.sock", "is no absolute path"),
        ("tcp://127.0.0.1", "has no port"),
        ("tcp://127.0.0.1:65536", "has a bad port; expected a number from 0 to 65535"),
        ("tcp://:6000", "has a bad host"),
        (
            "tcp://collector.example.org:6000",
            '"collector.example.org" is not an IP address; expected an address of this',
        ),
    ],
)
def test_where_nobody_can_listen_is_an_error_that_says_why(written: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        ListenUrl.from_toml(written)


@given(st.one_of(st.text(max_size=40), st.from_regex(r"(unix|tcp|tls)://.{0,20}", fullmatch=True)))
def test_any_text_is_a_place_to_listen_or_the_documented_error(text: str) -> None:
    try:
        url = ListenUrl.from_toml(text)
    except ValueError:
        return
    assert ListenUrl.from_toml(str(url)) == url


# TLS


def test_tls_is_verified_and_new_enough_unless_told_otherwise() -> None:
    context = TlsOptions().context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert TlsOptions(skip_verify=True).context().verify_mode == ssl.CERT_NONE


def test_only_the_given_roots_are_trusted(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    assert len(TlsOptions(ca=str(tmp_path / "ca.pem")).context().get_ca_certs()) == 1


def test_a_file_without_certificates_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no PEM here")
    with pytest.raises(ssl.SSLError):
        TlsOptions(ca=str(tmp_path / "ca.pem")).context()


@pytest.fixture
def ours(tmp_path: Path) -> TlsOptions:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    return TlsOptions(cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))


def test_who_dials_in_has_to_prove_nothing_unless_there_is_a_ca(ours: TlsOptions, tmp_path: Path) -> None:
    context = ours.server_context()
    assert (context.verify_mode, context.get_ca_certs()) == (ssl.CERT_NONE, [])
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    strict = replace(ours, ca=str(tmp_path / "ca.pem")).server_context()
    assert (strict.verify_mode, len(strict.get_ca_certs())) == (ssl.CERT_REQUIRED, 1)


def test_a_ca_without_certificates_never_means_the_systems(ours: TlsOptions, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    with pytest.raises(ssl.SSLError):
        replace(ours, ca=str(tmp_path / "ca.pem")).server_context()


def test_nobody_is_asked_for_a_passphrase(ours: TlsOptions, tmp_path: Path) -> None:
    command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:secret", "-in", ours.key, "-out", tmp_path / "locked"]
    subprocess.run([str(word) for word in command], check=True)
    locked = replace(ours, key=str(tmp_path / "locked"))
    for context in (locked.context, locked.server_context):
        with pytest.raises(OSError, match="the key is encrypted"):
            context()
