"""The lines of `-j`."""

import json

from dnsproxy.tap.forms.dnstap_json import DnstapJson
from dnsproxy.tap.frame import TapFrame
from tests.support import wire
from tests.support.odd_messages import OddMessages
from tests.tap.frames import payload

RESPONSE = wire.raw_query(wire.name_to_wire("www.example.org"), id=4660, flags=0x8180)


def write(octets: bytes) -> str:
    return DnstapJson().write(TapFrame(octets))


def test_a_response_has_every_key_in_its_order() -> None:
    octets = payload(
        "CLIENT_RESPONSE", RESPONSE, identity=b"<ns1>\xff", query_zone=b"\7example\0", response_address="2001:db8::1"
    )
    assert write(octets) == (
        '{"type":"MESSAGE","identity":"\\u003cns1\\u003e\\ufffd","version":"test 1",'
        '"message":{"type":"CLIENT_RESPONSE",'
        '"query_time":"2023-11-14T22:13:20.123456789Z","response_time":"2023-11-14T22:13:20.125Z",'
        '"socket_family":"INET","socket_protocol":"UDP","query_address":"192.0.2.7","response_address":"2001:db8::1",'
        '"query_port":40000,"response_port":53,"query_zone":"example.",'
        '"response_message":";; opcode: QUERY, status: NOERROR, id: 4660\\n'
        ";; flags: qr rd ra; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0\\n\\n"
        ';; QUESTION SECTION:\\n;www.example.org.\\tIN\\t A\\n"}}\n'
    )


def test_what_is_absent_is_left_out_but_family_and_protocol() -> None:
    nothing = dict.fromkeys(["identity", "version", "socket_family", "socket_protocol", "query_time"])
    nothing |= dict.fromkeys(["query_address", "response_address", "query_port", "response_port"])
    assert write(payload("TOOL_QUERY", None, **nothing)) == (
        '{"type":"MESSAGE","message":{"type":"TOOL_QUERY",'
        '"socket_family":"\\u003cnil\\u003e","socket_protocol":"\\u003cnil\\u003e"}}\n'
    )


def test_what_is_empty_is_absent_too_except_addresses_and_messages() -> None:
    octets = payload(
        message=b"", identity=b"", version=b"", query_address=b"", query_port=0, response_port=0, query_zone=b""
    )
    line = write(octets)
    assert "identity" not in line
    assert "version" not in line
    assert '"query_address":"",' in line
    assert "port" not in line
    assert '"query_zone":"parse failed: dns: buffer size too small"' in line
    assert '"query_message":"parse failed: dns: overflow unpacking uint16"' in line


def test_an_address_of_the_wrong_size_ends_nothing() -> None:
    assert '"query_address":"?c0a8"' in write(payload(query_address=b"\xc0\xa8"))


def test_words_that_golang_dnstap_does_not_have_are_numbers() -> None:
    assert '"socket_protocol":"7"' in write(payload(socket_protocol=7))


def test_every_line_is_a_json_object() -> None:
    odd = OddMessages(7)
    for _ in range(300):
        frame = TapFrame(odd.frame())
        line = write(frame.payload)
        assert line.endswith("}}\n")
        assert json.loads(line)["message"]["type"] == frame.type_name
