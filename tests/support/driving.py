"""A driver of either form under test: what it drives runs for the length of a block."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from dnsproxy.driver import Driver, EpollDriver
from dnsproxy.flight import Flights

SOON_S = 5.0  # for what happens at once, on a machine that does other things too
FORMS = pytest.mark.parametrize("form", [Driver, EpollDriver])


class Reader:
    """A pump on one end of a pair of datagram sockets: remembers what came, and runs `then` on each."""

    def __init__(self, then: Callable[[bytes], object] = lambda _: None) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.fd = self.ours.fileno()
        self.then = then
        self.seen: list[bytes] = []
        self.writable = 0
        self.moved = trio.Event()

    def fileno(self) -> int:
        return self.fd

    def on_readable(self) -> None:
        octets = self.ours.recv(100)
        self.seen.append(octets)
        self.moved.set()
        self.then(octets)

    def on_writable(self) -> None:
        self.writable += 1
        self.moved.set()

    def fill(self) -> None:
        """Send until the kernel takes no more."""
        try:
            while True:
                self.ours.send(b"x" * 1000)
        except BlockingIOError:
            return

    def empty(self) -> None:
        """Read at the other end until nothing is left."""
        try:
            while True:
                self.theirs.recv(2000)
        except BlockingIOError:
            return

    async def wait(self) -> None:
        """Until something has happened; then wait for the next."""
        with trio.fail_after(SOON_S):
            await self.moved.wait()
        self.moved = trio.Event()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@asynccontextmanager
async def driving(form: type[Driver], *pumps: Reader) -> AsyncIterator[tuple[Driver, Flights]]:
    flights = Flights()
    driver = form(flights)
    for pump in pumps:
        driver.add(pump)
    async with trio.open_nursery() as nursery:
        flights.nursery = nursery
        await nursery.start(driver.run)
        yield driver, flights
        nursery.cancel_scope.cancel()
