"""Every key of `--json` in every line, of the right kind, in the one order."""

import base64
import json
from typing import Any

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.encode import number_field, octets_field
from dnsproxy.tap.forms.json_lines import KEYS, MESSAGES_KEPT, TEXTS_KEPT, JsonLines, values_of
from dnsproxy.tap.frame import TapFrame, Undecodable
from tests.support import wire
from tests.tap.frames import QUERY, SECOND, corpus_payloads, payload

TEXT, WORD, NUMBER, LIST = (str, type(None)), (str, type(None)), (int, type(None)), (list, type(None))
SCHEMA: dict[str, tuple[type, ...]] = {
    "type": (str,),
    "time": TEXT,
    "identity": TEXT,
    "version": TEXT,
    "extra": TEXT,
    "socket_family": WORD,
    "socket_protocol": WORD,
    "http_protocol": WORD,
    "query_address": TEXT,
    "query_port": NUMBER,
    "response_address": TEXT,
    "response_port": NUMBER,
    "query_time": TEXT,
    "response_time": TEXT,
    "latency_ms": (int, float, type(None)),
    "query_zone": TEXT,
    "size": (int,),
    "id": NUMBER,
    "opcode": WORD,
    "rcode": WORD,
    "flags": LIST,
    "qname": TEXT,
    "qtype": WORD,
    "qclass": WORD,
    "qdcount": NUMBER,
    "ancount": NUMBER,
    "nscount": NUMBER,
    "arcount": NUMBER,
    "answer": LIST,
    "authority": LIST,
    "additional": LIST,
    "edns": (dict, type(None)),
    "policy": (dict, type(None)),
    "malformed": TEXT,
    "query_message": TEXT,
    "response_message": TEXT,
}
RECORD = {"name": str, "ttl": int, "class": str, "type": str, "data": str}
OPTION: dict[str, Any] = {"code": int, "name": str, "data": str, "text": (str, type(None))}

ANSWER = """id 4660
opcode QUERY
rcode NOERROR
flags QR AA RD RA AD
edns 0
eflags DO
payload 4096
;QUESTION
Www.Example.org. IN A
;ANSWER
www.example.org. 300 IN CNAME web.example.net.
web.example.net. 60 IN A 192.0.2.1
;AUTHORITY
example.net. 300 IN NS ns.example.net.
;ADDITIONAL
ns.example.net. 300 IN AAAA 2001:db8::1
"""


def values(octets: bytes, **options: bool) -> dict[str, Any]:
    line = JsonLines(**options).write(TapFrame(octets))
    assert line.endswith("}\n")
    assert line.isascii()
    parsed: dict[str, Any] = json.loads(line)
    check_schema(parsed, tuple(SCHEMA) + (("frame",) if options.get("frame") else ()))
    return parsed


def check_schema(parsed: dict[str, Any], keys: tuple[str, ...]) -> None:
    assert tuple(parsed) == keys
    for key, kinds in SCHEMA.items():
        assert type(parsed[key]) in kinds, key
    for section in ("answer", "authority", "additional"):
        for record in parsed[section] or ():
            assert {key: type(value) for key, value in record.items()} == RECORD
    if parsed["edns"]:
        assert list(parsed["edns"]) == ["version", "udp_size", "do", "options"]
        for option in parsed["edns"]["options"]:
            assert list(option) == list(OPTION)
            assert all(isinstance(option[key], kind) for key, kind in OPTION.items())


def test_the_keys_are_those_of_the_schema() -> None:
    assert tuple(SCHEMA) == KEYS


def test_a_query() -> None:
    parsed = values(payload(extra=b'{"a": 1}', query_zone=b"\7example\0"))
    expected = {
        "type": "CLIENT_QUERY",
        "time": "2023-11-14T22:13:20.123456789Z",
        "identity": "ns1",
        "version": "test 1",
        "extra": '{"a": 1}',
        "socket_family": "INET",
        "socket_protocol": "UDP",
        "http_protocol": None,
        "query_address": "192.0.2.7",
        "query_port": 40000,
        "response_address": "192.0.2.53",
        "response_port": 53,
        "query_time": "2023-11-14T22:13:20.123456789Z",
        "response_time": None,
        "latency_ms": None,
        "query_zone": "example.",
        "size": len(QUERY),
        "id": 0x1234,
        "opcode": "QUERY",
        "rcode": None,
        "flags": ["rd"],
        "qname": "www.example.org.",
        "qtype": "A",
        "qclass": "IN",
        "qdcount": 1,
        "ancount": 0,
        "nscount": 0,
        "arcount": 1,
        "answer": [],
        "authority": [],
        "additional": [],
        "edns": {"version": 0, "udp_size": 1232, "do": False, "options": []},
        "policy": None,
        "malformed": None,
        "query_message": base64.b64encode(QUERY).decode(),
        "response_message": None,
    }
    assert parsed == expected


