"""What a tap hides of clients: its settings, and the veil through which it sees events."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from dnsproxy.address import KEY_END, KEY_START, Address, make_sockaddr
from dnsproxy.dnstap.anonymizer import Anonymizer, Prefixing, Pseudonyms
from dnsproxy.dnstap.events import CLIENT_RESPONSE, Event, Route
from dnsproxy.dnstap.ipcrypt import address_cipher
from dnsproxy.dnstap.plugin_words import OWN_LABELS, ZONE, Hidden, visible_labels, visible_policy
from dnsproxy.dnstap.redact import STRIPPED, OptionRules, Redactor, without_address
from dnsproxy.dnstap.rename import Renamer, process_key
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.dnstap.traces import AddressTrace
from dnsproxy.message import Policy, Query
from dnsproxy.shape import shape_of
from dnsproxy.wire import QUESTION_START

IPV4_BITS, IPV6_BITS = 32, 128
KEY_FORMS: Final = "16 octets or 32 hex digits for ipcrypt, 32 octets or 64 hex digits for ipcrypt-pfx"
KEY_OCTETS: Final = (16, 32)
KEY_FILE_MAX: Final = 1024  # octets read: more than any form takes, with room for blanks behind the digits
CLIENTS_KEPT: Final = 16384  # about 16 MiB
ROUTES_KEPT: Final = 4096  # as many as an endpoint keeps
QUERIES_KEPT: Final = 1024  # under way; of a tap without CLIENT_RESPONSE, which would end them, the latest

log = logging.getLogger("dnsproxy")


@dataclass(frozen=True)
class Prefixes:
    """How many leading bits of a client's address stay; ValueError when there are not so many."""

    ipv4: int = 24
    ipv6: int = 56

    def __post_init__(self) -> None:
        for family, bits, most in (("ipv4", self.ipv4, IPV4_BITS), ("ipv6", self.ipv6, IPV6_BITS)):
            if not 0 <= bits <= most:
                raise ValueError(f"{family} = {bits} is no prefix length; expected 0 to {most}")


