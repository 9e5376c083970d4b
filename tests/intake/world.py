"""The way in and out under test: an observer that keeps what it sees, and a plugin that does what the test says."""

from collections.abc import Awaitable, Callable
from typing import Any

from dnsproxy import config
from dnsproxy.flight import Waiter
from dnsproxy.intake import Intake
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Observer, Plugin
from tests.support.offline import Offline, chain_of

NOERROR, FORMERR, SERVFAIL, REFUSED = 0, 1, 2, 5
STRANGER = "198.51.100.1"
Behaviour = Callable[[Query], Any]


class Behaving(Plugin):
    """Does what the test says."""

    def __init__(self, stanzas: Any) -> None:
        super().__init__(stanzas)
        self.behave: Behaviour = lambda query: query.respond()
        self.asked = 0

    def handle(self, query: Query) -> Awaitable[Response]:
        self.asked += 1
        answer: Awaitable[Response] = self.behave(query)
        return answer


class Watching(Observer):
    """Keeps what it sees, and raises when told to."""

    def __init__(self, stanzas: Any) -> None:
        super().__init__(stanzas)
        self.queries: list[Query] = []
        self.responses: list[Response] = []
        self.error: type[BaseException] | None = None

    def on_query(self, query: Query) -> None:
        self.queries.append(query)
        self._perhaps_raise()

    def on_response(self, query: Query, response: Response) -> None:
        self.responses.append(response)
        self._perhaps_raise()

    def _perhaps_raise(self) -> None:
        if self.error is not None:
            raise self.error


class World(Offline):
    """A chain of a watching plugin and one that behaves as the test says."""

    def __init__(self, **limits: Any) -> None:
        super().__init__()
        self.intake = Intake(self.flights, config.Limits(**limits))
        chain = self.chain = chain_of(Watching, Behaving)
        self.flights.timers.fifo(chain.deadline_s)
        watching, behaving = chain.plugins
        assert isinstance(watching, Watching)
        assert isinstance(behaving, Behaving)
        self.watching, self.plugin = watching, behaving

    def behaves(self, behave: Behaviour) -> None:
        self.plugin.behave = behave


class Waits:
    """Answers each query when told to."""

    def __init__(self) -> None:
        self.waiters: list[Waiter] = []

    async def __call__(self, query: Query) -> Response:
        self.waiters.append(Waiter())
        await self.waiters[-1]
        return query.respond()

    def finish(self) -> None:
        while self.waiters:
            self.waiters.pop().set(None)
