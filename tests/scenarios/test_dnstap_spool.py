"""What a tap puts on disk while its collector is away: everything, in order, through crashes, within its bound."""

import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support.collector import Collector, unix_address, wait_until
from tests.support.dnstap_decoder import TapMessage
from tests.support.load import SteadyLoad, ask_many
from tests.support.proxy import Proxy, Status, config_errors
from tests.support.tap_files import messages_in, read_files
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

QUEUE = 40
CRASHES = 3
ON_DISK_WITHIN_S = 1.5  # "loses at most what was in `queue` and the last second"


def tap(collector: Collector, folder: Path, **keys: object) -> str:
    return dnstap(to=collector, name="main", **{"queue": QUEUE, "spool": str(folder), "extra": "{name}", **keys})


def order(messages: Sequence[TapMessage]) -> list[str]:
    """The names of client queries, in order."""
    return [message.extra or "" for message in messages if message.type == "CQ"]


def frames(collector: Collector) -> list[bytes]:
    return [message.frame for message in collector.messages]


def at_rest(proxy: Proxy) -> Status:
    """The tap's status once nothing moves any more between queue and disk."""
    status = proxy.tap("main")
    while (later := proxy.tap("main"))["queued"] != status["queued"] or later["spooled"] != status["spooled"]:
        status = later
    return status


def octets_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def asked(label: str, count: int) -> list[str]:
    return [f"q{number}.{label}.example.org." for number in range(count)]


