"""A frame of a dnstap stream as people speak of it: what its fields mean, and the DNS message that is in it."""

from __future__ import annotations

import socket
from struct import Struct
from typing import Final

from dnsproxy import wire as dns
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.tap.fields import Fields, Policy
from dnsproxy.tap.protobuf import Undecodable

__all__ = ["Policy", "TapFrame", "Undecodable", "address_text"]

NS_PER_S: Final = 1_000_000_000
TYPE_NAMES: Final = {int(type): type.name for type in MessageType}
MNEMONICS: Final = {int(type): type.mnemonic for type in MessageType}
MAPPED: Final = b"\0" * 10 + b"\xff\xff"  # before the IPv4 address in a v4-mapped IPv6 one (RFC 4291 section 2.5.5.2)
QUESTIONS_KEPT: Final = 8192  # about 2 MiB; a query and its responses come close together

_counts = Struct("!HHHH").unpack_from
_type_and_class = Struct("!HH").unpack_from
_questions: dict[bytes, tuple[bytes, int, int]] = {}


class TapFrame(Fields):
    """A dnstap frame of type MESSAGE; Undecodable when the octets are none. Its DNS message is read when asked for."""

    _is_read: bool = False
    _qname: bytes | None = None
    _qtype: int | None = None
    _qclass: int | None = None

    @property
    def is_query(self) -> bool:
        """Whether it is one of the *_QUERY types, which have odd numbers."""
        return self.type & 1 == 1

    @property
    def type_name(self) -> str:
        """`CLIENT_QUERY`; the number where there is no word."""
        return TYPE_NAMES.get(self.type) or str(self.type)

    @property
    def mnemonic(self) -> str:
        """`CQ`; the number where there is no word."""
        return MNEMONICS.get(self.type) or str(self.type)

    @property
    def is_of_client(self) -> bool:
        """Whether whoever asked is the one to show: CLIENT_* and AUTH_*; of the others it is who was asked."""
        return 0 < self.type <= 2 or 5 <= self.type <= 6

    @property
    def wire(self) -> bytes | None:
        """The DNS message of its type: the query of *_QUERY, the response of *_RESPONSE."""
        return self.query_message if self.type & 1 else self.response_message

    @property
    def query_time_ns(self) -> int | None:
        """Nanoseconds since 1970."""
        seconds = self.query_time_sec
        return None if seconds is None else seconds * NS_PER_S + (self.query_time_nsec or 0)

    @property
    def response_time_ns(self) -> int | None:
        """Nanoseconds since 1970."""
        seconds = self.response_time_sec
        return None if seconds is None else seconds * NS_PER_S + (self.response_time_nsec or 0)

    @property
    def time_ns(self) -> int | None:
        """Its own time: the query's of *_QUERY, the response's of *_RESPONSE."""
        return self.query_time_ns if self.type & 1 else self.response_time_ns

    @property
    def latency_ns(self) -> int | None:
        """Response time less query time, which may be negative; None unless it has both."""
        end = self.response_time_ns  # most queries have none
        start = None if end is None else self.query_time_ns
        return None if start is None or end is None else end - start

    @property
    def query_address_text(self) -> str | None:
        """As `address_text`."""
        return None if self.query_address is None else address_text(self.query_address)

    @property
    def response_address_text(self) -> str | None:
        """As `address_text`."""
        return None if self.response_address is None else address_text(self.response_address)

    @property
    def has_header(self) -> bool:
        """Whether there is a DNS message with a whole header."""
        octets = self.wire
        return octets is not None and len(octets) >= dns.QUESTION_START

    @property
    def id(self) -> int | None:
        """The message ID; None without a header, as all that follows."""
        octets = self.wire
        return int.from_bytes(octets[:2], "big") if octets is not None and self.has_header else None

    @property
    def flags(self) -> int | None:
        """The header's third and fourth octet: QR is 0x8000, the RCODE's lower four bits 0x000F."""
        octets = self.wire
        return int.from_bytes(octets[2:4], "big") if octets is not None and self.has_header else None

    @property
    def opcode(self) -> int | None:
        """0 for QUERY."""
        flags = self.flags
        return None if flags is None else flags >> 11 & 15

    @property
    def rcode(self) -> int | None:
        """With the extended bits of its OPT; None in queries."""
        octets = self.wire
        return dns.rcode_of(octets) if octets is not None and self.has_header and not self.is_query else None

    @property
    def counts(self) -> tuple[int, int, int, int] | None:
        """QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT."""
        octets = self.wire
        if octets is None or not self.has_header:
            return None
        qdcount, ancount, nscount, arcount = _counts(octets, 4)
        return qdcount, ancount, nscount, arcount

    @property
    def qname(self) -> bytes | None:
        """The first question's name in wire form, its case kept; None if there is no question that can be read."""
        if not self._is_read:
            self._read_question()
        return self._qname

    @property
    def name(self) -> str | None:
        """The first question's name in presentation form, absolute, its case kept."""
        qname = self.qname
        return None if qname is None else dns.name_to_text(qname)

    @property
    def qtype(self) -> int | None:
        """Of the first question."""
        if not self._is_read:
            self._read_question()
        return self._qtype

    @property
    def qclass(self) -> int | None:
        """Of the first question."""
        if not self._is_read:
            self._read_question()
        return self._qclass

    @property
    def malformed(self) -> str | None:
        """Why header, questions and records cannot be walked to the message's last octet; record data is not read."""
        octets = self.wire
        return None if octets is None else malformed(octets)

    def _read_question(self) -> None:
        self._is_read = True
        octets = self.query_message if self.type & 1 else self.response_message
        if octets is None or len(octets) < dns.QUESTION_START or octets[4:6] == b"\0\0":
            return
        zero = octets.find(b"\0", dns.QUESTION_START)
        likely = octets[dns.QUESTION_START : zero + 5] if zero > 0 else b""
        known = _questions.get(likely) or _parse_question(octets, likely)
        if known is not None:
            self._qname, self._qtype, self._qclass = known

    def __repr__(self) -> str:
        return f"<TapFrame {self.mnemonic} {self.query_address_text} {self.name}>"


def malformed(octets: bytes) -> str | None:
    """Why the octets are no DNS message from the first to the last; None if they are."""
    if len(octets) < dns.QUESTION_START:
        return f"{len(octets)} octets are no header"
    qdcount, ancount, nscount, arcount = _counts(octets, 4)
    at = dns.QUESTION_START
    try:
        for _ in range(qdcount):
            at = dns.skip_name(octets, at) + 4
            if at > len(octets):
                raise dns.WireError("question runs past the end")
        for _ in range(ancount + nscount + arcount):
            at = dns.skip_record(octets, at)[2]
    except dns.WireError as exc:
        return str(exc)
    return None if at == len(octets) else f"{len(octets) - at} octets behind the last record"


def address_text(packed: bytes) -> str:
    """An address of 4 or 16 octets, v4-mapped as IPv4; octets of any other size are shown as `?` and hex digits."""
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    if len(packed) != 16:
        return "?" + packed.hex()
    if packed.startswith(MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def _parse_question(octets: bytes, likely: bytes) -> tuple[bytes, int, int] | None:
    """Name, type and class of the first question; `likely` is kept if this is what they were read from."""
    try:
        end = dns.question_end(octets)
    except dns.WireError:
        return None
    qtype, qclass = _type_and_class(octets, end - 4)
    question = octets[dns.QUESTION_START : end - 4], qtype, qclass
    if end == dns.QUESTION_START + len(likely):
        if len(_questions) >= QUESTIONS_KEPT:
            _questions.clear()
        _questions[likely] = question
    return question
