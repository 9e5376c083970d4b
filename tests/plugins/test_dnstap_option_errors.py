"""What a `[[dnstap]]` stanza cannot be: each mistake is told at its key, with what was expected."""

import sys
from pathlib import Path
from typing import Any

import pytest

from dnsproxy import config
from dnsproxy.config import ConfigErrors
from tests.plugins.tap_configs import FILE, TLS, UNIX, errors

VALUES: list[tuple[dict[str, Any], str]] = [
    ({"socket": "udp://192.0.2.1:53"}, "is not known; expected unix:///path"),
    ({"socket": "file:///var/dns-%Q.fstrm"}, '"%Q" is no part of a time'),
    ({"socket": "file:///var/dns-%D.fstrm"}, '"%D" is no part of a time'),  # has slashes
    ({"socket": "file:///var/dns-%"}, '"%" is no part of a time'),
    ({"listen": "file:///tmp/x"}, '"file://" is not known; expected unix:///path'),
    ({"listen": "tap.sock"}, "has no scheme"),
    ({"listen": "tcp://collector.example.org:6000"}, "is not an IP address"),
    ({"listen": ["tcp://127.0.0.1:1"]}, "is a list"),
    ({"types": ["CQ", "CX"]}, '"CX" is no message type; expected "all", "auth", "client"'),
    ({"types": "query all"}, "is no message type"),
    ({"types": []}, "is an empty list"),
    ({"zones": "a..b"}, "is not a domain name"),
    ({"zones": []}, "is an empty list"),
    ({"zones": ["example.org", "EXAMPLE.org."]}, "is given twice"),
    ({"clients": "192.0.2.1/24"}, "has bits set behind its prefix"),
    ({"clients": ["somebody"]}, "is not a network"),
    ({"clients": []}, "is an empty list"),
    ({"qtypes": ["A", "NO-SUCH"]}, '"NO-SUCH" is no record type'),
    ({"qtypes": ["A", 1]}, "is given twice"),
    ({"qtypes": 65536}, "is no record type; expected 0 to 65535"),
    ({"qtypes": []}, "is an empty list"),
    ({"rcodes": "NO-SUCH"}, '"NO-SUCH" is no rcode'),
    ({"rcodes": -1}, "is no rcode; expected 0 to 4095"),
    ({"rcodes": []}, "is an empty list"),
    ({"protocols": "SCTP"}, '"SCTP" is no protocol; expected "UDP", "TCP", "DOT"'),
    ({"protocols": ["udp", "UDP"]}, "is given twice"),
    ({"protocols": []}, "is an empty list"),
    ({"slower_than": "quickly"}, "is not a duration"),
    ({"slower_than": 200}, "has no unit"),
    ({"only": "failures"}, 'is not known; expected "errors"'),
    ({"sample": 0}, "is no part of a whole; expected a number above 0 and up to 1"),
    ({"sample": -0.5}, "is no part of a whole"),
    ({"sample": 1.5}, "is no part of a whole"),
    ({"sample": float("nan")}, "is no part of a whole"),
    ({"sample": "1%"}, "is a string"),
    ({"sample": True}, "is a boolean"),
    ({"sample": 0.1, "always": ["errors", "never"]}, '"never" is not known; expected "errors", "slow" or "policy"'),
    ({"queue": 0}, "too small"),
    ({"queue": True}, "is a boolean"),
    ({"queue_bytes": "12 parsecs"}, "is not a size"),
    ({"queue_bytes": 100}, "too small"),
    ({"overflow": "middle"}, 'is not known; expected "newest" or "oldest"'),
    ({"spool": ""}, "is not a path; expected the name of a folder"),
    ({"spool": "/dev/null"}, '"/dev/null" is no folder'),
    ({"spool": "/dev/null/below"}, '"/dev/null" is no folder'),
    ({"spool": "/tmp/spool", "spool_max": "some"}, "is not a size"),
    ({"connections": 0}, "too small"),
    ({"connections": 65}, "too large"),
    ({"flush": "2h"}, "too large"),
    ({"batch": 0}, "too small"),
    ({"keepalive": "1ms"}, "too small"),
    ({"keepalive": "1d"}, "too large"),  # for Linux
    ({"stall": "0s"}, "too small"),
    ({"socket": FILE, "rotate_size": 10}, "too small"),
    ({"socket": FILE, "rotate_every": "1ms"}, "too small"),
    ({"socket": FILE, "rotate_every": "1h", "keep": 0}, "too small"),
    ({"socket": FILE, "rotate_every": "1h", "compress": "lz4"}, 'is not known; expected "gzip" or "zstd"'),
    ({"extra": 5}, "is a number"),
    ({"extra": {"json": []}}, "is not a template"),
    ({"name": ""}, "is empty"),
    ({"compat": "yes"}, "is a string"),
    ({"full": True, "responses_with_queries": 1}, "is a number"),
    ({"strip": "nsid"}, 'is not known; expected "ecs" or "cookie"'),
    ({"strip": ["ecs", "ecs"]}, "is given twice"),
    ({"qname": "hide"}, 'is not known; expected "drop" or "hash"'),
    ({"anonymize": True}, "is a boolean"),
    ({"anonymize": {}}, "says nothing; expected {ipv4 = 24, ipv6 = 56}, or {key_file = PATH}"),
    ({"sockett": UNIX}, "unknown key"),
]


