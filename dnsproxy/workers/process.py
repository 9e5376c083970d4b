"""A worker's process: serves on the sockets that its supervisor gives it, and does what that says."""

from __future__ import annotations

import ctypes
import dataclasses
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import trio

from dnsproxy import config
from dnsproxy.config import ConfigErrors, Configuration
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.rename import use_process_key
from dnsproxy.server import Server
from dnsproxy.sockets import Place, Sockets, StartError, close_all
from dnsproxy.workers.control import OWN_SIGNALS, Channel, Closed, Message

PR_SET_PDEATHSIG: Final = 1  # prctl(2): the signal that this process gets when its parent dies
LAST_WORDS_S: Final = 1.0  # for the supervisor to take them
LOG_FORMAT: Final = "%(asctime)s %(levelname)s worker {}: %(message)s"

log = logging.getLogger("dnsproxy")


def main(arguments: Sequence[str]) -> int:
    """Serve until the supervisor says stop, or is gone. Arguments: descriptor, number, the supervisor's process ID."""
    descriptor, number, supervisor = map(int, arguments)
    _end_with(supervisor)
    for own in OWN_SIGNALS:
        signal.signal(own, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OWN_SIGNALS)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT.format(number))
    logging.getLogger("dnsproxy.totals").disabled = True
    os.set_inheritable(descriptor, False)
    link = Link(Channel(socket.socket(fileno=descriptor)))
    try:
        trio.run(Worker(link).run)
    except BaseExceptionGroup as group:
        known, others = group.split((StartError, ConfigErrors))
        if known is None or others is not None:
            raise
        link.say_last("failed", {"reason": str(_first(known))})
        return 1
    return 0


def _end_with(supervisor: int) -> None:
    """Be told to stop when the supervisor dies, whatever this process does then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        sys.exit(1)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


class Link:
    """The connection to the supervisor, as trio's tasks use it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._sending = trio.Lock()

    async def receive(self) -> list[Message]:
        """What the supervisor says next; Closed when it is gone."""
        while not (messages := self._channel.receive()):
            await trio.lowlevel.wait_readable(self._channel)
        return messages

    async def tell(self, kind: str, body: dict[str, Any] | None = None, descriptors: Iterable[int] = ()) -> None:
        """Send a message; if the supervisor is gone nothing happens, `receive` will tell."""
        self._channel.put(kind, body, descriptors)
        async with self._sending:
            try:
                self._channel.flush()
                while self._channel.wants_to_write:
                    await trio.lowlevel.wait_writable(self._channel)
                    self._channel.flush()
            except Closed:
                pass

    def tell_at_once(self, kind: str, body: dict[str, Any], descriptors: Iterable[int]) -> None:
        """Send a message without giving way to other tasks; OSError when the supervisor does not take it."""
        self._channel.put(kind, body, descriptors)
        self._channel.sock.settimeout(LAST_WORDS_S)
        try:
            self._channel.flush()
        except Closed as exc:
            raise ConnectionError(0, str(exc)) from exc
        finally:
            self._channel.sock.setblocking(False)

    def say_last(self, kind: str, body: dict[str, Any]) -> None:
        """Send a message without trio, before the process ends."""
        self._channel.put(kind, body)
        self._channel.sock.settimeout(LAST_WORDS_S)
        try:
            self._channel.flush()
        except Closed:
            pass


class Inherited:
    """Sockets that the supervisor has bound; they stand for those that a server would bind itself."""

    def __init__(self) -> None:
        self._given: Sockets = {}

    def take(self, message: Message) -> None:
        """Keep what a message brought."""
        for (scheme, host, port), descriptor in zip(message.body["places"], message.descriptors, strict=True):
            self._given[Place(scheme, host, port)] = socket.socket(fileno=descriptor)

    def open(self, wanted: list[Place], _present: Iterable[Place]) -> Sockets:
        """As `bind_all`: those that are there; the supervisor has said what is in the way of others."""
        return {place: self._given.pop(place) for place in wanted if place in self._given}

    def close(self) -> None:
        """Give up what nobody wanted."""
        close_all(self._given)
        self._given.clear()


