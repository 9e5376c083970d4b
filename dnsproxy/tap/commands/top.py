"""`dnsproxy tap top SOURCE…|FILE…`: what is going on, again at each interval; of files, what was."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from dnsproxy.tap import common
from dnsproxy.tap.choice import Choice, choice_from
from dnsproxy.tap.damage import tell
from dnsproxy.tap.errors import MissingModule, Stopped, WrongUsage
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.inputs import Inputs
from dnsproxy.tap.sources import add_sources
from dnsproxy.tap.standard_output import put
from dnsproxy.tap.trust import add_trust
from dnsproxy.tap.window import Recent, Whole, Window

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

DONE, DAMAGED = 0, 1
COUNTING: Final = (signal.SIGUSR1, signal.SIGUSR2)
PLAIN_WIDTH: Final = 110  # columns where there is no terminal


def add_options(parser: common.Parser) -> None:
    """See `dnsproxy tap top --help`."""
    parser.add_argument("files", metavar="FILE", nargs="*", help="`-` is standard input; several are merged by time")
    add_sources(parser)
    add_trust(parser)
    parser.add_argument(
        "--interval", metavar="TIME", type=common.duration, default=1.0, help="between two pictures (default: 1s)"
    )
    common.add_order(parser)
    common.add_filters(parser)
    common.add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """1 if a file could not be read whole, or had damage; 0 when a signal ends it."""
    if bool(options.files) == bool(options.sources):
        raise WrongUsage("expected either sources (-u, -l, --connect) or files")
    if not options.interval:
        raise WrongUsage("--interval: expected more than 0")
    choose, console = choice_from(options), _console()
    return _top_sources(options, choose, console) if options.sources else _top_files(options, choose, console)


def _console() -> Console:
    try:
        from rich.console import Console
    except ImportError:
        raise MissingModule("top", "rich") from None
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(file=io.StringIO(), width=PLAIN_WIDTH, highlight=False)


class Pictures:
    """Shows a window again and again: in place on a terminal, else one below the other."""

    def __init__(self, console: Console, window: Window, title: str) -> None:
        from rich.live import Live

        self._console = console
        self._window = window
        self._title = title
        self._live = Live(console=console, screen=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """The last one stays."""
        if self._live is not None:
            self._live.stop()
        self._print()

    def show(self) -> None:
        """As it is now."""
        if self._live is not None:
            self._live.update(self._screen(), refresh=True)
        else:
            self._print()

    def _print(self) -> None:
        """Rich ends a program whose output nobody reads any more, with a status of its own."""
        with self._console.capture() as printed:
            self._console.print(self._screen())
        put([printed.get()])

    def _screen(self) -> RenderableType:
        from dnsproxy.tap.screen import screen

        return screen(self._window, self._title, time.time())


def _top_sources(options: argparse.Namespace, choose: Choice, console: Console) -> int:
    from dnsproxy.tap.listening import name_of
    from dnsproxy.tap.live import run_live
    from dnsproxy.tap.watching import watch

    window = Recent(time.monotonic())
    with Pictures(console, window, " ".join(name_of(place.url) for place in options.sources)) as pictures:

        def see(frames: list[TapFrame]) -> None:
            window.add(choose(frames))

        def tick(damaged: int) -> None:
            window.damaged = damaged
            window.turn(time.monotonic())
            pictures.show()

        async def top() -> int:
            await watch(options, see, tick, options.interval)
            return DONE

        return run_live(top)


def _top_files(options: argparse.Namespace, choose: Choice, console: Console) -> int:
    inputs = Inputs(options.files, None, options.max_frame, options.concat)
    window, shown_s = Whole(), time.monotonic()
    for number in COUNTING:
        signal.signal(number, lambda *_: tell(f"{window.frames} frames, {window.damaged} damaged"))
    try:
        with Pictures(console, window, " ".join(Path(file).name for file in options.files)) as pictures:
            for batch in inputs.batches():
                window.add(choose(batch))
                window.damaged = sum(file.damages.total for file in inputs.files)
                if time.monotonic() - shown_s >= options.interval:
                    pictures.show()
                    shown_s = time.monotonic()
    except Stopped:
        return DONE
    return DONE if inputs.is_whole else DAMAGED
