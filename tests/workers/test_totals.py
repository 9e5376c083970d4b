"""Numbers of several workers as one proxy's."""

import time
from typing import Any

import pytest

from dnsproxy.workers.totals import TapTotals, combined


def tap(name: str = "main", **numbers: Any) -> dict[str, Any]:
    entry = {"name": name, "socket": "unix:///run/tap.sock", "state": "connected", "offered": 9, "sent": 5, "queued": 1}
    return entry | {"dropped": {"queue_full": 2, "shutdown": 1}} | numbers


def status(queries: int, **more: Any) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "compiled": False,
        "uptime_s": 1.0,
        "workers": 2,
        "listeners": [{"address": "udp://127.0.0.1:53", "queries": queries, "responses": 1, "dropped": {}}],
        "taps": [tap()],
        "upstreams": [],
        "plugins": {"cache": {"hits": queries}},
        "limits": {"in_flight": queries, "refused": {"queries": 1}},
        "failures": 1,
        **more,
    }


def test_statuses_are_added_up_whatever_else_they_have() -> None:
    both = combined([status(3), status(4, more=5)], time.monotonic() - 60, 2)
    assert (both["version"], both["workers"], both["failures"], both["more"]) == ("0.1.0", 2, 2, 5)
    assert 59 < both["uptime_s"] < 70
    ((listener), (one_tap)) = (both["listeners"][0], both["taps"][0])
    assert (len(both["listeners"]), listener["queries"], listener["responses"]) == (1, 7, 2)
    assert (one_tap["offered"], one_tap["dropped"]) == (18, {"queue_full": 4, "shutdown": 2})
    assert both["plugins"] == {"cache": {"hits": 7}}
    assert both["limits"] == {"in_flight": 7, "refused": {"queries": 2}}


def test_without_any_worker_there_is_still_a_status() -> None:
    nothing = combined([], time.monotonic(), 2)
    assert (nothing["workers"], nothing["listeners"], nothing["taps"]) == (2, [], [])


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.set_level("INFO")
    return caplog.messages


def test_at_the_end_there_is_one_line_for_each_tap(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    totals = TapTotals(2)
    totals.stopped([tap(), tap("other", queued=0)])
    totals.stopped([tap()])
    assert caplog.messages == []
    totals.finish()
    assert caplog.messages == [
        "tap main: offered=18 sent=10 queued=2 dropped=6",
        "tap other: offered=9 sent=5 queued=0 dropped=3",
    ]


def test_a_tap_that_was_removed_has_its_line_once_it_has_ended_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    totals = TapTotals(2)
    totals.removed(1, tap())
    totals.removed(1, tap())
    assert caplog.messages == []
    totals.removed(2, tap())
    assert caplog.messages == ["tap main: offered=27 sent=15 queued=3 dropped=9"]
    totals.finish()
    assert len(caplog.messages) == 1
