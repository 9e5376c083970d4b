"""A process to be killed, which sends what is in a spool to a collector, or fills one.

Arguments: `send` or `fill`, the collector's socket, the folder, and `counted` or `singly`.
"""

from __future__ import annotations

import sys

import trio

from dnsproxy.dnstap import spool_position
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.socket_output import SocketOutput
from dnsproxy.dnstap.spool import SpoolOptions

QUEUE = 50


async def run(mode: str, socket: str, folder: str) -> None:
    destination = Destination("unix", path=socket)
    options = OutputOptions("tap", destination, TlsOptions(), QUEUE, 1 << 20, spool=SpoolOptions(folder))
    output = SocketOutput(options)
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        if mode == "fill":
            await fill(output)
        else:
            while output.tap_status()["queued"]:  # noqa: ASYNC110  what is tested has no event for it
                await trio.sleep(0.001)
        await output.drain(5)


async def fill(output: SocketOutput) -> None:
    """Offer numbers for ever, and say how far it has got."""
    number = 0
    while True:
        for _ in range(100):
            output.offer(data_frame(b"%d" % number))
            number += 1
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        await trio.sleep(0.005)


if __name__ == "__main__":
    mode, socket, folder, how = sys.argv[1:]
    spool_position.IS_COUNTED_BY_KERNEL &= how == "counted"  # type: ignore[misc]
    trio.run(run, mode, socket, folder)
