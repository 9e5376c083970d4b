"""One connection from a producer: its handshake in time, what it sends handed on, FINISH once that is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import trio

from dnsproxy.dnstap.connection import Connection
from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.dnstap.server_context import ServerContext
from dnsproxy.dnstap.session import reason_of
from dnsproxy.tap.damage import Damages
from dnsproxy.tap.receiver import Receiver
from dnsproxy.tap.runs import Run

CHUNK: Final = 256 * 1024  # octets read at once
KEEPALIVE_S: Final = 60.0  # a host that vanished is noticed after twice that
REPLY_S: Final = 5.0  # for frames to be where they belong, and for FINISH; few producers wait longer
LAST_LOOK_S: Final = 0.1  # at the end, for what producers have sent already


@dataclass(frozen=True)
class Limits:
    """What producers may do."""

    max_frame: int = MAX_FRAME
    max_clients: int = 1000
    handshake_s: float = 5.0
    idle_s: float | None = None


class Consumer(Protocol):
    """Where frames go; many connections share it."""

    @property
    def is_full(self) -> bool:
        """Whether nothing should be read for a while."""

    def take(self, run: Run, damages: Damages) -> None:
        """Take whole frames, the connection's damages with them; never waits."""

    async def wait_for_room(self) -> None:
        """Until it `is_full` no more."""

    async def flush(self) -> None:
        """Until everything that was taken is where it belongs."""


class Producer:
    """One connection, whoever has dialled; `name` is the stream's on standard error."""

    def __init__(self, connection: Connection, name: str, limits: Limits, consumer: Consumer, peer: str = "") -> None:
        self.damages = Damages(name)
        self._connection = connection
        self._limits = limits
        self._consumer = consumer
        self._peer = f", from {peer}" if peer else ""
        self._receiver = Receiver(self.damages, limits.max_frame)
        self._making_room = trio.CancelScope()
        self._stopping = trio.CancelScope()

    @property
    def received(self) -> int:
        """Octets."""
        return self._receiver.received

    @property
    def has_started(self) -> bool:
        """Whether it has come as far as START."""
        return self._receiver.has_started

    @property
    def is_leaving(self) -> bool:
        """Whether it was told to make room."""
        return self._making_room.cancel_called

    async def serve(self, tls: ServerContext | None = None) -> None:
        """Until the connection is over, or `stop` was called; closes it."""
        try:
            with self._stopping:
                await self._converse(tls)
            if self._stopping.cancelled_caught and self._receiver.is_open:
                await self._look_once_more()
        except OSError as exc:
            self._receiver.end(f"{reason_of(exc)}{self._peer}")
        finally:
            self._connection.close()
            self.damages.end()

    def stop(self) -> None:
        """Take what has been sent until now, and end."""
        self._stopping.cancel()

    def make_room(self) -> None:
        """End, unless START has come."""
        if not self.has_started:
            self._making_room.cancel()

    async def _converse(self, tls: ServerContext | None) -> None:
        with self._making_room:
            await self._shake_hands(tls)
        if self._making_room.cancelled_caught:
            self._receiver.give_up(f"too slow while others wait{self._peer}")
        while not self._receiver.is_over:
            await self._step()

    async def _shake_hands(self, tls: ServerContext | None) -> None:
        with trio.move_on_after(self._limits.handshake_s) as scope:
            if tls is not None:
                await self._connection.answer_tls(await tls.get("listener"))
            self._connection.keep_alive(KEEPALIVE_S)
            while not (self.has_started or self._receiver.is_over):
                await self._step()
        if scope.cancelled_caught:
            self._receiver.give_up(f"{self._limits.handshake_s:g} s have passed{self._peer}")

    async def _look_once_more(self) -> None:
        with trio.move_on_after(LAST_LOOK_S):
            while not self._receiver.is_over:
                await self._step()

    async def _step(self) -> None:
        """Read, hand on, and say what is to be said."""
        data = await self._receive()
        if not data:
            return
        for run in self._receiver.receive_data(data):
            self._consumer.take(run, self.damages)
        reply = self._receiver.data_to_send()
        if reply:
            await self._reply(reply)
        elif self._consumer.is_full:
            await self._consumer.wait_for_room()

    async def _receive(self) -> bytes:
        """What came; none when nothing more will, or must."""
        idle_s = self._limits.idle_s if self._receiver.is_open else None
        if idle_s is None:
            data = await self._connection.receive(CHUNK)
        else:
            with trio.move_on_after(idle_s) as scope:
                data = await self._connection.receive(CHUNK)
            if scope.cancelled_caught:
                self._receiver.end(f"nothing has come for {idle_s:g} s")
                return b""
        if not data:
            self._receiver.end(f"the connection ended{self._peer}")
        return data

    async def _reply(self, octets: bytes) -> None:
        """ACCEPT at once; FINISH, which the producer takes for a receipt, once there is something to be sure of."""
        with trio.move_on_after(REPLY_S):
            if self._receiver.is_stopped:
                await self._consumer.flush()
            try:
                await self._connection.send_all(octets)
            except OSError:
                if not self._receiver.is_stopped:  # many close behind STOP at once
                    raise

    def __repr__(self) -> str:
        return f"<Producer {self._receiver!r}>"
