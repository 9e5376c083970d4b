"""What taps are told: an event is one DNS message at one moment, a route is where it travelled."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

from dnsproxy.dnstap import encode
from dnsproxy.dnstap.schema import CARRIED_BY, HttpProtocol, MessageType, SocketFamily, SocketProtocol

if TYPE_CHECKING:
    from dnsproxy.address import Address
    from dnsproxy.message import Endpoint, Policy, Query

ROUTES_KEPT: Final = 4096  # per endpoint: 2 MiB; clients that keep their port are found again

CLIENT_QUERY: Final = int(MessageType.CLIENT_QUERY)
CLIENT_RESPONSE: Final = int(MessageType.CLIENT_RESPONSE)
FORWARDER_QUERY: Final = int(MessageType.FORWARDER_QUERY)
FORWARDER_RESPONSE: Final = int(MessageType.FORWARDER_RESPONSE)

_MAPPED: Final = b"\0" * 10 + b"\xff\xff"
_V4: Final = socket.AF_INET


class Route:
    """Between which two addresses a message travelled, and how: everything that messages of one socket share.

    Addresses have 4 or 16 octets, or none when unknown; the query's is that of whoever asks. `socket_protocol` and
    `http_protocol` are numbers of `schema`. Make one per socket or client, with `Route.of`, and keep it.
    """

    __slots__ = (
        "_compatible",
        "encoded",
        "encoded_http",
        "family",
        "http_protocol",
        "query_address",
        "query_port",
        "response_address",
        "response_port",
        "socket_protocol",
    )

    def __init__(
        self,
        socket_protocol: int,
        query_address: bytes,
        query_port: int,
        response_address: bytes,
        response_port: int,
        http_protocol: int | None = None,
    ) -> None:
        self.socket_protocol = socket_protocol
        self.query_address = query_address
        self.query_port = query_port
        self.response_address = response_address
        self.response_port = response_port
        self.http_protocol = http_protocol
        self.family = int(SocketFamily.INET6 if len(query_address or response_address) == 16 else SocketFamily.INET)
        self.encoded = encode.addresses_fields(
            self.family, socket_protocol, query_address, response_address, query_port, response_port
        )
        self.encoded_http = encode.http_protocol_field(http_protocol)
        self._compatible = b""

    @property
    def compatible(self) -> bytes:
        """As `encoded`, with a protocol that the first schemas knew: UDP or TCP."""
        if not self._compatible:
            protocol = CARRIED_BY.get(self.socket_protocol, self.socket_protocol)
            self._compatible = encode.addresses_fields(
                self.family, protocol, self.query_address, self.response_address, self.query_port, self.response_port
            )
        return self._compatible

    @classmethod
    def of(
        cls, protocol: str, query: Address | None, response: Address | None, http_protocol: HttpProtocol | None = None
    ) -> Route:
        """From `"UDP"`, `"TCP"`, `"DOT"`, … and the two addresses: who asks, who is asked."""
        return cls(
            int(SocketProtocol[protocol]),
            query.packed if query else b"",
            query.port if query else 0,
            response.packed if response else b"",
            response.port if response else 0,
            None if http_protocol is None else int(http_protocol),
        )


def client_route(endpoint: Endpoint, client_sockaddr: bytes) -> Route:
    """The route of a client's messages; `endpoint.routes` remembers it, and is looked at before this is called."""
    address, port = _unpack(client_sockaddr)
    local = endpoint.address
    route = Route(endpoint.socket_protocol, address, port, local.packed, local.port, endpoint.http_protocol)
    if len(endpoint.routes) >= ROUTES_KEPT:
        endpoint.routes.clear()
    endpoint.routes[client_sockaddr] = route
    return route


def _unpack(sockaddr: bytes) -> tuple[bytes, int]:
    """IP address, of 4 octets where it is a v4-mapped one, and port of a kernel's sockaddr."""
    port = sockaddr[2] << 8 | sockaddr[3]
    if _V4 in (sockaddr[0], sockaddr[1]):  # the family is in the machine's byte order, and below 256
        return sockaddr[4:8], port
    address = sockaddr[8:24]
    return address[12:] if address.startswith(_MAPPED) else address, port


class Event:
    """One DNS message at one moment, for every tap; it is encoded once.

    `type` is a number of `schema.MessageType`, `query` what the client sent (None when no client asked), times are
    nanoseconds of the wall clock (0: none), `zone` is a name in wire form. Octets are exact, and never change.
    """

    __slots__ = (
        "bare",
        "policy",
        "query",
        "query_ns",
        "query_wire",
        "response_ns",
        "response_wire",
        "route",
        "type",
        "whole",
        "zone",
    )

    def __init__(  # noqa: PLR0913, PLR0917  made four times for each query; a call by position takes half the time
        self,
        type: int,
        query: Query | None,
        route: Route,
        query_ns: int,
        query_wire: bytes | None,
        response_ns: int = 0,
        response_wire: bytes | None = None,
        zone: bytes | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.type = type
        self.query = query
        self.route = route
        self.query_ns = query_ns
        self.query_wire = query_wire
        self.response_ns = response_ns
        self.response_wire = response_wire
        self.zone = zone
        self.policy = policy
        self.bare: bytes | None = None  # what `encoded` gave, without and with the DNS message
        self.whole: bytes | None = None

    @classmethod
    def of(
        cls,
        type: MessageType,
        route: Route,
        wire: bytes,
        *,
        query: Query | None = None,
        query_ns: int = 0,
        zone: bytes | None = None,
        policy: Policy | None = None,
    ) -> Event:
        """An event that happens now, with the octets of the message that `type` speaks of.

        For a response `query_ns` is when its query was sent, if known. `query` gives templates something to speak of:
        of an edited copy they speak as of what the client asked.
        """
        now = time.time_ns()
        if query is not None:
            query = query.parent or query
        if is_query(type):
            return cls(int(type), query, route, query_ns or now, wire, 0, None, zone, policy)
        return cls(int(type), query, route, query_ns, None, now, wire, zone, policy)

    def encoded(self, full: bool) -> bytes:
        """Fields `message` and `type` of Dnstap, with the DNS message if `full`.

        The DNS message is the query of a query and the response of a response.
        """
        octets = self.whole if full else self.bare
        if octets is None:
            octets = self._encode(full)
            if full:
                self.whole = octets
            else:
                self.bare = octets
        return octets

    def _encode(self, full: bool) -> bytes:
        type = self.type
        if self.query_ns and type & 1 and not self.response_ns and self.policy is None:
            wire = self.query_wire if full else None
            return encode.query_message(type, self.route, self.query_ns, wire, self.zone)
        if self.query_ns and self.response_ns and not type & 1:
            wire = self.response_wire if full else None
            return encode.response_message(
                type, self.route, self.query_ns, self.response_ns, wire, self.zone, self.policy
            )
        return encode.message_field(self, encode.FULL if full else encode.BARE)

    def seen(self, view: encode.View) -> bytes:
        """As `encoded`, for a tap with wishes of its own."""
        if view.compat or (view.with_queries and view.full and not is_query(self.type)):
            return encode.message_field(self, view)
        return self.encoded(view.full)

    def __repr__(self) -> str:
        return f"<Event {MessageType(self.type).mnemonic} of {self.query!r}>"


def is_query(type: int) -> bool:
    """Whether messages of that type are queries: the schema gives them odd numbers."""
    return type % 2 == 1
