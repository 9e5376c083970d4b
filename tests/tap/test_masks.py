"""Masks change what they name and nothing else, and what they hide shows nowhere."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.dnstap_pb2 import Dnstap
from dnsproxy.dnstap.encode import number_field, octets_field
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.tap.errors import MissingModule, WrongUsage
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.masks import mask_from
from tests.support import wire
from tests.tap.frames import CLIENT, corpus_payloads, payload
from tests.tap.options import parsed

TYPES = [type.name for type in MessageType]
OF_CLIENTS = [name for name in TYPES if name.startswith(("CLIENT", "AUTH"))]
SECRET = bytes((192, 0, 2, 7))
COOKIE = (10, b"12345678")
WITH_ECS = wire.query("www.example.org", id=7, options=[wire.ecs(CLIENT, 32), COOKIE])


def masked(octets: bytes, *options: str) -> TapFrame:
    mask = mask_from(parsed(*options))
    assert mask is not None
    return mask(TapFrame(octets))


def test_without_options_there_is_no_mask() -> None:
    assert mask_from(parsed()) is None


@pytest.mark.parametrize("type", TYPES)
def test_the_clients_address_is_cut_where_a_client_asked(type: str) -> None:
    octets = payload(type)
    frame = masked(octets, "--mask", "24/56")
    if type in OF_CLIENTS:
        assert frame.query_address == bytes((192, 0, 2, 0))
        assert SECRET not in frame.payload
    else:
        assert frame.payload is octets


@pytest.mark.parametrize(
    ("address", "prefixes", "cut"),
    [
        ("192.0.2.7", "16/56", "192.0.0.0"),
        ("192.0.2.7", "32/128", "192.0.2.7"),
        ("192.0.2.7", "0/0", "0.0.0.0"),
        ("2001:db8:1:2::7", "24/56", "2001:db8:1::"),
        ("::ffff:192.0.2.7", "24/56", "192.0.2.0"),
        ("::ffff:192.0.2.7", "0/56", "0.0.0.0"),
    ],
)
def test_each_family_has_its_prefix(address: str, prefixes: str, cut: str) -> None:
    frame = masked(payload(query_address=address), "--mask", prefixes)
    assert frame.query_address_text == cut
    assert len(frame.query_address or b"") == len(ip_address(address).packed)


def test_octets_that_are_no_address_go() -> None:
    assert masked(payload(query_address=b"abc"), "--mask", "24/56").query_address is None


@pytest.mark.parametrize("type", ["CLIENT_QUERY", "FORWARDER_QUERY"])
def test_client_subnets_in_messages_are_cut(type: str) -> None:
    frame = masked(payload(type, WITH_ECS), "--mask", "24/56")
    assert frame.query_message == wire.query("www.example.org", id=7, options=[wire.ecs("192.0.2.0", 24), COOKIE])


def test_pseudonyms_take_the_place_of_addresses(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    key = tmp_path / "key"
    key.write_bytes(bytes(range(16)))
    frames = [masked(payload(message=WITH_ECS), "--pseudonymize", str(key)) for _ in range(2)]
    assert frames[0].query_address == frames[1].query_address
    assert frames[0].query_address != SECRET
    assert SECRET not in frames[0].payload


def test_options_are_stripped() -> None:
    frame = masked(payload(message=WITH_ECS), "--strip", "ecs")
    assert frame.query_message == wire.query("www.example.org", id=7, options=[COOKIE])
    frame = masked(payload(message=WITH_ECS), "--strip", "ecs,cookie")
    assert frame.query_message == wire.query("www.example.org", id=7, edns=True)


def test_fields_are_stripped() -> None:
    frame = masked(payload(extra=b"secret"), "--strip", "extra", "--strip", "identity, messages")
    assert (frame.extra, frame.identity, frame.query_message, frame.version) == (None, None, None, b"test 1")
    assert frame.query_address_text == CLIENT


@pytest.mark.parametrize(
    "options", [("--strip", "ecs"), ("--strip", "cookie"), ("--strip", "extra"), ("--mask", "32/128")]
)
def test_a_frame_with_nothing_to_hide_is_the_same_octets(options: tuple[str, str]) -> None:
    octets = payload(extra=None)
    assert masked(octets, *options).payload is octets


def test_all_other_fields_stay_unknown_ones_too() -> None:
    inner = Dnstap.FromString(payload("CLIENT_RESPONSE", policy={"type": "RPZ", "action": 1}, http_protocol=2)).message
    unknown = octets_field(200, b"later") + number_field(201, 7)
    octets = octets_field(100, b"new") + octets_field(14, inner.SerializeToString() + unknown) + unknown + b"\x78\x01"
    frame = masked(octets, "--mask", "24/56")
    assert frame.payload == octets.replace(SECRET, bytes((192, 0, 2, 0)))
    assert len(frame.payload) == len(octets)


def test_recorded_frames_keep_all_but_the_address() -> None:
    for octets in corpus_payloads():
        expected = Dnstap.FromString(octets)
        if expected.message.HasField("query_address") and expected.message.type in (5, 6):
            expected.message.query_address = expected.message.query_address[:3] + b"\0"
        assert Dnstap.FromString(masked(octets, "--mask", "24/56").payload) == expected


@given(st.binary(max_size=60), st.integers(0, 60))
def test_whatever_the_message_an_option_that_can_be_found_is_hidden(junk: bytes, at: int) -> None:
    message = WITH_ECS[:at] + junk + WITH_ECS[at:]
    frame = masked(payload(message=message, response_address="198.51.100.1"), "--mask", "0/0")
    try:
        options = found_options(frame.query_message or b"")
    except ValueError:
        return
    assert all(code != wire.ECS or SECRET not in data for code, data in options)


def found_options(octets: bytes) -> list[tuple[int, bytes]]:
    from dnsproxy import wire as dns

    fixed = dns.opt_of(octets)
    return [] if fixed < 0 else dns.opt_options(octets, fixed)


@pytest.mark.parametrize("message", [b"", b"short", WITH_ECS[:-3], WITH_ECS + b"more"])
def test_messages_that_cannot_be_read_are_masked_all_the_same(message: bytes) -> None:
    frame = masked(payload(message=message), "--mask", "24/56")
    assert SECRET not in frame.payload
    if len(message) < 12:
        assert frame.query_message == message


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--mask", "24"], "24/56"),
        (["--mask", "33/56"], "24/56"),
        (["--mask", "24/129"], "24/56"),
        (["--strip", "ecs,version"], '"version"'),
        (["--mask", "24/56", "--pseudonymize", "/no/such"], "one of them"),
        (["--pseudonymize", "/no/such"], "No such file"),
    ],
)
def test_wrong_values_are_wrong_usage(options: list[str], reason: str) -> None:
    with pytest.raises(WrongUsage, match=reason):
        mask_from(parsed(*options))


def test_a_key_of_another_size_is_wrong_usage(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"short")
    with pytest.raises(WrongUsage, match="no key"):
        mask_from(parsed("--pseudonymize", str(key)))


def test_pseudonyms_without_their_module_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(_name: str) -> Any:
        return None

    monkeypatch.setattr("dnsproxy.tap.masks.find_spec", find_spec)
    with pytest.raises(MissingModule, match="pip install cryptography"):
        mask_from(parsed("--pseudonymize", "key"))
