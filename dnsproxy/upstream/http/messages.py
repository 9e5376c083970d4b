"""DNS messages in HTTP requests and responses (RFC 8484), whatever version of HTTP carries them."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from dnsproxy import wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnsproxy.message import Query
    from dnsproxy.upstream.exchange import Edit, Exchange
    from dnsproxy.upstream.options import HttpOptions

Headers = list[tuple[bytes, bytes]]

MEDIA_TYPE: Final = b"application/dns-message"
MESSAGE_ID: Final = b"\0\0"  # RFC 8484 section 4.1: equal questions are then equal to caches on the way
TEMPLATES: Final = ("{?dns}", "{&dns}")  # how the path of a URI template may end (RFC 6570)
ZONE: Final = re.compile(r"%[^\]]*")  # of an IPv6 address: ours, and nothing to the peer (RFC 6874 section 1)
TTL_OFFSET: Final = 4  # in the fixed part of a record
MAX_AGE_DIGITS: Final = 10  # more seconds than any TTL has


class BadResponse(Exception):
    """An HTTP response that holds no DNS message; its text says why, in few words."""


class Requests:
    """Makes the requests to one upstream."""

    def __init__(self, http: HttpOptions) -> None:
        path = http.path
        for template in TEMPLATES:
            path = path.removesuffix(template)
        self.is_get = http.method == "GET"
        self.prefix = f"{path}{'&' if '?' in path else '?'}dns=".encode("ascii")
        self.common: Headers = [
            (b":method", http.method.encode("ascii")),
            (b":scheme", b"https"),
            (b":authority", ZONE.sub("", http.authority).encode("ascii")),
        ]
        self.rest: Headers = [(b"accept", MEDIA_TYPE)]
        if not self.is_get:
            self.common.append((b":path", path.encode("ascii")))
            self.rest.append((b"content-type", MEDIA_TYPE))

    def make(self, octets: bytes) -> tuple[Headers, bytes]:
        """Headers and body that ask `octets`, a DNS message whose ID is 0."""
        if self.is_get:
            encoded = base64.urlsafe_b64encode(octets).rstrip(b"=")
            return [*self.common, (b":path", self.prefix + encoded), *self.rest], b""
        return [*self.common, *self.rest, (b"content-length", b"%d" % len(octets))], octets


class ResponseReader:
    """One HTTP response as it comes in; BadResponse as soon as it cannot be an answer."""

    __slots__ = ("age", "body", "has_headers")

    def __init__(self) -> None:
        self.age = 0  # seconds that it spent in caches
        self.body = bytearray()
        self.has_headers = False

    def receive_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Those of the final response."""
        fields = {name.lower(): value for name, value in headers}
        status = fields.get(b":status", b"")
        if len(status) != 3 or not status.isdigit() or status[:1] != b"2":
            raise BadResponse(f"HTTP status {status[:3].decode('ascii', 'replace')}")
        if fields.get(b"content-type", b"").partition(b";")[0].strip().lower() != MEDIA_TYPE:
            raise BadResponse("content type is not application/dns-message")
        age = fields.get(b"age", b"").strip()
        self.age = int(age[:MAX_AGE_DIGITS]) if age.isdigit() else 0
        self.has_headers = True

    def receive_data(self, data: bytes) -> None:
        """More of the body."""
        if len(self.body) + len(data) > wire.MAX_MESSAGE:
            raise BadResponse("body is longer than a DNS message")
        self.body += data

    def end(self) -> bytes:
        """The DNS message, when nothing more will come."""
        if not self.has_headers or not self.body:
            raise BadResponse("response without a body")
        return bytes(self.body)


def aged(octets: bytes, age: int) -> bytes:
    """The message as it is `age` seconds later (RFC 8484 section 5.1); unchanged where it cannot be walked."""
    changed = bytearray(octets)
    try:
        at = wire.question_end(octets) if octets[4:6] == b"\0\1" else wire.QUESTION_START
        for _ in range(sum(wire.HEADER.unpack_from(octets)[3:])):
            rtype, fixed, at = wire.skip_record(octets, at)
            if rtype != wire.OPT:
                ttl = slice(fixed + TTL_OFFSET, fixed + TTL_OFFSET + 4)
                changed[ttl] = max(0, int.from_bytes(octets[ttl], "big") - age).to_bytes(4, "big")
    except wire.WireError:
        return octets
    return bytes(changed)


class Aged:
    """An edit that lets a reply from a cache grow older, after whatever else was edited in its query."""

    __slots__ = ("age", "asked", "inner")

    def __init__(self, exchange: Exchange, age: int) -> None:
        self.age = age
        self.inner: Edit | None = exchange.edit
        self.asked: Query = exchange.query if exchange.edit is None else exchange.edit.asked

    def accepts(self, exchange: Exchange, octets: bytes) -> bool:
        """As Edit.accepts."""
        return self.inner is None or self.inner.accepts(exchange, octets)

    def received(self, exchange: Exchange, octets: bytes) -> bytes | None:
        """As Edit.received."""
        octets = aged(octets, self.age)
        return octets if self.inner is None else self.inner.received(exchange, octets)