class KeyFile:
    """The key in a file; ValueError says what is wrong with it, or that there is no cipher to use it with.

    What is nothing but hexadecimal digits, with blanks around, stands for half as many octets.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open(path, "rb", opener=_open_at_once) as file:
                octets = file.read(KEY_FILE_MAX)
        except OSError as exc:
            raise ValueError(f'"{path}": {exc.strerror}; expected a file that can be read') from exc
        self.key = _key_in(octets)
        if len(self.key) not in KEY_OCTETS:
            raise ValueError(f'"{path}" has {len(octets)} octets that are no key; expected {KEY_FORMS}')
        address_cipher(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyFile) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"<KeyFile {self.path}>"


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO would wait for its writer


def _key_in(octets: bytes) -> bytes:
    digits = octets.strip()
    if len(digits) not in (2 * size for size in KEY_OCTETS):
        return octets
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return octets


@dataclass(frozen=True)
class Privacy:
    """What a tap hides; with nothing set everything is shown. `strip` is made of "ecs" and "cookie"."""

    anonymize: Prefixes | KeyFile | None = None
    strip: frozenset[str] = frozenset()
    qname: Literal["drop", "hash"] | None = None


# parties whose messages have the client's address for query_address; the others ask from an address of their own
ASKED_BY_CLIENTS: Final = frozenset(
    int(type) for type in MessageType if type.name.partition("_")[0] in {"CLIENT", "AUTH", "UPDATE"}
)
_NOTHING: Final = Event(0, None, Route(0, b"", 0, b"", 0), 0, None)


class _Client:
    """What stands for a client: the sockaddr before and behind the port, and where its own address may show."""

    __slots__ = ("after", "before", "trace")

    def __init__(self, packed: bytes, anonymizer: Anonymizer) -> None:
        seen = anonymizer.address(packed)
        family = socket.AF_INET if len(seen) == 4 else socket.AF_INET6
        sockaddr = make_sockaddr(socket.inet_ntop(family, seen), 0)
        self.before = sockaddr[:2]
        self.after = sockaddr[4:]
        self.trace = None if seen == packed else AddressTrace(packed, seen)


@lru_cache(16)
def veil_of(privacy: Privacy) -> Veil:
    """The veil of all taps, and all their message types, with such privacy: what it remembers serves them all."""
    return Veil(privacy)


class Veil:
    """Shows each event as a tap with such privacy may see it; other taps have the event itself.

    In what it shows, query and octets agree with each other, and none of it leads back to what is hidden. Two things
    stay: addresses of ours, which a client on the same machine may share, and labels that speak of upstreams.
    """

    __slots__ = (
        "_anonymizer",
        "_clients",
        "_harmless",
        "_has_failed",
        "_hides_words",
        "_last",
        "_queries",
        "_redactor",
        "_renamer",
        "_routes",
        "_seen",
        "_shows_all",
    )

    def __init__(self, privacy: Privacy) -> None:
        self._shows_all = privacy == Privacy()
        self._anonymizer = _anonymizer(privacy)
        self._renamer = _renamer(privacy)
        removed = frozenset[int]().union(*(STRIPPED[word] for word in privacy.strip))
        self._redactor = Redactor(OptionRules(self._anonymizer, removed, self._renamer is None), self._renamer)
        self._clients: dict[bytes, _Client] = {}  # by a sockaddr without port
        self._routes: dict[Route, Route] = {}
        self._queries: dict[Query, tuple[Query, AddressTrace | None]] = {}  # until their answer: 1 µs for each message
        self._harmless = OWN_LABELS if self._renamer is None else OWN_LABELS - {ZONE}
        self._hides_words = self._anonymizer is not None or self._renamer is not None
        self._has_failed = False
        self._last = self._seen = _NOTHING  # taps that share this veil are given an event one after the other

    def event(self, event: Event) -> Event:
        """The event as it may be seen; never raises: where something goes wrong only times and type are left."""
        if self._shows_all:
            return event
        if event is not self._last:
            try:
                self._seen = self._veiled(event)
            except Exception as exc:  # noqa: BLE001  a message less is mended sooner than an address too many
                self._complain(exc)
                self._seen = _bare(event)
            self._last = event
        return self._seen

    def _veiled(self, event: Event) -> Event:
        asked = event.query
        query: Query | None = None
        trace: AddressTrace | None = None
        if asked is not None:
            query, trace = self._queries.get(asked) or self._other_query(asked)
        elif self._anonymizer is not None:
            trace = self._trace_of(event)
        route, policy, zone = event.route, event.policy, event.zone
        if self._anonymizer is not None and event.type in ASKED_BY_CLIENTS:
            route = self._routes.get(route) or self._other_route(route, self._anonymizer)
        if zone is not None and self._renamer is not None:
            zone = self._renamer.name(zone.lower())
        if self._hides_words and (policy or (asked and not asked.metadata.keys() <= self._harmless)):
            policy = self._words(event, query, trace)
        query_wire, response_wire = event.query_wire, event.response_wire
        if asked is not None and query is not None and query_wire is asked.wire:
            query_wire = query.wire
        elif query_wire is not None:
            query_wire = self._octets(query_wire, trace)
        if response_wire is not None:
            response_wire = self._octets(response_wire, trace)
        if event.type == CLIENT_RESPONSE and asked is not None:
            self._queries.pop(asked, None)  # its last message
        return Event(
            event.type, query, route, event.query_ns, query_wire, event.response_ns, response_wire, zone, policy
        )

    def _octets(self, octets: bytes, trace: AddressTrace | None) -> bytes:
        """A message as it may be seen; `trace` is of its client, and what shows of it otherwise goes too."""
        octets = self._redactor.message(octets)
        if trace is not None and trace.is_in(octets, QUESTION_START):
            return without_address(octets, trace)
        return octets

    def _other_query(self, asked: Query) -> tuple[Query, AddressTrace | None]:
        """The query as it may be seen, kept for the messages that follow, and the trace of its client."""
        sockaddr = asked.client_sockaddr
        trace: AddressTrace | None = None
        if self._anonymizer is not None:
            key = sockaddr[KEY_START:KEY_END]
            client = self._clients.get(key) or self._meet(key, Address(sockaddr).packed)
            trace = client.trace
            sockaddr = client.before + sockaddr[2:4] + client.after
        octets = self._octets(asked.wire, trace)
        shape = asked.shape if octets is asked.wire else shape_of(octets)
        query = Query(octets, shape, sockaddr, asked.endpoint, asked.received_ns)
        query.metadata = asked.metadata
        if len(self._queries) >= QUERIES_KEPT:
            self._queries.clear()
        pair = self._queries[asked] = query, trace
        return pair

    def _words(self, event: Event, query: Query | None, trace: AddressTrace | None) -> Policy | None:
        """What may be seen of the event's policy; `query` gets the labels that may be seen."""
        asked, policy = event.query, event.policy
        hidden = Hidden(self._anonymizer, self._renamer, trace, b"" if asked is None else asked.shape.folded)
        if policy is not None:
            policy = visible_policy(policy, hidden)
        if asked is not None and query is not None:
            query.metadata = visible_labels(asked.metadata, hidden, policy)
        return policy

    def _other_route(self, route: Route, anonymizer: Anonymizer) -> Route:
        if len(self._routes) >= ROUTES_KEPT:
            self._routes.clear()
        address = anonymizer.address(route.query_address) if route.query_address else b""
        seen = self._routes[route] = Route(
            route.socket_protocol,
            address,
            route.query_port,
            route.response_address,
            route.response_port,
            route.http_protocol,
        )
        return seen

    def _trace_of(self, event: Event) -> AddressTrace | None:
        """Of the client that the event's route begins at, where there is no query of a client's."""
        key = event.route.query_address
        if not key or event.type not in ASKED_BY_CLIENTS:
            return None
        return (self._clients.get(key) or self._meet(key, key)).trace

    def _meet(self, key: bytes, packed: bytes) -> _Client:
        assert self._anonymizer is not None
        if len(self._clients) >= CLIENTS_KEPT:
            self._clients.clear()
        client = self._clients[key] = _Client(packed, self._anonymizer)
        return client

    def _complain(self, exc: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            log.error(
                "a message cannot be veiled, and only type and time are shown (logged once): %r", exc, exc_info=exc
            )


def _bare(event: Event) -> Event:
    route = event.route
    ours = Route(route.socket_protocol, b"", 0, route.response_address, route.response_port, route.http_protocol)
    return Event(event.type, None, ours, event.query_ns, None, event.response_ns)


def _anonymizer(privacy: Privacy) -> Anonymizer | None:
    how = privacy.anonymize
    if isinstance(how, Prefixes):
        return Prefixing(how.ipv4, how.ipv6)
    return None if how is None else Pseudonyms(how.key)


def _renamer(privacy: Privacy) -> Renamer | None:
    if privacy.qname is None:
        return None
    if privacy.qname == "drop":
        return Renamer(None)
    return Renamer(privacy.anonymize.key if isinstance(privacy.anonymize, KeyFile) else process_key())
