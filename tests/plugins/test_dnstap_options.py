"""Every key of a `[[dnstap]]` stanza: the forms that it takes, and what becomes of them."""

import ipaddress
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dnsproxy.dnstap.destination import Destination, ListenUrl
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.privacy import KeyFile, Prefixes, Privacy
from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.dnstap.schema import ALL_TYPES
from dnsproxy.dnstap.selection import Selection
from dnsproxy.dnstap.spool import SpoolOptions
from tests.plugins.tap_configs import FILE, UNIX, config, errors

V4, V6 = ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32")
EXAMPLE_ORG = b"\7example\3org\0"


def test_a_socket_is_all_that_is_needed() -> None:
    tap = config()
    assert (tap.shown_name, tap.full, tap.queue, tap.queue_bytes) == (UNIX, False, 10_000, 64 << 20)
    assert tap.selected == ALL_TYPES
    assert (tap.selection, tap.privacy) == (Selection(), None)
    assert (tap.compat, tap.responses_with_queries) == (False, False)


def test_what_is_not_given_is_as_the_outputs_have_it() -> None:
    tap = config()
    assert tap.output == OutputOptions(UNIX, tap.destination, tap.output.tls, 10_000, 64 << 20)


# where to


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/run/tap.sock", Destination("unix", path="/run/tap.sock")),
        ("tcp://[2001:db8::1]:6000", Destination("tcp", host="2001:db8::1", port=6000)),
        ("TLS://collector.example.org:6000", Destination("tls", host="collector.example.org", port=6000)),
        ("file:///d/%Y/%m-%d/%H%M%S-%%.fstrm", Destination("file", path="/d/%Y/%m-%d/%H%M%S-%%.fstrm")),
    ],
)
def test_a_socket_is_an_address_or_a_file_whose_name_may_have_a_date(written: str, meant: Destination) -> None:
    assert config(socket=written).destination == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("unix:///run/tap.sock", ListenUrl("unix", path="/run/tap.sock")),
        ("tcp://127.0.0.1:0", ListenUrl("tcp", host="127.0.0.1", port=0)),
        ("tcp://[::1]:6000", ListenUrl("tcp", host="::1", port=6000)),
    ],
)
def test_listen_stands_in_place_of_socket(written: str, meant: ListenUrl) -> None:
    tap = config(listen=written)
    assert tap.destination == meant
    assert tap.shown_name == written
    assert tap.output.listening
    assert not config().output.listening


# which messages


@pytest.mark.parametrize(
    ("types", "mnemonics"),
    [
        ("client", "CQ CR"),
        ("CLIENT QUERY", "CQ"),
        (["CQ", "FORWARDER_RESPONSE"], "CQ FR"),
        (["client query", "client"], "CQ CR"),
        (["All Query"], "AQ RQ CQ FQ SQ TQ UQ"),
        ("all response", "AR RR CR FR SR TR UR"),
        (["all"], "AQ AR RQ RR CQ CR FQ FR SQ SR TQ TR UQ UR"),
    ],
)
def test_types_are_words_or_lists_of_words(types: object, mnemonics: str) -> None:
    assert {type.mnemonic for type in config(types=types).selected} == set(mnemonics.split())


@pytest.mark.parametrize(
    ("keys", "selection"),
    [
        ({"zones": "Example.ORG"}, Selection(zones=(EXAMPLE_ORG,))),
        ({"zones": ["example.org.", "."]}, Selection(zones=(EXAMPLE_ORG, b"\0"))),
        ({"zones": "192.0.2.0/24"}, Selection(zones=(b"\0012\0010\003192\7in-addr\4arpa\0",))),
        ({"clients": "192.0.2.0/24"}, Selection(clients=(V4,))),
        ({"clients": ["192.0.2.0/24", "2001:db8::/32"]}, Selection(clients=(V4, V6))),
        ({"clients": "192.0.2.7"}, Selection(clients=(ipaddress.ip_network("192.0.2.7/32"),))),
        ({"qtypes": "aaaa"}, Selection(qtypes=frozenset({28}))),
        ({"qtypes": ["A", "TYPE65", 16]}, Selection(qtypes=frozenset({1, 65, 16}))),
        ({"rcodes": "servfail"}, Selection(rcodes=frozenset({2}))),
        ({"rcodes": ["NXDOMAIN", "BADVERS", 3841]}, Selection(rcodes=frozenset({3, 16, 3841}))),
        ({"protocols": "udp"}, Selection(protocols=frozenset({"UDP"}))),
        (
            {"protocols": ["Tcp", "DoT", "doh", "DOQ", "dnscryptudp"]},
            Selection(protocols=frozenset({"TCP", "DOT", "DOH", "DOQ", "DNSCryptUDP"})),
        ),
        ({"slower_than": "200ms"}, Selection(slower_than_s=0.2)),
        ({"only": "errors"}, Selection(only_errors=True)),
        ({"sample": 0.01}, Selection(sample=0.01, sample_text="0.01")),
        (
            {"sample": 0.5, "slower_than": "1s", "always": ["errors", "slow", "policy"]},
            Selection(slower_than_s=1.0, sample=0.5, sample_text="0.5", always=frozenset({"errors", "slow", "policy"})),
        ),
        ({"sample": 0.5, "always": "policy"}, Selection(sample=0.5, sample_text="0.5", always=frozenset({"policy"}))),
        ({"only": "errors", "rcodes": ["NOERROR", 2]}, Selection(rcodes=frozenset({0, 2}), only_errors=True)),
    ],
)
def test_a_selection_is_what_was_asked_for(keys: dict[str, Any], selection: Selection) -> None:
    assert config(**keys).selection == selection


