"""Builds a chain of plugins from configuration: order, links, observers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dnsproxy.errors import REFUSED
from dnsproxy.plugin import Handler, Observer, Plugin
from dnsproxy.wire import is_below, label_count

if TYPE_CHECKING:
    import ipaddress
    from types import TracebackType

    from dnsproxy.config import ServerConfig
    from dnsproxy.message import Query, Response

log = logging.getLogger("dnsproxy")

DEADLINE_S = 4.5  # before a stub's usual 5 s are over
DEADLINE_GRACE_S = 0.05  # a plugin that keeps its own deadline gets to say so first


def end_of_chain(query: Query) -> Response:
    """Nobody answered: REFUSED."""
    return query.respond(REFUSED)


class Chain:
    """The plugins that one server's queries pass, linked, and who may ask them."""

    def __init__(self, config: ServerConfig) -> None:
        self.zones: tuple[bytes, ...] = config.zones
        self.allow: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = config.allow
        self.listen = config.listen
        self.plugins = [_build(entry) for entry in config.plugins]
        self.handler: Handler = _link(self.plugins)
        self.watch()
        deadlines = [plugin.deadline_s for plugin in self.plugins if plugin.deadline_s is not None]
        self.deadline_s = max(deadlines, default=DEADLINE_S) + DEADLINE_GRACE_S
        self.observer_errors = 0
        self.reported: set[object] = set()

    def watch(self) -> None:
        """Find what observers want to be called by: once more when they are bound, for then they may say better."""
        observers = [plugin for plugin in self.plugins if isinstance(plugin, Observer)]
        self.on_query: list[Callable[[Query], None]] = [
            observer.on_query for observer in observers if type(observer).on_query is not Observer.on_query
        ]
        self.on_response: list[Callable[[Query, Response], None]] = [
            observer.on_response for observer in observers if type(observer).on_response is not Observer.on_response
        ]

    def listens_on(self, host: str, port: int, scheme: str | None = None) -> bool:
        """Whether this chain would get what is sent to that IP address and port (`scheme` None: over any)."""
        return any(address.covers(host, port, scheme) for address in self.listen)

    @property
    def wants_times(self) -> bool:
        """Whether an observer wants to know when exactly a query came; it may say so when it is bound."""
        return any(plugin.wants_times for plugin in self.plugins if isinstance(plugin, Observer))

    def isolate(self, function: Any, error: BaseException) -> None:
        """An observer raised: count it, and log it the first time."""
        self.observer_errors += 1
        if function not in self.reported:
            self.reported.add(function)
            name = getattr(getattr(function, "__self__", None), "name", function)
            log.error("plugin %s failed while watching (logged once): %r", name, error, exc_info=error)

    def culprit(self, error: BaseException | None, answer: object = None) -> str:
        """Name of the plugin in whose code an error arose or that gave a nonsensical answer; or those it may be."""
        plugin = _innermost(error.__traceback__) if error is not None else None
        if plugin is not None:
            return plugin.name
        code = getattr(answer, "cr_code", None)
        links = [link for link in self.plugins if type(link).handle is not Plugin.handle]
        named = [link for link in links if getattr(type(link).handle, "__code__", None) is code]
        return " or ".join(link.name for link in named or links) or "unknown"

    def refusing(self) -> Chain:
        """A chain with the same observers that says REFUSED."""
        chain = copy.copy(self)
        chain.handler = end_of_chain
        return chain

    def __repr__(self) -> str:
        return f"<Chain {' -> '.join(plugin.name for plugin in self.plugins)}>"


def _build(entry: Any) -> Plugin:
    plugin: Plugin = entry.plugin(entry.stanzas)
    plugin.name = entry.name
    return plugin


def _link(plugins: Sequence[Plugin]) -> Handler:
    """Set each plugin's `next`, leaving out those that only pass on; the first link."""
    following: Handler = end_of_chain
    for plugin in reversed(plugins):
        plugin.next = following
        if type(plugin).handle is not Plugin.handle:
            following = plugin.handle
    return following


def _innermost(traceback: TracebackType | None) -> Plugin | None:
    found = None
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        if isinstance(owner, Plugin):
            found = owner
        traceback = traceback.tb_next
    return found


class Router:
    """Which chain serves a query that arrived on one listener: the most specific of its predicates."""

    def __init__(self, chains: Sequence[Chain]) -> None:
        pairs = [(zone, chain) for chain in chains for zone in chain.zones]
        self.by_zone = sorted(pairs, key=lambda pair: label_count(pair[0]), reverse=True)
        self.fallback = self.by_zone[-1][1]  # for queries without a readable name, and to say REFUSED
        alone = len(self.by_zone) == 1 and self.by_zone[0][0] == b"\0"
        self.nobody = self.fallback.refusing()
        self.only: Chain | None = self.fallback if alone else None
        self.is_watched = any(chain.wants_times for chain in chains)

    def route(self, query: Query) -> Chain:
        """The chain for a query; one that says REFUSED to names that nobody serves."""
        folded = query.shape.folded
        if not folded:
            return self.fallback
        for zone, chain in self.by_zone:
            if is_below(folded, zone):
                return chain
        return self.nobody
