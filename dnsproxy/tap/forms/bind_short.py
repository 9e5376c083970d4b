"""`--bind`: octet for octet the line that `dnstap-read` prints for a message."""

from __future__ import annotations

import socket

from dnsproxy.dnstap.schema import SocketProtocol
from dnsproxy.tap.forms.render.bind_message import QUESTION, Message, Unparsable
from dnsproxy.tap.forms.render.bind_words import class_word, type_word
from dnsproxy.tap.frame import MNEMONICS, TapFrame
from dnsproxy.tap.times import NS_PER_S, SecondTexts, named_text

SECONDS_32: int = 0xFFFF_FFFF  # as many as BIND keeps
UNKNOWN_TIME = "????-??-?? ??:??:??.???"


class BindShort:
    """Nothing for messages without a question, types that the schema does not have, and addresses of a wrong size."""

    def __init__(self, *, utc: bool = False) -> None:
        self._seconds = SecondTexts(named_text, utc)

    def write(self, frame: TapFrame) -> str:
        """A line."""
        message = parsed(frame)
        return self.line(frame, message) if is_shown(frame, message) else ""

    def line(self, frame: TapFrame, message: Message | None) -> str:
        """The line, `?/?/?` for a message that BIND does not parse; nothing if it has no form for an address."""
        query = _endpoint(frame.query_address, frame.query_port)
        response = _endpoint(frame.response_address, frame.response_port)
        if query is None or response is None:
            return ""
        arrow = "->" if frame.is_query else "<-"
        protocol = "TCP" if frame.socket_protocol == SocketProtocol.TCP else "UDP"
        size = len(frame.wire or b"")
        start = f"{self._time(frame)} {frame.mnemonic} {query} {arrow} {response}"
        return f"{start} {protocol} {size}b {_question(message)}\n"

    def _time(self, frame: TapFrame) -> str:
        time = relevant_time(frame)
        if time is None:
            return UNKNOWN_TIME
        return f"{self._seconds.text(time[0])}.{time[1] // 1_000_000:03d}"


def parsed(frame: TapFrame) -> Message | None:
    """The message of the frame's type; None if BIND does not parse it."""
    try:
        return Message(frame.wire or b"")
    except Unparsable:
        return None


def is_shown(frame: TapFrame, message: Message | None) -> bool:
    """Whether `dnstap-read` shows it in any form."""
    return frame.type in MNEMONICS and (message is None or bool(message.sections[QUESTION]))


def relevant_time(frame: TapFrame) -> tuple[int, int] | None:
    """Seconds and nanoseconds of a query's or response's own time; None if one is not there, or both are zero."""
    if frame.is_query:
        seconds, nanoseconds = frame.query_time_sec, frame.query_time_nsec
    else:
        seconds, nanoseconds = frame.response_time_sec, frame.response_time_nsec
    if seconds is None or nanoseconds is None:
        return None
    seconds = (seconds & SECONDS_32) + nanoseconds // NS_PER_S
    return (seconds, nanoseconds % NS_PER_S) if seconds or nanoseconds else None


def _endpoint(address: bytes | None, port: int | None) -> str | None:
    if not address:
        return "?"
    if len(address) not in {4, 16}:
        return None
    return f"{inet_text(address)}:{port or 0}"


def inet_text(address: bytes) -> str:
    """An address of 4 or 16 octets as libc writes it."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _question(message: Message | None) -> str:
    if message is None:
        return "?/?/?"
    question = message.sections[QUESTION][0][0]
    name = question.name if question.name == "." else question.name[:-1]
    return f"{name}/{class_word(question.rclass)}/{type_word(question.type)}"
