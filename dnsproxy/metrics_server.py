"""Serves the metrics over HTTP, beside the queries, which it takes next to nothing from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from dnsproxy.config import Configuration
from dnsproxy.crowd import Crowd
from dnsproxy.listen_address import host_port
from dnsproxy.metric import PluginMetrics, plugin_metrics
from dnsproxy.metrics_http import CONNECTION_S, MAX_CONNECTIONS, PATH, REST, Request
from dnsproxy.sockets import OpenSockets, Place, Sockets, StartError, places

READ_OCTETS = 4096

log = logging.getLogger("dnsproxy")


def bind_metrics(configuration: Configuration, present: Sockets, open_sockets: OpenSockets) -> Sockets:
    """The sockets that the configuration wants beside those `present`; StartError when one cannot be had."""
    wanted = [place for place in places(configuration.metrics) if place not in present]
    if wanted:
        from dnsproxy import metrics  # noqa: F401  takes 60 ms: now, not at the first scrape
    try:
        return open_sockets(wanted, present)
    except StartError as exc:
        raise StartError(f"metrics: {exc}") from exc


def url(sockets: Sockets, place: Place) -> str:
    """Where Prometheus finds the metrics."""
    return f"http://{host_port(*sockets[place].getsockname()[:2])}{PATH}"


class MetricsServer:
    """Listens where the configuration says, across reloads."""

    def __init__(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        self.sockets: Sockets = {}
        self._listening: dict[Place, tuple[trio.CancelScope, trio.Event]] = {}
        self._crowd = Crowd(MAX_CONNECTIONS, CONNECTION_S)
        self._pages = Pages(snapshot)

    async def apply(self, configuration: Configuration, bound: Sockets, nursery: trio.Nursery) -> None:
        """Serve on the sockets that were `bound` for this configuration, and no more where it does not say so."""
        self._pages.plugins = plugin_metrics(configuration)
        self.sockets |= bound
        wanted = places(configuration.metrics)
        for place in [place for place in self.sockets if place not in wanted]:
            await self._close(place)
        for place in bound:
            log.info("metrics at %s", url(bound, place))
            await nursery.start(self._listen, place)

    async def _close(self, place: Place) -> None:
        """Returns when nobody can connect there any more."""
        del self.sockets[place]
        scope, ended = self._listening.pop(place)
        scope.cancel()
        await ended.wait()

    async def _listen(self, place: Place, *, task_status: trio.TaskStatus[Any]) -> None:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self.sockets[place]))
        serve = partial(self._crowd.serve, converse=self._converse)
        scope, ended = self._listening[place] = trio.CancelScope(), trio.Event()
        with scope:
            await trio.serve_listeners(serve, [listener], task_status=task_status)
        ended.set()

    async def _converse(self, stream: trio.abc.HalfCloseableStream) -> None:
        request = Request()
        while not request.receive_data(bytes(await stream.receive_some(READ_OCTETS))):
            pass
        await stream.send_all(request.refusal() or request.with_page(await self._pages.latest()))
        await stream.send_eof()
        while await stream.receive_some(READ_OCTETS):
            pass  # were it closed with octets unread, the response would not arrive


class Pages:
    """Makes a page for whoever asks, or one for several: a tenth of the time at most goes into that."""

    def __init__(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        self.plugins: PluginMetrics = {}
        self._snapshot = snapshot
        self._making = trio.Lock()
        self._page = b""
        self._begun = float("-inf")
        self._rested = float("-inf")

    async def latest(self) -> bytes:
        """A page that was begun after this was called; an empty one when it cannot be made, which is logged."""
        asked = trio.current_time()
        async with self._making:
            if self._begun <= asked:
                await trio.sleep_until(self._rested)
                begun = trio.current_time()
                try:
                    self._page = await self._make()
                finally:
                    now = trio.current_time()
                    self._rested = now + REST * (now - begun)
                self._begun = begun
        return self._page

    async def _make(self) -> bytes:
        from dnsproxy.metrics import page

        parts = []
        try:
            for part in page(self._snapshot(), self.plugins):
                parts.append(part)
                await trio.lowlevel.checkpoint()  # queries first
        except Exception:
            log.exception("the metrics cannot be made")
            return b""
        return b"".join(parts)
