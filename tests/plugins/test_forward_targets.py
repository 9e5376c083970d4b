"""What may stand in `to`, and how names and files become addresses to ask."""

from pathlib import Path
from typing import Any

import pytest
from dnsproxy_forward.targets import Target, nameservers
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy import config
from tests.plugins.forwarding import bound
from tests.support.toml import stanza

A = "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port"),
    [
        ("192.0.2.1", None, "192.0.2.1", 53),
        ("192.0.2.1:5353", None, "192.0.2.1", 5353),
        ("2001:db8::1", None, "2001:db8::1", 53),
        ("[2001:db8::1]", None, "2001:db8::1", 53),
        ("[2001:db8::1]:5353", None, "2001:db8::1", 5353),
        ("udp://192.0.2.1", "udp", "192.0.2.1", 53),
        ("tcp://[2001:db8::1]:53/", "tcp", "2001:db8::1", 53),
        ("resolver.example.net", None, "resolver.example.net", 53),
        ("tcp://resolver.example.net.:5353", "tcp", "resolver.example.net.", 5353),
        ("a_b-c.example.net", None, "a_b-c.example.net", 53),
        ("udp://[fe80::1%eth0]:53", "udp", "fe80::1%eth0", 53),
        ("tls://192.0.2.1", "tls", "192.0.2.1", 853),
        ("TLS://[2001:db8::1]:8853", "tls", "2001:db8::1", 8853),
        ("quic://resolver.example.net", "quic", "resolver.example.net", 853),
        ("https://resolver.example.net", "https", "resolver.example.net", 443),
        ("h3://192.0.2.1:8443/dns", "h3", "192.0.2.1", 8443),
    ],
)
def test_an_upstream_is_an_address_or_a_name_with_or_without_scheme_and_port(
    text: str, scheme: str | None, host: str, port: int
) -> None:
    target = Target.from_toml(text)
    assert (target.scheme, target.host, target.port, target.file) == (scheme, host, port, "")
    assert target.is_address == (not host.strip(".").endswith("net"))
    assert Target.from_toml(str(target)) == target


@pytest.mark.parametrize(
    ("text", "host", "port", "name"),
    [
        ("tls://192.0.2.1%dns.example.net", "192.0.2.1", 853, "dns.example.net"),
        ("tls://192.0.2.1%dns.example.net:8853", "192.0.2.1", 8853, "dns.example.net"),
        ("quic://[2001:db8::1]%dns.example.net:8853/", "2001:db8::1", 8853, "dns.example.net"),
        ("tls://[fe80::1%eth0]%dns.example.net", "fe80::1%eth0", 853, "dns.example.net"),
        ("tls://[fe80::1%eth0]", "fe80::1%eth0", 853, ""),
    ],
)
def test_behind_the_address_stands_the_name_of_its_certificate(text: str, host: str, port: int, name: str) -> None:
    target = Target.from_toml(text)
    assert (target.host, target.port, target.server_name) == (host, port, name)
    assert Target.from_toml(str(target)) == target


@pytest.mark.parametrize(
    ("text", "authority", "path"),
    [
        ("https://resolver.example.net/dns-query", "resolver.example.net", "/dns-query"),
        ("https://resolver.example.net", "resolver.example.net", "/dns-query"),
        ("https://resolver.example.net:8443/a/b?c=d", "resolver.example.net:8443", "/a/b?c=d"),
        ("h3://[2001:db8::1]/", "[2001:db8::1]", "/"),
        ("https://[2001:db8::1]:8443/x", "[2001:db8::1]:8443", "/x"),
    ],
)
def test_a_url_has_an_authority_and_a_path(text: str, authority: str, path: str) -> None:
    target = Target.from_toml(text)
    assert (target.authority, target.path) == (authority, path)
    assert Target.from_toml(str(target)) == target


