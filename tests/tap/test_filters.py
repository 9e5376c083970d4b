"""Each filter keeps what it says, alternatives and exclusions, and says what is wrong with a value."""

from typing import Any

import pytest

from dnsproxy.dnstap.schema import MessageType
from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.filters import filter_from, hash_of, read_rate
from dnsproxy.tap.frame import TapFrame
from tests.support import wire
from tests.tap.frames import QUERY, SECOND, payload
from tests.tap.options import parsed

TYPES = [type.name for type in MessageType]


def keeps(*options: str, type: str = "CLIENT_QUERY", **fields: Any) -> bool:
    takes = filter_from(parsed(*options))
    assert takes is not None
    return takes(TapFrame(payload(type, **fields)))


def response(rcode: int, name: str = "www.example.org") -> bytes:
    """A response with that rcode, in the OPT what the header cannot hold."""
    octets = wire.query(name, id=1)
    head = octets[:2] + bytes((0x81, 0x80 | rcode & 15)) + octets[4:10] + b"\0\1" + octets[12:]
    return head + wire.opt_record(extended_rcode=rcode >> 4)


def test_without_options_there_is_no_filter() -> None:
    assert filter_from(parsed()) is None


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("CLIENT_QUERY", {"CLIENT_QUERY"}),
        ("cq,FR", {"CLIENT_QUERY", "FORWARDER_RESPONSE"}),
        ("client", {"CLIENT_QUERY", "CLIENT_RESPONSE"}),
        ("query", {name for name in TYPES if name.endswith("QUERY")}),
        ("client query, auth response", {"CLIENT_QUERY", "AUTH_RESPONSE"}),
        ("stub,tool,update,resolver", {name for name in TYPES if name[:2] in {"ST", "TO", "UP", "RE"}}),
        ("!client", {name for name in TYPES if not name.startswith("CLIENT")}),
        ("client,forwarder,!response", {"CLIENT_QUERY", "FORWARDER_QUERY"}),
    ],
)
def test_types(words: str, kept: set[str]) -> None:
    assert {name for name in TYPES if keeps("--types", words, type=name)} == kept


@pytest.mark.parametrize(
    ("values", "name", "kept"),
    [
        (["example.org"], "www.example.org", True),
        (["Example.ORG."], "EXAMPLE.org", True),
        (["example.org"], "badexample.org", False),
        (["ample.org"], "www.example.org", False),
        (["."], "anything.test", True),
        (["example.net,example.org"], "a.example.org", True),
        (["example.net", "example.org"], "a.example.org", True),
        (["!example.org"], "www.example.org", False),
        (["!example.org"], "www.example.net", True),
        (["example.org,!www.example.org"], "www.example.org", False),
        (["example.org,!www.example.org"], "ftp.example.org", True),
    ],
)
def test_zone(values: list[str], name: str, kept: bool) -> None:
    options = [word for value in values for word in ("--zone", value)]
    assert keeps(*options, message=wire.query(name)) is kept


def test_zone_is_told_from_a_name_that_stands_elsewhere_in_the_message() -> None:
    octets = wire.query("www.example.net")[:-4] + b"\0\2\0\1\7example\3org\0"
    assert not keeps("--zone", "example.org", message=octets)
    assert not keeps("--zone", "example.org", message=None)
    assert keeps("--zone", "!example.org", message=b"junk")