class Worker:
    """A server that is led by messages."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._inherited = Inherited()
        self._serving = trio.CancelScope()
        self._server: Server | None = None

    async def run(self) -> None:
        """From the first message to the last; StartError and ConfigErrors say what keeps it from starting."""
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, signals)
                with self._serving:
                    await self._obey_all(nursery)
                if self._server is not None:
                    await self._server.stop()
                    with trio.move_on_after(LAST_WORDS_S):
                        await self._link.tell("stopped", {"status": self._server.snapshot()})
                signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))  # we are ending already
                nursery.cancel_scope.cancel()

    async def _heed(self, signals: AsyncIterator[int]) -> None:
        async for _ in signals:
            self._serving.cancel()

    async def _obey_all(self, nursery: trio.Nursery) -> None:
        try:
            while True:
                for message in await self._link.receive():
                    await self._obey(message, nursery)
        except Closed:
            log.warning("the supervisor is gone: stopping")

    async def _obey(self, message: Message, nursery: trio.Nursery) -> None:
        if message.kind == "sockets":
            self._inherited.take(message)
        elif message.kind == "start":
            await self._start(message.body, nursery)
        elif message.kind == "stop":
            self._serving.cancel()
            await trio.lowlevel.checkpoint()
        elif self._server is not None and message.kind == "reload":
            await self._link.tell("reloaded", {"errors": await self._reload(self._server, message.body)})
        elif self._server is not None and message.kind == "status":
            status = self._server.snapshot()
            await self._link.tell("status", {"number": message.body["number"], "status": status})

    async def _start(self, orders: dict[str, Any], nursery: trio.Nursery) -> None:
        use_process_key(bytes.fromhex(orders["names_key"]))
        server = Server(_configuration(orders), open_sockets=self._inherited.open)
        server.workers = orders["workers"]
        server.relay = self._relay
        server.listen = self._listen
        server.leases.on_ended = lambda thing: nursery.start_soon(self._tell_end, thing)
        server.bind()
        generation = await server.start(nursery)
        self._server = server
        if orders["describe"]:
            generation.describe()
        await self._link.tell("ready")

    async def _reload(self, server: Server, orders: dict[str, Any]) -> list[str]:
        """What is in the way; empty when the new configuration is in service."""
        try:
            await server.replace(_configuration(orders))
        except (ConfigErrors, StartError) as exc:
            return str(exc).splitlines()
        finally:
            self._inherited.close()
        return []

    async def _tell_end(self, thing: Any) -> None:
        if hasattr(thing, "tap_status"):
            await self._link.tell("tap_ended", {"tap": thing.tap_status()})

    async def _relay(self, options: OutputOptions) -> trio.SocketStream:
        """A connection on which the supervisor takes the frames of a file tap."""
        ours, theirs = trio.socket.socketpair()
        rotation = dataclasses.asdict(options.rotation)
        tap = {"key": repr(options), "name": options.name, "path": options.destination.path, "rotation": rotation}
        stream = trio.SocketStream(ours)
        with theirs:
            try:
                await self._link.tell("relay", tap, [theirs.fileno()])
            except trio.Cancelled:
                ours.close()
                raise
        return stream

    def _listen(self, tap: dict[str, Any]) -> socket.socket:
        """A connection on which the supervisor, once it listens for collectors, takes what there is for them."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._link.tell_at_once("listen", tap, [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours


def _configuration(orders: dict[str, Any]) -> Configuration:
    """What the supervisor has read and found valid; the admin socket is its own, and so are the metrics."""
    read = config.parse(orders["text"], orders["file"], dict(orders["ports"]))
    return dataclasses.replace(read, admin=None, metrics=())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
