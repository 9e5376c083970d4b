"""Outputs that dial a collector: run, offered messages, watched and audited."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.output import Output, OutputOptions
from dnsproxy.dnstap.socket_output import SocketOutput
from tests.dnstap.waiting import until

TCP = Destination("tcp", host="127.0.0.1")
NO_TLS = TlsOptions()


@asynccontextmanager
async def running(
    destination: Destination, tls: TlsOptions = NO_TLS, *, queue: int = 10_000, drain_s: float = 5.0, **options: Any
) -> AsyncIterator[SocketOutput]:
    """An output that is drained at the end of the block."""
    output = SocketOutput(OutputOptions("tap", destination, tls, queue, 1 << 26, **options))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        yield output
        await output.drain(drain_s)
    check_books(output)


def check_books(output: Output) -> dict[str, Any]:
    """Its status, in which everything that was offered is accounted for."""
    status = output.tap_status()
    assert status["offered"] == status["sent"] + status["queued"] + sum(status["dropped"].values())
    return status


def offer(output: Output, count: int, start: int = 0, size: int = 0) -> list[bytes]:
    """So many messages with numbers from `start` on, and as many further octets as `size` says; gives them."""
    payloads = [b"%d " % number + bytes(size) for number in range(start, start + count)]
    for payload in payloads:
        output.offer(data_frame(payload))
        check_books(output)
    return payloads


async def until_state(output: Output, state: str) -> float:
    """How long it took."""
    return await until(lambda: output.state == state)
