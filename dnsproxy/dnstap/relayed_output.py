"""A file tap of one worker among several: batches of frames go to the supervisor, which writes one file for all."""

from __future__ import annotations

import os
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from dnsproxy.dnstap.backlog import MAX_FRAME, SPOOL_FULL
from dnsproxy.dnstap.output import CHUNK_OCTETS, CONNECTED, DOWN, Output, OutputOptions

MAX_BATCH: Final = CHUNK_OCTETS + MAX_FRAME  # octets: the last frame may go beyond
BATCH: Final = struct.Struct("!I")  # octets of whole frames that follow; 0: this worker writes no more
ANSWER: Final = struct.Struct("!II")  # octets of whole frames that are in the file; errno, 0 when all of them are

Relay = Callable[[OutputOptions], Awaitable[trio.SocketStream]]


class RelayedOutput(Output):
    """Frames are queued here until they are in the file, so that these books are the file's."""

    def __init__(self, options: OutputOptions, relay: Relay) -> None:
        super().__init__(options)
        self.offer = options.rotation.guarded(self.offer)
        self._options = options
        self._relay = relay

    async def _session(self) -> None:
        if not self._is_done:
            async with await self._relay(self._options) as stream:
                await self._write(stream)

    async def _write(self, stream: trio.SocketStream) -> None:
        await self._take_answer(stream)
        if self.state != DOWN or not self._backlog.queued:  # else the disk may be as full as it was
            self._opened()
        while not self._is_done:
            await self._wait_for_frames()
            self._tend()
            if await self._write_batch(stream) and self.state != CONNECTED:
                self._opened()
        await stream.send_all(BATCH.pack(0))

    async def _write_batch(self, stream: trio.SocketStream) -> bool:
        """Have the supervisor write what waits; whether there was anything."""
        batch = self._backlog.take(CHUNK_OCTETS)
        if not batch:
            return False
        await stream.send_all(BATCH.pack(len(batch)) + batch)
        await self._take_answer(stream)
        return True

    async def _take_answer(self, stream: trio.SocketStream) -> None:
        answer = b""
        while len(answer) < ANSWER.size:
            part = await stream.receive_some(ANSWER.size - len(answer))
            if not part:
                raise ConnectionError("the supervisor writes no more")
            answer += part
        written, error = ANSWER.unpack(answer)
        if written:
            self._backlog.written(written)
        if error:
            raise OSError(error, os.strerror(error))

    def _lost(self, exc: Exception) -> None:
        super()._lost(exc)
        self._backlog.full_reason = SPOOL_FULL