@pytest.mark.parametrize(
    ("value", "address", "kept"),
    [
        ("192.0.2.0/24", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.0/24", "::ffff:192.0.2.7", True),
        ("2001:db8::/32", "2001:db8::7", True),
        ("192.0.2.0/24", "2001:db8::7", False),
        ("198.51.100.0/24,192.0.2.0/24", "192.0.2.7", True),
        ("!192.0.2.0/24", "192.0.2.7", False),
        ("!192.0.2.0/24", "198.51.100.1", True),
        ("192.0.2.0/24", None, False),
        ("192.0.2.0/24", b"abc", False),
        ("!192.0.2.0/24", None, True),
    ],
)
def test_client(value: str, address: str | bytes | None, kept: bool) -> None:
    assert keeps("--client", value, query_address=address) is kept


def test_a_network_is_looked_up_once_for_each_address() -> None:
    takes = filter_from(parsed("--client", "192.0.2.0/24"))
    assert takes is not None
    frames = [TapFrame(payload(query_address=address)) for address in ("192.0.2.1", "198.51.100.1") * 2]
    assert [takes(frame) for frame in frames] == [True, False, True, False]


@pytest.mark.parametrize(
    ("option", "value", "fields", "kept"),
    [
        ("--qtype", "a", {}, True),
        ("--qtype", "AAAA,MX", {}, False),
        ("--qtype", "TYPE1", {}, True),
        ("--qtype", "1", {}, True),
        ("--qtype", "type65280", {"message": wire.query("a.test", "TYPE65280")}, True),
        ("--qtype", "!A", {}, False),
        ("--qtype", "A", {"message": None}, False),
        ("--protocol", "udp", {}, True),
        ("--protocol", "DOT,doh", {"socket_protocol": 4}, True),
        ("--protocol", "dnscryptudp", {"socket_protocol": 5}, True),
        ("--protocol", "!udp", {"socket_protocol": None}, True),
        ("--protocol", "9", {}, False),
        ("--identity", "ns1", {}, True),
        ("--identity", "NS1", {}, False),
        ("--identity", "ns,ns2", {}, False),
        ("--identity", "!ns1", {}, False),
        ("--identity", "ns1", {"identity": None}, False),
        ("--extra", "id=7", {"extra": b"a id=77 b"}, True),
        ("--extra", "id=8,id=7", {"extra": b"id=7"}, True),
        ("--extra", "id=7", {}, False),
        ("--extra", "!id=7", {}, True),
        ("--extra", "ü", {"extra": "für".encode()}, True),
    ],
)
def test_what_is_equal_or_inside(option: str, value: str, fields: dict[str, Any], kept: bool) -> None:
    assert keeps(option, value, **fields) is kept


@pytest.mark.parametrize(
    ("options", "rcode", "kept"),
    [
        (["--rcode", "noerror"], 0, True),
        (["--rcode", "SERVFAIL,2"], 2, True),
        (["--rcode", "BADVERS"], 16, True),
        (["--rcode", "!NXDOMAIN"], 3, False),
        (["--rcode", "!NXDOMAIN"], 0, True),
        (["--only", "errors"], 2, True),
        (["--only", "errors"], 16, True),
        (["--only", "errors"], 3, False),
        (["--only", "errors"], 0, False),
        (["--only", "!errors"], 0, True),
    ],
)
def test_rcode(options: list[str], rcode: int, kept: bool) -> None:
    assert keeps(*options, type="CLIENT_RESPONSE", message=response(rcode)) is kept


def test_queries_have_no_rcode() -> None:
    assert not keeps("--rcode", "NOERROR")
    assert not keeps("--only", "errors")
    assert keeps("--rcode", "!SERVFAIL")


@pytest.mark.parametrize(("value", "kept"), [("1ms", True), ("1.543211ms", True), ("2ms", False), ("!1ms", False)])
def test_slower_than(value: str, kept: bool) -> None:
    assert keeps("--slower-than", value, type="CLIENT_RESPONSE") is kept


def test_without_both_times_nothing_is_slow() -> None:
    assert not keeps("--slower-than", "0s")


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--since", "2023-11-14T22:13:20Z"], True),
        (["--since", "2023-11-14T22:13:20.123456789Z"], True),
        (["--since", "2023-11-14T22:13:20.123456790Z"], False),
        (["--until", "2023-11-14T22:13:20.123456789Z"], True),
        (["--until", "2023-11-14T22:13:20Z"], False),
        (["--since", "2023-11-14T00:00:00Z", "--until", "2023-11-15T00:00:00+01:00"], True),
        (["--since", "1h"], False),
    ],
)
def test_since_and_until_are_about_the_messages_own_time(options: list[str], kept: bool) -> None:
    assert keeps(*options) is kept
    assert not keeps(*options, query_time=None)


def test_options_must_all_hold() -> None:
    options = ["--types", "client", "--qtype", "A", "--zone", "example.org"]
    assert keeps(*options)
    assert not keeps(*options, type="FORWARDER_QUERY")
    assert not keeps(*options, message=wire.query("www.example.org", "MX"))
    assert not keeps(*options, message=wire.query("www.example.net"))


def test_a_sample_keeps_a_query_and_its_response_together() -> None:
    takes = filter_from(parsed("--sample", "25%"))
    assert takes is not None
    kept = 0
    for id in range(2000):
        query, answer = wire.query("Www.Example.org", id=id), wire.query("www.example.ORG", id=id)
        taken = takes(TapFrame(payload(message=query, query_port=1000 + id)))
        assert takes(TapFrame(payload("CLIENT_RESPONSE", answer, query_port=1000 + id))) is taken
        kept += taken
    assert 400 < kept < 600


def test_a_sample_is_drawn_by_address_port_id_and_name() -> None:
    other = wire.query("ftp.example.org", id=0x1234, edns=True)
    frames = [
        payload(),
        payload(query_address="192.0.2.8"),
        payload(query_port=40001),
        payload(message=b"\0\1" + QUERY[2:]),
        payload(message=other),
    ]
    assert len({hash_of(TapFrame(octets)) for octets in frames}) == len(frames)
    assert hash_of(TapFrame(payload(query_time=(SECOND + 9, 0)))) == hash_of(TapFrame(frames[0]))


@pytest.mark.parametrize(("text", "rate"), [("1", 1.0), ("0.25", 0.25), (".5", 0.5), ("10%", 0.1), ("100%", 1.0)])
def test_rates(text: str, rate: float) -> None:
    assert read_rate(text) == rate


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--types", "nonsense"], "no message type"),
        (["--types", "CQ,"], "no message type"),
        (["--zone", "a..b"], "not a domain name"),
        (["--client", "192.0.2.1/24"], "bits set behind"),
        (["--client", "host"], "not a network"),
        (["--qtype", "FOO"], "no record type"),
        (["--qtype", "65536"], "no record type"),
        (["--rcode", "FINE"], "no rcode"),
        (["--protocol", "QUIC"], "no protocol"),
        (["--slower-than", "5"], "not a duration"),
        (["--only", "good"], "expected errors"),
        (["--since", "later"], "no time"),
        (["--sample", "2"], "no part"),
        (["--sample", "0"], "no part"),
        (["--sample", "x"], "no part"),
    ],
)
def test_wrong_values_are_wrong_usage_and_name_the_option(options: list[str], reason: str) -> None:
    with pytest.raises(WrongUsage, match=reason) as caught:
        filter_from(parsed(*options))
    assert str(caught.value).startswith(options[0])
    assert "\n" not in str(caught.value)
