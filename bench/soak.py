"""Minutes of load while upstreams lie, lose and die, collectors come and go and clients leave; then the bill.

    python bench/soak.py [--minutes 10] [--rate 2000]

Prints what it did and a verdict; status 1 if a bound is broken.
"""
# ruff: noqa: S311  # chance, not secrets

import argparse
import random
import select
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind what is installed: only tests.support is there

from tests.support import behaviours, wire
from tests.support.client import framed
from tests.support.collector import Collector, tcp_address, unix_address
from tests.support.proxy import Proxy, Status, books, tap_balances
from tests.support.toml import dnstap, forward
from tests.support.upstream import Asked, HostileUpstream

UDP_CLIENTS = 8
TCP_CLIENTS = 3
TCP_SHARE = 0.1  # of the queries
ANSWER_WITHIN_S = 5.0  # the deadline below, and a second for a busy machine
RECEIVE_BUFFER = 8 << 20
RSS_GROWTH_KIB = 8 * 1024  # between the second and the last quarter: allocator noise is 2 MiB
MORE_FILES = 24  # than in the second quarter: pools breathe
SAMPLE_S = 2.0
REPORT_S = 30.0

Check = tuple[str, bool, str]


class Client:
    """A socket with the queries that are still to be answered on it, by ID."""

    def __init__(self, port: int, kind: socket.SocketKind, tally: Counter[str]) -> None:
        self.port, self.kind, self.tally = port, kind, tally
        self.tcp = kind == socket.SOCK_STREAM
        self.connect()
        self.waiting: dict[int, tuple[bytes, float]] = {}  # in the order of asking
        self.next_id = random.randrange(65_536)

    def connect(self) -> None:
        self.received = b""
        self.socket = socket.socket(socket.AF_INET, self.kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.socket.connect(("127.0.0.1", self.port))
        self.socket.setblocking(False)

    def ask(self, question: bytes, opt: bytes) -> None:
        self.next_id = (self.next_id + 1) & 0xFFFF
        octets = struct.pack("!HHHHHH", self.next_id, wire.RD, 1, 0, 0, bool(opt)) + question + opt
        try:
            self.socket.sendall(framed(octets) if self.tcp else octets)
        except (BlockingIOError, ConnectionError):
            self.tally["not sent"] += 1
            return
        self.tally["asked"] += 1
        self.waiting[self.next_id] = (question, time.monotonic())

    def read(self) -> None:
        try:
            octets = self.socket.recv(1 << 18)
        except (BlockingIOError, ConnectionError):
            return
        if self.tcp:
            self.take_stream(octets)
        else:
            self.take(octets)

    def take_stream(self, octets: bytes) -> None:
        if not octets:
            self.tally["connections lost"] += 1
            self.socket.close()
            self.connect()
        self.received += octets
        while len(self.received) >= 2 and len(self.received) >= 2 + int.from_bytes(self.received[:2]):
            end = 2 + int.from_bytes(self.received[:2])
            octets, self.received = self.received[2:end], self.received[end:]
            self.take(octets)

    def take(self, answer: bytes) -> None:
        question, _ = self.waiting.pop(wire.message_id(answer), (b"", 0.0))
        if not question:
            self.tally["unasked answers"] += 1
        elif answer[12 : 12 + len(question)] != question:
            self.tally["wrong answers"] += 1
        else:
            self.tally["answered"] += 1
            self.tally[f"rcode {wire.rcode(answer)}"] += 1

    def give_up(self, older_than: float) -> None:
        while self.waiting:
            id = next(iter(self.waiting))
            if self.waiting[id][1] > older_than:
                return
            del self.waiting[id]
            self.tally["lost"] += 1


class Load:
    """Queries at a steady rate over UDP and TCP, and the reading of what comes back."""

    def __init__(self, port: int, rate: int) -> None:
        self.tally: Counter[str] = Counter()
        self.rate = rate
        kinds = [socket.SOCK_DGRAM] * UDP_CLIENTS + [socket.SOCK_STREAM] * TCP_CLIENTS
        self.clients = [Client(port, kind, self.tally) for kind in kinds]
        self.names = [wire.name_to_wire(f"n{number}.example.org") for number in range(2_000)]

    def run(self, until: float) -> None:
        """Asks until then, and waits for the last answers."""
        started, asked = time.monotonic(), 0
        while (now := time.monotonic()) < until:
            while asked < (now - started) * self.rate:
                self.ask()
                asked += 1
            self.read(0.002)
            self.give_up(now - ANSWER_WITHIN_S)
        end = time.monotonic() + ANSWER_WITHIN_S
        while time.monotonic() < end and any(client.waiting for client in self.clients):
            self.read(0.05)
        self.give_up(time.monotonic())

    def ask(self) -> None:
        over_tcp = random.random() < TCP_SHARE
        client = random.choice(self.clients[UDP_CLIENTS:] if over_tcp else self.clients[:UDP_CLIENTS])
        qtype = random.choice((1, 1, 1, 28, 16, 65))
        opt = random.choice((b"", wire.opt_record(), wire.opt_record(flags=0x8000), wire.opt_record(4096)))
        client.ask(random.choice(self.names) + struct.pack("!HH", qtype, 1), opt)

    def read(self, wait_s: float) -> None:
        sockets = {client.socket: client for client in self.clients}
        for ready in select.select(sockets, [], [], wait_s)[0]:
            for _ in range(32):
                sockets[ready].read()

    def give_up(self, older_than: float) -> None:
        for client in self.clients:
            client.give_up(older_than)

    def kernel_drops(self, port: int) -> int:
        """Datagrams that the kernel threw away because we, or the proxy, read too slowly."""
        ours = {client.socket.getsockname()[1] for client in self.clients} | {port}
        rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
        return sum(int(row[-1]) for row in rows if int(row[1].partition(":")[2], 16) in ours)


MISCHIEF: list[tuple[float, behaviours.Behaviour]] = [
    (88, behaviours.answer),
    (1, behaviours.drop),
    (3, behaviours.delay(40)),
    (1, behaviours.delay(200)),
    (2, behaviours.truncate),
    (1, behaviours.both(behaviours.wrong_id, behaviours.delay(10))),
    (0.5, behaviours.both(behaviours.wrong_question, behaviours.answer)),
    (0.5, behaviours.both(behaviours.wrong_port, behaviours.answer)),
    (0.5, behaviours.both(behaviours.wrong_address, behaviours.answer)),
    (0.5, behaviours.twice),
    (0.5, behaviours.fail(wire.SERVFAIL)),
    (0.5, behaviours.half_answer),
    (0.3, behaviours.garbage),
    (0.3, behaviours.large(4_000)),
    (0.2, behaviours.close),
    (0.2, behaviours.reset),
]


def mischief(asked: Asked) -> None:
    weights, choices = zip(*MISCHIEF, strict=True)
    random.choices(choices, weights)[0](asked)


@dataclass
class Weather:
    """What happens to upstreams and collectors meanwhile, in a thread of its own."""

    port: int
    upstreams: list[HostileUpstream]
    steady: Collector  # stopped so that nothing sent is lost
    killed: Collector  # killed as it comes
    over: threading.Event = field(default_factory=threading.Event)
    events: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        turn = 0
        while not self.over.wait(3):
            turn += 1
            if turn % 3 == 0:
                self._while_away(
                    "upstream deaths", self.upstreams[turn % 2].close_port, self.upstreams[turn % 2].open_port
                )
            elif turn % 3 == 1:
                self._while_away("collector stops", self.steady.stop, self.steady.start)
            else:
                self._while_away("collector kills", self.killed.kill, self.killed.start)
            for upstream in self.upstreams:
                upstream.close_connections()
            self._visit()

    def _visit(self) -> None:
        """Clients that leave in the middle of a message, or without waiting for their answers."""
        for number in range(20):
            with socket.create_connection(("127.0.0.1", self.port)) as rude:
                octets = framed(wire.query(f"rude{number}.example.org")) * 3
                rude.sendall(octets[: -(number % 7) or None])
                if number % 2:
                    rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.events["rude clients"] += 1

    def _while_away(self, what: str, leave: Callable[[], None], come_back: Callable[[], None]) -> None:
        leave()
        self.events[what] += 1
        self.over.wait(random.uniform(0.1, 1.5))
        come_back()


@dataclass
class Watch:
    """Memory, descriptors and the taps' books, looked at all the time."""

    proxy: Proxy
    over: threading.Event = field(default_factory=threading.Event)
    rss_kib: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    unbalanced: list[Status] = field(default_factory=list)

    def run(self) -> None:
        self.look()  # once at least, however short the run
        while not self.over.wait(SAMPLE_S):
            self.look()

    def look(self) -> None:
        self.rss_kib.append(self.proxy.resident_kib())
        self.files.append(self.proxy.open_files())
        self.unbalanced += [tap for tap in self.proxy.status()["taps"] if not tap_balances(tap)]

    def quarters(self, samples: list[int]) -> tuple[float, float]:
        """The median of the second quarter and that of the last."""
        size = max(1, len(samples) // 4)
        return statistics.median(samples[size : 2 * size] or samples), statistics.median(samples[-size:])


def soak(minutes: float, rate: int, folder: Path) -> list[Check]:
    with ExitStack() as stack:
        upstreams = [
            stack.enter_context(HostileUpstream(records=False, default=mischief, answer_address=f"192.0.2.{n}"))
            for n in (1, 2)
        ]
        steady = stack.enter_context(Collector(unix_address(folder, "steady.sock"), keeps=False))
        killed = stack.enter_context(Collector(unix_address(folder, "killed.sock"), keeps=False))
        absent = tcp_address()
        taps = "".join(
            dnstap(to=to, name=name, queue=queue, extra="{name} {rcode} {/forward/outcome}")
            for name, to, queue in (("steady", steady, 50_000), ("killed", killed, 50_000), ("absent", absent, 500))
        )
        body = taps + forward(*upstreams, timeout="400ms", deadline="2s", failover=["SERVFAIL"])
        proxy = stack.enter_context(Proxy(folder, body))
        load, watch, weather = Load(proxy.port, rate), Watch(proxy), Weather(proxy.port, upstreams, steady, killed)
        run_all(load, watch, weather, minutes)
        return verdicts(proxy, load, watch, weather)


def run_all(load: Load, watch: Watch, weather: Weather, minutes: float) -> None:
    helpers = [threading.Thread(target=run) for run in (watch.run, weather.run)]
    for thread in helpers:
        thread.start()
    end = time.monotonic() + minutes * 60
    while (left_s := end - time.monotonic()) > 0:
        load.run(time.monotonic() + min(REPORT_S, left_s))
        rss = watch.rss_kib[-1] / 1024 if watch.rss_kib else 0
        print(f"{max(0, end - time.monotonic()):4.0f} s left, {rss:.1f} MiB, {dict(load.tally)}", flush=True)
    watch.over.set()
    weather.over.set()
    for thread in helpers:
        thread.join()


def verdicts(proxy: Proxy, load: Load, watch: Watch, weather: Weather) -> list[Check]:
    """Every bound, whether it held, and the numbers."""
    status = settled(proxy)
    drops = load.kernel_drops(proxy.port)
    proxy.stop()
    for client in load.clients:
        client.socket.close()
    print(f"weather: {dict(weather.events)}")
    return [*answer_checks(load, drops, status), *tap_checks(watch, weather, status), *level_checks(watch)]


def answer_checks(load: Load, drops: int, status: Status) -> list[Check]:
    """What the clients got."""
    tally, waiting = load.tally, sum(one["in_flight"] for one in status["upstreams"])
    return [
        (
            "every query is answered",
            0 <= tally["lost"] <= drops,
            f"{tally['asked']} asked, {tally['lost']} lost, {drops} dropped by the kernel",
        ),
        (
            "by its own answer",
            not tally["wrong answers"] + tally["unasked answers"],
            f"{tally['wrong answers']} wrong, {tally['unasked answers']} unasked",
        ),
        ("most of them well", tally["rcode 0"] > 0.97 * tally["answered"], f"{tally['rcode 0']} NOERROR"),
        ("TCP connections are kept", not tally["connections lost"], f"{tally['connections lost']} lost"),
        ("nothing is left in flight", waiting == 0, f"{waiting} in flight"),
    ]


def tap_checks(watch: Watch, weather: Weather, status: Status) -> list[Check]:
    """What the taps say of themselves, and what arrived."""
    steady, killed, absent = status["taps"]
    offered, tapped = books(status)
    return [
        (
            "the taps' books balance",
            not watch.unbalanced and all(map(tap_balances, status["taps"])),
            f"{len(watch.rss_kib)} snapshots",
        ),
        ("taps are offered what both sides count", tapped == offered, f"{tapped} of {offered}"),
        (
            "what was sent has arrived",
            steady["sent"] == weather.steady.received,
            f"{weather.steady.received} of {steady['sent']} sent",
        ),
        ("nothing is lost in a stop", not any(steady["dropped"].values()), f"dropped {steady['dropped']}"),
        (
            "a kill loses only what was sent",
            weather.killed.received <= killed["sent"],
            f"{weather.killed.received} of {killed['sent']} sent",
        ),
        (
            "an absent collector is counted",
            absent["sent"] == 0 < absent["dropped"]["queue_full"],
            f"dropped {absent['dropped']}",
        ),
    ]


def level_checks(watch: Watch) -> list[Check]:
    """What must not grow."""
    rss, files = watch.quarters(watch.rss_kib), watch.quarters(watch.files)
    return [
        (
            "memory stays level",
            rss[1] - rss[0] <= RSS_GROWTH_KIB,
            f"{rss[0] / 1024:.1f} MiB, at the end {rss[1] / 1024:.1f}",
        ),
        ("descriptors stay level", files[1] - files[0] <= MORE_FILES, f"{files[0]:.0f}, at the end {files[1]:.0f}"),
    ]


def settled(proxy: Proxy) -> Status:
    """The status once the rude clients' last queries have ended and the two collectors have everything."""
    return proxy.wait_for_status(is_settled, "nothing in flight and the taps' queues empty", within_s=20)


def is_settled(now: Status) -> bool:
    in_flight = any(upstream["in_flight"] for upstream in now["upstreams"])
    return not in_flight and not any(tap["queued"] for tap in now["taps"][:2])


def main() -> int:
    parser = argparse.ArgumentParser(description="The proxy under load among hostile upstreams and fickle collectors.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=2_000, help="queries per second (2000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checks = soak(options.minutes, options.rate, Path(folder))
    for claim, held, numbers in checks:
        print(f"{'ok  ' if held else 'FAIL'} {claim}: {numbers}")
    return int(not all(held for _, held, _ in checks))


if __name__ == "__main__":
    sys.exit(main())
