"""What a plugin is: links of the chain, observers beside it, and taps that take dnstap events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import trio

from dnsproxy.message import Query, Response
from dnsproxy.metric import Metric

if TYPE_CHECKING:
    from dnsproxy.datagram import DatagramReceiver, DatagramSender
    from dnsproxy.dnstap.events import Event
    from dnsproxy.dnstap.recorder import Recorder
    from dnsproxy.dnstap.relayed_listening import Listen
    from dnsproxy.dnstap.relayed_output import Relay
    from dnsproxy.driver import Driver
    from dnsproxy.flight import Flights

Handler = Callable[[Query], Awaitable[Response]]
T = TypeVar("T")


class Stage(IntEnum):
    """Where in the chain a plugin stands unless the file's `order` says otherwise; lower is nearer to the client."""

    OBSERVE = 10
    GUARD = 20
    REWRITE = 30
    LOCAL = 40
    CACHE = 50
    FORWARD = 60


class Server(Protocol):
    """What `bind` is given: the process around the chain."""

    version: str
    workers: int  # processes that share the ports: this one's part of a cache is one in so many
    relay: Relay | None  # with several of them: where file taps write to
    listen: Listen | None  # likewise: what listens for the taps that collectors dial
    flights: Flights
    driver: Driver
    receiver: DatagramReceiver
    sender: DatagramSender

    def lease(self, key: Hashable, factory: Callable[[], T]) -> T:
        """Something that outlives the chain, made by `factory` unless it exists under `key`.

        A leased object with `async run(*, task_status)` runs in the server's nursery until nobody leases it any more;
        with `async drain(deadline_s)` that is awaited first.
        """

    def give_back(self, key: Hashable) -> None:
        """The chain needs what it has leased under `key` no more, though it goes on."""

    def listens_on(self, host: str, port: int, scheme: str | None) -> bool:
        """Whether this chain would get what is sent to that IP address and port (`scheme` None: over any)."""


class Plugin:
    """A link of the chain: answers, changes or passes on. One instance per chain, whatever the number of stanzas."""

    stage: ClassVar[Stage] = Stage.LOCAL
    Config: ClassVar[type]
    many: ClassVar[bool] = False  # whether the file may have several [[name]] stanzas
    shared_at_top: ClassVar[bool] = False  # whether its top-level stanzas serve all [[server]] blocks
    metrics: ClassVar[tuple[Metric, ...]] = ()  # what Prometheus calls the numbers of `status`
    is_trusted: ClassVar[bool] = False  # that it gives nothing but answers: the chain need not look at them
    deadline_s: float | None = None  # how long an answer of this plugin may take; the chain's is the longest
    name: str = ""  # as in the file; set by the chain
    next: Handler  # the rest of the chain; set by it

    def __init__(self, stanzas: Sequence[Any]) -> None:
        self.stanzas = stanzas

    @classmethod
    def check(cls, stanzas: Sequence[Any], context: Any) -> Iterable[Exception]:
        """OptionErrors that only all stanzas of a server together, or its listeners, can show."""
        return ()

    def bind(self, plugins: Sequence[Plugin], server: Server) -> None:
        """Every plugin of the chain exists: find those to work with, by type; lease what outlives this chain."""

    def handle(self, query: Query) -> Awaitable[Response]:
        """Answer, or pass on: a Response, a coroutine that returns one, or what `next` gave.

        A `def` that returns a Response costs least; a coroutine may await `next` and `query.run`, but nothing of trio.
        """
        return self.next(query)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Background work, for as long as the chain lives."""
        task_status.started()

    def status(self) -> dict[str, object] | None:
        """Counters for `dnsproxy status`, under this plugin's name."""
        return None

    def describe(self) -> list[str]:
        """What it does, in lines for the terminal at start."""
        return []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or 'unnamed'}>"


class Observer(Plugin):
    """Watches and never waits: sees every query and every answer, the proxy's own included."""

    stage = Stage.OBSERVE
    wants_times: bool = True  # the kernel's time in `query.received_ns`, 0.2 µs a query, not that of a batch

    def on_query(self, query: Query) -> None:
        """A query has come in."""

    def on_response(self, query: Query, response: Response) -> None:
        """Its answer is about to leave: `response.wire` is exactly what the client gets."""


class Tap:
    """What `forward` looks for among the plugins: anything that takes upstream events."""

    recorder: Recorder | None = None  # set at bind by a tap that is one: it is told of attempts without events

    def wants(self, type: int) -> bool:
        """Whether messages of that type (a number of `dnstap.schema.MessageType`) are wanted at all; asked once."""
        return True

    def forwarder_query(self, event: Event) -> None:
        """A query goes to an upstream."""

    def forwarder_response(self, event: Event) -> None:
        """An upstream's reply has come."""

    def emit(self, event: Event) -> None:
        """A message of some other plugin's own."""
