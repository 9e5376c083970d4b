"""Builds a chain of plugins from configuration: order, links, observers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dnsproxy import links
from dnsproxy.errors import REFUSED, shown
from dnsproxy.links import NonsenseError, handles, link
from dnsproxy.plugin import Handler, Observer, Plugin, Tap
from dnsproxy.wire import is_below, label_count

if TYPE_CHECKING:
    import ipaddress
    from types import FrameType

    from dnsproxy.config import ServerConfig
    from dnsproxy.dnstap.events import Event
    from dnsproxy.message import Query, Response

log = logging.getLogger("dnsproxy")

DEADLINE_S = 4.5  # before a stub's usual 5 s are over
DEADLINE_GRACE_S = 0.05  # a plugin that keeps its own deadline gets to say so first
TAP_HOOKS = ("forwarder_query", "forwarder_response", "emit")


def end_of_chain(query: Query) -> Response:
    """Nobody answered: REFUSED."""
    return query.respond(REFUSED)


class PluginFailed(Exception):
    """The plugin `name` could not be made, because of `error`."""

    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__(name, error)
        self.name = name
        self.error = error


class Failures:
    """How often observers and taps have raised, in all chains of a process."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Chain:
    """The plugins that one server's queries pass, linked, and who may ask them."""

    def __init__(self, config: ServerConfig, observer_failures: Failures | None = None) -> None:
        self.zones: tuple[bytes, ...] = config.zones
        self.allow: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = config.allow
        self.listen = config.listen
        self.plugins = [_build(entry) for entry in config.plugins]
        self.reported: set[object] = set()
        self.observer_failures = observer_failures or Failures()
        self.handler: Handler = link(self.plugins, end_of_chain)
        self.watch()
        deadlines = [plugin.deadline_s for plugin in self.plugins if plugin.deadline_s is not None]
        self.deadline_s = max(deadlines, default=DEADLINE_S) + DEADLINE_GRACE_S

    def watch(self) -> None:
        """Find what observers and taps want to be called by: once more when bound, for then they may say better."""
        for plugin in self.plugins:
            if isinstance(plugin, Tap):
                self._guard(plugin)
        observers = [plugin for plugin in self.plugins if isinstance(plugin, Observer)]
        self.on_query: list[Callable[[Query], None]] = [
            observer.on_query for observer in observers if type(observer).on_query is not Observer.on_query
        ]
        self.on_response: list[Callable[[Query, Response], None]] = [
            observer.on_response for observer in observers if type(observer).on_response is not Observer.on_response
        ]

    def _guard(self, tap: Tap) -> None:
        """Let nobody who tells the tap of something suffer from what it raises."""
        for name in TAP_HOOKS:
            hook = getattr(tap, name)
            if not isinstance(hook, _Guarded) and getattr(hook, "__func__", None) is not getattr(Tap, name):
                setattr(tap, name, _Guarded(self, hook))

    def listens_on(self, host: str, port: int, scheme: str | None = None) -> bool:
        """Whether this chain would get what is sent to that IP address and port (`scheme` None: over any)."""
        return any(address.covers(host, port, scheme) for address in self.listen)

    @property
    def wants_times(self) -> bool:
        """Whether an observer wants to know when exactly a query came; it may say so when it is bound."""
        return any(plugin.wants_times for plugin in self.plugins if isinstance(plugin, Observer))

    def isolate(self, function: Any, error: BaseException) -> None:
        """An observer or a tap raised: count it, and log it the first time."""
        self.observer_failures.count += 1
        if function not in self.reported:
            self.reported.add(function)
            name = getattr(getattr(function, "__self__", None), "name", function)
            log.error("plugin %s failed while watching (logged once): %s", name, shown(error), exc_info=error)

    def culprit(self, error: BaseException | None) -> str:
        """Name of the plugin in whose code an error arose, or those it may be; None: who gave a nonsensical answer."""
        if isinstance(error, NonsenseError):
            return error.plugin.name
        suspects = [plugin for plugin in self.plugins if handles(plugin)]
        if error is None:
            suspects = suspects[:1]  # those behind it are looked at where they are linked
        elif (plugin := _innermost(error, self.plugins)) is not None:
            suspects = [plugin]
        return " or ".join(plugin.name for plugin in suspects) or "unknown"

    def refusing(self) -> Chain:
        """A chain with the same observers that says REFUSED."""
        chain = copy.copy(self)
        chain.handler = end_of_chain
        return chain

    def __repr__(self) -> str:
        return f"<Chain {' -> '.join(plugin.name for plugin in self.plugins)}>"


class _Guarded:
    """A tap's hook that does not raise."""

    __slots__ = ("chain", "hook")

    def __init__(self, chain: Chain, hook: Callable[[Event], None]) -> None:
        self.chain = chain
        self.hook = hook

    def __call__(self, event: Event) -> None:
        try:
            self.hook(event)
        except BaseException as exc:  # noqa: BLE001  SystemExit, too: what a tap raises changes no answer
            self.chain.isolate(self.hook, exc)


def _build(entry: Any) -> Plugin:
    try:
        plugin: Plugin = entry.plugin(entry.stanzas)
        plugin.name = entry.name
        if not isinstance(plugin.deadline_s, float | int | None):
            raise TypeError(f"its deadline_s is {plugin.deadline_s!r}; expected seconds")
    except (Exception, SystemExit) as exc:  # a third party's: whatever it is, it keeps the chain from being
        raise PluginFailed(entry.name, exc) from exc
    return plugin


def _innermost(error: BaseException, plugins: Sequence[Plugin]) -> Plugin | None:
    """The plugin in whose code an error arose."""
    found, traceback = None, error.__traceback__
    while traceback is not None:
        found = _owner(traceback.tb_frame, plugins) or found
        traceback = traceback.tb_next
    return found


def _owner(frame: FrameType, plugins: Sequence[Plugin]) -> Plugin | None:
    """Whose code a frame runs: that of a method, or of the only plugin that comes from the function's package."""
    module = frame.f_globals.get("__name__", "")
    owner = frame.f_locals.get("plugin" if module == links.__name__ else "self")
    if isinstance(owner, Plugin):
        return owner
    package = module.partition(".")[0]
    residents = [plugin for plugin in plugins if type(plugin).__module__.partition(".")[0] == package]
    return residents[0] if len(residents) == 1 else None


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
