"""The supervisor's metrics: as `dnsproxy.metrics_server`, on the supervisor's own loop, of all workers together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from dnsproxy.config import Configuration
from dnsproxy.metric import PluginMetrics, plugin_metrics
from dnsproxy.metrics_http import CONNECTION_S, MAX_CONNECTIONS, REST, Request
from dnsproxy.metrics_server import url
from dnsproxy.sockets import Sockets, places
from dnsproxy.workers.admin_server import Take
from dnsproxy.workers.clients import Clients, Reply
from dnsproxy.workers.loop import Loop

log = logging.getLogger("dnsproxy")

TakePage = Callable[[Callable[[bytes], None]], None]


class MetricsServer:
    """Listens where the configuration says, across reloads; `take(answer)` has `answer` called with the status."""

    def __init__(self, loop: Loop, take: Take) -> None:
        self.sockets: Sockets = {}
        self._pages = Pages(loop, take)
        self._clients = Clients(loop, lambda: _Scrape(self._pages.ask), MAX_CONNECTIONS, CONNECTION_S)

    def apply(self, configuration: Configuration, bound: Sockets) -> None:
        """Serve on the sockets that were `bound` for this configuration, and no more where it does not say so."""
        self._pages.plugins = plugin_metrics(configuration)
        self.sockets |= bound
        wanted = places(configuration.metrics)
        for place in [place for place in self.sockets if place not in wanted]:
            self._clients.leave(self.sockets.pop(place))
        for place, listening in bound.items():
            self._clients.listen(listening)
            log.info("metrics at %s", url(bound, place))

    def close(self) -> None:
        """Listen no more."""
        for listening in self.sockets.values():
            self._clients.leave(listening)
        self.sockets.clear()
        self._clients.close()


class _Scrape:
    """One request over HTTP."""

    def __init__(self, take: TakePage) -> None:
        self._take = take
        self._request = Request()

    def receive_data(self, data: bytes) -> bool:
        return self._request.receive_data(data)

    def answer(self, reply: Reply) -> None:
        if refusal := self._request.refusal():
            reply(refusal)
        else:
            self._take(lambda page: reply(self._request.with_page(page)))


class Pages:
    """Makes a page for whoever asks, or one for several: a tenth of the time at most goes into that."""

    def __init__(self, loop: Loop, take: Take) -> None:
        self.plugins: PluginMetrics = {}
        self._loop = loop
        self._take = take
        self._waiting: list[Callable[[bytes], None]] = []  # for the next page
        self._is_busy = False
        self._rested = 0.0

    def ask(self, tell: Callable[[bytes], None]) -> None:
        """Call `tell` with a page that was begun after this; an empty one when it cannot be made, which is logged."""
        self._waiting.append(tell)
        self._begin_if_idle()

    def _begin_if_idle(self) -> None:
        if self._waiting and not self._is_busy:
            self._is_busy = True
            self._loop.later(max(self._rested - time.monotonic(), 0.0), self._begin)

    def _begin(self) -> None:
        served, self._waiting = self._waiting, []
        self._take(lambda status: self._make(status, served))

    def _make(self, status: dict[str, Any], served: list[Callable[[bytes], None]]) -> None:
        from dnsproxy.metrics import page

        began = time.monotonic()
        text = b""
        try:
            text = b"".join(page(status, self.plugins))
        except Exception:
            log.exception("the metrics cannot be made")
        now = time.monotonic()
        self._rested = now + REST * (now - began)
        self._is_busy = False
        for tell in served:
            tell(text)
        self._begin_if_idle()
