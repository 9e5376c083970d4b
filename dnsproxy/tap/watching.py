"""Sources for commands that look into every message and show something again and again: `top` and `trace`."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterable
from typing import Final

import trio

from dnsproxy.tap.damage import Damages, tell
from dnsproxy.tap.decoding import decoded
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.live import heed_signals
from dnsproxy.tap.runs import Run
from dnsproxy.tap.sources import Sources

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COUNTING: Final = (signal.SIGUSR1, signal.SIGUSR2)


class Watcher:
    """A consumer that hands on frames at once; producers wait for it."""

    is_full = False

    def __init__(self, see: Callable[[list[TapFrame]], None]) -> None:
        self._see = see

    def take(self, run: Run, damages: Damages) -> None:
        """As a consumer's."""
        self._see(decoded(run, damages))

    async def wait_for_room(self) -> None:
        """As a consumer's; there is always room."""

    async def flush(self) -> None:
        """As a consumer's; nothing is kept."""


async def watch(
    options: argparse.Namespace,
    see: Callable[[list[TapFrame]], None],
    tick: Callable[[int], None],
    tick_s: float,
    ending: Iterable[signal.Signals] = ENDING,
) -> signal.Signals:
    """Show `see` every frame, and tell `tick` in between how much damage there was, until a signal; which one it is.

    SIGUSR1 and SIGUSR2 have the counters told unless they are among those that end it.
    """
    ended: list[signal.Signals] = []
    with Sources(options, Watcher(see)) as sources:

        def stop_on(number: signal.Signals) -> Callable[[], None]:
            def stop() -> None:
                ended.append(number)
                sources.stop()

            return stop

        def count() -> None:
            tell(sources.producers.summary())

        async def go_on_ticking() -> None:
            while True:
                await trio.sleep(tick_s)
                tick(sources.producers.damage.total())

        async with trio.open_nursery() as nursery:
            actions = dict.fromkeys(COUNTING, count) | {number: stop_on(number) for number in ending}
            await nursery.start(heed_signals, actions)
            nursery.start_soon(go_on_ticking)
            await sources.run()
            nursery.cancel_scope.cancel()
    return ended[0]
