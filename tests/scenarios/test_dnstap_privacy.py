"""Taps that may not know who asked, or what for: nothing of it is left in their octets, and other taps see it all."""

import ipaddress
import json
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.name
import pytest

from tests.support import behaviours, wire
from tests.support.client import exchange, exchange_tcp
from tests.support.collector import Collector, wait_until
from tests.support.dnstap_decoder import TapMessage
from tests.support.ports import free_port, ipv6_is_here
from tests.support.proxy import Proxy, config_errors
from tests.support.shared import shared_collector, shared_upstream
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

CLIENT = "127.9.7.77"
MASKED = "127.9.7.0"
SUBNET6 = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"
FORMS = [  # of the client's address, that must not be anywhere
    ipaddress.ip_address(CLIENT).packed,
    CLIENT.encode(),
    b"127.9.7.77"[::-1],
    ipaddress.ip_address(CLIENT).packed[::-1],
    b"77.7.9.127",
    b"7f09074d",
    b"7F09074D",
]
KEY16 = b"some 16-byte key"  # of the test vectors that ipcipher's authors published
PSEUDONYM4, PSEUDONYM6 = "114.62.227.59", "3718:8853:1723:6c88:7e5f:2e60:c79a:2bf"  # of 127.0.0.1 and ::1
PREFIX_KEY = bytes(range(32))
EXTRA = {"json": ["query/id", "remote", "name", "port"]}
OPTIONS = [wire.ecs(CLIENT, 32), (wire.COOKIE, b"8 octets"), (wire.NSID, b""), (65_001, b"kept")]


upstream = shared_upstream(echoed=behaviours.with_option(*wire.ecs(CLIENT, 32, 24)))
collector = shared_collector()


