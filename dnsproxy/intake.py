"""One query's way from a listener through its chain to the answer: who may ask, limits, observers, guards."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Coroutine as CoroutineABC
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from dnsproxy import wire
from dnsproxy.address import KEY_END, KEY_START, Address
from dnsproxy.errors import EDE_OTHER, EDE_PROHIBITED, REFUSED, SERVFAIL, OutOfTime, QueryError, shown
from dnsproxy.flight import Flight, Flights, Pending
from dnsproxy.message import Policy, Query, Response, conform

if TYPE_CHECKING:
    from dnsproxy.chain import Chain
    from dnsproxy.config import Limits

log = logging.getLogger("dnsproxy")

CLIENTS = 65536  # clients remembered; beyond it the idle ones are forgotten
LIMITED = ("queries", "queries_per_client", "tcp_connections", "tcp_connections_per_client")
_NOT_ALLOWED = Policy(type="allow", rule=b"allow", match="CLIENT_IP")
_OVER = {which: Policy(type="limits", rule=which.encode()) for which in LIMITED}
HINT = "; a handle may wait for trio only by `await query.run(async_fn, *args)`"
FAILURES_LOGGED_PER_S = 10.0  # a plugin that fails on every query must not fill the disk; status counts them all
REFUSALS_PER_S = 10.0  # REFUSED over UDP to clients that may not ask: enough to be seen, too few to be an amplifier


class Origin(Protocol):
    """Where a query came from and its answer goes."""

    def reply(self, query: Query, octets: bytes) -> None:
        """Queue the answer and mark the socket or stream as touched."""

    def drop(self, reason: str) -> None:
        """Count a message that gets no answer."""


class Client:
    """What is remembered of an IP address that asks."""

    __slots__ = ("admitted", "cleared", "connections", "in_flight", "packed")

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self.admitted: Chain | None = None  # the chain that was asked last, if it may be asked
        self.in_flight = 0
        self.connections = 0
        self.cleared: dict[Chain, bool] = {}

    def may_ask(self, chain: Chain) -> bool:
        """Whether the chain's `allow` has this address."""
        allowed = self.cleared.get(chain)
        if allowed is None:
            address = ipaddress.ip_address(self.packed)
            allowed = self.cleared[chain] = any(address in network for network in chain.allow)
        return allowed


class Bucket:
    """Lets that many a second through; after a rest, a second's worth at once."""

    __slots__ = ("at", "left", "per_s")

    def __init__(self, per_s: float) -> None:
        self.per_s = self.left = per_s
        self.at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more goes through."""
        self.left = min(self.per_s, self.left + (now - self.at) * self.per_s)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class QueryFlight(Flight):
    """A client's query under way in its chain."""

    __slots__ = ("chain", "client", "intake", "origin", "query")

    def __init__(
        self,
        intake: Intake,
        coroutine: Any,
        query: Query,
        chain: Chain,
        client: Client,
        origin: Origin,
    ) -> None:
        self.flights = intake.flights
        self.ready = intake.ready
        self.coroutine = coroutine
        self.waiter = self.timer = None
        self.query = query
        self.intake = intake
        self.chain = chain
        self.client = client
        self.origin = origin

    def finish(self, result: Any, error: BaseException | None) -> None:
        """The chain has answered or failed."""
        if self.timer is not None:
            del self.timer[self]
            self.timer = None
        self.intake.in_flight -= 1
        self.client.in_flight -= 1
        query = self.query
        if error is not None:
            result = self.intake.failed(query, self.chain, error)
        elif type(result) is not Response:
            result = self.intake.nonsense(query, self.chain, result)
        self.intake.finish(query, result, self.chain, self.origin)
        query.flight = None