@pytest.mark.parametrize(("keys", "wrong"), VALUES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_value_that_will_not_do_is_an_error_at_its_key(keys: dict[str, Any], wrong: str) -> None:
    ((key, message),) = errors(**keys).items()
    assert key == list(keys)[-1]
    _says(message, wrong)


def _says(message: str, wrong: str) -> None:
    assert wrong in message
    assert "; expected " in message or "; did you mean " in message


@pytest.mark.parametrize(
    ("table", "path", "wrong"),
    [
        ({"ipv4": 33}, "anonymize.ipv4", "too large"),
        ({"ipv4": -1}, "anonymize.ipv4", "too small"),
        ({"ipv6": 129}, "anonymize.ipv6", "too large"),
        ({"ipv4": "24"}, "anonymize.ipv4", "is a string"),
        ({"ipv5": 24}, "anonymize.ipv5", "unknown key"),
        ({"key_file": ""}, "anonymize.key_file", "is not a path"),
        ({"key_file": "/no/such/file"}, "anonymize.key_file", "No such file"),
        ({"key_file": "/dev/null"}, "anonymize.key_file", "16"),
    ],
)
def test_a_mistake_in_anonymize_is_told_at_its_own_key(table: dict[str, Any], path: str, wrong: str) -> None:
    found = errors(anonymize=table)
    assert list(found) == [path]
    _says(found[path], wrong)


def test_prefixes_and_a_key_do_not_go_together(tmp_path: Path) -> None:
    (tmp_path / "tap.key").write_bytes(bytes(range(16)))
    found = errors(tmp_path, anonymize={"ipv4": 24, "key_file": "tap.key"})
    assert list(found) == ["anonymize.key_file"]
    _says(found["anonymize.key_file"], "stands beside prefixes")


# keys that need others, or stand in their way


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"socket": None}, "missing; expected unix:///path, /path"),
        ({"socket": UNIX, "listen": "tcp://127.0.0.1:6000"}, "stands beside socket; expected one of them"),
        ({"always": "errors"}, "stands without sample"),
        ({"sample": 0.1, "always": ["errors", "slow"]}, '"slow" stands without slower_than'),
        ({"only": "errors", "rcodes": ["NOERROR", "NXDOMAIN"]}, 'none that only = "errors" lets through'),
        ({"spool_max": "1GiB"}, "stands without spool"),
        ({"listen": "tcp://127.0.0.1:0", "spool": "/tmp/spool"}, "is for socket only"),
        ({"listen": "tcp://127.0.0.1:0", "connections": 2}, "is for socket only"),
        ({"socket": FILE, "connections": 2}, "is for collectors only"),
        ({"socket": FILE, "keepalive": "1m"}, "is for collectors only"),
        ({"socket": FILE, "spool": "/tmp/spool"}, "is for collectors only"),
        ({"socket": FILE, "spool_max": "1GiB"}, "is for collectors only"),
        ({"rotate_size": "1MiB"}, "is for file:// only"),
        ({"rotate_every": "1h"}, "is for file:// only"),
        ({"keep": 5}, "is for file:// only"),
        ({"compress": "gzip"}, "is for file:// only"),
        ({"ca": "/dev/null"}, "is for tls:// only"),
        ({"cert": "/dev/null"}, "is for tls:// only"),
        ({"key": "/dev/null"}, "is for tls:// only"),
        ({"server_name": "x"}, "is for tls:// only"),
        ({"skip_verify": True}, "is for tls:// only"),
        ({"listen": "tcp://127.0.0.1:0", "cert": "/dev/null"}, "is for tls:// only"),
        ({"listen": "tls://127.0.0.1:0", "server_name": "x"}, "is for socket only"),
        ({"listen": "tls://127.0.0.1:0", "skip_verify": True}, "is for socket only"),
        ({"socket": TLS, "key": "/dev/null"}, "stands without cert"),
        ({"socket": TLS, "ca": "/no/such/file"}, "No such file"),
        ({"socket": TLS, "cert": "/no/such/file"}, "No such file"),
        ({"socket": TLS, "ca": "/dev/null"}, "/dev/null will not do"),
        ({"socket": TLS, "cert": "/dev/null"}, "/dev/null will not do"),
    ],
)
def test_keys_that_make_no_sense_together_are_an_error_at_the_later_one(keys: dict[str, Any], wrong: str) -> None:
    given = {key: value for key, value in keys.items() if value is not None}
    ((key, message),) = (errors(**given) if given else _errors_of_nothing()).items()
    assert key == list(keys)[-1]
    _says(message, wrong)