def test_what_the_queue_cannot_hold_waits_on_disk_and_comes_back_in_order(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    collector.kill()
    folder = tmp_path / "not" / "yet" / "there"
    with Collector(unix_address(tmp_path, "live.sock")) as live:
        proxy = start_proxy(tap(collector, folder) + dnstap(to=live, extra="{name}") + forward(upstream))
        ask_many(proxy.port, 300)
        status = proxy.tap("main")
        assert (status["offered"], status["queued"], sum(status["dropped"].values())) == (1200, 1200, 0)
        assert octets_in(folder) > 0
        collector.start()
        collector.wait_for(1200)
        assert frames(collector) == frames(live)
        proxy.stop()
    assert proxy.tap_lines["main"] == {"offered": 1200, "sent": 1200, "queued": 0, "dropped": 0}
    assert not messages_in(files_in(folder)), "replayed files are removed"


def test_while_the_spool_holds_anything_what_is_new_goes_behind_it(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    collector.kill()
    with Collector(unix_address(tmp_path, "live.sock")) as live:
        taps = tap(collector, tmp_path / "spool") + dnstap(to=live, extra="{name}")
        proxy = start_proxy(taps + forward(upstream))
        ask_many(proxy.port, 200, "before")
        collector.start()
        with SteadyLoad(proxy.port, 300, "meanwhile") as load:
            collector.wait_for(4 * 250)
        for one in (collector, live):
            one.wait_for(4 * (200 + load.asked))
        assert frames(collector) == frames(live)
        assert not any(proxy.tap("main")["dropped"].values())
        proxy.stop()


def test_a_stalled_collector_fills_the_spool_and_loses_nothing(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    proxy = start_proxy(tap(collector, tmp_path / "spool", queue=100) + forward(upstream))
    ask_many(proxy.port, 1)
    collector.wait_for(4)
    collector.stall()
    ask_many(proxy.port, 1_500)
    status = proxy.tap("main")
    assert status["state"] == "connected"
    assert status["queued"] > 100, "more than the queue takes"
    collector.resume()
    collector.wait_for(6_004, within_s=10)
    assert not any(proxy.tap("main")["dropped"].values())
    assert collector.connections_made == 1


def test_a_killed_proxy_loses_no_more_than_its_queue_and_repeats_no_more_than_a_message(
    upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    collector.kill()
    folder = tmp_path / "spool"
    body = tap(collector, folder) + forward(upstream)
    with Proxy(tmp_path, body) as first:
        ask_many(first.port, 250)
        wait_until(lambda: len(messages_in(files_in(folder))) >= 1000 - QUEUE, "on disk", within_s=ON_DISK_WITHIN_S)
        first.crash()
    with Proxy(tmp_path, body) as second:
        found = second.tap("main")
        assert found["offered"] == found["queued"] >= 1000 - QUEUE
        collector.start()
        collector.wait_for(found["queued"])
        status = second.wait_for_tap("main", lambda now: not now["queued"], "all is sent")
        assert status["sent"] == status["offered"]
    counts = Counter(frames(collector))
    assert 1000 - QUEUE <= len(counts) <= 1000
    assert sum(counts.values()) - len(counts) <= 1


def test_a_proxy_killed_while_it_replays_repeats_at_most_a_message_for_each_crash(
    upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    collector.kill()
    body = tap(collector, tmp_path / "spool", queue=1) + forward(upstream)
    with Proxy(tmp_path, body) as first:
        ask_many(first.port, 2_500)
        spooled = len(messages_in(files_in(tmp_path / "spool")))
        first.crash()
    collector.crawl_s = 0.002  # so that every crash comes before the end
    for _ in range(CRASHES):
        before = collector.received
        collector.start()
        with Proxy(tmp_path, body) as again:
            wait_until(lambda before=before: collector.received > before, "a message")  # type: ignore[misc]
            again.crash()
        collector.stop()  # with what the kernel had taken
    collector.crawl_s = 0
    collector.start()
    with Proxy(tmp_path, body) as last:
        last.wait_for_tap("main", lambda now: now["offered"] and not now["queued"], "all is sent")
    counts = Counter(frames(collector))
    assert len(counts) >= spooled
    assert sum(counts.values()) - len(counts) <= CRASHES


def test_after_an_ordinary_end_the_next_start_delivers_what_was_left(
    upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    collector.kill()
    body = tap(collector, tmp_path / "spool") + forward(upstream)
    with Proxy(tmp_path, body) as first:
        ask_many(first.port, 50)
    counts = first.tap_lines["main"]
    assert counts["offered"] == 200 == counts["sent"] + counts["queued"] + counts["dropped"]
    assert counts["queued"] >= 200 - QUEUE
    with collector, Proxy(tmp_path, body) as second:
        collector.wait_for(counts["queued"])
        second.wait_for_tap("main", lambda now: now["sent"] == counts["queued"], "all is sent")
    assert set(order(collector.messages)) <= set(asked("many", 50))


@pytest.mark.parametrize("overflow", ["newest", "oldest"])
def test_the_spools_bound_holds_and_overflow_says_which_end_is_given_up(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path, overflow: str
) -> None:
    collector.kill()
    folder, bound = tmp_path / "spool", 64 << 10
    keys = {"spool_max": "64KiB", "overflow": overflow, "queue": 20}
    proxy = start_proxy(tap(collector, folder, **keys) + forward(upstream))
    for number in range(10):
        ask_many(proxy.port, 50, f"part{number}")
        assert octets_in(folder) <= bound
    status = at_rest(proxy)
    assert status["dropped"]["spool_full"] > 0
    assert status["queued"] + sum(status["dropped"].values()) == 2000
    collector.start()
    collector.wait_for(status["queued"])
    names = order(collector.messages)
    first, last = "part0.example.org.", "part9.example.org."
    assert any(name.endswith(first) for name in names) == (overflow == "newest")
    assert any(name.endswith(last) for name in names) == (overflow == "oldest")


@pytest.mark.parametrize("overflow", ["newest", "oldest"])
def test_without_a_spool_overflow_says_which_end_of_the_queue_is_given_up(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, overflow: str
) -> None:
    collector.kill()
    body = dnstap(to=collector, name="main", queue=40, extra="{name}", overflow=overflow, types=["client query"])
    proxy = start_proxy(body + forward(upstream))
    ask_many(proxy.port, 50, "early")
    ask_many(proxy.port, 50, "late")
    status = proxy.tap("main")
    assert (status["offered"], status["queued"], status["dropped"]["queue_full"]) == (100, 40, 60)
    collector.start()
    names = order(collector.wait_for(40))
    assert {name.split(".")[1] for name in names} == {"early" if overflow == "newest" else "late"}


def test_the_files_of_a_spool_are_frame_streams(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    collector.kill()
    proxy = start_proxy(tap(collector, tmp_path / "spool") + forward(upstream))
    ask_many(proxy.port, 200)
    wait_until(lambda: len(messages_in(files_in(tmp_path / "spool"))) >= 800 - QUEUE, "on disk")
    for one in read_files(files_in(tmp_path / "spool")):
        assert one.kinds[0] == 2, "START comes first"
        assert len(one.kinds) <= 2


def test_workers_have_a_spool_each_and_all_of_it_arrives(
    upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    collector.kill()
    body = "workers = 2\n" + tap(collector, tmp_path / "spool") + forward(upstream)
    with Proxy(tmp_path, body) as first:
        for number in range(12):  # source ports: they meet both workers
            ask_many(first.port, 25, f"w{number}")
        assert first.tap("main")["queued"] == 1200
        first.tell_to_stop(signal.SIGTERM)
    left = first.tap_lines["main"]["queued"]
    assert left >= 1200 - 2 * QUEUE
    with collector, Proxy(tmp_path, body) as second:
        collector.wait_for(left, within_s=10)
        second.wait_for_tap("main", lambda now: not now["queued"], "all is sent")
    assert len({message.frame for message in collector.messages}) == left


def test_what_a_spool_cannot_mean_is_an_error_at_its_key(tmp_path: Path) -> None:
    taps = [
        dnstap(to="unix:///a.sock", spool=str(tmp_path / "a"), spool_max="much"),
        dnstap(to="unix:///b.sock", overflow="both"),
    ]
    errors = config_errors(tmp_path, "".join(taps) + forward("192.0.2.1"))
    for number, key in enumerate(("spool_max", "overflow")):
        assert f"[dnstap[{number}].{key}]" in errors[number], errors
