"""Looks up upstreams that are given by name: by the system, or by resolvers of the operator's choice."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import trio

from dnsproxy.address import Address

if TYPE_CHECKING:
    import dns.message

SYSTEM_TTL_S: Final = 30.0  # getaddrinfo does not say how long what it says will hold
MIN_TTL_S, MAX_TTL_S = 1.0, 3600.0  # a TTL of 0 is no reason to ask for ever, one of a week none to miss a change
RESOLVER_TIMEOUT_S: Final = 1.0
ROUNDS: Final = 2  # over all resolvers, for one lookup
AGAIN_S: Final = 2.0  # after a lookup that failed: a machine that has just started has its network soon
QTYPES: Final = ("A", "AAAA")


class Found(NamedTuple):
    """IP addresses in text, and for how long they hold."""

    addresses: tuple[str, ...]
    ttl_s: float


class Lookup(Protocol):
    """A way to look up host names."""

    async def resolve(self, host: str, port: int) -> Found:
        """The addresses of a name, at least one; OSError when there are none or nobody says."""


class SystemLookup:
    """What the system's resolver says, /etc/hosts included."""

    async def resolve(self, host: str, port: int) -> Found:
        """As `Lookup.resolve`; the name is absolute, whatever search list the system has."""
        absolute = host if host.endswith(".") or "." not in host else f"{host}."
        infos = await trio.socket.getaddrinfo(absolute, port, type=socket.SOCK_DGRAM)
        return Found(tuple(dict.fromkeys(str(info[4][0]) for info in infos)), SYSTEM_TTL_S)


class BootstrapLookup:
    """Asks resolvers directly, one after the other; none of them needs the system's resolver, which may be us."""

    def __init__(self, resolvers: Sequence[tuple[str, int]], sources: Sequence[str] = ()) -> None:
        self.resolvers = tuple(resolvers)
        self.sources = {":" in source: source for source in sources}
        self.last: dict[tuple[str, str], Found] = {}  # by name and type

    async def resolve(self, host: str, port: int) -> Found:
        """As `Lookup.resolve`; A and AAAA are asked for together. Where one fails its last addresses stand."""
        answers: list[Found] = []
        errors: list[OSError] = []

        async def ask(qtype: str) -> None:
            try:
                found = self.last[host, qtype] = await self._ask(host, qtype)
                answers.append(found)
            except OSError as exc:
                errors.append(exc)
                if (host, qtype) in self.last:
                    answers.append(self.last[host, qtype]._replace(ttl_s=AGAIN_S))

        async with trio.open_nursery() as nursery:
            for qtype in QTYPES:
                nursery.start_soon(ask, qtype)
        addresses = sorted(
            {each for found in answers for each in found.addresses}, key=lambda each: (":" in each, each)
        )
        if not addresses or len(errors) == len(QTYPES):
            raise errors[0] if errors else OSError(errno.ENOENT, "has no addresses")
        reachable = tuple(filter(_has_route, addresses))
        return Found(reachable or tuple(addresses), min(found.ttl_s for found in answers if found.addresses))

    async def _ask(self, host: str, qtype: str) -> Found:
        """What the first resolver says that says anything."""
        reason = "no resolver answers"
        for resolver in self.resolvers * ROUNDS:
            try:
                return await self._ask_one(resolver, host, qtype)
            except OSError as exc:
                reason = exc.strerror or str(exc) or reason
        raise OSError(errno.EHOSTUNREACH, reason)

    async def _ask_one(self, resolver: tuple[str, int], host: str, qtype: str) -> Found:
        import dns.asyncbackend
        import dns.asyncquery
        import dns.exception
        import dns.message

        address, port = resolver
        query = dns.message.make_query(host, qtype, use_edns=0)
        try:
            reply, _ = await dns.asyncquery.udp_with_fallback(
                query,
                address,
                RESOLVER_TIMEOUT_S,
                port,
                source=self.sources.get(":" in address),
                ignore_unexpected=True,
                ignore_errors=True,
                backend=dns.asyncbackend.get_backend("trio"),
            )
        except (dns.exception.DNSException, ValueError) as exc:
            raise OSError(errno.ETIMEDOUT, f"resolver {address}: {str(exc) or type(exc).__name__}") from exc
        return _read(reply, resolver)


def _read(reply: dns.message.Message, resolver: tuple[str, int]) -> Found:
    """The addresses in a reply, behind aliases; OSError when the resolver could not say."""
    import dns.exception
    import dns.message
    import dns.rcode

    if reply.rcode() == dns.rcode.NXDOMAIN:
        return Found((), MAX_TTL_S)
    if reply.rcode() != dns.rcode.NOERROR:
        raise OSError(errno.EIO, f"resolver {resolver[0]} says {dns.rcode.to_text(reply.rcode())}")
    if not isinstance(reply, dns.message.QueryMessage):
        raise OSError(errno.EIO, f"resolver {resolver[0]}: no answer")
    try:
        chain = reply.resolve_chaining()
    except dns.exception.DNSException as exc:
        raise OSError(errno.EIO, f"resolver {resolver[0]}: {exc}") from exc
    addresses = tuple(str(record) for record in chain.answer or ())
    return Found(addresses, min(max(float(chain.minimum_ttl), MIN_TTL_S), MAX_TTL_S))


def _has_route(host: str) -> bool:
    """Whether the system knows a way there: without IPv6, half of all names have addresses that cannot be asked."""
    address = Address.of(host, 53)
    try:
        with socket.socket(address.socket_family, socket.SOCK_DGRAM) as probe:
            probe.connect(address.socket_tuple())  # a datagram socket: nothing is sent
    except OSError:
        return False
    return True
