"""The fields of a dnstap frame, read from its octets without a library: once for each frame, so as fast as can be."""

from __future__ import annotations

import re
from typing import Final

from dnsproxy.tap.protobuf import (
    LENGTH,
    PAST_THE_END,
    Undecodable,
    enum,
    number_of,
    octets_of,
    read_length,
    read_varint,
    spans,
)

DNSTAP_MESSAGE: Final = 1  # the only type of Dnstap that there is
SECONDS_KEPT: Final = 64  # messages of one moment fall into few different seconds

# Message fields as every encoder writes them, in ascending order: 1 to 9, then 12 with 13. A match takes 0.6 µs,
# reading them in any order 0.5 for each.
_VARINT: Final = rb"([\x80-\xff]{0,4}[\x00-\x7f])"
_ADDRESS: Final = rb"(\x04.{4}|\x10.{16})"  # with its length
_HEAD: Final = re.compile(
    rb"\x08([\x00-\x7f])(?:\x10([\x00-\x7f]))?(?:\x18([\x00-\x7f]))?"
    rb"(?:\x22" + _ADDRESS + rb")?(?:\x2a" + _ADDRESS + rb")?(?:\x30" + _VARINT + rb")?(?:\x38" + _VARINT + rb")?"
    rb"(?:\x40" + _VARINT + rb")?(?:\x4d(.{4}))?",
    re.DOTALL,
)
_RESPONSE_TIME: Final = re.compile(rb"\x60" + _VARINT + rb"\x6d(.{4})", re.DOTALL)
_HEAD_KEYS: Final = frozenset([0x08, 0x10, 0x18, 0x22, 0x2A, 0x30, 0x38, 0x40, 0x4D])
_RESPONSE_TIME_KEYS: Final = frozenset([0x60, 0x6D])
_OCTETS_KEYS: Final = frozenset([0x52, 0x5A, 0x72, 0x7A])  # query_message, query_zone, response_message, policy
_NOTHING: Final[list[bytes | None]] = [None] * 10
_TYPE_IS_MESSAGE: Final = b"\x78\x01"  # Dnstap.type, the last field


_producer: list[tuple[bytes, bytes | None, bytes | None]] = [(b"", None, None)]  # the last frame's
_seconds: dict[bytes, int] = {}

Groups = re.Match[bytes] | list[bytes | None]


class Policy:
    """What a policy did to a response: None for each field that is not there; enums are numbers."""

    __slots__ = ("action", "match", "rule", "type", "value")

    def __init__(self, octets: bytes) -> None:
        self.type: bytes | None = None
        self.rule: bytes | None = None
        self.action: int | None = None
        self.match: int | None = None
        self.value: bytes | None = None
        for key, _, value, behind in spans(octets, 0, len(octets)):
            if key == 0x0A:
                self.type = octets_of(octets, value, behind)
            elif key == 0x12:
                self.rule = octets_of(octets, value, behind)
            elif key == 0x18:
                self.action = enum(number_of(octets, key, value))
            elif key == 0x20:
                self.match = enum(number_of(octets, key, value))
            elif key == 0x2A:
                self.value = octets_of(octets, value, behind)

    def __repr__(self) -> str:
        return f"<Policy {self.type!r} {self.rule!r} {self.action} {self.match} {self.value!r}>"


