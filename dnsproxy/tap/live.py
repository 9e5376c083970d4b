"""What commands have in common that go on until a signal: a trio loop, signals as calls, one error at the end."""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn

import trio

from dnsproxy.tap.damage import tell
from dnsproxy.tap.errors import Failure

ENDING: Final = (signal.SIGINT, signal.SIGTERM)


def run_live(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main` under trio; returns its status, or raises the one error that ended it."""
    _tell_warnings()
    try:
        return trio.run(main)
    except BaseExceptionGroup as group:
        _raise_first(group)


async def heed_signals(
    actions: Mapping[signal.Signals, Callable[[], object]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call what belongs to a signal whenever it comes; a SIGHUP that our parent has us ignore, as nohup does, stays so.

    Whoever asks for the end twice means at once: Failure.
    """
    heard = [number for number in actions if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    is_ending = False
    with trio.open_signal_receiver(*heard) as received:
        task_status.started()
        async for number in received:
            if number in ENDING and is_ending:
                raise Failure("ended before everything was done")
            is_ending = is_ending or number in ENDING
            actions[signal.Signals(number)]()


def _raise_first(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    raise error from group


def _tell_warnings() -> None:
    log = logging.getLogger("dnsproxy")
    if not any(isinstance(handler, _Teller) for handler in log.handlers):
        log.addHandler(_Teller(logging.WARNING))
        log.propagate = False


class _Teller(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(record.getMessage())
