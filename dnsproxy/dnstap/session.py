"""A Frame Streams session as the sending side leads it: the handshake, an eye on the collector, STOP and FINISH."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from dnsproxy.dnstap.connection import Connection
from dnsproxy.dnstap.framestreams import ProtocolError, State, Writer

HANDSHAKE_S: Final = 5.0  # golang-dnstap and Vector may never answer a READY
FINISH_S: Final = 2.0  # for FINISH after STOP; golang-dnstap sends it and stays


async def shake_hands(connection: Connection, stream: Writer) -> None:
    """READY, ACCEPT, START; OSError or ProtocolError when the collector will not."""
    await connection.send_all(await accepted(connection, stream))


async def accepted(connection: Connection, stream: Writer) -> bytes:
    """READY and ACCEPT; returns the START that the collector now waits for."""
    with deadline(HANDSHAKE_S, "no ACCEPT"):
        await connection.send_all(stream.start())
        start = b""
        while stream.state is not State.OPEN:
            data = await connection.receive()
            if not data:
                raise ConnectionError("closed before ACCEPT")
            start += stream.receive_data(data)
    return start


async def write_and_watch(connection: Connection, stream: Writer, write: Callable[[], Awaitable[None]]) -> None:
    """Run `write` for as long as the collector is there; raises what ended it before STOP was said."""
    errors: list[Exception] = []
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            try:
                await _listen(connection, stream)
            except (OSError, ProtocolError) as exc:
                errors.append(exc)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        try:
            await write()
        except OSError as exc:
            errors.append(exc)
        nursery.cancel_scope.cancel()
    if errors and stream.state is State.OPEN:
        raise errors[0]


async def finish(connection: Connection, stream: Writer) -> None:
    """The end of what `write_and_watch` runs: STOP, and a moment for FINISH, which whoever watches hears."""
    await connection.send_all(stream.stop())
    await trio.sleep(FINISH_S)  # cut short by FINISH, or by the collector's close


async def _listen(connection: Connection, stream: Writer) -> None:
    """Until FINISH; anything else that the collector does is an error."""
    while stream.state is not State.CLOSED:
        data = await connection.receive()
        if not data:
            raise ConnectionError("closed by the collector")
        stream.receive_data(data)


@contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """A limit for a whole step; TimeoutError says what did not happen."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TimeoutError(f"{what} within {seconds:g} s")


def reason_of(exc: BaseException) -> str:
    """Why a session failed, in few words: of several attempts to connect, the first one's."""
    if isinstance(exc.__cause__, BaseExceptionGroup):
        return reason_of(exc.__cause__.exceptions[0])
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"certificate: {exc.verify_message}"
    if isinstance(exc, ssl.SSLError):
        return exc.reason.replace("_", " ").lower() if exc.reason else str(exc)
    if isinstance(exc, OSError) and exc.errno and exc.errno > 0:
        return os.strerror(exc.errno)  # trio's own text names the address once more
    if isinstance(exc, socket.gaierror) and exc.strerror:
        return exc.strerror  # its number is the resolver's own
    return str(exc) or type(exc).__name__
