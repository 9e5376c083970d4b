"""All producers that are connected: so many at once, none waiting for another, and what came from them in numbers."""

from __future__ import annotations

from collections import Counter

import trio

from dnsproxy.dnstap.connection import Connection
from dnsproxy.dnstap.server_context import ServerContext
from dnsproxy.tap.damage import KINDS, tell
from dnsproxy.tap.producer import Consumer, Limits, Producer

REFUSALS_QUIET_S = 60.0  # whoever is refused may come again at once, a thousand times a second


class Producers:
    """Serves connections, each in a task of its caller's; of those without START the oldest makes room for others."""

    def __init__(self, limits: Limits, consumer: Consumer) -> None:
        self.connections = 0  # that were taken
        self.refused = 0
        self._limits = limits
        self._consumer = consumer
        self._present: dict[Producer, None] = {}
        self._frames = self._octets = 0  # of those that are gone
        self._damage: Counter[str] = Counter()
        self._quiet_until = float("-inf")
        self._is_stopped = False

    async def serve(self, connection: Connection, name: str, peer: str = "", tls: ServerContext | None = None) -> bool:
        """Until the connection is over; whether it came as far as START. One too many is closed at once."""
        if not self._has_room():
            self._refuse(name)
            connection.close()
            return False
        producer = Producer(connection, name, self._limits, self._consumer, peer)
        self.connections += 1
        self._present[producer] = None
        try:
            if self._is_stopped:
                producer.stop()
            await producer.serve(tls)
        finally:
            del self._present[producer]
            self._add(producer)
        return producer.has_started

    def stop(self) -> None:
        """Take what has been sent until now, and end all connections."""
        self._is_stopped = True
        for producer in self._present:
            producer.stop()

    @property
    def damage(self) -> Counter[str]:
        """How often there was damage, by kind."""
        return sum((each.damages.counts for each in self._present), self._damage)

    def summary(self) -> str:
        """`2 connections (1 open), 12 frames, 345 octets, 1 damaged (truncated 1)`."""
        present = list(self._present)
        frames = self._frames + sum(each.damages.frames for each in present)
        octets = self._octets + sum(each.received for each in present)
        damage = self.damage
        kinds = ", ".join(f"{kind} {damage[kind]}" for kind in KINDS if damage[kind])
        line = f"{self.connections} connections ({len(present)} now), {frames} frames, {octets} octets"
        line += f", {damage.total()} damaged" + (f" ({kinds})" if kinds else "")
        return line + (f", {self.refused} connections refused" if self.refused else "")

    def _has_room(self) -> bool:
        if len(self._present) < self._limits.max_clients:
            return True
        newcomers = [each for each in self._present if not (each.has_started or each.is_leaving)]
        if newcomers and len(self._present) < 2 * self._limits.max_clients:
            newcomers[0].make_room()
            return True
        return False

    def _refuse(self, name: str) -> None:
        self.refused += 1
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + REFUSALS_QUIET_S
            tell(f"{name}: refused, there are {self._limits.max_clients} connections")

    def _add(self, producer: Producer) -> None:
        self._frames += producer.damages.frames
        self._octets += producer.received
        self._damage += producer.damages.counts

    def __repr__(self) -> str:
        return f"<Producers {self.summary()}>"