@pytest.fixture(scope="module")
def proxy(upstream: HostileUpstream, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    for name, octets in (("raw", KEY16), ("hex", KEY16.hex().encode() + b"\n"), ("pfx", PREFIX_KEY)):
        (folder / name).write_bytes(octets)
    taps: dict[str, dict[str, object]] = {
        "open": {},
        "masked": {"anonymize": {"ipv4": 24, "ipv6": 56}},
        "coarse": {"anonymize": {"ipv4": 12, "ipv6": 20}},
        "keyed": {"anonymize": {"key_file": str(folder / "raw")}},
        "keyed by hex": {"anonymize": {"key_file": str(folder / "hex")}},
        "prefixes": {"anonymize": {"key_file": str(folder / "pfx")}},
        "stripped": {"strip": ["ecs", "cookie"]},
        "no ecs": {"strip": ["ecs"]},
        "nameless": {"qname": "drop"},
        "hashed": {"qname": "hash"},
        "lean": {"anonymize": {"ipv4": 24, "ipv6": 56}, "full": False},
        "in pairs": {"anonymize": {"ipv4": 24, "ipv6": 56}, "qname": "drop", "responses_with_queries": True},
        "everything": {"anonymize": {"ipv4": 24, "ipv6": 56}, "strip": ["ecs", "cookie"], "qname": "drop"},
    }
    stanzas = [dnstap(to=collector, name=name, identity=name, extra=EXTRA, **keys) for name, keys in taps.items()]
    port = free_port()
    listen = [f"127.0.0.1:{port}", *([f"[::1]:{port}"] if ipv6_is_here() else [])]
    with Proxy(folder, "".join(stanzas) + forward(upstream), port=port, listen=listen) as running:
        yield running


class Shown:
    """Asks, and knows what each tap showed of that."""

    def __init__(self, proxy: Proxy, collector: Collector) -> None:
        self.proxy, self.collector = proxy, collector
        self.since_ns = time.time_ns()
        self.settled = False

    def ask(self, octets: bytes, *, source: str | None = CLIENT, tcp: bool = False, host: str = "127.0.0.1") -> None:
        (exchange_tcp if tcp else exchange)(octets, self.proxy.port, source=source, host=host)
        self.settled = False

    def of(self, tap: str) -> list[TapMessage]:
        """In order; no tap has anything left to show."""
        if not self.settled:
            self._settle()
        return [one for one in self.collector.of(tap) if (one.query_ns or 0) >= self.since_ns]

    def _settle(self) -> None:
        status = self.proxy.wait_for_status(lambda now: not any(tap["queued"] for tap in now["taps"]), "all is sent")
        sent = sum(tap["sent"] for tap in status["taps"])
        wait_until(lambda: self.collector.received == sent, "all has arrived")
        self.settled = True


@pytest.fixture
def shown(proxy: Proxy, collector: Collector) -> Shown:
    return Shown(proxy, collector)


def extra(message: TapMessage) -> dict[str, str]:
    return dict(json.loads(message.extra or ""))


def subnet(message: TapMessage) -> bytes | None:
    """The ECS option of the message that the frame is about."""
    return dict(wire.options(message.wire or b"")).get(wire.ECS)


def check_silence(messages: list[TapMessage]) -> None:
    """No form of the client's address is in any octet."""
    for message in messages:
        for form in FORMS:
            assert form not in message.frame, f"{form!r} in {message}"


def test_addresses_are_cut_to_their_prefixes_and_ours_stay(shown: Shown) -> None:
    shown.ask(wire.query("www.example.org"))
    for tap, address in (("open", CLIENT), ("masked", MASKED), ("coarse", "127.0.0.0")):
        messages = shown.of(tap)
        assert [message.type for message in messages] == ["CQ", "FQ", "FR", "CR"]
        assert [message.query_address for message in messages] == [address, "127.0.0.1", "127.0.0.1", address]
        assert {message.response_address for message in messages} == {"127.0.0.1"}
        assert {extra(message)["remote"] for message in messages} == {address}
    check_silence(shown.of("masked"))


@pytest.mark.skipif(not ipv6_is_here(), reason="no IPv6 on the loopback interface")
def test_ipv6_has_its_own_prefix_and_pseudonym(shown: Shown) -> None:
    shown.ask(wire.query("www.example.org"), source=None, host="::1")
    for tap, address in (("open", "::1"), ("masked", "::"), ("keyed", PSEUDONYM6), ("keyed by hex", PSEUDONYM6)):
        messages = shown.of(tap)
        assert [messages[0].query_address, messages[-1].query_address] == [address, address]
        assert extra(messages[0])["remote"] == f"[{address}]"
        assert messages[0].family == "INET6"


def test_pseudonyms_are_those_of_the_published_vectors(shown: Shown) -> None:
    shown.ask(wire.query("www.example.org"), source="127.0.0.1")
    for tap in ("keyed", "keyed by hex"):
        messages = shown.of(tap)
        assert [messages[0].query_address, messages[-1].query_address] == [PSEUDONYM4, PSEUDONYM4]
        assert messages[1].query_address == "127.0.0.1", "our own socket"
        assert extra(messages[0])["remote"] == PSEUDONYM4


def test_pseudonyms_by_prefix_keep_what_addresses_have_in_common(shown: Shown) -> None:
    clients = ["127.9.7.76", "127.9.7.77", "127.9.7.78", "127.9.135.77", "127.9.7.76"]
    for client in clients:
        shown.ask(wire.query("www.example.org"), source=client)
    pseudonyms = [message.query_address or "" for message in shown.of("prefixes") if message.type == "CQ"]
    assert not set(pseudonyms) & set(clients)
    assert pseudonyms[0] == pseudonyms[4]
    assert common_bits(pseudonyms[0], pseudonyms[1]) == 31
    assert common_bits(pseudonyms[0], pseudonyms[2]) == 30
    assert common_bits(pseudonyms[0], pseudonyms[3]) == 16


def common_bits(one: str, other: str) -> int:
    numbers = [int(ipaddress.IPv4Address(address)) for address in (one, other)]
    return 32 - (numbers[0] ^ numbers[1]).bit_length()


def test_the_ecs_option_stays_an_option_with_its_address_cut(shown: Shown) -> None:
    query = wire.query("www.example.org", options=OPTIONS)
    shown.ask(query)
    messages = shown.of("masked")
    for message in (messages[0], messages[1]):
        data = subnet(message)
        assert data is not None
        assert data[:2] == b"\0\1", "the family is kept"
        assert 0 < data[2] <= 32
        address = (data[4:] + bytes(4))[:4]
        assert address == ipaddress.ip_address(MASKED).packed
        assert len(data) == 4 + (data[2] + 7) // 8
        assert wire.NSID in dict(wire.options(message.wire or b""))
    assert subnet(shown.of("open")[0]) == OPTIONS[0][1]
    assert shown.of("open")[0].wire == query
    check_silence(messages)
    check_silence(shown.of("keyed"))
    check_silence(shown.of("prefixes"))


def test_prefixes_need_not_be_whole_octets_and_ipv6_subnets_are_cut_too(shown: Shown) -> None:
    shown.ask(wire.query("www.example.org", options=[wire.ecs(SUBNET6, 128)]))
    for tap, expected in (("masked", "2001:db8:aaaa:bb00::"), ("coarse", "2001::")):
        data = subnet(shown.of(tap)[0])
        assert data is not None
        assert data[:2] == b"\0\2"
        assert ipaddress.IPv6Address((data[4:] + bytes(16))[:16]) == ipaddress.IPv6Address(expected)


def test_the_ecs_option_of_answers_is_cut_as_well(shown: Shown) -> None:
    shown.ask(wire.query("echoed.example.org", options=OPTIONS))
    for tap in ("masked", "keyed", "prefixes", "everything"):
        check_silence(shown.of(tap))
    reply = next(message for message in shown.of("masked") if message.type == "FR")
    assert (subnet(reply) or b"")[:2] == b"\0\1"


HOSTILE_SUBNETS = {
    "bits beyond the prefix": b"\0\1\x18\0" + ipaddress.ip_address(CLIENT).packed[:3] + b"\x4d",
    "a short prefix with all octets": b"\0\1\x08\0" + ipaddress.ip_address(CLIENT).packed,
    "family 3": b"\0\3\x20\0" + ipaddress.ip_address(CLIENT).packed,
    "IPv4 in family 2": b"\0\2\x20\0" + ipaddress.ip_address(CLIENT).packed,
    "prefix of 40": b"\0\1\x28\0" + ipaddress.ip_address(CLIENT).packed + b"\0",
    "too many octets": b"\0\1\x20\0" + ipaddress.ip_address(CLIENT).packed * 2,
    "text": CLIENT.encode(),
}


@pytest.mark.parametrize("data", HOSTILE_SUBNETS.values(), ids=HOSTILE_SUBNETS.keys())
def test_an_ecs_option_that_rfc_7871_does_not_allow_is_removed(shown: Shown, data: bytes) -> None:
    query = wire.raw_query(wire.name_to_wire("www.example.org"), counts=(1, 0, 0, 1))
    shown.ask(query + wire.opt_record(options=wire.option(wire.ECS, data)))
    messages = shown.of("masked")
    assert len(messages) >= 2
    check_silence(messages)
    assert subnet_octets(messages[0]) in (None, b"\0\1\x08\0\x7f", b"\0\1\x18\0\x7f\x09\x07")


def subnet_octets(message: TapMessage) -> bytes | None:
    """The ECS option without dnspython, which rejects some of what is asked for here."""
    octets = message.wire or b""
    at = octets.find(b"\0\0\x29", wire.question_end(octets))
    options = octets[at + 11 :] if at >= 0 else b""
    return options[4:] if options[:2] == b"\0\x08" else None


SMUGGLED = ipaddress.ip_address(CLIENT).packed
SUBNET_OPT = wire.opt_record(options=wire.option(*wire.ecs(CLIENT, 32)))
WWW = wire.name_to_wire("www.example.org")
MALFORMED = {
    "two OPTs": wire.raw_query(WWW, counts=(1, 0, 0, 2)) + SUBNET_OPT * 2,
    "an OPT as answer": wire.raw_query(WWW, counts=(1, 1, 0, 0)) + SUBNET_OPT,
    "an OPT as authority": wire.raw_query(WWW, counts=(1, 0, 1, 0)) + SUBNET_OPT,
    "an option that is too long": wire.raw_query(WWW, counts=(1, 0, 0, 1))
    + wire.opt_record(options=b"\0\x08\0\x30" + wire.ecs(CLIENT, 32)[1]),
    "an OPT that is cut": wire.raw_query(WWW, counts=(1, 0, 0, 1)) + SUBNET_OPT[:-1],
    "octets behind the message": wire.raw_query(WWW, counts=(1, 0, 0, 1)) + SUBNET_OPT + SMUGGLED + CLIENT.encode(),
    "an OPT that is not counted": wire.raw_query(WWW) + SUBNET_OPT,
    "two questions": wire.raw_query(WWW, counts=(2, 0, 0, 1)) + WWW + b"\0\1\0\1" + SUBNET_OPT,
    "an update": wire.raw_query(WWW, flags=5 << 11, counts=(1, 0, 0, 1)) + SUBNET_OPT,
    "two subnets": wire.raw_query(WWW, counts=(1, 0, 0, 1))
    + wire.opt_record(options=wire.option(*wire.ecs(CLIENT, 32)) * 2),
}


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED.keys())
def test_no_form_of_the_address_is_left_in_messages_that_are_not_in_order(shown: Shown, octets: bytes) -> None:
    shown.ask(octets)
    shown.ask(octets, tcp=True)
    for tap in ("masked", "keyed", "prefixes", "everything"):
        messages = shown.of(tap)
        assert [message.type for message in messages].count("CQ") == 2
        check_silence(messages)
    assert shown.of("open")[0].wire == octets


