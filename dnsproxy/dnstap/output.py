"""A tap's way out: a queue that never waits, a task that writes it, sessions that come and go, books that balance."""

from __future__ import annotations

import logging
import os
import random
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from dnsproxy.dnstap.backlog import QUEUE_FULL, Backlog
from dnsproxy.dnstap.connection import Connection, connect
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import ProtocolError, State, Writer

CONNECT_S: Final = 5.0  # a host that swallows packets; name look-up and TLS handshake included
HANDSHAKE_S: Final = 5.0  # golang-dnstap and Vector may never answer a READY
FINISH_S: Final = 2.0  # for FINISH after STOP; golang-dnstap sends it and stays
ABORT_S: Final = 1.0  # for a write that cannot be cancelled, past the deadline
RECONNECT_MIN_S: Final = 0.1
RECONNECT_MAX_S: Final = 1.8  # a collector that comes back is found within 2 s
FLUSH_S: Final = 0.05  # a message waits this long for others: 20 wake-ups a second at most when little happens
WAKE_FRAMES: Final = 1024  # or until there are so many: at 100 000 a second a nap of 50 ms overflows a queue
CHUNK_OCTETS: Final = 256 * 1024  # written at once; larger ones are faster by nothing that can be measured
TEND_S: Final = 1.0  # ages and drop episodes are looked at so often while there are any

CONNECTING, CONNECTED, DOWN, CLOSED = "connecting", "connected", "down", "closed"

log = logging.getLogger("dnsproxy")
totals = logging.getLogger("dnsproxy.totals")  # its one line at the end; a worker's supervisor writes it for all


@dataclass(frozen=True)
class OutputOptions:
    """What makes two outputs the same one: taps that agree in all of it share a connection across reloads."""

    name: str
    destination: Destination
    tls: TlsOptions
    queue: int
    queue_octets: int


