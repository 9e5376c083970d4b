"""What ended processes have counted: sums never fall, books balance, and what is gone stays gone."""

import time
from typing import Any

import pytest

from dnsproxy.metric import Metric
from dnsproxy.workers.legacy import Legacy
from dnsproxy.workers.totals import combined
from tests.support.proxy import tap_balances

CACHE = (Metric("requests_total", "", ("hits", "misses")), Metric("entries", "", ("entries",)))


def tap(name: str = "main", **numbers: Any) -> dict[str, Any]:
    books = {"offered": 9, "sent": 5, "queued": 1, "dropped": {"queue_full": 2, "shutdown": 1}, "bytes": 500}
    entry = {"name": name, "socket": "/tap.sock", "state": "down", "stalled": True, "oldest_queued_s": 9.0}
    return entry | books | {"connects": 2, "reconnects": 1, "last_error": "gone"} | numbers


def status(**changes: Any) -> dict[str, Any]:
    upstream = {"name": "192.0.2.1:53", "address": "udp://192.0.2.1:53", "state": "down", "rtt_ms": 9.0, "in_flight": 1}
    return {
        "version": "0.1.0",
        "compiled": False,
        "uptime_s": 1.0,
        "workers": 2,
        "listeners": [{"address": "udp://127.0.0.1:53", "queries": 8, "responses": 7, "dropped": {"malformed": 1}}],
        "taps": [tap()],
        "upstreams": [upstream | {"queries": 6, "responses": 4, "timeouts": 2, "mismatches": 0}],
        "plugins": {"cache": {"hits": 3, "misses": 4, "entries": 5}, "other": {"things": 1}},
        "limits": {"in_flight": 1, "tcp_connections": 1, "refused": {"queries": 2}, "run_tasks_refused": 1},
        "failures": 1,
        **changes,
    }


FRESH = status(
    listeners=[{"address": "udp://127.0.0.1:53", "queries": 0, "responses": 0, "dropped": {}}],
    taps=[tap(state="connected", stalled=False, oldest_queued_s=0.0, last_error=None, connects=1, reconnects=0)],
    upstreams=[{**status()["upstreams"][0], "state": "up", "rtt_ms": 1.0, "in_flight": 0}],
    limits={"in_flight": 0, "tcp_connections": 0, "refused": {"queries": 0}, "run_tasks_refused": 0},
)


@pytest.fixture
def legacy() -> Legacy:
    made = Legacy()
    made.plugins = {"cache": CACHE}
    return made


def now(legacy: Legacy, *statuses: dict[str, Any]) -> dict[str, Any]:
    return combined(statuses, time.monotonic(), 2, legacy)


def test_what_a_process_counted_goes_on_in_the_sums(legacy: Legacy) -> None:
    before = now(legacy, status(), FRESH)
    legacy.add(status())
    after = now(legacy, FRESH)
    for name in ("listeners", "upstreams"):
        counters = {"queries", "responses", "dropped", "timeouts", "mismatches"} & set(before[name][0])
        assert {key: after[name][0][key] for key in counters} == {key: before[name][0][key] for key in counters}
    for key in ("offered", "sent", "bytes", "connects", "reconnects"):
        assert after["taps"][0][key] == before["taps"][0][key]
    assert after["limits"]["refused"] == {"queries": 2}
    assert (after["limits"]["run_tasks_refused"], after["failures"]) == (1, 2)


def test_how_things_were_with_it_is_forgotten(legacy: Legacy) -> None:
    legacy.add(status())
    after = now(legacy, FRESH)
    (one_tap,), (upstream,) = after["taps"], after["upstreams"]
    assert (one_tap["state"], one_tap["stalled"], one_tap["oldest_queued_s"]) == ("connected", False, 0.0)
    assert one_tap["last_error"] is None
    assert (upstream["state"], upstream["in_flight"], upstream["rtt_ms"]) == ("up", 0, 1.0)
    assert after["limits"]["in_flight"] == after["limits"]["tcp_connections"] == 0


def test_what_was_queued_is_lost_with_it_and_the_books_balance(legacy: Legacy) -> None:
    legacy.add(status())
    (after,) = now(legacy, FRESH)["taps"]
    assert (after["queued"], after["dropped"]) == (1, {"queue_full": 4, "shutdown": 3})
    assert tap_balances(after)


def test_what_was_spooled_is_not_lost_and_not_counted_twice(legacy: Legacy) -> None:
    spooling = tap(offered=30, sent=5, queued=22, spooled=20)
    legacy.add(status(taps=[spooling]))
    successor = tap(offered=20, sent=0, queued=20, spooled=20, dropped={"queue_full": 0, "shutdown": 0})
    (after,) = now(legacy, status(taps=[successor]))["taps"]
    assert (after["offered"], after["queued"], after["dropped"]) == (30, 20, {"queue_full": 2, "shutdown": 3})
    assert tap_balances(after)


def test_several_processes_leave_the_sum_of_theirs(legacy: Legacy) -> None:
    for _ in range(3):
        legacy.add(status())
    after = now(legacy, FRESH)
    assert after["listeners"][0]["queries"] == 24
    assert after["failures"] == 4
    assert tap_balances(after["taps"][0])


def test_of_plugins_only_what_is_known_to_grow_goes_on(legacy: Legacy) -> None:
    legacy.add(status())
    legacy.add(status())
    plugins = now(legacy, FRESH)["plugins"]
    assert plugins == {"cache": {"hits": 9, "misses": 12, "entries": 5}, "other": {"things": 1}}


def test_what_no_process_has_any_more_is_not_shown(legacy: Legacy) -> None:
    legacy.add(status(taps=[tap("removed"), tap()], plugins={"gone": {"hits": 1}}))
    after = now(legacy, {**FRESH, "plugins": {}})
    assert [one["name"] for one in after["taps"]] == ["main"]
    assert after["plugins"] == {}


def test_without_any_process_there_is_nothing_to_show(legacy: Legacy) -> None:
    legacy.add(status())
    assert now(legacy)["listeners"] == []