def test_options_are_stripped_and_all_else_stays(shown: Shown) -> None:
    shown.ask(wire.query("echoed.example.org", options=OPTIONS))
    for message in shown.of("stripped"):
        assert not {code for code, _ in wire.options(message.wire or b"")} & {wire.ECS, wire.COOKIE}
        dns.message.from_wire(message.wire or b"")
    assert wire.options(shown.of("stripped")[0].wire or b"") == OPTIONS[2:]
    assert wire.options(shown.of("no ecs")[0].wire or b"") == OPTIONS[1:]
    assert wire.options(shown.of("open")[0].wire or b"") == OPTIONS
    assert shown.of("stripped")[0].query_address == CLIENT
    answers = [one.answer for one in map(parsed, shown.of("stripped")[2:])]
    assert answers == [one.answer for one in map(parsed, shown.of("open")[2:])]


def parsed(message: TapMessage) -> dns.message.Message:
    return dns.message.from_wire(message.wire or b"")


def test_a_dropped_name_leaves_the_root_and_nothing_of_itself(shown: Shown) -> None:
    shown.ask(wire.query("Secret.hidden.example.org", options=OPTIONS))
    messages = shown.of("nameless")
    assert [message.type for message in messages] == ["CQ", "FQ", "FR", "CR"]
    for message in messages:
        assert parsed(message).question[0].name == dns.name.root
        assert extra(message)["name"] == "."
        assert b"secret" not in message.frame.lower()
        assert b"hidden" not in message.frame.lower()
    assert [len(parsed(message).answer) for message in messages] == [0, 0, 1, 1]
    assert {parsed(message).id for message in (messages[0], messages[3])} == {parsed(shown.of("open")[0]).id}


