"""A tap that one process listens for and several feed: what each worker has for a collector is written to it."""

from __future__ import annotations

import json
import logging
import socket
from collections import deque
from functools import partial
from itertools import count
from typing import Final

import trio

from dnsproxy.dnstap.connection import Connection
from dnsproxy.dnstap.framestreams import ProtocolError, Writer
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.reception import Reception
from dnsproxy.dnstap.relay_records import Kind, Record, RecordError, RecordStream, understood, written
from dnsproxy.dnstap.session import FINISH_S, finish, reason_of, write_and_watch

OFFERING_S: Final = 1.0  # for the workers to offer what happens to a collector that came; one may hang

log = logging.getLogger("dnsproxy")


class SharedTap:
    """Listens when it is made, or ListenError; over once a worker has said that it has no more, and none is left.

    Workers that just break off may come back: collectors stay, and the successors are told of them.
    """

    def __init__(self, options: OutputOptions) -> None:
        self._options = options
        self._reception = Reception(options, self._serve, self._note)
        self._workers: dict[RecordStream, None] = {}
        self._collectors: dict[int, _Collector] = {}
        self._numbers = count(1)
        self.is_over = False

    async def run(self) -> None:
        """Until `close`, and until the collectors have had their STOP."""
        await self._reception.run()

    def close(self) -> None:
        """Let nobody in any more, and end every session."""
        if not self.is_over:
            self.is_over = True
            self._reception.close()
            self._end_sessions()

    def reopen(self) -> None:
        """Read certificate and keys again."""
        self._reception.reopen()

    # workers

    async def attend(self, connection: socket.socket) -> None:
        """Do what a worker says, until it has no more to say."""
        worker = RecordStream(connection)
        worker.put(Record(Kind.LISTENING, payload=str(self._reception.url).encode()))
        for collector in self._collectors.values():
            collector.announce(worker)
        self._workers[worker] = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send, worker)
                has_ended = await self._obey_all(worker)
                self._forget(worker)
                if has_ended and not self._workers:
                    self.close()
                worker.put(Record(Kind.END), last=True)
        finally:
            worker.close()

    async def _obey_all(self, worker: RecordStream) -> bool:
        """Whether the worker said that it ends."""
        try:
            while True:
                for record in await worker.receive():
                    if record.kind == Kind.END:
                        return True
                    self._obey(worker, record)
        except RecordError as exc:
            log.debug("tap %s: a worker is gone: %s", self._options.name, exc)
        except (LookupError, TypeError, ValueError) as exc:  # another version, installed since we started
            log.warning("tap %s: a worker speaks no sense: %r", self._options.name, exc)
        return False

    def _obey(self, worker: RecordStream, record: Record) -> None:
        collector = self._collectors.get(record.collector)
        if record.kind == Kind.OPTIONS:
            self._configure(understood(json.loads(record.payload)))
        elif collector is not None and record.kind == Kind.OFFERING:
            collector.is_offered_by(worker)
        elif collector is not None and record.kind == Kind.BATCH:
            collector.take(worker, record.payload)

    def _configure(self, options: OutputOptions) -> None:
        """All workers say so, the first one counts."""
        before, self._options = self._options, options
        if options != before:
            self._reception.configure(options)
        if options.tls != before.tls:
            self._end_sessions()

    def _forget(self, worker: RecordStream) -> None:
        del self._workers[worker]
        for collector in self._collectors.values():
            collector.forget(worker)

    def _note(self, reason: str) -> None:
        for worker in list(self._workers)[:1]:
            worker.put(Record(Kind.FAILED, payload=reason.encode()))

    # collectors

    async def _serve(self, connection: Connection, stream: Writer, start: bytes, peer: str) -> None:
        collector = _Collector(next(self._numbers), peer)
        self._collectors[collector.number] = collector
        for worker in self._workers:
            collector.announce(worker)
        name = f"{self._options.name} ({peer})"
        reason = "the session was ended"
        try:
            with collector.scope:
                await collector.until_offered()
                log.info("tap %s connected", name)
                await connection.send_all(start)
                await write_and_watch(connection, stream, partial(collector.write, connection, stream))
        except (OSError, ProtocolError) as exc:
            reason = reason_of(exc)
            log.info("tap %s gone: %s", name, reason)
        finally:
            del self._collectors[collector.number]
            for worker in self._workers:
                worker.put(Record(Kind.LEFT, collector.number, reason.encode()))

    def _end_sessions(self) -> None:
        for collector in self._collectors.values():
            collector.end()


