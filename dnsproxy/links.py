"""The links of a chain: plugins' handles, and a look at what those of third parties hand to plugins before them."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from dnsproxy.errors import shown
from dnsproxy.flight import Pending
from dnsproxy.message import Response
from dnsproxy.plugin import Handler, Plugin
from dnsproxy.wire import QUESTION_START

if TYPE_CHECKING:
    from dnsproxy.message import Query


class NonsenseError(Exception):
    """A plugin gave something that is neither a response nor a coroutine that gives one."""

    def __init__(self, plugin: Plugin, answer: object) -> None:
        super().__init__(f"it gave {shown(answer)}; expected a Response or a coroutine")
        self.plugin = plugin


def handles(plugin: Plugin) -> bool:
    """Whether it does more than pass on."""
    return type(plugin).handle is not Plugin.handle


def link(plugins: Sequence[Plugin], end: Handler) -> Handler:
    """Set each plugin's `next`, leaving out those that only pass on; the first link.

    Whoever asked looks at what the first one gives. Nobody else would know who gave a plugin its nonsense, so that
    third parties' links behind the first are looked at here: 0.15 µs for an answer at once, 0.4 for a coroutine.
    """
    first = next((plugin for plugin in plugins if handles(plugin)), None)
    following = end
    for plugin in reversed(plugins):
        plugin.next = following
        if handles(plugin):
            following = plugin.handle if plugin is first or plugin.is_trusted else _looked_at(plugin)
    return following


def _looked_at(plugin: Plugin) -> Handler:
    handle: Any = plugin.handle

    def look(query: Query) -> Awaitable[Response]:
        answer = handle(query)
        if type(answer) is Response:
            return _sound(plugin, answer)
        if isinstance(answer, Pending):
            return answer
        if isinstance(answer, Coroutine):
            return later(answer)
        raise NonsenseError(plugin, answer)

    async def later(coroutine: Coroutine[Any, Any, Any]) -> Response:
        return _sound(plugin, await coroutine)

    return look


def _sound(plugin: Plugin, answer: Any) -> Response:
    if type(answer) is not Response or type(answer.wire) is not bytes or len(answer.wire) < QUESTION_START:
        raise NonsenseError(plugin, answer)
    return answer