def test_a_hashed_name_is_the_same_for_the_same_name_in_any_case(shown: Shown) -> None:
    for name in ("Secret.example.org", "secret.EXAMPLE.org", "other.example.org"):
        shown.ask(wire.query(name))
    messages = shown.of("hashed")
    names = [str(parsed(message).question[0].name) for message in messages]
    assert len(names) == 12
    assert len(set(names[:8])) == 1
    assert len(set(names[8:])) == 1
    assert names[0] != names[8]
    for message, name in zip(messages, names, strict=True):
        assert extra(message)["name"] == name
        assert b"secret" not in message.frame.lower()
        assert b"other" not in message.frame.lower()


def test_every_mask_at_once_leaves_messages_that_parse(shown: Shown) -> None:
    shown.ask(wire.query("echoed.example.org", options=OPTIONS))
    for message in shown.of("everything"):
        assert parsed(message).question[0].name == dns.name.root
        assert {code for code, _ in wire.options(message.wire or b"")} <= {wire.NSID, 65_001}
        assert extra(message)["name"] == "."
    check_silence(shown.of("everything"))


def test_a_tap_without_messages_is_masked_too(shown: Shown) -> None:
    shown.ask(wire.query("www.example.org", options=OPTIONS))
    messages = shown.of("lean")
    assert [message.query_address for message in messages] == [MASKED, "127.0.0.1", "127.0.0.1", MASKED]
    assert {message.wire for message in messages} == {None}
    check_silence(messages)


def test_the_queries_that_stand_in_responses_are_masked_as_they_are_elsewhere(shown: Shown) -> None:
    shown.ask(wire.query("Secret.echoed.example.org", options=OPTIONS))
    cq, fq, fr, cr = messages = shown.of("in pairs")
    assert (cr.query_message, fr.query_message) == (cq.query_message, fq.query_message)
    check_silence(messages)
    assert not any(b"secret" in message.frame.lower() for message in messages)


def test_what_cannot_be_masked_so_is_an_error_at_its_key(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"seven..")
    wrong: list[tuple[str, object]] = [
        ("anonymize", {"ipv4": 33}),
        ("anonymize", {"ipv6": 129}),
        ("anonymize", {"key_file": str(tmp_path / "none")}),
        ("anonymize", {"key_file": str(tmp_path / "short")}),
        ("strip", ["ecs", "everything"]),
        ("qname", "mangle"),
    ]
    taps = [dnstap(to=f"unix:///tap{at}.sock", **{key: value}) for at, (key, value) in enumerate(wrong)]
    errors = config_errors(tmp_path, "".join(taps) + forward("192.0.2.1"))
    for number, (key, _) in enumerate(wrong):
        assert any(f"[dnstap[{number}].{key}" in error for error in errors), errors