def _errors_of_nothing() -> dict[str, str]:
    with pytest.raises(ConfigErrors) as raised:
        config.parse("[[dnstap]]\n", "tap.toml")
    return {error.path.removeprefix("dnstap[0]."): error.message for error in raised.value.errors}


def test_a_tls_listener_needs_a_certificate() -> None:
    found = errors(listen="tls://127.0.0.1:0")
    assert list(found) == ["cert"]
    _says(found["cert"], "missing; expected the PEM of our certificate")


def test_what_follows_from_a_mistake_is_not_told_again(tmp_path: Path) -> None:
    assert list(errors(socket="nowhere", rotate_size="1MiB")) == ["socket"]
    assert list(errors(listen="nowhere")) == ["listen"]
    assert list(errors(listen="tls://127.0.0.1:0", cert="/no/such/file")) == ["cert"]
    assert list(errors(sample=7, always="errors")) == ["sample"]


def test_zstd_without_its_module_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    found = errors(socket=FILE, rotate_every="1h", compress="zstd")
    assert list(found) == ["compress"]
    _says(found["compress"], "module zstandard, which is not installed")


# between stanzas


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        (f'socket = "{UNIX}"', f'socket = "{UNIX}"', "socket"),
        (f'socket = "{FILE}"\nname = "a"', f'socket = "{FILE}"\nname = "b"', "socket"),
        ('listen = "tcp://[::1]:6000"', 'listen = "tcp://[0:0::1]:6000"\nname = "b"', "listen"),
        ('listen = "tcp://127.0.0.1:0"', 'listen = "tcp://127.0.0.1:0"', "listen"),
        (f'socket = "{UNIX}"\nname = "a"', f'socket = "{FILE}"\nname = "a"', "name"),
        (
            'socket = "/a.sock"\nspool = "/var/spool/tap"',
            'socket = "/b.sock"\nspool = "/var/spool/../spool/tap"',
            "spool",
        ),
    ],
)
def test_what_belongs_to_one_tap_is_an_error_in_another(one: str, other: str, key: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        config.parse(f"[[dnstap]]\n{one}\n[[dnstap]]\n{other}\n", "tap.toml")
    (error,) = raised.value.errors
    assert error.path == f"dnstap[1].{key}"
    assert "is in use on line" in error.message


@pytest.mark.parametrize("key", ["socket", "listen"])
def test_a_tap_where_the_server_takes_queries_is_an_error(key: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        config.parse(f'listen = ["127.0.0.1:5300"]\n[[dnstap]]\n{key} = "tcp://127.0.0.1:5300"\n', "tap.toml")
    (error,) = raised.value.errors
    assert (error.path, error.line) == (f"dnstap[0].{key}", 3)
    _says(error.message, "is where this server takes queries")


def test_two_taps_may_share_a_socket_if_one_has_a_name() -> None:
    config.parse(f'[[dnstap]]\nsocket = "{UNIX}"\n[[dnstap]]\nsocket = "{UNIX}"\nname = "b"\n', "tap.toml")
