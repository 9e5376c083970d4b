"""The line of `dnstap -q`; tests/interop holds it against the program."""

from typing import Any

import pytest

from dnsproxy.dnstap.encode import number_field, octets_field
from dnsproxy.tap.forms.quiet import (
    ADDRESSES_KEPT,
    ANSWERS_KEPT,
    PROTOCOLS_KEPT,
    QUESTIONS_KEPT,
    SECONDS_KEPT,
    Quiet,
)
from dnsproxy.tap.frame import TapFrame
from tests.support import wire
from tests.tap.frames import MAIN, QUERY, SECOND, payload, payloads_in

A_RECORD = b"\xc0\x0c\0\1\0\1" + bytes(4) + b"\0\4\xc0\0\2\1"
RESPONSE = QUERY[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + QUERY[12:-11] + A_RECORD
QUESTION = '"www.example.org." IN A'


def line(type: str = "CLIENT_QUERY", message: bytes | None = QUERY, **fields: Any) -> str:
    return Quiet(utc=True).write(TapFrame(payload(type, message, **fields)))


def test_recorded_frames_are_printed() -> None:
    form = Quiet(utc=True)
    assert "".join(form.write(TapFrame(octets)) for octets in payloads_in(MAIN.read_bytes())) == (
        '22:13:20.123456 CQ 198.51.100.7 UDP 44b "www.example.com." IN A\n'
        '22:13:20.125000 CR 198.51.100.7 UDP 76b "www.example.com." IN A\n'
        '22:13:20.123456 FQ 203.0.113.1 UDP 44b "www.example.com." IN A\n'
        '22:13:20.125000 FR 2001:db8::1 DOT 76b "www.example.com." IN A\n'
        '??:??:??.?????? CQ MISSING_ADDRESS  44b "www.example.com." IN A\n'
        "22:13:20.500000 CQ 198.51.100.7 UDP 9b X \n"
    )


@pytest.mark.parametrize(
    ("type", "mnemonic", "address"),
    [
        ("AUTH_QUERY", "AQ", "192.0.2.7"),
        ("CLIENT_RESPONSE", "CR", "192.0.2.7"),
        ("RESOLVER_QUERY", "RQ", "192.0.2.53"),
        ("FORWARDER_RESPONSE", "FR", "192.0.2.53"),
        ("STUB_QUERY", "SQ", "192.0.2.53"),
        ("STUB_RESPONSE", "SR", "192.0.2.53"),
        ("TOOL_QUERY", "TQ", "192.0.2.53"),
        ("UPDATE_QUERY", "UQ", "192.0.2.53"),
    ],
)
def test_clients_are_shown_where_clients_ask_and_servers_elsewhere(type: str, mnemonic: str, address: str) -> None:
    below = "123456" if type.endswith("QUERY") else "125000"
    assert line(type) == f"22:13:20.{below} {mnemonic} {address} UDP {len(QUERY)}b {QUESTION}\n"


def test_what_is_missing_is_shown_as_the_program_shows_it() -> None:
    bare = TapFrame(octets_field(14, number_field(1, 5)) + number_field(15, 1))
    assert Quiet(utc=True).write(bare) == "??:??:??.?????? CQ MISSING_ADDRESS  0b X \n"
    seconds = TapFrame(octets_field(14, number_field(1, 5) + number_field(8, SECOND)) + number_field(15, 1))
    assert Quiet(utc=True).write(seconds).startswith("22:13:20.?????? CQ")


def test_unknown_numbers_are_printed_as_numbers() -> None:
    assert " 7 " in line(socket_protocol=7)
    unknown = TapFrame(octets_field(14, number_field(1, 99) + number_field(3, 200)) + number_field(15, 1))
    assert Quiet(utc=True).write(unknown) == "??:??:??.?????? 99 MISSING_ADDRESS 200 0b X \n"


@pytest.mark.parametrize(
    ("message", "question"),
    [
        (RESPONSE, QUESTION),
        (RESPONSE + b"more", QUESTION),
        (RESPONSE[:-1], "X "),
        (RESPONSE[:-5] + b"\3\xc0\0\2", "X "),
        (b"junk", "X "),
        (bytes(12), "X "),
        (wire.raw_query(b'\4a.\x00"\3org\0', 65280, id=1), '"a\\.\\000\\".org." IN TYPE65280'),
        (wire.raw_query(b"\0", 255, id=1), '"." IN ANY'),
    ],
)
def test_a_message_that_cannot_be_unpacked_is_an_x(message: bytes, question: str) -> None:
    form = Quiet(utc=True)
    frame = TapFrame(payload("CLIENT_RESPONSE", message))
    lines = {form.write(frame) for _ in range(3)}  # the second time it is remembered
    assert lines == {f"22:13:20.125000 CR 192.0.2.7 UDP {len(message)}b {question}\n"}


def test_what_is_remembered_of_one_message_is_not_taken_for_another() -> None:
    form = Quiet(utc=True)
    messages = [QUERY, QUERY[:-11], RESPONSE, QUERY[:4] + b"\0\1\0\1" + QUERY[8:], QUERY[:-1] + b"\1", QUERY + b"x"]
    alone = [line(message=message) for message in messages]
    assert [form.write(TapFrame(payload(message=message))) for message in messages * 2] == alone * 2


def test_what_is_remembered_is_bounded() -> None:
    form = Quiet(utc=True)
    frames = [TapFrame(odd_payload(number)) for number in range(QUESTIONS_KEPT + 10)]
    first = [form.write(frame) for frame in frames]
    assert len(set(first)) == len(frames)
    assert len(form._seconds) <= SECONDS_KEPT
    assert len(form._protocols) <= PROTOCOLS_KEPT
    assert len(form._addresses) <= ADDRESSES_KEPT
    assert len(form._questions) <= QUESTIONS_KEPT
    assert len(form._answers) <= ANSWERS_KEPT
    assert [form.write(frame) for frame in frames[:100]] == first[:100]


def odd_payload(number: int) -> bytes:
    """Time, address, protocol, name and message that no other number has."""
    message = wire.raw_query(b"\6%06d\0" % number, id=1, counts=(1, 0, 0, number % 2)) + wire.opt_record()
    fields = number_field(1, 5) + number_field(3, number) + octets_field(4, number.to_bytes(4, "big"))
    fields += number_field(8, number) + octets_field(10, message)
    return octets_field(14, fields) + number_field(15, 1)
