"""What `--querylog` prints: queries as `named` logs them, without the pointer that it prints before the address."""

from __future__ import annotations

from typing import Final

from dnsproxy import wire as dns
from dnsproxy.dnstap.schema import MessageType, SocketProtocol
from dnsproxy.tap.edns import COOKIE, subnet_text
from dnsproxy.tap.frame import NS_PER_S, TapFrame
from dnsproxy.tap.times import SecondTexts, named_text
from dnsproxy.tap.words import CLASSES, TYPES

LOGGED: Final = frozenset([MessageType.CLIENT_QUERY, MessageType.AUTH_QUERY])
STREAMS: Final = frozenset([SocketProtocol.TCP, SocketProtocol.DOT, SocketProtocol.DOH, SocketProtocol.DNSCryptTCP])
NO_TIME: Final = "??-???-???? ??:??:??.???"
RD, CD = 0x0100, 0x0010
TSIG: Final = b"\0\xfa\0\xff\0\0\0\0"  # type, class ANY, TTL 0: the only record that looks so


class QueryLog:
    """CLIENT_QUERY and AUTH_QUERY with a question that can be read; all others are passed over."""

    def __init__(self, utc: bool = False) -> None:
        self._clock = SecondTexts(named_text, utc)

    def write(self, frame: TapFrame) -> str:
        """One line, or nothing."""
        wire = frame.query_message
        if frame.type not in LOGGED or wire is None or frame.qname is None:
            return ""
        name = dns.name_to_text(frame.qname)
        name = name if name == "." else name[:-1]
        question = f"{name} {_word(CLASSES, 'CLASS', frame.qclass)} {_word(TYPES, 'TYPE', frame.qtype)}"
        flags, subnet = _flags(frame, wire)
        client = f"{frame.query_address_text or '?'}#{frame.query_port or 0}"
        ours = frame.response_address_text or "?"
        return (
            f"{self._time(frame.query_time_ns)} client {client} ({name}): query: {question} {flags} ({ours}){subnet}\n"
        )

    def _time(self, time_ns: int | None) -> str:
        if time_ns is None:
            return NO_TIME
        second, below = divmod(time_ns, NS_PER_S)
        return f"{self._clock.text(second)}.{below // 1_000_000:03d}"


def _flags(frame: TapFrame, wire: bytes) -> tuple[str, str]:
    """`+E(0)TDCK`, and ` [ECS 192.0.2.0/24/0]` where there is such an option."""
    header = int.from_bytes(wire[2:4], "big")
    fixed = dns.opt_of(wire)
    options = _options(wire, fixed)
    version, do = ("", False) if fixed < 0 else (f"E({wire[fixed + 5]})", bool(wire[fixed + 6] & 0x80))
    flags = [
        "+" if header & RD else "-",
        "S" if TSIG in wire else "",
        version,
        "T" if frame.socket_protocol in STREAMS else "",
        "D" if do else "",
        "C" if header & CD else "",
        "K" if COOKIE in options else "",
    ]
    subnet = subnet_text(options.get(dns.ECS_OPTION, b""))
    return "".join(flags), "" if subnet is None else f" [ECS {subnet}]"


def _options(wire: bytes, fixed: int) -> dict[int, bytes]:
    """The EDNS options by code; none where they cannot be read."""
    try:
        return {} if fixed < 0 else dict(dns.opt_options(wire, fixed))
    except dns.WireError:
        return {}


def _word(words: dict[int, str], otherwise: str, number: int | None) -> str:
    """As `named` has it: `TYPE65534` where there is no word."""
    return words.get(number or 0) or f"{otherwise}{number}"