class _Collector:
    """What there is for a collector: at most one batch from each worker."""

    def __init__(self, number: int, peer: str) -> None:
        self.number = number
        self.scope = trio.CancelScope()
        self._peer = peer
        self._counted_by: RecordStream | None = None
        self._is_counted = False
        self._awaited: set[RecordStream] = set()
        self._answered = trio.Event()
        self._batches: deque[tuple[RecordStream, bytes]] = deque()
        self._woken = trio.Event()
        self._writing: RecordStream | None = None
        self._batch = memoryview(b"")
        self._at = 0
        self._is_ending = False

    # workers

    def announce(self, worker: RecordStream) -> None:
        """Tell a worker of this collector; one of all is the one to count it."""
        kind = Kind.CAME
        if self._counted_by is None:
            kind = Kind.CAME_ADOPTED if self._is_counted else Kind.CAME_COUNTED
            self._counted_by, self._is_counted = worker, True
        self._awaited.add(worker)
        worker.put(Record(kind, self.number, self._peer.encode()))

    def is_offered_by(self, worker: RecordStream) -> None:
        """That worker offers it every frame from now on."""
        self._awaited.discard(worker)
        self._answered.set()

    async def until_offered(self) -> None:
        """Until all workers do that, those that hang aside: then the collector may have its START."""
        with trio.move_on_after(OFFERING_S):
            while self._awaited:
                self._answered = trio.Event()
                await self._answered.wait()

    def forget(self, worker: RecordStream) -> None:
        """The worker has counted what it did not hear of as lost: that is not written any more."""
        self.is_offered_by(worker)
        if self._counted_by is worker:
            self._counted_by = None
        self._batches = deque(each for each in self._batches if each[0] is not worker)
        if self._writing is worker:
            self._batch = self._batch[: frame_end(self._batch, self._at)]

    def take(self, worker: RecordStream, batch: bytes) -> None:
        """More to write."""
        self._batches.append((worker, batch))
        self._woken.set()

    # the connection

    def end(self) -> None:
        """STOP behind what there is, if the collector reads at all."""
        self._is_ending = True
        self._woken.set()
        self.scope.deadline = trio.current_time() + FINISH_S

    async def write(self, connection: Connection, stream: Writer) -> None:
        """Everything that comes, to the end of the stream."""
        while self._batches or not self._is_ending:
            while self._batches:
                await self._write_batch(connection, *self._batches.popleft())
            self._woken = trio.Event()
            if not self._is_ending:
                await self._woken.wait()
        await finish(connection, stream)

    async def _write_batch(self, connection: Connection, worker: RecordStream, batch: bytes) -> None:
        self._writing, self._batch, self._at = worker, memoryview(batch), 0
        while self._at < len(self._batch):
            sent = connection.send(self._batch[self._at :])
            self._at += sent
            if sent:
                worker.put(written(self.number, sent))
            if self._at < len(self._batch) or not connection.is_clear:
                await connection.wait_writable()
        self._writing = None


async def _send(worker: RecordStream) -> None:
    try:
        await worker.send_all()
    except trio.BrokenResourceError:
        pass  # whoever hears the worker notices too


def frame_end(batch: memoryview, at: int) -> int:
    """Where the frame ends that the octet before `at` belongs to; 0 if there is none."""
    end = 0
    while end < at:
        end += 4 + int.from_bytes(batch[end : end + 4], "big")
    return end
