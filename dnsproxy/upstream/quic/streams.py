"""What may be spoken on the streams of one QUIC connection: queries go out, events come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.events import QuicEvent


class Reply(NamedTuple):
    """A stream has brought a DNS message; `age` is how many seconds that lay in HTTP caches."""

    stream: int
    octets: bytes
    age: int = 0


class Broken(NamedTuple):
    """A stream will bring none; `is_unprocessed` promises that the query was not looked at."""

    stream: int
    why: str
    is_unprocessed: bool = False


Event = Reply | Broken


class Violation(Exception):
    """The peer has broken the protocol: the connection is to be closed with `code`."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Streams(Protocol):
    """One query on each. `no_error` is the code that connections are closed with when all is well."""

    no_error: int

    @property
    def is_going(self) -> bool:
        """Whether the peer takes no more queries on this connection."""

    def ask(self, octets: bytes) -> int:
        """Send a query whose message ID is 0, on a new stream. Only where the peer allows another one."""

    def cancel(self, stream: int) -> None:
        """Nobody wants the reply any more."""

    def received(self, event: QuicEvent) -> list[Event]:
        """What an event means for the queries; Violation when it must not be."""


def abandon(quic: QuicConnection, stream: int, code: int) -> None:
    """Give up both directions of a stream, as far as they are still open."""
    quic.reset_stream(stream, code)
    stop(quic, stream, code)


def stop(quic: QuicConnection, stream: int, code: int) -> None:
    """Want nothing more from a stream."""
    try:
        quic.stop_stream(stream, code)
    except ValueError:
        return  # both ends are done with it