class Intake:
    """Takes the queries of every listener of a worker. `start` is for the driver, outside every task."""

    def __init__(self, flights: Flights, limits: Limits) -> None:
        self.flights = flights
        self.ready = flights.ready
        self.limit(limits)
        self.in_flight = 0
        self.clients: dict[bytes, Client] = {}
        self.connections = 0
        self.refused = dict.fromkeys(LIMITED, 0)
        self.failures = 0
        self.refusals = Bucket(REFUSALS_PER_S)
        self.reports: dict[str, Bucket] = {}  # of failures, by plugin

    def limit(self, limits: Limits) -> None:
        """Work within these limits from now on."""
        self.limits = limits
        self.queries_limit = limits.queries
        self.client_limit = limits.queries_per_client

    def forget_chains(self) -> None:
        """The chains are others now: who may ask them is looked up again."""
        for client in self.clients.values():
            client.admitted = None
            client.cleared.clear()

    def client_of(self, sockaddr: bytes) -> Client:
        """What is known of the client at a raw sockaddr."""
        key = sockaddr[KEY_START:KEY_END]
        client = self.clients.get(key)
        if client is None:
            if len(self.clients) >= CLIENTS:
                idle = [key for key, known in self.clients.items() if not (known.in_flight or known.connections)]
                for forgotten in idle:
                    del self.clients[forgotten]
            client = self.clients[key] = Client(Address(sockaddr).packed)
        return client

    def start(self, query: Query, chain: Chain, client: Client, origin: Origin) -> None:
        """Begin with a query; its answer may have been queued when this returns."""
        if client.admitted is not chain and not self._admit(query, chain, client, origin):
            return
        for observe in chain.on_query:
            try:
                observe(query)
            except BaseException as exc:
                chain.isolate(observe, exc)
        if query.shape.fault:
            self.finish(query, query.respond(query.shape.fault), chain, origin)
        elif self.in_flight >= self.queries_limit or client.in_flight >= self.client_limit:
            self.finish(query, self._over_limit(query), chain, origin)
        else:
            self._handle(query, chain, client, origin)

    def _handle(self, query: Query, chain: Chain, client: Client, origin: Origin) -> None:
        """Ask the chain; an answer that is not there yet gets a flight."""
        try:
            answer: Any = chain.handler(query)
        except BaseException as exc:
            self.finish(query, self.failed(query, chain, exc), chain, origin)
            return
        if type(answer) is Response:
            self.finish(query, answer, chain, origin)
            return
        pending = isinstance(answer, Pending)
        if not pending and type(answer) is not CoroutineType and not isinstance(answer, CoroutineABC):
            self.finish(query, self.nonsense(query, chain, answer), chain, origin)
            return
        self.in_flight += 1
        client.in_flight += 1
        flight = query.flight = QueryFlight(self, None if pending else answer, query, chain, client, origin)
        flights = self.flights
        if pending:  # keeps its own time
            flight.waiter = answer
            if answer.done:
                self.ready.append(flight)
            else:
                answer.flight = flight
            return
        flights.step(flight)
        if flight.waiter is not None:
            fifo = flight.timer = flights.timers.fifos[chain.deadline_s]
            fifo[flight] = flights.now + chain.deadline_s

    def finish(self, query: Query, response: Response, chain: Chain, origin: Origin) -> None:
        """Make the answer the client's own, cut it to size, show it and queue it."""
        policy = response.policy
        try:
            octets = conform(query, response.wire)
            if policy is not None:
                query.metadata["policy/rule"] = policy.rule_text
        except Exception as exc:  # whatever a plugin has put into it
            policy = None
            octets = self.failed(query, chain, exc).wire
        if len(octets) > query.shape.limit and not query.endpoint.stream:
            octets = wire.truncate(octets, query.shape.limit)
        elif len(octets) > wire.MAX_MESSAGE:
            octets = query.respond(SERVFAIL, EDE_OTHER, "answer longer than a message may be").wire
        if chain.on_response:
            final = Response(octets, policy)
            for observe in chain.on_response:
                try:
                    observe(query, final)
                except BaseException as exc:
                    chain.isolate(observe, exc)
        origin.reply(query, octets)

    def failed(self, query: Query, chain: Chain, error: BaseException) -> Response:
        """The answer to a query whose handling raised; anything but a QueryError is a bug and is logged."""
        if isinstance(error, OutOfTime):
            self._report_late(query, chain, error)
        if isinstance(error, QueryError):
            try:
                return _with_policy(query.respond(error.rcode, error.ede_code, error.ede_text), error.policy)
            except Exception as exc:  # no answer can carry that rcode or code: the plugin's error
                log.debug("%s is no answer: %s", shown(error), exc)
        self.failures += 1
        name = chain.culprit(error)
        if self._may_report(name):
            told = shown(error)
            hint = HINT if isinstance(error, RuntimeError) and "async context" in told else ""
            log.error("plugin %s failed on %s: %s%s", name, query.name, told, hint, exc_info=error)
        return query.respond(SERVFAIL, EDE_OTHER, "internal error")

    def _may_report(self, name: str) -> bool:
        bucket = self.reports.get(name)
        if bucket is None:
            bucket = self.reports[name] = Bucket(FAILURES_LOGGED_PER_S)
        return bucket.take(self.flights.now)

    def _report_late(self, query: Query, chain: Chain, error: OutOfTime) -> None:
        """Say, once for each chain, which plugin lets deadlines pass."""
        name = chain.culprit(error)
        if name not in chain.reported:
            chain.reported.add(name)
            log.error("plugin %s gave no answer to %s within %.3g s (logged once)", name, query.name, chain.deadline_s)

    def nonsense(self, query: Query, chain: Chain, answer: object) -> Response:
        """The answer to a query for which a plugin gave something that is neither a response nor a coroutine."""
        self.failures += 1
        name = chain.culprit(None)
        if self._may_report(name):
            log.error("plugin %s gave %s for %s; expected a Response or a coroutine", name, shown(answer), query.name)
        return query.respond(SERVFAIL, EDE_OTHER, "internal error")

    def admit_connection(self, client: Client) -> bool:
        """Whether a stream connection more is within the limits; each admitted one must be released."""
        for which, number, limit in (
            ("tcp_connections", self.connections, self.limits.tcp_connections),
            ("tcp_connections_per_client", client.connections, self.limits.tcp_connections_per_client),
        ):
            if number >= limit:
                self.refused[which] += 1
                return False
        self.connections += 1
        client.connections += 1
        return True

    def release_connection(self, client: Client) -> None:
        """An admitted connection has ended."""
        self.connections -= 1
        client.connections -= 1

    def _admit(self, query: Query, chain: Chain, client: Client, origin: Origin) -> bool:
        """Check `allow` the first time; refuse those outside it, over UDP at a small rate only."""
        if client.may_ask(chain):
            client.admitted = chain
            return True
        if not query.endpoint.stream and not self.refusals.take(self.flights.now):
            origin.drop("not_allowed")
            return False
        for observe in chain.on_query:
            try:
                observe(query)
            except BaseException as exc:
                chain.isolate(observe, exc)
        refusal = _with_policy(query.respond(REFUSED, EDE_PROHIBITED, "this client may not ask here"), _NOT_ALLOWED)
        self.finish(query, refusal, chain, origin)
        return False

    def _over_limit(self, query: Query) -> Response:
        which = "queries" if self.in_flight >= self.queries_limit else "queries_per_client"
        self.refused[which] += 1
        return _with_policy(query.respond(REFUSED, EDE_OTHER, "too many queries in flight"), _OVER[which])


def _with_policy(response: Response, policy: Policy | None) -> Response:
    """A response just made, with the reason for it that taps are told."""
    response.policy = policy
    return response
