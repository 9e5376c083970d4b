"""What `dnstap -q` prints, octet for octet."""

from __future__ import annotations

from typing import Final

from dnsproxy.dnstap.schema import SocketProtocol
from dnsproxy.tap.forms.render.go import address_text
from dnsproxy.tap.forms.render.miekg import first_question
from dnsproxy.tap.forms.render.miekg_names import read_name
from dnsproxy.tap.forms.render.miekg_words import class_word, type_word
from dnsproxy.tap.forms.sound import is_sound
from dnsproxy.tap.frame import MNEMONICS, TapFrame
from dnsproxy.tap.protobuf import enum, read_varint
from dnsproxy.tap.times import SecondTexts, clock_text, go_knows_zone
from dnsproxy.wire import QUESTION_START

UNREADABLE: Final = "X "
PROTOCOLS: Final = {int(each): each.name for each in SocketProtocol if each <= SocketProtocol.DOH}  # that 0.4 knows
QUERY_ADDRESS, RESPONSE_ADDRESS = 4, 5  # fields of Message
OF_CLIENTS: Final = frozenset("AC")
PARTIES: Final = {
    type: (mnemonic, QUERY_ADDRESS if mnemonic[0] in OF_CLIENTS else RESPONSE_ADDRESS)
    for type, mnemonic in MNEMONICS.items()
}
SECONDS_KEPT: Final = 64  # messages of one moment fall into few different seconds
PROTOCOLS_KEPT: Final = 64
ADDRESSES_KEPT: Final = 16384  # about 2 MiB
QUESTIONS_KEPT: Final = 16384  # about 3 MiB
ANSWERS_KEPT: Final = 4096  # about 2 MiB
LONGEST_KEPT: Final = 512  # octets of a message
ONLY_QUESTION: Final = b"\0\1\0\0\0\0\0\0"  # the header's counts
WITH_OPT: Final = b"\0\1\0\0\0\0\0\1"
OPT: Final = b"\0\0\x29"
OPT_OCTETS: Final = 11  # without options
NO_OPTIONS: Final = b"\0\0"
MILLION: Final = 1_000_000


class Quiet:
    """Time, mnemonic, address, protocol, size, question. STUB_* are printed by the rules of the others.

    Texts are looked up by the octets that stand in the frame: 1.5 µs less than by their values.
    """

    def __init__(self, utc: bool = False) -> None:
        self._clock = SecondTexts(clock_text, utc or not go_knows_zone())
        self._seconds: dict[bytes | None, str] = {}
        self._protocols: dict[bytes | None, str] = {}
        self._addresses: dict[bytes | None, str] = {}
        self._questions: dict[bytes, str] = {}
        self._answers: dict[bytes, str] = {}

    def write(self, frame: TapFrame) -> str:
        """One line."""
        type, head = frame.type, frame.head
        if type & 1:
            second, nsec, wire = head[8], head[9], frame.query_message or b""
        else:
            second, nsec, wire = frame.response_time[1], frame.response_time[2], frame.response_message or b""
        mnemonic, party = PARTIES.get(type) or (type, RESPONSE_ADDRESS)
        address = head[party]
        protocol = head[3]
        below = "??????" if nsec is None else six_digits(int.from_bytes(nsec, "little") // 1000)
        return (
            f"{self._seconds.get(second) or self._second(second)}.{below} {mnemonic} "
            f"{self._addresses.get(address) or self._address(address)} "
            f"{self._protocols.get(protocol) or self._protocol(protocol)}{len(wire)}b {self._question(wire)}\n"
        )

    def _second(self, octets: bytes | None) -> str:
        if len(self._seconds) >= SECONDS_KEPT:
            self._seconds.clear()
        text = "??:??:??" if octets is None else self._clock.text(read_varint(octets, 0)[0])
        self._seconds[octets] = text
        return text

    def _address(self, octets: bytes | None) -> str:
        if len(self._addresses) >= ADDRESSES_KEPT:
            self._addresses.clear()
        text = self._addresses[octets] = "MISSING_ADDRESS" if octets is None else address_text(octets[1:])
        return text

    def _protocol(self, octets: bytes | None) -> str:
        """With the blank behind it."""
        if len(self._protocols) >= PROTOCOLS_KEPT:
            self._protocols.clear()
        number = None if octets is None else enum(read_varint(octets, 0)[0])
        text = self._protocols[octets] = " " if number is None else f"{PROTOCOLS.get(number) or number} "
        return text

    def _question(self, wire: bytes) -> str:
        """The question, or a mark that golang-dnstap's library would not unpack the message."""
        end = wire.find(b"\0", QUESTION_START) + 5
        if end < QUESTION_START:
            return UNREADABLE if len(wire) < QUESTION_START else self._unpack(wire, wire[QUESTION_START:], None)
        likely = wire[QUESTION_START:end]
        known = self._questions.get(likely)
        if known is not None:
            counts, rest = wire[4:QUESTION_START], len(wire) - end
            if counts == ONLY_QUESTION and rest == 0:
                return known
            if counts == WITH_OPT and rest == OPT_OCTETS and wire.startswith(OPT, end) and wire.endswith(NO_OPTIONS):
                return known
        return self._answers.get(wire[2:]) or self._unpack(wire, likely, known)

    def _unpack(self, wire: bytes, likely: bytes, known: str | None) -> str:
        text = known
        if not is_sound(wire):
            question = first_question(wire)
            text = UNREADABLE if question is None else '"{}" {} {}'.format(*question)
        elif text is None:
            text = self._read(wire, likely)
        if len(wire) <= LONGEST_KEPT:
            if len(self._answers) >= ANSWERS_KEPT:
                self._answers.clear()
            self._answers[wire[2:]] = text
        return text

    def _read(self, wire: bytes, likely: bytes) -> str:
        """The question of a message that can be unpacked."""
        name, end = read_name(wire, QUESTION_START, len(wire))
        qtype, qclass = wire[end] << 8 | wire[end + 1], wire[end + 2] << 8 | wire[end + 3]
        text = f'"{name}" {class_word(qclass)} {type_word(qtype)}'
        if end + 4 == QUESTION_START + len(likely):
            if len(self._questions) >= QUESTIONS_KEPT:
                self._questions.clear()
            self._questions[likely] = text
        return text


def six_digits(number: int) -> str:
    """With zeros before it; 0.2 µs less than a format takes when compiled."""
    return str(MILLION + number)[1:] if number < MILLION else str(number)
