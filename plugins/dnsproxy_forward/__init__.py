"""Forwards queries to upstreams: zones, policies, retries, failover; tells every tap what it asks and hears."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

import trio

from dnsproxy.config import CheckContext, OptionError
from dnsproxy.errors import QueryError
from dnsproxy.message import Query, Response
from dnsproxy.metric import Metric
from dnsproxy.plugin import Plugin, Server, Stage, Tap
from dnsproxy.upstream.taps import Taps
from dnsproxy.wire import is_below, label_count, name_to_text
from dnsproxy_forward.checks import errors_in
from dnsproxy_forward.config import ForwardConfig
from dnsproxy_forward.nodata import has_no_data
from dnsproxy_forward.stanza import COUNTED, Counters, Stanza
from dnsproxy_forward.supply import Supply

__all__ = ["Forward", "ForwardConfig"]

log = logging.getLogger("dnsproxy")

ROUTES = 8192  # names whose stanzas are remembered
Match = tuple[Stanza, tuple[bytes, str]]


class Forward(Plugin):
    """The end of most chains."""

    stage = Stage.FORWARD
    is_trusted = True
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
        self.server: Server
        self.supply: Supply

    @classmethod
    def check(cls, stanzas: Sequence[ForwardConfig], context: CheckContext) -> Iterable[OptionError]:
        """What no single value shows: loops, files that will not do, libraries that are not there."""
        return errors_in(stanzas, context)

    def bind(self, plugins: Sequence[Plugin], server: Server) -> None:
        """Find the taps, lease the upstreams whose addresses are known."""
        self.server = server
        taps = Taps.among([plugin for plugin in plugins if isinstance(plugin, Tap)])
        self.work = [Stanza(config, server.flights) for config in self.stanzas]
        for stanza in self.work:
            stanza.taps = taps
            stanza.counters = server.lease(("forward counters", stanza.config), Counters)
        self.supply = Supply(server, self.work)
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
        if len(matches) == 1 or not stanza.passes_on:
            return stanza.resolve(query, zone)
        return self._through(query, matches)

    async def _through(self, query: Query, matches: list[Match]) -> Response:
        """Ask stanza after stanza as long as `next` or `next_on_nodata` says so; the last answer stands."""
        started = self.server.flights.now
        for stanza, zone in matches[:-1]:
            try:
                response = await stanza.resolve(query, zone, _next_attempt(query), started)
            except QueryError as exc:
                if exc.rcode not in stanza.config.next:
                    raise
                continue
            is_nodata = stanza.config.next_on_nodata and has_no_data(response.wire, query.shape)
            if not is_nodata and response.rcode not in stanza.config.next:
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
        """Follow the names and files that upstreams are given by."""
        await self.supply.run(task_status=task_status)

    def status(self) -> dict[str, object]:
        """Counters of all stanzas together."""
        return {name: sum(getattr(stanza.counters, name) for stanza in self.work) for name in COUNTED}

    def describe(self) -> list[str]:
        """Which names go where."""
        return [f"forwards {_listed(config.from_)} to {_listed(config.to)}" for config in self.stanzas]


def _listed(things: Iterable[object]) -> str:
    return ", ".join(map(str, things))


def _next_attempt(query: Query) -> int:
    made: Any = query.metadata.get("forward/attempts", 0)
    return int(made) + 1
