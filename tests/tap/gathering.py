"""Sources inside the test's own trio loop, with a consumer that gathers what comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from dnsproxy.dnstap.destination import Destination
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.tap.common import Parser
from dnsproxy.tap.damage import Damages
from dnsproxy.tap.runs import Run
from dnsproxy.tap.sources import Sources, add_sources
from dnsproxy.tap.trust import add_trust
from tests.dnstap import dialer
from tests.tap.frames import START, STOP
from tests.tap.running import ACCEPT, READY

_dialled: list[trio.SocketStream] = []  # closed with the sources


class Gathered:
    """A consumer; `flushing` cleared means that frames are not yet where they belong."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.streams: list[str] = []  # of each run
        self.is_full = False
        self.room = trio.Event()
        self.flushing = trio.Event()
        self.flushing.set()

    def take(self, run: Run, damages: Damages) -> None:
        self.payloads += run.payloads()
        self.streams.append(damages.stream)

    async def wait_for_room(self) -> None:
        await self.room.wait()

    async def flush(self) -> None:
        await self.flushing.wait()


@asynccontextmanager
async def gathering(
    *arguments: str | Path, consumer: Gathered | None = None
) -> AsyncIterator[tuple[Gathered, Sources]]:
    """What comes to the sources of these options; they are stopped at the end of the block."""
    parser = Parser("test", "")
    add_sources(parser)
    add_trust(parser)
    gathered = consumer or Gathered()
    with Sources(parser.parse_args(list(map(str, arguments))), gathered) as sources:
        async with trio.open_nursery() as nursery:
            await nursery.start(sources.run)
            yield gathered, sources
            sources.stop()
    while _dialled:
        await trio.aclose_forcefully(_dialled.pop())


def url_of(sources: Sources, number: int = 0) -> Destination:
    """Where one of them listens."""
    name = str(sources).split()[number]
    return Destination.from_toml(name.replace("unix:", "unix://"))


async def dial(url: Destination) -> trio.SocketStream:
    """A bare connection."""
    stream = await dialer.dial(url)
    _dialled.append(stream)
    return stream


async def started(url: Destination, *, bidirectional: bool = True) -> trio.SocketStream:
    """A producer's connection behind START."""
    stream = await dial(url)
    if bidirectional:
        await stream.send_all(READY)
        assert await read(stream, len(ACCEPT)) == ACCEPT
    await stream.send_all(START)
    return stream


async def produce(url: Destination, *payloads: bytes) -> bytes:
    """A whole session; what was said to STOP."""
    stream = await started(url)
    await stream.send_all(b"".join(map(data_frame, payloads)) + STOP)
    return await read_all(stream)


async def read(stream: trio.abc.ReceiveStream, octets: int) -> bytes:
    """So many octets."""
    received = b""
    while len(received) < octets and (more := await stream.receive_some(octets - len(received))):
        received += more
    return received


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """To the end, which may be rude."""
    received = b""
    try:
        while more := await stream.receive_some(4096):
            received += more
    except trio.BrokenResourceError:
        pass
    return received