class Fields:
    """The fields of a dnstap frame of type MESSAGE, None for each that is not there; `payload` is the whole frame.

    Enums are numbers, known or not, and all numbers have the bits that the schema gives them. The constructor raises
    Undecodable for whatever else. Nothing in it is to be changed.

    `head` has Message's fields 1 to 9 by their numbers, `response_time` has seconds and nanoseconds as 1 and 2: varints
    and addresses (with an octet before them) as they stand in the frame. This is for forms that must be fast.
    """

    identity: bytes | None = None
    version: bytes | None = None
    extra: bytes | None = None
    query_message: bytes | None = None
    query_zone: bytes | None = None
    response_message: bytes | None = None
    policy: Policy | None = None
    http_protocol: int | None = None

    type: int
    head: Groups = _NOTHING
    response_time: Groups = _NOTHING
    _policy: bytes = b""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        try:
            at = self._read_message(payload, self._read_producer(payload))
            if payload[at:] != _TYPE_IS_MESSAGE:
                self._read_others(payload, at)
        except IndexError:
            raise Undecodable(PAST_THE_END) from None
        type = self.head[1]
        if type is None:
            what = "a MESSAGE without message" if self.head is _NOTHING else "a message without type"
            raise Undecodable(what)
        self.type = type[0] if len(type) == 1 else enum(read_varint(type, 0)[0])

    def _read_producer(self, octets: bytes) -> int:
        """Identity, version and extra where they stand in this order at the beginning; the offset behind them."""
        prefix, identity, version = _producer[0]
        if not prefix or not octets.startswith(prefix):
            prefix, identity, version = _producer[0] = _read_prefix(octets)
        self.identity = identity
        self.version = version
        at = len(prefix)
        if octets[at] == 0x1A:
            size, start = read_length(octets, at + 1)
            at = start + size
            self.extra = octets[start:at]
        return at

    def _read_message(self, octets: bytes, at: int) -> int:
        """Message where it stands at `at`, its fields in ascending order; the offset behind it."""
        if octets[at] != 0x72:
            return at
        size, at = octets[at + 1], at + 2
        if size > 0x7F:
            size, at = read_length(octets, at - 1)
        end = at + size
        if end > len(octets):
            raise Undecodable(PAST_THE_END)
        head = _HEAD.match(octets, at, end)
        if head is not None:
            self.head = head
            at = self._read_tail(octets, head.end(), end)
        if at != end:
            self._read_fields(octets, at, end)
        return end

    def _read_tail(self, octets: bytes, at: int, end: int) -> int:
        """Message's fields from 10 on, which are octets but for the response time; the offset of what else there is."""
        while at < end:
            key = octets[at]
            if key == 0x60:
                time = _RESPONSE_TIME.match(octets, at, end)
                if time is None:
                    break
                self.response_time = time
                at = time.end()
                continue
            if key not in _OCTETS_KEYS or key == 0x7A:
                break
            size, start = octets[at + 1], at + 2
            if size > 0x7F:
                size, start = read_length(octets, at + 1)
            at = start + size
            if key == 0x52:
                self.query_message = octets[start:at]
            elif key == 0x72:
                self.response_message = octets[start:at]
            else:
                self.query_zone = octets[start:at]
        return at

    def _read_others(self, octets: bytes, at: int) -> None:
        """Dnstap's fields from `at` on, in any order; the last of a kind counts, messages are merged."""
        type = None
        for key, _, value, behind in spans(octets, at, len(octets)):
            if key == 0x78:
                type = enum(read_varint(octets, value)[0])
            elif key == 0x72:
                self._read_fields(octets, read_length(octets, value)[1], behind)
            elif key == 0x0A:
                self.identity = octets_of(octets, value, behind)
            elif key == 0x12:
                self.version = octets_of(octets, value, behind)
            elif key == 0x1A:
                self.extra = octets_of(octets, value, behind)
        if type != DNSTAP_MESSAGE:
            raise Undecodable("a frame without type" if type is None else f"a frame of type {type}")

    def _read_fields(self, octets: bytes, at: int, end: int) -> None:
        """Message's fields between two offsets, in any order."""
        head = self.head = _listed(self.head)
        time = self.response_time = _listed(self.response_time)
        for key, _, value, behind in spans(octets, at, end):
            if key in _HEAD_KEYS:
                head[key >> 3] = octets[value:behind] if key & 7 != LENGTH else b"\0" + octets_of(octets, value, behind)
            elif key in _RESPONSE_TIME_KEYS:
                time[(key >> 3) - 11] = octets[value:behind]
            elif key in _OCTETS_KEYS:
                self._set_octets(key, octets_of(octets, value, behind))
            elif key == 0x80:
                self.http_protocol = enum(read_varint(octets, value)[0])

    def _set_octets(self, key: int, value: bytes) -> None:
        if key == 0x5A:
            self.query_zone = value
        elif key == 0x52:
            self.query_message = value
        elif key == 0x72:
            self.response_message = value
        elif key == 0x7A:
            self._policy += value  # several are merged, as the protobuf libraries do
            self.policy = Policy(self._policy)

    @property
    def socket_family(self) -> int | None:
        """INET is 1, INET6 2."""
        octets = self.head[2]
        return None if octets is None else enum(read_varint(octets, 0)[0])

    @property
    def socket_protocol(self) -> int | None:
        """UDP is 1, TCP 2, …"""
        octets = self.head[3]
        if octets is None:
            return None
        return octets[0] if len(octets) == 1 else enum(read_varint(octets, 0)[0])

    @property
    def query_address(self) -> bytes | None:
        """Of whoever asked, 4 or 16 octets if the producer is right."""
        octets = self.head[4]
        return None if octets is None else octets[1:]

    @property
    def response_address(self) -> bytes | None:
        """Of whoever was asked."""
        octets = self.head[5]
        return None if octets is None else octets[1:]

    @property
    def query_port(self) -> int | None:
        """Of whoever asked."""
        octets = self.head[6]
        return None if octets is None else read_varint(octets, 0)[0] & 0xFFFF_FFFF

    @property
    def response_port(self) -> int | None:
        """Of whoever was asked."""
        octets = self.head[7]
        return None if octets is None else read_varint(octets, 0)[0] & 0xFFFF_FFFF

    @property
    def query_time_sec(self) -> int | None:
        """Seconds since 1970."""
        octets = self.head[8]
        return None if octets is None else _seconds.get(octets) or _read_seconds(octets)

    @property
    def query_time_nsec(self) -> int | None:
        """Nanoseconds, of any number."""
        octets = self.head[9]
        return None if octets is None else int.from_bytes(octets, "little")

    @property
    def response_time_sec(self) -> int | None:
        """Seconds since 1970."""
        octets = self.response_time[1]
        return None if octets is None else _seconds.get(octets) or _read_seconds(octets)

    @property
    def response_time_nsec(self) -> int | None:
        """Nanoseconds, of any number."""
        octets = self.response_time[2]
        return None if octets is None else int.from_bytes(octets, "little")


def _read_prefix(octets: bytes) -> tuple[bytes, bytes | None, bytes | None]:
    """Identity and version where they stand at the beginning, and before both all their octets."""
    at, identity, version = 0, None, None
    if octets[at] == 0x0A:
        size, start = read_length(octets, at + 1)
        at = start + size
        identity = octets[start:at]
    if octets[at] == 0x12:
        size, start = read_length(octets, at + 1)
        at = start + size
        version = octets[start:at]
    return octets[:at], identity, version


def _listed(groups: Groups) -> list[bytes | None]:
    return [None, *groups.groups()] if isinstance(groups, re.Match) else list(groups)


def _read_seconds(octets: bytes) -> int:
    if len(_seconds) >= SECONDS_KEPT:
        _seconds.clear()
    seconds = _seconds[octets] = read_varint(octets, 0)[0]
    return seconds
