"""What taps have in common that collectors dial: who is there, what they are offered, and the sums of their numbers."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from typing import Any, Final

import trio

from dnsproxy.dnstap.backlog import DISCONNECTED, SHUTDOWN
from dnsproxy.dnstap.fan_out import FanOut
from dnsproxy.dnstap.output import CLOSED, DOWN, Output, OutputOptions, totals

LISTENING: Final = "listening"

log = logging.getLogger("dnsproxy")


def lease_key(options: OutputOptions) -> Hashable:
    """What makes two listening taps the same one: where they listen. All else can be changed by `configure`."""
    where = options.destination
    return ("listening", where, options.name if not (where.path or where.port) else "")


class OneSession(Output):
    """A collector's queue, from its arrival to its end; subclasses say what its one session is."""

    async def _work(self, nursery: trio.Nursery) -> None:
        """Until the collector is gone or `drain` has ended the session; what it did not get is counted."""
        await self._attempt()

    async def wind_up(self) -> None:
        """Write what is queued, and end."""
        self._stopping.set()
        self._wake()
        await self._ended.wait()

    def _close(self) -> None:
        if self.state == CLOSED:
            return
        self._backlog.close(DISCONNECTED if self.state == DOWN else SHUTDOWN)
        self.state = CLOSED
        if self._backlog.drops.episode:
            log.warning("tap %s dropped %s", self.name, self._backlog.drops.episode)
        self._ended.set()


class ListeningTap:
    """What is offered goes to every collector that is there; with none it is not even counted."""

    def __init__(self, options: OutputOptions, url: str) -> None:
        self.state = LISTENING
        self.connects = 0
        self.present = 0  # collectors that are here
        self.last_error: str | None = None
        self._options = options
        self._url = url
        self._fan_out = FanOut()
        self._collectors: set[OneSession] = set()
        self._ended = trio.Event()
        self.offer = self._fan_out.offer  # one call less for each message
        self.lose = self._fan_out.lose

    @property
    def name(self) -> str:
        """What status and logs call the tap."""
        return self._options.name

    def tap_status(self) -> dict[str, Any]:
        """One entry of `taps` in `dnsproxy status --json`: the sums over all collectors that ever were here."""
        return {
            "name": self.name,
            "socket": self._url,
            "state": self.state,
            **self._fan_out.books(),
            "connects": self.connects,
            "last_error": self.last_error,
            "collectors": self.present,
        }

    async def _serve_one(self, collector: OneSession, *, is_counted: bool = True) -> None:
        """From now on, before anything is waited for, it gets every frame; returns when it is gone."""
        self._collectors.add(collector)
        self._fan_out.add(collector)
        self.present += is_counted
        try:
            await collector.run()
        finally:
            self.present -= is_counted
            self._fan_out.remove(collector)
            self._collectors.discard(collector)
            self._note(collector.last_error)

    def configure(self, options: OutputOptions) -> None:
        """Serve whoever comes from now on in another way; the address stays. Never waits; the same again is fine."""
        raise NotImplementedError

    def _note(self, error: str | None) -> None:
        self.last_error = error or self.last_error

    def _finish(self) -> None:
        """The last line; nothing is offered any more that anybody would get."""
        self.state = CLOSED
        books = self._fan_out.books()
        totals.info(
            "tap %s: offered=%d sent=%d queued=%d dropped=%d",
            *(self.name, books["offered"], books["sent"], books["queued"], sum(books["dropped"].values())),
        )
        self._ended.set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.state}, {len(self._collectors)} collectors>"


async def drain_all(collectors: Iterable[OneSession], deadline_s: float) -> None:
    """Give each what is its own within the deadline, then STOP; all at once."""
    async with trio.open_nursery() as nursery:
        for collector in collectors:
            nursery.start_soon(collector.drain, deadline_s)
