"""One upstream on a scripted network, asked without a chain; and a tap that keeps what it is told."""

from typing import Any, cast

from dnsproxy.address import Address
from dnsproxy.driver import Driver
from dnsproxy.flight import Flights
from dnsproxy.message import Endpoint, Query
from dnsproxy.plugin import Tap
from dnsproxy.shape import shape_of
from dnsproxy.upstream.exchange import Exchange
from dnsproxy.upstream.options import HealthOptions, UpstreamOptions
from dnsproxy.upstream.taps import Taps
from dnsproxy.upstream.udp import UdpSocket
from dnsproxy.upstream.upstream import Upstream
from tests.dnstap.waiting import until
from tests.support.offline import CLIENT, LISTENER, Offline, Script, query

SERVER = "127.0.0.1:5301"
TIMEOUT_S = 2.0
ROOT = (b"\0", ".")
DEFAULT_HEALTH = HealthOptions()


class World(Offline):
    """One upstream, and a way to ask it."""

    def __init__(self, health: HealthOptions = DEFAULT_HEALTH, scheme: str | None = None) -> None:
        super().__init__()
        self.flights.timers.fifo(TIMEOUT_S)
        options = UpstreamOptions(Address.of("127.0.0.1", 5301), scheme, health=health)
        self.upstream = self.lease("upstream", lambda: Upstream(cast("Any", self), options, TIMEOUT_S))
        self.pool = self.upstream.udp

    def script(self, script: Script) -> None:
        self.network.scripts[SERVER] = script

    def send(
        self,
        name: str = "www.example.org",
        qtype: str = "A",
        *,
        octets: bytes = b"",
        taps: tuple[Tap, ...] = (),
        attempt: int = 1,
    ) -> Exchange:
        octets = octets or query(name, qtype)
        asked = Query(octets, shape_of(octets), Address.of(CLIENT, 1).sockaddr, Endpoint("UDP", LISTENER), 1)
        exchange = Exchange(asked, self.upstream, attempt, ROOT, Taps(None, taps) if taps else None)
        self.upstream.ask(exchange, False, TIMEOUT_S)
        return exchange

    def exchange(self, name: str = "www.example.org", run_s: float = 0.0, **more: Any) -> Exchange:
        exchange = self.send(name, **more)
        self.run(run_s)
        return exchange

    @property
    def sockets(self) -> list[UdpSocket]:
        return [sock for sock in self.pool.sockets if sock is not None]


class Driven:
    """One upstream under the plain driver, asked as TCP is: its server is in the hands of the test."""

    version = "0"

    def __init__(self, options: UpstreamOptions) -> None:
        self.flights = Flights()
        self.flights.timers.fifo(TIMEOUT_S)
        self.driver = Driver(self.flights)
        self.receiver = self.sender = None
        self.upstream = Upstream(cast("Any", self), options, TIMEOUT_S)

    def send(self, name: str = "www.example.org", *, octets: bytes = b"", taps: tuple[Tap, ...] = ()) -> Exchange:
        octets = octets or query(name)
        asked = Query(octets, shape_of(octets), Address.of(CLIENT, 1).sockaddr, Endpoint("UDP", LISTENER), 1)
        exchange = Exchange(asked, self.upstream, 1, ROOT, Taps(None, taps) if taps else None)
        self.flights.submit(self.upstream.ask, exchange, True, TIMEOUT_S)
        return exchange

    async def outcome(self, exchange: Exchange) -> str:
        await until(lambda: exchange.done)
        return exchange.outcome


class Watching(Tap):
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def forwarder_query(self, event: Any) -> None:
        self.events.append(event)

    def forwarder_response(self, event: Any) -> None:
        self.events.append(event)