def test_a_response() -> None:
    octets = dns.message.from_text(ANSWER).to_wire()
    parsed = values(payload("CLIENT_RESPONSE", octets, socket_family=2, socket_protocol=7, http_protocol=3))
    assert parsed["time"] == parsed["response_time"] == "2023-11-14T22:13:20.125000000Z"
    assert parsed["latency_ms"] == 1.543211
    assert (parsed["socket_family"], parsed["socket_protocol"], parsed["http_protocol"]) == ("INET6", "DOQ", "HTTP3")
    assert (parsed["rcode"], parsed["flags"]) == ("NOERROR", ["qr", "aa", "rd", "ra", "ad"])
    assert parsed["qname"] == "Www.Example.org."
    assert [parsed[key] for key in ("qdcount", "ancount", "nscount", "arcount")] == [1, 2, 1, 2]
    assert parsed["answer"] == [
        {"name": "Www.Example.org.", "ttl": 300, "class": "IN", "type": "CNAME", "data": "web.example.net."},
        {"name": "web.example.net.", "ttl": 60, "class": "IN", "type": "A", "data": "192.0.2.1"},
    ]
    assert [record["data"] for record in parsed["authority"] + parsed["additional"]] == [
        "ns.example.net.",
        "2001:db8::1",
    ]
    assert parsed["edns"] == {"version": 0, "udp_size": 4096, "do": True, "options": []}


def test_options_are_named_and_shown() -> None:
    octets = wire.query("a.test", options=[(3, b"ns1"), (10, b"12345678"), (65001, b"\0")])
    parsed = values(payload(message=octets))
    assert parsed["edns"]["options"] == [
        {"code": 3, "name": "NSID", "data": "bnMx", "text": "ns1"},
        {"code": 10, "name": "COOKIE", "data": "MTIzNDU2Nzg=", "text": "3132333435363738"},
        {"code": 65001, "name": "65001", "data": "AA==", "text": None},
    ]


def test_opt_and_tsig_are_in_no_list() -> None:
    tsig = b"\0\0\xfa\0\xff\0\0\0\0\0\0"
    octets = wire.raw_query(b"\0", id=1, counts=(1, 0, 0, 2)) + wire.opt_record() + tsig
    assert values(payload(message=octets))["additional"] == []


def test_an_rcode_has_its_extended_bits() -> None:
    octets = wire.raw_query(b"\0", flags=0x8180, counts=(1, 0, 0, 1)) + wire.opt_record(extended_rcode=1)
    assert values(payload("CLIENT_RESPONSE", octets))["rcode"] == "BADVERS"


def test_unknown_numbers_are_numbers_in_strings() -> None:
    octets = wire.raw_query(b"\0", 65280, id=1, flags=0x3800)[:-2] + b"\0\7"
    message = number_field(1, 99) + number_field(2, 3) + number_field(3, 200) + octets_field(10, octets)
    parsed = values(octets_field(14, message) + number_field(15, 1))
    assert (parsed["type"], parsed["socket_family"], parsed["socket_protocol"]) == ("99", "3", "200")
    assert (parsed["opcode"], parsed["qtype"], parsed["qclass"]) == ("7", "65280", "7")


def test_octets_that_are_not_utf_8_are_replaced() -> None:
    parsed = values(payload(identity=b'\xff\x1b"', version="ü".encode(), extra=b"a\xc3"))
    assert (parsed["identity"], parsed["version"], parsed["extra"]) == ('\ufffd\x1b"', "ü", "a\ufffd")


def test_addresses_in_any_size() -> None:
    parsed = values(payload(query_address="::ffff:192.0.2.1", response_address=b"abc"))
    assert (parsed["query_address"], parsed["response_address"]) == ("192.0.2.1", "?616263")


def test_a_policy() -> None:
    policy = {"type": "RPZ", "rule": b"bad.test", "action": 1, "match": 1, "value": b"\xff"}
    expected = {"type": "RPZ", "rule": "bad.test", "action": "NXDOMAIN", "match": "QNAME", "value": "\ufffd"}
    assert values(payload("CLIENT_RESPONSE", policy=policy))["policy"] == expected
    assert values(payload(policy={"rule": b""}))["policy"] == dict.fromkeys(expected) | {"rule": ""}


@pytest.mark.parametrize("zone", [b"", b"\3com", b"com", b"\3com\0x", b"\xc0\0"])
def test_a_zone_that_is_no_name_is_null(zone: bytes) -> None:
    assert values(payload(query_zone=zone))["query_zone"] is None


@pytest.mark.parametrize("message", [None, b"", b"eleven octet"[:11]])
def test_without_header_all_keys_of_the_message_are_null(message: bytes | None) -> None:
    parsed = values(payload(message=message))
    assert [parsed[key] for key in KEYS[17:32]] == [None] * 15
    assert parsed["size"] == len(message or b"")
    assert (parsed["malformed"] is None) is (message is None)


