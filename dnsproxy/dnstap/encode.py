"""Octets of dnstap.proto: constants made once, fields in ascending order, everything joined at the end.

The protobuf library with a reused message takes 2 µs for what takes 0.5 here; the tests hold both against each other.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from dnsproxy.dnstap.schema import MessageType, PolicyAction, PolicyMatch

if TYPE_CHECKING:
    from dnsproxy.dnstap.events import Event
    from dnsproxy.message import Policy

NS_PER_S: Final = 1_000_000_000
SMALL: Final = 4096  # lengths below it come from a table: 0.03 µs against 0.3
SECONDS_KEPT: Final = 64  # queries and answers of one moment fall into few different seconds
ZONES_KEPT: Final = 1024  # forwarded zones are few, whoever asks

_FRAME_LENGTH = Struct("!I").pack


def varint(number: int) -> bytes:
    """A number that is not negative, seven bits at a time."""
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def key(field: int, wire_type: int) -> bytes:
    """What stands before a field's value; wire types: 0 varint, 2 length and octets, 5 fixed32."""
    return varint(field << 3 | wire_type)


def number_field(field: int, number: int) -> bytes:
    """A field whose value is a varint."""
    return key(field, 0) + varint(number)


def octets_key(field: int, size: int) -> bytes:
    """What stands before so many octets: key and length."""
    return key(field, 2) + varint(size)


def octets_field(field: int, octets: bytes) -> bytes:
    """A field whose value is octets."""
    return key(field, 2) + length(len(octets)) + octets


_LENGTHS: Final = [varint(number) for number in range(SMALL)]
FRAME_LENGTHS: Final = [_FRAME_LENGTH(number) for number in range(SMALL)]
_TYPE: Final = [number_field(1, number) for number in range(max(MessageType) + 1)]
_QUERY_KEYS: Final = [octets_key(10, number) for number in range(SMALL)]
_RESPONSE_KEYS: Final = [octets_key(14, number) for number in range(SMALL)]
_EXTRA: Final = key(3, 2)  # from here on of Dnstap, not of Message
_MESSAGE_KEYS: Final = _RESPONSE_KEYS  # the same number, as it happens
_TYPE_MESSAGE: Final = number_field(15, 1)


def length(octets: int) -> bytes:
    """A length as a varint."""
    return _LENGTHS[octets] if octets < SMALL else varint(octets)


def frame_length(octets: int) -> bytes:
    """The four octets before a frame of that many octets."""
    return FRAME_LENGTHS[octets] if octets < SMALL else _FRAME_LENGTH(octets)


def dnstap_prefix(identity: bytes, version: bytes) -> bytes:
    """Dnstap.identity and .version; an empty one is left out."""
    return (octets_field(1, identity) if identity else b"") + (octets_field(2, version) if version else b"")


def extra_field(extra: bytes) -> bytes:
    """Dnstap.extra; nothing when it is empty."""
    return b"%b%b%b" % (_EXTRA, length(len(extra)), extra) if extra else b""


def addresses_fields(
    family: int, protocol: int, query: bytes, response: bytes, query_port: int, response_port: int
) -> bytes:
    """Message fields 2 to 7; an address without octets, and its port, are left out."""
    start = b"\x10%c\x18%c" % (family, protocol)
    if query and response:  # every route of a proxy: 0.5 µs against 1.8 field by field
        return b"%b\x22%c%b\x2a%c%b\x30%b\x38%b" % (
            start,
            len(query),
            query,
            len(response),
            response,
            port_number(query_port),
            port_number(response_port),
        )
    if query:
        return start + octets_field(4, query) + number_field(6, query_port)
    if response:
        return start + octets_field(5, response) + number_field(7, response_port)
    return start


def port_number(port: int) -> bytes:
    """A port as a varint."""
    if port > 0x3FFF:
        return b"%c%c%c" % (port & 0x7F | 0x80, port >> 7 & 0x7F | 0x80, port >> 14)
    return length(port)


def http_protocol_field(http_protocol: int | None) -> bytes:
    """Message field 16."""
    return b"" if http_protocol is None else number_field(16, http_protocol)


def policy_field(policy: Policy) -> bytes:
    """Message field 15; words that the schema does not have are left out."""
    action = PolicyAction.__members__.get(policy.action or "")
    match = PolicyMatch.__members__.get(policy.match or "")
    parts = [
        b"" if policy.type is None else octets_field(1, policy.type.encode()),
        b"" if policy.rule is None else octets_field(2, policy.rule),
        b"" if action is None else number_field(3, action),
        b"" if match is None else number_field(4, match),
        b"" if policy.value is None else octets_field(5, policy.value),
    ]
    return octets_field(15, b"".join(parts))


def message_field(event: Event, full: bool) -> bytes:
    """Dnstap.message and .type, all of a Dnstap but identity, version and extra: what `Event.encoded` remembers."""
    type = event.type
    route = event.route
    query_second = query_rest = query_key = query_wire = b""
    response_second = response_rest = response_key = response_wire = b""
    nanoseconds = event.query_ns
    if nanoseconds:
        second = nanoseconds // NS_PER_S
        query_second = _query_seconds.get(second) or _remember(_query_seconds, second, 8)
        query_rest = (nanoseconds - second * NS_PER_S).to_bytes(4, "little")
    nanoseconds = event.response_ns
    if nanoseconds:
        second = nanoseconds // NS_PER_S
        response_second = _response_seconds.get(second) or _remember(_response_seconds, second, 12)
        response_rest = (nanoseconds - second * NS_PER_S).to_bytes(4, "little")
    if full:
        if type & 1:
            wire = event.query_wire
            if wire is not None:
                query_wire = wire
                query_key = _QUERY_KEYS[len(wire)] if len(wire) < SMALL else octets_key(10, len(wire))
        else:
            wire = event.response_wire
            if wire is not None:
                response_wire = wire
                response_key = _RESPONSE_KEYS[len(wire)] if len(wire) < SMALL else octets_key(14, len(wire))
    zone = b"" if event.zone is None else _zones.get(event.zone) or _remember_zone(event.zone)
    policy = b"" if event.policy is None else policy_field(event.policy)
    message = b"".join(
        (
            _TYPE[type],
            route.encoded,
            query_second,
            query_rest,
            query_key,
            query_wire,
            zone,
            response_second,
            response_rest,
            response_key,
            response_wire,
            policy,
            route.encoded_http,
        )
    )
    size = len(message)
    return (_MESSAGE_KEYS[size] if size < SMALL else octets_key(14, size)) + message + _TYPE_MESSAGE


_query_seconds: Final[dict[int, bytes]] = {}  # second -> query_time_sec and the key of query_time_nsec
_response_seconds: Final[dict[int, bytes]] = {}


def _remember(seconds: dict[int, bytes], second: int, field: int) -> bytes:
    if len(seconds) >= SECONDS_KEPT:
        seconds.clear()
    octets = seconds[second] = number_field(field, second) + key(field + 1, 5)
    return octets


_zones: Final[dict[bytes, bytes]] = {}  # wire name -> the field query_zone


def _remember_zone(zone: bytes) -> bytes:
    if len(_zones) >= ZONES_KEPT:
        _zones.clear()
    field = _zones[zone] = octets_field(11, zone)
    return field
