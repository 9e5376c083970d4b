"""A dnstap frame from values: for messages that come from JSON lines, packets or a probe of our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dnsproxy.dnstap.encode import NS_PER_S, key, number_field, octets_field, varint

NUMBER_BITS: Final = 64  # a negative enum is written as its 64 bits, as all protobuf libraries do
_TYPE_MESSAGE: Final = number_field(15, 1)


@dataclass
class Fields:
    """The fields of a frame by the schema's names, None for each that is not to be there; enums are numbers."""

    type: int
    identity: bytes | None = None
    version: bytes | None = None
    extra: bytes | None = None
    socket_family: int | None = None
    socket_protocol: int | None = None
    query_address: bytes | None = None
    response_address: bytes | None = None
    query_port: int | None = None
    response_port: int | None = None
    query_time_ns: int | None = None
    query_message: bytes | None = None
    query_zone: bytes | None = None
    response_time_ns: int | None = None
    response_message: bytes | None = None
    policy: bytes | None = None
    http_protocol: int | None = None


@dataclass
class PolicyFields:
    """The fields of a policy, as `Fields`."""

    type: bytes | None = None
    rule: bytes | None = None
    action: int | None = None
    match: int | None = None
    value: bytes | None = None

    def encoded(self) -> bytes:
        """For `Fields.policy`."""
        parts = (
            _octets(1, self.type),
            _octets(2, self.rule),
            _number(3, self.action),
            _number(4, self.match),
            _octets(5, self.value),
        )
        return b"".join(parts)


def compose(fields: Fields) -> bytes:
    """The payload of a data frame, fields in ascending order as every encoder writes them."""
    message = b"".join(
        (
            _number(1, fields.type),
            _number(2, fields.socket_family),
            _number(3, fields.socket_protocol),
            _octets(4, fields.query_address),
            _octets(5, fields.response_address),
            _number(6, fields.query_port),
            _number(7, fields.response_port),
            _time(8, fields.query_time_ns),
            _octets(10, fields.query_message),
            _octets(11, fields.query_zone),
            _time(12, fields.response_time_ns),
            _octets(14, fields.response_message),
            _octets(15, fields.policy),
            _number(16, fields.http_protocol),
        )
    )
    producer = _octets(1, fields.identity) + _octets(2, fields.version) + _octets(3, fields.extra)
    return producer + octets_field(14, message) + _TYPE_MESSAGE


def _number(field: int, number: int | None) -> bytes:
    if number is None:
        return b""
    return key(field, 0) + varint(number % (1 << NUMBER_BITS))


def _octets(field: int, octets: bytes | None) -> bytes:
    return b"" if octets is None else octets_field(field, octets)


def _time(field: int, time_ns: int | None) -> bytes:
    """Seconds as this field, nanoseconds as the next."""
    if time_ns is None:
        return b""
    seconds, rest = divmod(time_ns, NS_PER_S)
    return _number(field, seconds) + key(field + 1, 5) + rest.to_bytes(4, "little")
