"""One client query as a proxy taps it: what was asked, sent on, answered, each at its millisecond."""

from dataclasses import dataclass

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from dnsproxy.tap.frame import TapFrame
from tests.support import wire
from tests.tap.frames import SECOND, payload

LISTENER = "192.0.2.1"
UPSTREAM, OTHER_UPSTREAM = "198.51.100.1", "198.51.100.2"
MS = 1_000_000


def answer(query: bytes, *records: str, rcode: str = "NOERROR") -> bytes:
    """A response to it; records such as `www.example.org. 300 IN A 192.0.2.80`."""
    response = dns.message.make_response(dns.message.from_wire(query))
    response.flags |= dns.flags.RA
    response.set_rcode(dns.rcode.from_text(rcode))
    for record in records:
        name, ttl, rdclass, rdtype, data = record.split(maxsplit=4)
        response.answer.append(dns.rrset.from_text(name, int(ttl), rdclass, rdtype, data))
    return response.to_wire()


@dataclass
class Dialogue:
    """The same client, name and so on in all messages; `extra` of the client's and the upstreams' messages."""

    name: str = "www.example.org"
    qtype: str = "A"
    client: str = "192.0.2.7"
    port: int = 40000
    id: int = 1
    extra: bytes | None = None
    start_ms: int = 0
    proxy_port: int = 5000

    @property
    def wire(self) -> bytes:
        return wire.query(self.name, self.qtype, id=self.id)

    def asked(self, at_ms: int = 0) -> TapFrame:
        self.start_ms = at_ms
        return self._client("CLIENT_QUERY", self.wire, at_ms, None)

    def answered(self, at_ms: int, *records: str, rcode: str = "NOERROR", extra: bytes | None = None) -> TapFrame:
        response = answer(self.wire, *records, rcode=rcode)
        return self._client("CLIENT_RESPONSE", response, self.start_ms, at_ms, extra)

    def sent(self, at_ms: int, upstream: str = UPSTREAM, *, id: int = 77) -> TapFrame:
        return self._forwarder("FORWARDER_QUERY", wire.with_id(self.wire, id), upstream, at_ms, None)

    def came(
        self, sent_ms: int, at_ms: int, upstream: str = UPSTREAM, *, id: int = 77, rcode: str = "NOERROR"
    ) -> TapFrame:
        response = wire.with_id(answer(self.wire, rcode=rcode), id)
        return self._forwarder("FORWARDER_RESPONSE", response, upstream, sent_ms, at_ms)

    def whole(self, start_ms: int, took_ms: int, *records: str, rcode: str = "NOERROR") -> list[TapFrame]:
        """Asked, and answered by one upstream in nearly all of the time."""
        sent_ms, came_ms = start_ms + 1, start_ms + took_ms - 1
        return [
            self.asked(start_ms),
            self.sent(sent_ms),
            self.came(sent_ms, came_ms, rcode=rcode),
            self.answered(start_ms + took_ms, *records, rcode=rcode),
        ]

    def _client(
        self, type: str, message: bytes, asked_ms: int, answered_ms: int | None, extra: bytes | None = None
    ) -> TapFrame:
        octets = payload(
            type,
            message,
            extra=extra or self.extra,
            query_address=self.client,
            query_port=self.port,
            response_address=LISTENER,
            query_time=moment(asked_ms),
            response_time=None if answered_ms is None else moment(answered_ms),
        )
        return TapFrame(octets)

    def _forwarder(self, type: str, message: bytes, upstream: str, sent_ms: int, came_ms: int | None) -> TapFrame:
        octets = payload(
            type,
            message,
            extra=self.extra,
            query_address=LISTENER,
            query_port=self.proxy_port,
            response_address=upstream,
            query_time=moment(sent_ms),
            response_time=None if came_ms is None else moment(came_ms),
        )
        return TapFrame(octets)


def moment(ms: int) -> tuple[int, int]:
    """Seconds and nanoseconds, so many milliseconds after the tests' time."""
    return SECOND + ms // 1000, ms % 1000 * MS
