"""Sends on what producers send: a queue for each destination, none waiting for another, books of what became of it."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.socket_output import SocketOutput
from dnsproxy.tap.damage import Damages
from dnsproxy.tap.producer import Consumer
from dnsproxy.tap.runs import Run

REDIAL_MAX_S = 10.0


class Relay:
    """A consumer that gives every frame to each destination; `run` sends. What a full queue has no room for is lost."""

    is_full = False

    def __init__(
        self, destinations: Sequence[Destination], trust: TlsOptions, queue: int, queue_octets: int, max_frame: int
    ) -> None:
        self._outputs = [
            SocketOutput(
                OutputOptions(
                    str(destination),
                    destination,
                    trust,
                    queue,
                    queue_octets,
                    max_frame=max_frame + 4,
                    redial_max_s=REDIAL_MAX_S,
                )
            )
            for destination in destinations
        ]
        self._offers = [output.offer for output in self._outputs]

    def take(self, run: Run, damages: Damages) -> None:
        """As a consumer's."""
        frames = run.whole_frames()
        for offer in self._offers:
            for frame in frames:
                offer(frame)

    async def wait_for_room(self) -> None:
        """As a consumer's: nobody ever waits."""

    async def flush(self) -> None:
        """As a consumer's: a queue is where a frame belongs."""

    async def run(self) -> None:
        """Until `drain`."""
        async with trio.open_nursery() as nursery:
            for output in self._outputs:
                nursery.start_soon(output.run)

    async def drain(self, deadline_s: float) -> None:
        """Send what is queued, all destinations at once, and end `run`; what cannot be sent in time is lost."""
        async with trio.open_nursery() as nursery:
            for output in self._outputs:
                nursery.start_soon(output.drain, deadline_s)

    @property
    def has_lost(self) -> bool:
        """Whether a frame has not reached every destination."""
        return any(any(output.tap_status()["dropped"].values()) for output in self._outputs)

    def summaries(self) -> list[str]:
        """`tcp://192.0.2.1:6000: offered 9 sent 9 dropped 0` for each destination."""
        return [_summary(output) for output in self._outputs]

    def __repr__(self) -> str:
        return f"<Relay to {len(self._outputs)}>"


class Several:
    """Consumers that are one: each gets everything, and whoever needs room is waited for."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = consumers

    @property
    def is_full(self) -> bool:
        """As a consumer's."""
        return any(consumer.is_full for consumer in self._consumers)

    def take(self, run: Run, damages: Damages) -> None:
        """As a consumer's."""
        for consumer in self._consumers:
            consumer.take(run, damages)

    async def wait_for_room(self) -> None:
        """As a consumer's."""
        for consumer in self._consumers:
            await consumer.wait_for_room()

    async def flush(self) -> None:
        """As a consumer's."""
        for consumer in self._consumers:
            await consumer.flush()


def _summary(output: SocketOutput) -> str:
    status = output.tap_status()
    queued = f" queued {status['queued']}" if status["queued"] else ""
    return (
        f"{output.destination}: offered {status['offered']} sent {status['sent']}{queued}"
        f" dropped {sum(status['dropped'].values())}"
    )
