"""A dnstap decoder of forty lines, from dnstap.proto alone: a second opinion on what the proxy encodes."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TYPES = {
    1: "AQ",
    2: "AR",
    3: "RQ",
    4: "RR",
    5: "CQ",
    6: "CR",
    7: "FQ",
    8: "FR",
    9: "SQ",
    10: "SR",
    11: "TQ",
    12: "TR",
    13: "UQ",
    14: "UR",
}
PROTOCOLS = {1: "UDP", 2: "TCP", 3: "DOT", 4: "DOH", 6: "DNSCryptTCP", 5: "DNSCryptUDP", 7: "DOQ"}
FAMILIES = {1: "INET", 2: "INET6"}
POLICY_FIELDS = {1: "type", 2: "rule", 3: "action", 4: "match", 5: "value"}
ACTIONS = {1: "NXDOMAIN", 2: "NODATA", 3: "PASS", 4: "DROP", 5: "TRUNCATE", 6: "LOCAL_DATA"}
MATCHES = {1: "QNAME", 2: "CLIENT_IP", 3: "RESPONSE_IP", 4: "NS_NAME", 5: "NS_IP"}
NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class TapMessage:
    """One Dnstap message; a field that is not on the wire is None."""

    frame: bytes
    type: str  # as `dnstap -q` says it: CQ, CR, FQ, FR, TQ, …
    identity: str | None
    version: str | None
    extra: str | None
    family: str | None
    protocol: str | None
    query_address: str | None
    query_port: int | None
    response_address: str | None
    response_port: int | None
    query_ns: int | None
    response_ns: int | None
    query_zone: bytes | None
    query_message: bytes | None
    response_message: bytes | None
    policy: bytes | None
    http_protocol: int | None

    @property
    def wire(self) -> bytes | None:
        """The message that the frame is about."""
        return self.query_message if self.type.endswith("Q") else self.response_message

    @property
    def time_ns(self) -> int:
        """Its own time: when the query, or the response, passed."""
        time_ns = self.query_ns if self.type.endswith("Q") else self.response_ns
        return time_ns or 0

    @property
    def policy_fields(self) -> dict[str, Any]:
        """The fields of `policy` that are on the wire, action and match by their words."""
        found = {POLICY_FIELDS[number]: value for number, value in fields(self.policy or b"")}
        words = {"action": ACTIONS, "match": MATCHES}
        return {key: words[key][value] if key in words else value for key, value in found.items()}


def decode(frame: bytes) -> TapMessage:
    outer = dict(fields(frame))
    assert outer.get(15) == 1, "Dnstap.type is not MESSAGE"
    inner = dict(fields(outer[14]))
    return TapMessage(
        frame=frame,
        type=TYPES[inner[1]],
        identity=_text(outer.get(1)),
        version=_text(outer.get(2)),
        extra=_text(outer.get(3)),
        family=FAMILIES.get(inner.get(2, 0)),
        protocol=PROTOCOLS.get(inner.get(3, 0)),
        query_address=_address(inner.get(4)),
        response_address=_address(inner.get(5)),
        query_port=inner.get(6),
        response_port=inner.get(7),
        query_ns=_time(inner.get(8), inner.get(9)),
        query_message=inner.get(10),
        query_zone=inner.get(11),
        response_ns=_time(inner.get(12), inner.get(13)),
        response_message=inner.get(14),
        policy=inner.get(15),
        http_protocol=inner.get(16),
    )


def fields(octets: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: numbers as int, everything with a length as bytes."""
    at = 0
    while at < len(octets):
        key, at = _varint(octets, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(octets, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(octets, at)
        else:
            assert kind in (1, 5), f"wire type {kind}"
            size = 8 if kind == 1 else 4
        chunk, at = octets[at : at + size], at + size
        assert len(chunk) == size, "a field ends behind its message"
        yield key >> 3, chunk if kind == 2 else int.from_bytes(chunk, "little")


def _varint(octets: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = octets[at]
        value |= (octet & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if octet < 0x80:
            return value, at


def _text(octets: bytes | None) -> str | None:
    return None if octets is None else octets.decode()


def _address(octets: bytes | None) -> str | None:
    return None if octets is None else str(ipaddress.ip_address(octets))


def _time(seconds: int | None, nanoseconds: int | None) -> int | None:
    assert (seconds is None) == (nanoseconds is None), "half a time"
    return None if seconds is None or nanoseconds is None else seconds * NS_PER_S + nanoseconds
