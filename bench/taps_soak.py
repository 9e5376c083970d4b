"""Taps through the worst: restarts under load, an outage, a crawling collector, kills of the proxy, a full disk.

    python bench/taps_soak.py [--restarts 100] [--rate 3000] [--outage 60] [--only restarts]

Prints what it did and a verdict; status 1 if a bound is broken.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from harness import pacing
from harness.children import Children
from harness.delayed_upstream import DelayedUpstream
from harness.outcome import Outcome
from harness.workloads import Paced

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind what is installed: only tests.support is there

from tests.support.collector import Collector, unix_address
from tests.support.proxy import Proxy, Status, tap_balances
from tests.support.toml import dnstap, forward

RESTART_EVERY_S = 1.2  # most find their way back in that time: after a short life a tap waits up to 1.8 s
QUIET_RATE = 1_500  # queries a second where the load is not what it is about
CRAWL_S, COMPARED_S = 1.0, 10.0  # for each octet; how long latencies are measured with and without
LATENCY_MORE = 1.25  # times the one without a crawling collector …
LATENCY_NOISE_US = {"p50": 100, "p99": 1_000}  # … and what two runs differ by anyhow
CRASHES, CRASH_QUEUE = 3, 500
DISK_OCTETS, BALLAST_OCTETS = 4 << 20, 2 << 20
NAMES = 1_000
ARRIVE_S = 10.0  # that a collector may take to read what the kernel has for it
MESSAGES = 4  # of a query: each side's question and answer
KERNEL_OCTETS = int(Path("/proc/sys/net/core/wmem_default").read_text())  # what a connection may have taken unread

Check = tuple[str, bool, str]


@dataclass
class Scene:
    """A folder, an upstream and the way to start proxies and load."""

    folder: Path
    upstream: DelayedUpstream
    stack: ExitStack
    chosen: argparse.Namespace

    @property
    def forward(self) -> str:
        return forward(f"127.0.0.1:{self.upstream.port}", timeout="2s", deadline="4s")

    def proxy(self, taps: str, **options: object) -> Proxy:
        return Proxy(self.folder, taps + self.forward, **options)  # type: ignore[arg-type]

    def collector(self, name: str, **options: object) -> Collector:
        made = Collector(unix_address(self.folder, f"{name}.sock"), **{"keeps": False, **options})  # type: ignore[arg-type]
        return self.stack.enter_context(made)

    def load(self, proxy: Proxy, rate: float, seconds: float) -> Outcome:
        return pacing.run(Paced(int(rate)), proxy.port, questions(self.folder), seconds)


def questions(folder: Path) -> Path:
    path = folder / "questions.txt"
    path.write_text("".join(f"name{number}.soak.example A\n" for number in range(NAMES)))
    return path


@dataclass
class Running:
    """Load in a thread while something else happens."""

    scene: Scene
    proxy: Proxy
    rate: float
    seconds: float
    outcomes: list[Outcome] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join()

    def _run(self) -> None:
        self.outcomes.append(self.scene.load(self.proxy, self.rate, self.seconds))

    @property
    def outcome(self) -> Outcome:
        return self.outcomes[0]


def answered(outcome: Outcome) -> Check:
    numbers = f"{outcome.answered} of {outcome.sent}, 99 % of them in {outcome.p99_us or 0:.0f} µs"
    return "every query is answered", outcome.answered == outcome.sent == outcome.noerror, numbers


def balance(samples: list[Status]) -> Check:
    return "offered = sent + queued + dropped", all(map(tap_balances, samples)), f"{len(samples)} samples"


def settled(proxy: Proxy, name: str, within_s: float = 60.0) -> Status:
    return proxy.wait_for_tap(name, lambda now: not now["queued"], "the queue is empty", within_s=within_s)


def arrived(collector: Collector, sent: int) -> int:
    """How many messages the collector has, once it has had time to read as many as were sent."""
    end = time.monotonic() + ARRIVE_S
    while collector.received < sent and time.monotonic() < end:
        time.sleep(0.05)
    return collector.received


def restarts(scene: Scene) -> list[Check]:
    """One collector is stopped with care, the other killed, again and again."""
    count, samples = scene.chosen.restarts, list[Status]()
    stopped, killed = scene.collector("stopped"), scene.collector("killed")
    taps = "".join(dnstap(to=one, name=name, queue=500_000) for name, one in (("stopped", stopped), ("killed", killed)))
    with (
        scene.proxy(taps) as proxy,
        Running(scene, proxy, scene.chosen.rate, count * RESTART_EVERY_S) as running,
    ):
        for _ in every(RESTART_EVERY_S, count):
            killed.stall()  # so that the kernel has something to lose
            samples += proxy.status()["taps"]
            stopped.stop()
            killed.kill()
            samples += proxy.status()["taps"]
            stopped.start()
            killed.start()
        running.thread.join()
        careful, careless = settled(proxy, "stopped"), settled(proxy, "killed")
        received = arrived(stopped, careful["sent"])
    offered = MESSAGES * running.outcome.sent
    missing = careless["bytes"] - killed.received_octets
    return [
        answered(running.outcome),
        balance([*samples, careful, careless]),
        ("both are offered everything", careful["offered"] == careless["offered"] == offered, f"{offered} messages"),
        ("what was sent has arrived", received == careful["sent"] == offered, f"{received} messages"),
        (
            "a kill loses only what the kernel had",
            killed.received <= careless["sent"] == offered and missing <= count * KERNEL_OCTETS,
            f"{killed.received} of {careless['sent']} sent, {missing} octets missing after {count} kills",
        ),
        ("reconnects are counted", careful["connects"] == stopped.handshakes, f"{careful['connects']}"),
    ]


def every(seconds: float, count: int) -> Iterator[int]:
    began = time.monotonic()
    for number in range(count):
        yield number
        time.sleep(max(0.0, began + (number + 1) * seconds - time.monotonic()))


def outage(scene: Scene) -> list[Check]:
    """The collector is away, and a spool waits for it."""
    seconds, collector, samples = scene.chosen.outage, scene.collector("outage"), list[Status]()
    spool = scene.folder / "outage"
    tap = dnstap(to=collector, name="outage", queue=1_000, spool=str(spool))
    with scene.proxy(tap) as proxy:
        collector.stop()
        with Running(scene, proxy, QUIET_RATE, seconds) as running:
            for _ in every(2.0, int(seconds / 2)):
                samples.append(proxy.tap("outage"))
            running.thread.join()
        on_disk = octets_in(spool)
        began = time.monotonic()
        collector.start()
        status = settled(proxy, "outage")
        took_s = time.monotonic() - began
        received, left = arrived(collector, status["sent"]), octets_in(spool)
    offered, lost = MESSAGES * running.outcome.sent, sum(status["dropped"].values())
    return [
        answered(running.outcome),
        balance([*samples, status]),
        ("nothing is lost", (status["offered"], lost) == (offered, 0), f"{offered} messages in {on_disk} octets"),
        ("all of it arrives", received == offered, f"{received} in {took_s:.1f} s"),
        ("replayed files are removed", left < on_disk / 100, f"{left} octets left"),
    ]


def octets_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def crawl(scene: Scene) -> list[Check]:
    """A collector reads an octet a second, and no client feels it."""
    found = list[Outcome]()
    for name, crawl_s in (("quick", 0.0), ("crawling", CRAWL_S)):
        collector = scene.collector(name, crawl_s=crawl_s)
        with scene.proxy(dnstap(to=collector, name="tap", queue=2_000)) as proxy:
            scene.load(proxy, QUIET_RATE, 2.0)  # warm, and every buffer full
            found.append(scene.load(proxy, QUIET_RATE, COMPARED_S))
            status = proxy.tap("tap")
            collector.kill()
    without, with_it = found
    checks = [answered(with_it), balance([status])]
    for part, noise_us in LATENCY_NOISE_US.items():
        before_us, after_us = getattr(without, f"{part}_us"), getattr(with_it, f"{part}_us")
        held = after_us <= LATENCY_MORE * before_us + noise_us
        checks.append((f"latency does not move ({part})", held, f"{before_us:.0f} µs before, {after_us:.0f} µs"))
    dropped = status["dropped"]["queue_full"]
    return [*checks, ("what it cannot take is counted", dropped > 0, f"{dropped} dropped")]


def kills(scene: Scene) -> list[Check]:
    """The proxy is killed with a spool, while it fills and while it empties."""
    collector = scene.collector("kills", keeps=True)
    tap = dnstap(to=collector, name="kills", queue=CRASH_QUEUE, spool=str(scene.folder / "kills"))
    collector.stop()
    with scene.proxy(tap) as proxy:
        asked = scene.load(proxy, QUIET_RATE / 2, 5.0).sent
        time.sleep(1.1)  # what is older than a second is on disk
        proxy.crash()
    for _ in range(CRASHES):
        arrived = collector.received
        collector.start()
        with scene.proxy(tap) as proxy:
            collector.wait_until(lambda arrived=arrived: collector.received > arrived, "a message")  # type: ignore[misc]
            collector.stall()
            proxy.crash()
        collector.stop()
    collector.start()
    with scene.proxy(tap) as proxy:
        status = settled(proxy, "kills")
    frames = Counter(message.frame for message in collector.messages)
    repeated = sum(frames.values()) - len(frames)
    return [
        balance([status]),
        (
            "a crash loses no more than the queue",
            MESSAGES * asked - CRASH_QUEUE <= len(frames) <= MESSAGES * asked,
            f"{len(frames)} of {MESSAGES * asked}, the queue holds {CRASH_QUEUE}",
        ),
        ("at most one message for each is repeated", repeated <= 1 + CRASHES, f"{repeated} in {1 + CRASHES} crashes"),
    ]


def full_disk(scene: Scene) -> list[Check]:
    """Spool and file stand on a disk that is full, then has room again."""
    disk = scene.folder / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size={DISK_OCTETS} none "{disk}" && exec "$@"'
    prefix = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode:
        return [("a full disk", True, "not tried: no right to mount one here")]
    collector = scene.collector("full")
    collector.stop()
    taps = dnstap(to=collector, name="spooled", queue=100, spool=f"{disk}/spool")
    taps += dnstap(to=f"file://{disk}/tap.fstrm", name="file", queue=100)
    with scene.proxy(taps, prefix=prefix) as proxy:
        inside = Path(f"/proc/{proxy.process.pid}/root{disk}")
        (inside / "ballast").write_bytes(bytes(BALLAST_OCTETS))
        full = scene.load(proxy, QUIET_RATE, 8.0)
        at_full = proxy.status()["taps"]
        (inside / "ballast").unlink()
        roomy = scene.load(proxy, QUIET_RATE / 5, 3.0)
        time.sleep(2)
        after = proxy.status()["taps"]
        collector.start()
        spooled = settled(proxy, "spooled")
        received = arrived(collector, spooled["sent"])
    dropped = [sum(tap["dropped"].values()) for tap in at_full]
    return [
        answered(full),
        answered(roomy),
        balance([*at_full, *after, spooled]),
        ("what the disk does not hold is counted", all(dropped), f"dropped {dropped[0]} and {dropped[1]}"),
        (
            "with room again both go on",
            after[1]["sent"] > at_full[1]["sent"] and after[0]["queued"] > at_full[0]["queued"],
            f"file {at_full[1]['sent']}, then {after[1]['sent']}; spool {at_full[0]['queued']}, {after[0]['queued']}",
        ),
        ("what was kept arrives", received == spooled["sent"] > 0, f"{received} messages"),
    ]


SCENES: dict[str, Callable[[Scene], list[Check]]] = {
    "restarts": restarts,
    "outage": outage,
    "crawl": crawl,
    "kills": kills,
    "full disk": full_disk,
}


@contextmanager
def scene(chosen: argparse.Namespace) -> Iterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="dnsproxy-taps-"))
    try:
        with Children(folder) as children, ExitStack() as stack:
            yield Scene(folder, DelayedUpstream(children, 0.0), stack, chosen)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="What becomes of taps' messages when collectors and disks fail.")
    parser.add_argument("--restarts", type=int, default=100, help="of the collectors (100)")
    parser.add_argument("--rate", type=int, default=3_000, help="queries per second meanwhile (3000)")
    parser.add_argument("--outage", type=float, default=60, help="seconds that a collector with a spool is away (60)")
    parser.add_argument("--only", action="append", choices=SCENES, help="one of them (repeatable); default: all")
    chosen, held_all = parser.parse_args(), True
    for name in chosen.only or SCENES:
        began = time.monotonic()
        with scene(chosen) as stage:
            checks = SCENES[name](stage)
        print(f"{name}, {time.monotonic() - began:.0f} s", flush=True)
        for claim, held, numbers in checks:
            held_all = held_all and held
            print(f"  {'ok  ' if held else 'FAIL'} {claim}: {numbers}", flush=True)
    return int(not held_all)


if __name__ == "__main__":
    sys.exit(main())