@pytest.mark.parametrize("path", ["/etc/resolv.conf", "./resolv.conf", "some/where"])
def test_what_has_a_slash_and_no_scheme_is_a_file(path: str) -> None:
    target = Target.from_toml(path)
    assert (target.file, target.is_address, str(target)) == (path, False, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://192.0.2.1", "is not spoken by this version; expected udp://, tcp://, tls://"),
        ("192.0.2.1:0", "port 0"),
        ("192.0.2.1:65536", "port"),
        ("192.0.2.1:x", "port"),
        ("", "expected"),
        ("192.0.2.256", "neither an IP address nor a host name"),
        ("a..b", "neither an IP address nor a host name"),
        ("bücher.example", "neither an IP address nor a host name"),
        ("-", "neither an IP address nor a host name"),
        ("resolver.example.net " + "x" * 64, "neither an IP address nor a host name"),
        ("2001:db8::g", "expected"),
        ("[2001:db8::1", "expected"),
        ("tls://dns.example.net%other.example.net", "behind a name"),
        ("tls://192.0.2.1%", "neither an IP address nor a host name"),
        ("https://user@resolver.example.net/", "user name"),
        ("https://resolver.example.net/a b", "bad path"),
        ("https://resolver.example.net/#x", "bad path"),
        ("tcp://192.0.2.1/path", "expected"),
    ],
)
def test_anything_else_is_an_error_that_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target.from_toml(text)


@given(st.text(max_size=40))
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    try:
        target = Target.from_toml(text)
    except ValueError:
        return
    assert bool(target.file) != bool(target.host)
    assert 0 < target.port < 65536


# resolv.conf


def test_nameservers_are_read_in_order_and_the_rest_is_passed_over() -> None:
    text = (
        "# nameserver 192.0.2.9\n; nameserver 192.0.2.8\n\nsearch example.org\n"
        "nameserver 192.0.2.1\nnameserver\t2001:db8::1   # a comment\n  nameserver 192.0.2.2 trailing\n"
        "nameserver 192.0.2.1\nnameserver\nnameserver example.org\nNAMESERVER 192.0.2.3\nnameservers 192.0.2.4\n"
        "options timeout:1\n" + "nameserver 192.0.2." + "5" * 5000
    )
    assert nameservers(text) == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]


@given(st.text())
def test_any_file_has_nameservers_or_none(text: str) -> None:
    assert all(isinstance(host, str) for host in nameservers(text))


def test_a_resolv_conf_is_read_when_the_chain_is_bound(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\nnameserver ::1\n")
    _, offline = bound(str(path), "192.0.2.7:5353")
    assert list(offline.upstreams) == ["127.0.0.1:53", "[::1]:53", "192.0.2.7:5353"]


@pytest.mark.parametrize("text", ["search example.org\n", None])
def test_a_resolv_conf_without_nameservers_is_a_warning(
    text: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    _, offline = bound(str(path))
    assert offline.upstreams == {}
    (message,) = caplog.messages
    assert str(path) in message


def loops(listen: str, *to: str, **keys: object) -> list[str]:
    """What is wrong with upstreams beside these listeners."""
    text = f'listen = ["{listen}"]\nadmin = false\n{stanza("[[forward]]", {"to": list(to), **keys})}'
    try:
        config.parse(text, "/offline.toml")
    except config.ConfigErrors as errors:
        return [error.message for error in errors.errors]
    return []


@pytest.mark.parametrize(
    ("listen", "to", "keys", "is_loop"),
    [
        ("127.0.0.1:5300", "127.0.0.1:5300", {}, True),
        ("127.0.0.1:5300", "tcp://127.0.0.1:5300", {}, True),
        ("0.0.0.0:5300", "127.0.0.1:5300", {}, True),
        ("127.0.0.1:5300", "127.0.0.1:5301", {}, False),
        ("127.0.0.1:5300", "127.0.0.2:5300", {}, False),
        ("udp://127.0.0.1:5300", "tcp://127.0.0.1:5300", {}, False),
        ("udp://127.0.0.1:5300", "127.0.0.1:5300", {"force_tcp": True}, False),
        ("tcp://127.0.0.1:5300", "127.0.0.1:5300", {"prefer_udp": True}, False),
    ],
)
def test_a_listener_of_the_same_server_is_no_upstream(listen: str, to: str, keys: Any, is_loop: bool) -> None:
    messages = loops(listen, to, **keys)
    assert bool(messages) == is_loop
    assert all("a loop" in message for message in messages)


def test_a_resolv_conf_that_names_this_server_is_a_loop_too(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\nnameserver 127.0.0.1\n")
    (message,) = loops("127.0.0.1:53", str(path))
    assert "names 127.0.0.1" in message
    assert loops("127.0.0.1:5300", str(path)) == []
