"""The clients of a small service: each bounded in time, all of them in number, whatever they do or leave undone."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

log = logging.getLogger(__name__)

S = TypeVar("S", bound=trio.abc.Stream)


class Crowd:
    """Lets in everybody; when there are more than `most`, whoever came first has to go."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._open: dict[trio.CancelScope, None] = {}

    async def serve(self, stream: S, converse: Callable[[S], Awaitable[None]]) -> None:
        """Have one client's conversation, and close."""
        with trio.move_on_after(self._seconds) as scope:
            self._make_room()
            self._open[scope] = None
            try:
                await converse(stream)
            except trio.BrokenResourceError:
                log.debug("a client went away")
            finally:
                del self._open[scope]
        await trio.aclose_forcefully(stream)

    def _make_room(self) -> None:
        waiting = [scope for scope in self._open if not scope.cancel_called]
        if len(waiting) >= self._most:
            waiting[0].cancel()