class Output:
    """Writes what `offer` takes, in order, in one session after another; subclasses say what a session is.

    `run` is the task; `drain` ends it: what is queued goes out within a deadline, and what cannot is counted.
    """

    def __init__(self, options: OutputOptions) -> None:
        self.name = options.name
        self.destination = options.destination
        self.state = CONNECTING
        self.connects = 0
        self.last_error: str | None = None
        self._backlog = Backlog(options.queue, options.queue_octets, trio.current_time, self._wake)
        self._wake_frames = min(WAKE_FRAMES, max(options.queue // 2, 1))
        self._woken = trio.Event()
        self._stopping = trio.Event()
        self._ended = trio.Event()
        self._scope = trio.CancelScope()
        self.offer = self._backlog.offer  # one call less for each message

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, write, and begin again, until `drain` is called."""
        self._backlog.mark(trio.current_time())
        task_status.started()
        backoff = RECONNECT_MIN_S
        try:
            with self._scope:
                while True:
                    began = trio.current_time()
                    worked = await self._attempt()
                    if self._stopping.is_set() and not worked:
                        break
                    if trio.current_time() - began > RECONNECT_MAX_S:
                        backoff = RECONNECT_MIN_S  # it worked for a while, or took its time to fail
                    await self._pause(backoff * random.uniform(0.5, 1))  # noqa: S311
                    backoff = min(2 * backoff, RECONNECT_MAX_S)
        finally:
            self._close()
            self._release()

    async def drain(self, deadline_s: float) -> None:
        """Write what is queued, within the deadline, end the stream in good order, and end `run`."""
        self._stopping.set()
        self._wake()
        with trio.move_on_after(deadline_s):
            await self._ended.wait()
        self._scope.cancel()
        with trio.move_on_after(ABORT_S):
            await self._ended.wait()
        self._close()  # `run` never ran, or hangs in a disk

    def tap_status(self) -> dict[str, Any]:
        """One entry of `taps` in `dnsproxy status --json`."""
        backlog = self._backlog
        return {
            "name": self.name,
            "socket": str(self.destination),
            "state": self.state,
            "offered": backlog.offered,
            "sent": backlog.sent,
            "queued": backlog.queued,
            "dropped": dict(backlog.dropped),
            "bytes": backlog.sent_octets,
            "connects": self.connects,
            "last_error": self.last_error,
            "oldest_queued_s": round(backlog.oldest_s(trio.current_time()), 3),
        }

    # sessions

    async def _session(self) -> None:
        """Open, call `_opened`, write until `drain`, close in good order; any exception ends it otherwise."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of what a session left open."""

    async def _attempt(self) -> bool:
        """One session; whether it got as far as writing and was then lost."""
        connects = self.connects
        try:
            await self._session()
        except Exception as exc:  # noqa: BLE001  whatever it was, the next session is a new one
            self._lost(exc)
            return self.connects > connects
        finally:
            self._backlog.give_back()
            self._tend()
        return False

    def _opened(self) -> None:
        self.connects += 1
        self._backlog.full_reason = QUEUE_FULL
        if self.state != CONNECTED:
            self.state = CONNECTED
            log.info("tap %s connected", self.name)

    def _lost(self, exc: Exception) -> None:
        self.last_error = _reason(exc)
        if self.state != DOWN:
            self.state = DOWN
            log.warning("tap %s down: %s", self.name, self.last_error)

    def _close(self) -> None:
        if self.state == CLOSED:
            return
        self.state = CLOSED
        backlog = self._backlog
        backlog.close()
        if backlog.episode:
            log.warning("tap %s dropped %s", self.name, backlog.episode)
        dropped = sum(backlog.dropped.values())
        totals.info(
            "tap %s: offered=%d sent=%d queued=%d dropped=%d",
            *(self.name, backlog.offered, backlog.sent, backlog.queued, dropped),
        )
        self._ended.set()

    # waiting

    async def _pause(self, seconds: float) -> None:
        """Between attempts; the end cuts the first pause short, then one more attempt is made."""
        if self._stopping.is_set():
            await trio.sleep(RECONNECT_MIN_S)
        with trio.move_on_after(seconds):
            await self._stopping.wait()

    @property
    def _is_done(self) -> bool:
        return self._stopping.is_set() and not self._backlog.queued

    def _wake(self) -> None:
        self._woken.set()

    async def _wait_for_frames(self) -> None:
        """Until there is something to write, and a little longer for more to come with it."""
        while not self._backlog.queued and not self._stopping.is_set():
            with trio.move_on_after(TEND_S if self._backlog.episode else float("inf")):
                await self._wait_for(1)
            self._tend()
        with trio.move_on_after(FLUSH_S):
            await self._wait_for(self._wake_frames)

    async def _wait_for(self, frames: int) -> None:
        self._woken = trio.Event()
        if self._backlog.is_due(frames) or self._stopping.is_set():
            await trio.lowlevel.checkpoint()
            return
        self._backlog.wake_at(frames)
        await self._woken.wait()

    def _tend(self) -> None:
        """Keep track of ages, and tell of drops once they are over."""
        now = trio.current_time()
        self._backlog.mark(now)
        episode = self._backlog.end_episode(now)
        if episode:
            log.warning("tap %s dropped %s", self.name, episode)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.state}, {self._backlog.queued} queued>"


class SocketOutput(Output):
    """To a collector, over a bidirectional Frame Streams connection that is watched while nothing is sent."""

    def __init__(self, options: OutputOptions) -> None:
        super().__init__(options)
        self._tls = options.tls
        if options.tls.skip_verify:
            log.warning("tap %s does not verify its collector: skip_verify is on", self.name)

    async def _session(self) -> None:
        if self._is_done:
            return
        with _deadline(CONNECT_S, "no connection"):
            connection = await connect(self.destination, self._tls)
        try:
            stream = Writer()
            with _deadline(HANDSHAKE_S, "no ACCEPT"):
                await _shake_hands(connection, stream)
            self._opened()
            await self._write_and_watch(connection, stream)
        finally:
            connection.close()

    async def _write_and_watch(self, connection: Connection, stream: Writer) -> None:
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
                await self._write(connection, stream)
            except OSError as exc:
                errors.append(exc)
            nursery.cancel_scope.cancel()
        if errors and stream.state is State.OPEN:
            raise errors[0]

    async def _write(self, connection: Connection, stream: Writer) -> None:
        while not self._is_done:
            await self._wait_for_frames()
            self._tend()
            chunk = memoryview(self._backlog.take(CHUNK_OCTETS))
            while chunk:
                sent = connection.send(chunk)
                if sent:
                    self._backlog.written(sent)
                    chunk = chunk[sent:]
                else:
                    await self._wait_writable(connection)
        await connection.send_all(stream.stop())
        await trio.sleep(FINISH_S)  # cut short by FINISH, or by the collector's close

    async def _wait_writable(self, connection: Connection) -> None:
        with trio.move_on_after(TEND_S):
            await connection.wait_writable()
        self._tend()


async def _shake_hands(connection: Connection, stream: Writer) -> None:
    await connection.send_all(stream.start())
    while stream.state is not State.OPEN:
        data = await connection.receive()
        if not data:
            raise ConnectionError("closed before ACCEPT")
        await connection.send_all(stream.receive_data(data))


async def _listen(connection: Connection, stream: Writer) -> None:
    """Until FINISH; anything else that the collector does is an error."""
    while stream.state is not State.CLOSED:
        data = await connection.receive()
        if not data:
            raise ConnectionError("closed by the collector")
        stream.receive_data(data)


@contextmanager
def _deadline(seconds: float, what: str) -> Iterator[None]:
    """A limit for a whole step; TimeoutError says what did not happen."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TimeoutError(f"{what} within {seconds:g} s")


def _reason(exc: BaseException) -> str:
    """Why, in few words: of several attempts to connect, the first one's."""
    if isinstance(exc.__cause__, BaseExceptionGroup):
        return _reason(exc.__cause__.exceptions[0])
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"certificate: {exc.verify_message}"
    if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError) and exc.errno and exc.errno > 0:
        return os.strerror(exc.errno)  # trio's own text names the address once more
    return str(exc) or type(exc).__name__
