"""Forwards queries to upstreams: zones, policies, retries, failover; tells every tap what it asks and hears."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

import trio

from dnsproxy.address import Address
from dnsproxy.config import CheckContext, OptionError
from dnsproxy.errors import QueryError
from dnsproxy.message import Query, Response
from dnsproxy.metric import Metric
from dnsproxy.plugin import Plugin, Server, Stage, Tap
from dnsproxy.upstream.taps import Taps
from dnsproxy.upstream.upstream import Upstream
from dnsproxy.wire import is_below, label_count, name_to_text
from dnsproxy_forward.config import ForwardConfig
from dnsproxy_forward.stanza import Counters, Stanza
from dnsproxy_forward.targets import Target, read_nameservers

__all__ = ["Forward", "ForwardConfig"]

log = logging.getLogger("dnsproxy")

RESOLVE_WAIT_S = 0.3  # start-up waits no longer for names of upstreams
RESOLVE_AGAIN_S = 5.0
ROUTES = 8192  # names whose stanzas are remembered
Match = tuple[Stanza, tuple[bytes, str]]


class Forward(Plugin):
    """The end of most chains."""

    stage = Stage.FORWARD
    Config = ForwardConfig
    many = True
    metrics = (
        Metric(
            "coredns_forward_max_concurrent_rejects_total",
            "Queries refused because of max_concurrent.",
            ("refused_max_concurrent",),
        ),
    )

    def __init__(self, stanzas: Sequence[ForwardConfig]) -> None:
        super().__init__(stanzas)
        self.deadline_s = max(config.deadline for config in stanzas)
        self.work: list[Stanza] = []
        self.by_zone: list[tuple[bytes, Match]] = []
        self.routes: dict[bytes, list[Match]] = {}
        self.only: Match | None = None
        self.found: dict[Target, list[str]] = {}  # addresses of host names
        self.missing: set[Target] = set()  # what could not be looked up, and has been told
        self.server: Server

    @classmethod
    def check(cls, stanzas: Sequence[ForwardConfig], context: CheckContext) -> Iterable[OptionError]:
        """An upstream that is one of the same server's listeners would ask itself for ever."""
        for number, config in enumerate(stanzas):
            scheme = "tcp" if config.force_tcp else "udp" if config.prefer_udp else None
            for index, target in enumerate(config.to):
                for host in _hosts(target):
                    if context.listens_on(host, target.port, target.scheme or scheme):
                        what = f'"{target}" names {host}, which is' if target.file else f'"{target}" is'
                        message = f"{what} a listener of this very server, a loop; expected another one"
                        yield OptionError("to", message, index, stanza=number)

    def bind(self, plugins: Sequence[Plugin], server: Server) -> None:
        """Find the taps, lease the upstreams whose addresses are known."""
        self.server = server
        taps = Taps.among([plugin for plugin in plugins if isinstance(plugin, Tap)])
        self.work = [Stanza(config, server.flights) for config in self.stanzas]
        for stanza in self.work:
            stanza.taps = taps
            stanza.counters = server.lease(("forward counters", stanza.config), Counters)
            self._lease(stanza)
        pairs = [(zone, stanza) for stanza in self.work for zone in stanza.config.zones]
        pairs.sort(key=lambda pair: label_count(pair[0]), reverse=True)
        self.by_zone = [(zone, (stanza, (zone, name_to_text(zone)))) for zone, stanza in pairs]
        alone = len(pairs) == 1 and pairs[0][0] == b"\0" and not pairs[0][1].config.excluded
        self.only = self.by_zone[0][1] if alone else None

    def handle(self, query: Query) -> Awaitable[Response]:
        """Ask upstreams for names under `from`; other names go on."""
        if self.only is not None:
            return self.only[0].resolve(query, self.only[1])
        matches = self.routes.get(query.shape.folded)
        if matches is None:
            matches = self._match(query.shape.folded)
        if not matches:
            return self.next(query)
        stanza, zone = matches[0]
        if len(matches) == 1 or not stanza.config.next:
            return stanza.resolve(query, zone)
        return self._through(query, matches)

    async def _through(self, query: Query, matches: list[Match]) -> Response:
        """Ask stanza after stanza as long as `next` says so; the last answer stands."""
        started = self.server.flights.now
        for stanza, zone in matches[:-1]:
            try:
                response = await stanza.resolve(query, zone, _next_attempt(query), started)
                rcode = response.rcode
            except QueryError as exc:
                if exc.rcode not in stanza.config.next:
                    raise
                continue
            if rcode not in stanza.config.next:
                return response
        stanza, zone = matches[-1]
        return await stanza.resolve(query, zone, _next_attempt(query), started)

    def _match(self, folded: bytes) -> list[Match]:
        """The stanzas for a name, most specific `from` first, each once."""
        matches: list[Match] = []
        for zone, match in self.by_zone:
            stanza = match[0]
            matched = is_below(folded, zone) and all(stanza is not seen for seen, _ in matches)
            if matched and not any(is_below(folded, excluded) for excluded in stanza.config.excluded):
                matches.append(match)
        if len(self.routes) >= ROUTES:
            self.routes.clear()
        self.routes[folded] = matches
        return matches

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look up the names of upstreams until all are known."""
        waiting = [stanza for stanza in self.work if _is_waiting(stanza)]
        with trio.move_on_after(RESOLVE_WAIT_S):
            waiting = [stanza for stanza in waiting if not await self._look_up(stanza)]
        task_status.started()
        while waiting:
            waiting = [stanza for stanza in waiting if not await self._look_up(stanza)]
            await trio.sleep(RESOLVE_AGAIN_S if waiting else 0)

    async def _look_up(self, stanza: Stanza) -> bool:
        """Resolve what is not known yet of a stanza's upstreams, and use it at once; whether all of it is known."""
        for target in _names(stanza):
            if target not in self.found and await self._resolve(target):
                self._lease(stanza)
        self._lease(stanza)
        return all(self._addresses(target) for target in stanza.config.to)

    async def _resolve(self, target: Target) -> bool:
        try:
            infos = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
        except OSError as exc:
            self._miss(target, f"cannot resolve {target.host}: {exc.args[-1]}")
            return False
        if target in self.missing:
            log.warning("forward: %s is resolved now", target.host)
            self.missing.discard(target)
        self.found[target] = list(dict.fromkeys(str(info[4][0]) for info in infos))
        return True

    def _miss(self, target: Target, why: str) -> None:
        """Say it, the first time."""
        if target not in self.missing:
            self.missing.add(target)
            log.warning("forward: %s; trying again", why)

    def _lease(self, stanza: Stanza) -> None:
        """Have the stanza ask every address that is known."""
        upstreams = []
        for target in stanza.config.to:
            stream = _stream(target, stanza.config)
            for address in self._addresses(target):
                make = _factory(self.server, address, stream, stanza)
                upstream = self.server.lease(("upstream", stream, address), make)
                if stanza.taps is not None and stanza.taps.wants_times:
                    upstream.is_watched = True
                upstream.timeout_s = max(upstream.timeout_s, stanza.config.timeout)
                upstreams.append(upstream)
        upstreams = list(dict.fromkeys(upstreams))
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        for upstream in upstreams:
            upstream.limit_sockets(len(upstreams), descriptors)
        stanza.use(upstreams)

    def _addresses(self, target: Target) -> list[Address]:
        """What is known of a target's addresses; a resolv.conf is read now."""
        if not target.file:
            return [Address.of(host, target.port) for host in _hosts(target) or self.found.get(target, [])]
        try:
            hosts = read_nameservers(target.file)
        except OSError as exc:
            self._miss(target, f"{target.file}: {exc.strerror or exc}")
            return []
        if hosts:
            self.missing.discard(target)
        else:
            self._miss(target, f"{target.file}: names no nameserver")
        return [Address.of(host, target.port) for host in hosts]

    def status(self) -> dict[str, object]:
        """Counters of all stanzas together."""
        return {
            "refused_max_concurrent": sum(stanza.counters.refused_max_concurrent for stanza in self.work),
            "coalesced": sum(stanza.counters.coalesced for stanza in self.work),
        }

    def describe(self) -> list[str]:
        """Which names go where."""
        return [f"forwards {_listed(config.from_)} to {_listed(config.to)}" for config in self.stanzas]


def _hosts(target: Target) -> list[str]:
    """The addresses that a target stands for without looking up any name."""
    if target.file:
        with contextlib.suppress(OSError):
            return read_nameservers(target.file)
    return [target.host] if target.is_address else []


def _listed(things: Iterable[object]) -> str:
    return ", ".join(map(str, things))


def _next_attempt(query: Query) -> int:
    made: Any = query.metadata.get("forward/attempts", 0)
    return int(made) + 1


def _names(stanza: Stanza) -> list[Target]:
    return [target for target in stanza.config.to if not target.is_address and not target.file]


def _is_waiting(stanza: Stanza) -> bool:
    """Whether more has to be looked up than there was at bind."""
    return bool(_names(stanza)) or not stanza.upstreams


def _stream(target: Target, config: ForwardConfig) -> bool | None:
    """Whether an upstream is asked by TCP; None: as the client asked."""
    if target.scheme is not None:
        return target.scheme == "tcp"
    return True if config.force_tcp else False if config.prefer_udp else None


def _factory(server: Server, address: Address, stream: bool | None, stanza: Stanza) -> Any:
    return lambda: Upstream(server, address, stream, stanza.config.timeout)
