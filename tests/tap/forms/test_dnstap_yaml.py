"""The documents of `-y`."""

from dnsproxy.tap.forms.dnstap_yaml import DnstapYaml
from dnsproxy.tap.frame import TapFrame
from tests.support import wire
from tests.tap.frames import SECOND, payload

RESPONSE = wire.raw_query(wire.name_to_wire("www.example.org"), id=4660, flags=0x8180)


def write(octets: bytes) -> str:
    return DnstapYaml().write(TapFrame(octets))


def test_a_response_has_every_field_that_is_there() -> None:
    octets = payload("CLIENT_RESPONSE", RESPONSE, identity=b'a"b\xff\n', query_zone=b"\7example\0")
    assert write(octets) == (
        "type: MESSAGE\n"
        'identity: "a\\"b\\xff\\n"\n'
        'version: "test 1"\n'
        "message:\n"
        "  type: CLIENT_RESPONSE\n"
        "  query_time: !!timestamp 2023-11-14 22:13:20.123456789\n"
        "  response_time: !!timestamp 2023-11-14 22:13:20.125\n"
        "  socket_family: INET\n"
        "  socket_protocol: UDP\n"
        "  query_address: 192.0.2.7\n"
        "  response_address: 192.0.2.53\n"
        "  query_port: 40000\n"
        "  response_port: 53\n"
        '  query_zone: "example."\n'
        "  response_message: |\n"
        "    ;; opcode: QUERY, status: NOERROR, id: 4660\n"
        "    ;; flags: qr rd ra; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0\n"
        "    \n"
        "    ;; QUESTION SECTION:\n"
        "    ;www.example.org.\tIN\t A\n"
        "---\n"
    )


def test_what_is_absent_is_left_out() -> None:
    nothing = dict.fromkeys(["identity", "version", "socket_family", "socket_protocol", "query_time"])
    nothing |= dict.fromkeys(["query_address", "response_address", "query_port", "response_port"])
    assert write(payload("STUB_QUERY", None, **nothing)) == "type: MESSAGE\nmessage:\n  type: STUB_QUERY\n---\n"


def test_what_is_empty_is_shown() -> None:
    text = write(payload(message=b"", identity=b"", version=None, query_address=b"", query_port=0, query_zone=b""))
    assert 'identity: ""\n' in text
    assert "  query_address: <nil>\n" in text
    assert "  query_port: 0\n" in text
    assert "  # query_zone: parse failed: dns: buffer size too small\n" in text
    assert "  # query_message: parse failed: dns: overflow unpacking uint16\n" in text


def test_a_time_needs_both_its_parts() -> None:
    frame = TapFrame(payload(query_time=(SECOND, 0)))
    assert "  query_time: !!timestamp 2023-11-14 22:13:20\n" in DnstapYaml().write(frame)
    assert "query_time" not in write(payload(query_time=None, query_time_sec=SECOND))
    assert "query_time" not in write(payload(query_time=None, query_time_nsec=1))


def test_a_protocol_that_golang_dnstap_does_not_know_is_a_number() -> None:
    assert "  socket_protocol: DOH\n" in write(payload(socket_protocol=4))
    assert "  socket_protocol: 7\n" in write(payload(socket_protocol=7))


def test_blanks_at_the_end_of_a_message_are_cut_and_octets_are_kept() -> None:
    null = b"\xc0\x0c\0\x0a\0\1\0\0\0\5\0\4a\xff\nb"
    empty = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\0"
    message = RESPONSE[:6] + b"\0\2\0\0\0\0" + RESPONSE[12:] + null + empty
    text = write(payload("CLIENT_RESPONSE", message)).encode("utf-8", "surrogateescape")
    assert text.endswith(b"    ;www.example.org.\t5\tIN\tNULL\ta\xff\n    b\n    www.example.org.\t5\tIN\tA\n---\n")