def test_what_could_be_read_of_a_malformed_message_is_there() -> None:
    octets = dns.message.from_text(ANSWER).to_wire()
    cut = octets.index(b"\xc0\0\2\1") + 2
    parsed = values(payload("CLIENT_RESPONSE", octets[:cut]))
    assert (parsed["id"], parsed["qname"], parsed["ancount"]) == (4660, "Www.Example.org.", 2)
    assert [record["type"] for record in parsed["answer"]] == ["CNAME"]
    assert (parsed["authority"], parsed["additional"], parsed["edns"]) == (None, None, None)
    assert parsed["malformed"] == "record data runs past the end"


def test_record_data_that_cannot_be_read_is_generic() -> None:
    octets = wire.raw_query(b"\0", flags=0x8180, counts=(1, 1, 0, 0)) + b"\0\0\1\0\1\0\0\0\0\0\3abc"
    parsed = values(payload("CLIENT_RESPONSE", octets))
    assert parsed["answer"][0]["data"] == "\\# 3 616263"
    assert parsed["malformed"].startswith("A record: ")


def test_octets_behind_the_last_record_are_told() -> None:
    assert values(payload(message=QUERY + b"more"))["malformed"] == "4 octets behind the last record"


def test_an_option_that_runs_past_the_opt_is_told() -> None:
    octets = wire.raw_query(b"\0", counts=(1, 0, 0, 1)) + wire.opt_record(options=b"\0\3\0\1a\0\3\0\2")
    parsed = values(payload(message=octets))
    assert [option["text"] for option in parsed["edns"]["options"]] == ["a"]
    assert "option" in parsed["malformed"]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ((SECOND, 0), "2023-11-14T22:13:20.000000000Z"),
        ((0, 1), "1970-01-01T00:00:00.000000001Z"),
        ((SECOND, 4_000_000_000), "2023-11-14T22:13:24.000000000Z"),
        ((2**40, 0), "36812-02-20T00:36:16.000000000Z"),
    ],
)
def test_times_have_nine_digits(time: tuple[int, int], text: str) -> None:
    assert values(payload(query_time=time))["time"] == text


def test_latency_may_be_negative() -> None:
    octets = payload("CLIENT_RESPONSE", query_time=(SECOND, 3_000_000), response_time=(SECOND, 1_000_000))
    assert values(octets)["latency_ms"] == -2


def test_octets_are_left_out_or_put_in() -> None:
    octets = payload("CLIENT_RESPONSE", QUERY, query_message=QUERY)
    without = values(octets, wire=False)
    assert (without["query_message"], without["response_message"]) == (None, None)
    assert base64.b64decode(values(octets, frame=True)["frame"]) == octets


def test_a_message_that_is_query_and_response_is_read_as_what_it_is() -> None:
    form = JsonLines()
    lines = [json.loads(form.write(TapFrame(payload(type)))) for type in ("CLIENT_QUERY", "CLIENT_RESPONSE") * 2]
    assert [line["rcode"] for line in lines] == [None, "NOERROR"] * 2


def test_what_is_remembered_is_not_changed() -> None:
    form = JsonLines()
    frames = [TapFrame(octets) for octets in corpus_payloads()]
    first = [form.write(frame) for frame in frames]
    assert [form.write(frame) for frame in frames] == first == [JsonLines().write(frame) for frame in frames]


def test_what_is_remembered_is_bounded() -> None:
    form = JsonLines()
    frames = [TapFrame(odd_payload(number)) for number in range(TEXTS_KEPT + 10)]
    first = [form.write(frame) for frame in frames]
    assert len(set(first)) == len(frames)
    assert max(len(form._texts), len(form._addresses)) <= TEXTS_KEPT
    assert max(len(form._queries), len(form._responses)) <= MESSAGES_KEPT
    assert [form.write(frame) for frame in frames[:100]] == first[:100]


def odd_payload(number: int) -> bytes:
    """Identity, address and message that no other number has."""
    message = wire.raw_query(b"\6%06d\0" % number, id=1)
    fields = number_field(1, 5) + octets_field(4, number.to_bytes(4, "big")) + octets_field(10, message)
    return octets_field(1, b"%d" % number) + octets_field(14, fields) + number_field(15, 1)


def test_values_are_those_of_the_line() -> None:
    frame = TapFrame(payload())
    assert values_of(frame, octets=True) == values(frame.payload, frame=True)


@given(st.binary(max_size=150))
def test_any_message_has_every_key(message: bytes) -> None:
    values(payload("CLIENT_RESPONSE", message))


@given(st.data())
def test_any_frame_has_every_key(data: st.DataObject) -> None:
    octets = bytearray(payload("CLIENT_RESPONSE", dns.message.from_text(ANSWER).to_wire()))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        TapFrame(bytes(octets))
    except Undecodable:
        return
    values(bytes(octets))