@pytest.mark.parametrize(("number", "text"), [(1, "1"), (1.0, "1.0"), (0.25, "0.25"), (1e-05, "0.00001")])
def test_a_sample_is_told_as_it_was_configured_without_an_exponent(number: float, text: str) -> None:
    assert config(sample=number).selection.sample_text == text


# what is hidden


@pytest.mark.parametrize(
    ("keys", "privacy"),
    [
        ({"anonymize": {"ipv4": 16, "ipv6": 48}}, Privacy(Prefixes(16, 48))),
        ({"anonymize": {"ipv4": 0}}, Privacy(Prefixes(0, 56))),
        ({"anonymize": {"ipv6": 128}}, Privacy(Prefixes(24, 128))),
        ({"strip": "ecs"}, Privacy(strip=frozenset({"ecs"}))),
        ({"strip": ["ecs", "cookie"]}, Privacy(strip=frozenset({"ecs", "cookie"}))),
        ({"qname": "drop"}, Privacy(qname="drop")),
        ({"qname": "hash", "strip": []}, Privacy(qname="hash")),
    ],
)
def test_what_is_hidden_is_what_was_asked_for(keys: dict[str, Any], privacy: Privacy) -> None:
    assert config(**keys).privacy == privacy


def test_a_key_file_is_read_from_the_configurations_folder(tmp_path: Path) -> None:
    (tmp_path / "tap.key").write_bytes(bytes(range(16)))
    privacy = config(tmp_path, anonymize={"key_file": "tap.key"}).privacy
    assert privacy is not None
    assert privacy.anonymize == KeyFile(str(tmp_path / "tap.key"))


# how it is sent and kept


def test_each_key_of_the_output_arrives_in_it() -> None:
    output = config(
        queue=5,
        queue_bytes="1MiB",
        overflow="oldest",
        connections=4,
        flush="1s",
        batch=7,
        keepalive="1m",
        stall="2s",
        spool="/var/spool/tap",
        spool_max="2GiB",
    ).output
    assert (output.queue, output.queue_octets, output.overflow, output.connections) == (5, 1 << 20, "oldest", 4)
    assert (output.flush_s, output.batch, output.keepalive_s, output.stall_s) == (1.0, 7, 60.0, 2.0)
    assert output.spool == SpoolOptions("/var/spool/tap", 2 << 30)


def test_a_spool_is_a_folder_that_is_there_or_can_be_made(tmp_path: Path) -> None:
    for folder in (".", "new", "new/deeper"):
        spool = config(tmp_path, spool=folder).output.spool
        assert spool == SpoolOptions(str(tmp_path / folder), 1 << 30)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("keys", "rotation"),
    [
        ({}, Rotation()),
        ({"rotate_size": "100MiB"}, Rotation(size=100 << 20)),
        ({"rotate_every": "1h", "keep": 48}, Rotation(every_s=3600.0, keep=48)),
        ({"rotate_size": 65536, "rotate_every": "1d", "compress": "gzip"}, Rotation(65536, 86400.0, None, "gzip")),
    ],
)
def test_a_file_rotates_as_it_is_told_to(keys: dict[str, Any], rotation: Rotation) -> None:
    assert config(socket=FILE, **keys).output.rotation == rotation


def test_zstd_is_taken_where_its_module_is(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("zstandard")
    module.__spec__ = ModuleSpec("zstandard", None)
    monkeypatch.setitem(sys.modules, "zstandard", module)
    assert config(socket=FILE, rotate_every="1h", compress="zstd").output.rotation.compress == "zstd"


# between stanzas


@pytest.mark.parametrize(
    ("keys", "claims"),
    [
        ({}, [("socket", UNIX)]),
        ({"name": "edge"}, [("name", "edge")]),
        ({"name": "edge", "socket": "file:///x"}, [("socket", "file:///x"), ("name", "edge")]),
        ({"socket": "file:///tmp/../x"}, [("socket", "file:///x")]),
        ({"listen": "tcp://127.0.0.1:6000"}, [("listen", "tcp://127.0.0.1:6000")]),
        ({"listen": "unix:///tmp/../x", "name": "edge"}, [("listen", "unix:///x"), ("name", "edge")]),
        ({"listen": "tcp://127.0.0.1:0"}, [("listen", "tcp://127.0.0.1:0")]),
        ({"listen": "tcp://127.0.0.1:0", "name": "edge"}, [("name", "edge")]),
        ({"name": "edge", "spool": "/tmp/../spool/a"}, [("name", "edge"), ("spool", "/spool/a")]),
    ],
)
def test_names_files_listening_addresses_and_spools_are_a_taps_own(
    keys: dict[str, Any], claims: list[tuple[str, str]]
) -> None:
    assert list(config(**keys).claims()) == claims


def test_several_mistakes_are_told_together() -> None:
    assert set(errors(queue=-1, ca="/dev/null", skip_verify=True)) == {"queue", "ca", "skip_verify"}
