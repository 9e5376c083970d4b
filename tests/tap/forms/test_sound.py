"""A message that is called sound is one that a real parser unpacks."""

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.forms.render.miekg import first_question
from dnsproxy.tap.forms.sound import is_sound
from dnsproxy.tap.frame import TapFrame
from tests.support import wire
from tests.tap.frames import corpus_payloads

TEXT = """id 4660
opcode QUERY
rcode NOERROR
flags QR RD RA
edns 0
payload 1232
;QUESTION
www.example.org. IN A
;ANSWER
www.example.org. 300 IN CNAME web.example.net.
web.example.net. 300 IN A 192.0.2.1
web.example.net. 300 IN AAAA 2001:db8::1
;AUTHORITY
example.net. 300 IN NS ns.example.net.
example.net. 300 IN SOA ns.example.net. mail.example.net. 1 2 3 4 5
;ADDITIONAL
example.net. 300 IN MX 10 mail.example.net.
example.net. 300 IN TXT "one" "two"
"""
MESSAGE = dns.message.from_text(TEXT).to_wire()


def test_usual_messages_are_sound() -> None:
    assert is_sound(MESSAGE)
    assert is_sound(wire.query("www.example.org", edns=True))
    for octets in corpus_payloads():
        frame = TapFrame(octets)
        assert frame.wire is not None
        assert is_sound(frame.wire) is (len(frame.wire) > 9)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        MESSAGE[:12],
        MESSAGE[:-1],
        MESSAGE + b"x",
        wire.raw_query(b"\0", counts=(0, 0, 0, 0)),
        wire.raw_query(b"\0", counts=(2, 0, 0, 0)) + b"\0\0\1\0\1",
        wire.raw_query(b"\xc0\x0c", counts=(1, 0, 0, 0)),
        wire.raw_query(b"\x80", counts=(1, 0, 0, 0)),
        wire.raw_query(b"\1a" * 127 + b"\0", counts=(1, 0, 0, 0)),
        wire.query("a.test", options=[(3, b"")]),
    ],
)
def test_what_is_doubtful_is_not_sound(octets: bytes) -> None:
    assert not is_sound(octets)


@given(st.data())
def test_a_sound_message_is_unpacked(data: st.DataObject) -> None:
    octets = bytearray(MESSAGE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(4, len(octets) - 1))
        octets[at] = data.draw(st.integers(0, 255))
    if is_sound(bytes(octets)):
        assert first_question(bytes(octets)) is not None


@given(st.binary(max_size=60))
def test_any_octets_are_sound_or_not(octets: bytes) -> None:
    assert not is_sound(octets) or first_question(octets) is not None
