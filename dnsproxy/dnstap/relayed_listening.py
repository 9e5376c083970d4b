"""A tap that collectors dial, in one worker among several: the supervisor lets them in, their queues are here."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import trio

from dnsproxy.dnstap.listening_socket import ListenError
from dnsproxy.dnstap.listening_tap import ListeningTap, OneSession
from dnsproxy.dnstap.output import CHUNK_OCTETS, CONNECTED, DOWN, OutputOptions, log
from dnsproxy.dnstap.relay_records import (
    Kind,
    Record,
    RecordError,
    RecordStream,
    described,
    receive_first,
)

ANSWER_S: Final = 5.0  # for the supervisor to listen; it does nothing that takes longer than a moment
CAME: Final = (Kind.CAME, Kind.CAME_COUNTED, Kind.CAME_ADOPTED)
END_S: Final = 1.0  # for it to take the last record

# given a description of the tap, a connection on which the supervisor answers; OSError when there is none
Listen = Callable[[dict[str, Any]], socket.socket]


class RelayedListeningOutput(ListeningTap):
    """Listens when it is made, or ListenError.

    A collector's frames are queued here until they have left the supervisor: the workers' books together are the tap's.
    """

    def __init__(self, options: OutputOptions, listen: Listen) -> None:
        sock, url = _request(options, listen)
        super().__init__(options, url)
        self._stream = RecordStream(sock)
        self._by_number: dict[int, RelayedCollector] = {}
        self._scope = trio.CancelScope()
        self._parted = trio.Event()  # the supervisor has said its last

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the collectors that the supervisor tells of, until `drain` is called."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send)
                    task_status.started()
                    await self._hear_all(nursery)
        finally:
            self.close()
            self._finish()

    async def drain(self, deadline_s: float) -> None:
        """Give the collectors what is theirs within the deadline, and end `run`."""
        with trio.move_on_after(deadline_s):
            async with trio.open_nursery() as nursery:
                for collector in self._collectors:
                    nursery.start_soon(collector.wind_up)
        self._stream.put(Record(Kind.END), last=True)
        with trio.move_on_after(END_S):
            await self._parted.wait()  # until then more may turn out to have been written
        self._scope.cancel()
        await self._ended.wait()

    def close(self) -> None:
        """Let go of the supervisor: the end of an output that never ran."""
        self._stream.close()

    def configure(self, options: OutputOptions) -> None:
        """As for any; the supervisor is told."""
        if options != self._options:
            self._options = options
            self._stream.put(Record(Kind.OPTIONS, payload=json.dumps(described(options)).encode()))

    async def _send(self) -> None:
        try:
            await self._stream.send_all()
        except trio.BrokenResourceError:
            pass  # whoever hears notices too, and says why

    async def _hear_all(self, nursery: trio.Nursery) -> None:
        try:
            while True:
                for record in await self._stream.receive():
                    self._hear(record, nursery)
        except RecordError as exc:
            if not self._parted.is_set():
                self._lose_supervisor(exc)
        self._parted.set()
        await trio.sleep_forever()

    def _lose_supervisor(self, exc: RecordError) -> None:
        self.state, self.last_error = DOWN, f"the supervisor listens no more: {exc}"
        log.warning("tap %s down: %s", self.name, self.last_error)
        for collector in self._by_number.values():
            collector.leave(self.last_error)

    def _hear(self, record: Record, nursery: trio.Nursery) -> None:
        collector = self._by_number.get(record.collector)
        if record.kind in CAME:
            collector = RelayedCollector(self._options, record.collector, record.text, self._stream)
            self._by_number[record.collector] = collector
            nursery.start_soon(self._serve, collector, record.kind)
        elif record.kind == Kind.FAILED:
            self._note(record.text)
        elif record.kind == Kind.END:
            self._parted.set()
        elif collector is not None and record.kind == Kind.WRITTEN:
            collector.written(record.number)
        elif collector is not None and record.kind == Kind.LEFT:
            collector.leave(record.text)

    async def _serve(self, collector: RelayedCollector, kind: int) -> None:
        self.connects += kind == Kind.CAME_COUNTED
        await self._serve_one(collector, is_counted=kind != Kind.CAME)
        del self._by_number[collector.number]


class RelayedCollector(OneSession):
    """This worker's share of a collector: what it is offered here, and what of it has left."""

    def __init__(self, options: OutputOptions, number: int, peer: str, stream: RecordStream) -> None:
        super().__init__(replace(options, name=f"{options.name} ({peer})"))
        self.number = number
        self.state = CONNECTED
        self._stream = stream
        self._unwritten = 0
        self._progress = trio.Event()

    def written(self, octets: int) -> None:
        """So many octets more of the batch have left; RecordError if there were not so many."""
        if octets > self._unwritten:
            raise RecordError(f"{octets} octets written of {self._unwritten}")
        self._backlog.written(octets)
        self._unwritten -= octets
        self._progress.set()

    def leave(self, reason: str | None) -> None:
        """It is gone: what it did not get is counted."""
        self.last_error = reason
        self.state = DOWN
        self._scope.cancel()

    async def _session(self) -> None:
        self._stream.put(Record(Kind.OFFERING, self.number))
        while not self._is_done:
            await self._wait_for_frames()
            batch = self._backlog.take(CHUNK_OCTETS)
            if batch:
                self._unwritten = len(batch)
                self._stream.put(Record(Kind.BATCH, self.number, batch))
                await self._until_written()

    async def _until_written(self) -> None:
        while self._unwritten:
            self._progress = trio.Event()
            await self._progress.wait()


def _request(options: OutputOptions, listen: Listen) -> tuple[socket.socket, str]:
    """The connection to the supervisor, and where it listens."""
    where = f"cannot listen on {options.destination}"
    try:
        sock = listen(described(options))
    except OSError as exc:
        raise ListenError(f"{where}: {exc.strerror}") from exc
    try:
        sock.settimeout(ANSWER_S)
        answer = receive_first(sock)
    except (OSError, RecordError) as exc:
        sock.close()
        raise ListenError(f"{where}: the supervisor does not answer") from exc
    if answer.kind != Kind.LISTENING:
        sock.close()
        raise ListenError(answer.text)
    return sock, answer.text
