"""A line for people: what one wants to know of a message at a glance; it may change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from dnsproxy.tap.frame import NS_PER_S, TapFrame
from dnsproxy.tap.times import MONTHS, SecondTexts, clock_text
from dnsproxy.tap.words import PROTOCOLS, TYPES, rcode_word, word
from dnsproxy.text_table import clean

ADDRESS_WIDTH: Final = 15  # of IPv4; IPv6 is longer, and moves what follows
PROTOCOL_WIDTH: Final = 3
TIME_WIDTH: Final = 12
NOERROR, NXDOMAIN = 0, 3
SLOW_NS: Final = 500_000_000  # what people notice
RESET, DIM, BOLD, RED, GREEN, YELLOW, CYAN = (f"\x1b[{code}m" for code in (0, 2, 1, 31, 32, 33, 36))


class People:
    """Time, mnemonic, client or upstream, protocol, name, type, rcode, latency, extra; a date unless it is today's."""

    def __init__(self, utc: bool = False, color: bool = False) -> None:
        self._clock = SecondTexts(_moment_text(utc), utc)
        self._color = color

    def write(self, frame: TapFrame) -> str:
        """One line."""
        address = frame.query_address_text if frame.is_of_client else frame.response_address_text
        protocol = "-" if frame.socket_protocol is None else word(PROTOCOLS, frame.socket_protocol)
        columns = [
            self._painted(DIM, self._time(frame.time_ns)),
            self._painted(CYAN if frame.is_query else GREEN, frame.mnemonic),
            (address or "?").ljust(ADDRESS_WIDTH),
            protocol.ljust(PROTOCOL_WIDTH),
            *self._question(frame),
            *self._outcome(frame),
        ]
        if frame.extra:
            columns.append(self._painted(DIM, clean(frame.extra.decode("utf-8", "replace"))))
        return " ".join(columns) + "\n"

    def _time(self, time_ns: int | None) -> str:
        if time_ns is None:
            return "?".ljust(TIME_WIDTH)
        second, below = divmod(time_ns, NS_PER_S)
        return f"{self._clock.text(second)}.{below // 1_000_000:03d}"

    def _question(self, frame: TapFrame) -> list[str]:
        name, qtype = frame.name, frame.qtype
        if name is None or qtype is None:
            octets = frame.wire
            reason = "no message" if octets is None else frame.malformed or "no question"
            return [self._painted(RED, f"({reason})")]
        return [self._painted(BOLD, name), TYPES.get(qtype) or f"TYPE{qtype}"]

    def _outcome(self, frame: TapFrame) -> list[str]:
        if frame.is_query:
            return []
        rcode, latency = frame.rcode, frame.latency_ns
        outcome = []
        if rcode is not None:
            color = {NOERROR: "", NXDOMAIN: YELLOW}.get(rcode, RED)
            outcome.append(self._painted(color, rcode_word(rcode)))
        if latency is not None:
            outcome.append(self._painted(YELLOW if latency >= SLOW_NS else "", f"{latency / 1e6:.1f}ms"))
        return outcome

    def _painted(self, color: str, text: str) -> str:
        return f"{color}{text}{RESET}" if self._color and color else text


def _moment_text(utc: bool) -> Callable[[time.struct_time], str]:
    split = time.gmtime if utc else time.localtime

    def text(moment: time.struct_time) -> str:
        today = split()
        if (moment.tm_year, moment.tm_yday) == (today.tm_year, today.tm_yday):
            return clock_text(moment)
        year = "" if moment.tm_year == today.tm_year else f"{moment.tm_year} "
        return f"{year}{MONTHS[moment.tm_mon - 1]} {moment.tm_mday:02d} {clock_text(moment)}"

    return text
