"""Messages from the keys that describe them, where a line has not the message itself."""

import dns.message
import pytest
from dns.rdatatype import RdataType

from dnsproxy.tap.forms.json_lines import values_of
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.json_frames import frame_of
from dnsproxy.tap.message_keys import message_of
from dnsproxy.tap.rdata import generic_text
from dnsproxy.wire import RECORD
from tests.support import wire
from tests.tap.dialogue import answer
from tests.tap.frames import payload

QUERY = wire.query("www.example.org", id=0x1234, edns=True, do=True, options=[(3, b"ns1"), wire.ecs("192.0.2.0", 24)])
RECORDS = (
    "www.example.org. 300 IN CNAME Target.example.net.",
    "target.example.net. 60 IN A 192.0.2.1",
    "target.example.net. 60 IN AAAA 2001:db8::1",
    "target.example.net. 60 IN MX 10 mail.example.net.",
    'target.example.net. 60 IN TXT "a text" "with \\"quotes\\""',
    "target.example.net. 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1",
    'target.example.net. 60 IN CAA 0 issue "ca.example.net"',
    "target.example.net. 60 IN TYPE65534 \\# 3 010203",
)


@pytest.mark.parametrize(
    ("type", "message"),
    [
        ("CLIENT_QUERY", QUERY),
        ("CLIENT_QUERY", wire.query("odd\\.name\\032.example.org", "TYPE65534", id=1, cd=True, ad=True, qclass="CH")),
        ("CLIENT_RESPONSE", answer(QUERY, *RECORDS)),
        ("CLIENT_RESPONSE", answer(QUERY, rcode="BADVERS")),
        ("CLIENT_RESPONSE", answer(wire.query("www.example.org", id=1), rcode="NXDOMAIN")),
        ("UPDATE_QUERY", bytes.fromhex("000128000000000000000000")),
    ],
)
def test_what_the_keys_tell_comes_back(type: str, message: bytes) -> None:
    values = values_of(TapFrame(payload(type, message)), wire=False)
    assert values["malformed"] is None
    rebuilt = frame_of(values).wire
    assert rebuilt is not None
    assert dns.message.from_wire(rebuilt) == dns.message.from_wire(message)
    again = values_of(TapFrame(payload(type, rebuilt)), wire=False)
    assert again | {"size": 0} == values | {"size": 0}


@pytest.mark.parametrize(
    ("type", "octets"), [("A", b""), ("A", b"\1\2\3"), ("RP", b"\x80\0"), ("TXT", b"\5four"), ("NS", b"\xc0\x0c")]
)
def test_record_data_that_cannot_be_read_comes_back_as_octets(type: str, octets: bytes) -> None:
    record = {"name": "a.example.org.", "ttl": 1, "class": "IN", "type": type, "data": generic_text(octets)}
    records = [record, record | {"data": "", "class": "ANY"}]
    message = message_of({"id": 1, "answer": records})
    assert message is not None
    name = b"\1a\7example\3org\0"
    first, second = (RECORD.pack(RdataType[type], rdclass, 1, size) for rdclass, size in ((1, len(octets)), (255, 0)))
    assert message[12:] == name + first + octets + name + second


def test_without_an_id_there_is_no_message() -> None:
    assert message_of({"qname": "www.example.org."}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"qname": "www..org.", "qtype": "A", "qclass": "IN"},
        {"qname": "www.example.org.", "qtype": "AQUATIC", "qclass": "IN"},
        {"opcode": "ASK"},
        {"rcode": "WELL"},
        {"answer": [{"name": ".", "ttl": 1, "class": "IN", "type": "A", "data": "localhost"}]},
        {"answer": [{"name": ".", "ttl": 1, "class": "IN", "type": "A", "data": "\\# 3 0102"}]},
        {"answer": [{"name": ".", "ttl": 1, "class": "IN", "type": "TXT", "data": "x" * 200}] * 400},
    ],
)
def test_what_is_no_message_is_a_value_error(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        message_of({"id": 1, **wrong})
