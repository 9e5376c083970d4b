"""The status of a proxy: added up, shown, and judged."""

import time
from typing import Any

import dnsproxy
from dnsproxy.status import merged, problems, snapshot, tables, well

LISTENER = {"address": "udp://127.0.0.1:5300", "queries": 9, "responses": 8, "dropped": {"malformed": 1}}
TAP: dict[str, Any] = {
    "name": "unix:///run/a.sock",
    "socket": "unix:///run/a.sock",
    "state": "connected",
    "offered": 32,
    "sent": 30,
    "queued": 2,
    "dropped": {"queue_full": 0},
    "bytes": 8123,
    "connects": 1,
    "reconnects": 0,
    "last_error": None,
    "oldest_queued_s": 0.01,
}
UPSTREAM: dict[str, Any] = {
    "name": "127.0.0.1:5301",
    "address": "udp://127.0.0.1:5301",
    "state": "up",
    "queries": 8,
    "responses": 8,
    "timeouts": 0,
    "mismatches": 0,
    "in_flight": 0,
    "rtt_ms": 0.4,
    "transport": "udp+tcp",
    "since_s": 5.0,
    "transitions": 0,
    "failures": 0,
    "probes": 0,
    "probe_failures": 0,
    "connections": 0,
    "handshakes": 0,
    "resumptions": 0,
}


def status(**changes: Any) -> dict[str, Any]:
    parts = {
        "listeners": [LISTENER],
        "taps": [TAP],
        "upstreams": [UPSTREAM],
        "plugins": {"cache": {"hits": 1}},
        **changes,
    }
    return snapshot(started=time.monotonic() - 5, workers=1, **parts)


def test_a_snapshot_has_what_the_interface_promises() -> None:
    taken = status()
    assert taken["version"] == dnsproxy.__version__
    assert taken["compiled"] is dnsproxy.COMPILED
    assert taken["uptime_s"] >= 5
    assert (taken["workers"], taken["listeners"], taken["taps"]) == (1, [LISTENER], [TAP])
    assert (taken["upstreams"], taken["plugins"]) == ([UPSTREAM], {"cache": {"hits": 1}})


def test_entries_for_one_thing_are_added_up() -> None:
    other = {**UPSTREAM, "state": "down", "queries": 2, "rtt_ms": None}
    (upstream,) = merged([UPSTREAM, other], ("name", "address"))
    assert (upstream["state"], upstream["queries"], upstream["rtt_ms"]) == ("down", 10, 0.4)
    other = {**TAP, "dropped": {"queue_full": 3, "oversize": 1}, "last_error": "gone", "oldest_queued_s": 2.0}
    (tap,) = merged([TAP, other], ("name",))
    assert tap["dropped"] == {"queue_full": 3, "oversize": 1}
    assert (tap["offered"], tap["sent"], tap["queued"]) == (64, 60, 4)
    assert (tap["last_error"], tap["oldest_queued_s"], tap["state"]) == ("gone", 2.0, "connected")
    assert TAP["offered"] == 32


def test_of_upstreams_that_are_added_up_the_worst_state_is_shown_and_how_long_it_has_lasted() -> None:
    up = {**UPSTREAM, "since_s": 100.0, "transitions": 2, "probes": 3}
    down = {**UPSTREAM, "state": "down", "since_s": 7.5, "transitions": 1, "probes": 4}
    probing = {**UPSTREAM, "state": "probing", "since_s": 50.0}
    counters = {"name": UPSTREAM["name"], "address": UPSTREAM["address"], "probes": 10}  # of a worker that is gone
    for entries in ([up, down, probing, counters], [counters, probing, down, up]):
        (upstream,) = merged(entries, ("name", "address"))
        assert (upstream["state"], upstream["since_s"]) == ("down", 7.5)
        assert (upstream["transitions"], upstream["probes"]) == (3, 17)
    (upstream,) = merged([up, {**up, "since_s": 40.0}], ("name", "address"))
    assert (upstream["state"], upstream["since_s"]) == ("up", 100.0)


def test_all_is_well_when_taps_are_connected_or_listening_and_upstreams_up() -> None:
    taken = status(taps=[TAP, {**TAP, "name": "b", "state": "listening"}])
    assert problems(taken) == []
    assert well(taken) == "ok: 2 taps, 1 upstream"


def test_each_thing_that_is_down_is_a_line() -> None:
    taps = [
        {**TAP, "name": "a", "state": "down", "last_error": "connection refused"},
        {**TAP, "name": "b", "state": "connecting"},
        {**TAP, "name": "c", "stalled": True, "oldest_queued_s": 60.0},
        {**TAP, "name": "d", "stalled": False, "oldest_queued_s": 60.0},
        {**TAP, "name": "e", "state": "closed", "stalled": True},
    ]
    upstreams = [{**UPSTREAM, "state": "down"}, {**UPSTREAM, "name": "b", "state": "probing"}]
    assert problems(status(taps=taps, upstreams=upstreams)) == [
        "tap a is down: connection refused",
        "tap b is connecting",
        "tap c has stalled: 2 queued, oldest 60 s",
        "tap e is closed",
        "upstream 127.0.0.1:5301 is down",
        "upstream b is probing",
    ]


def test_the_tables_show_every_entry() -> None:
    text = tables(status())
    assert "dnsproxy 0.1.0" in text
    assert "up 5 s, 1 worker" in text
    for words in (["LISTENER", "QUERIES"], ["udp://127.0.0.1:5300", "9", "8", "malformed 1"]):
        assert any(all(word in line for word in words) for line in text.splitlines())
    assert "cache: hits 1" in text


def test_a_tap_whose_every_part_is_well_has_not_stalled_and_one_part_that_has_is_enough() -> None:
    (tap,) = merged([{**TAP, "stalled": False}, {**TAP, "stalled": False}], ("name",))
    assert tap["stalled"] is False
    (tap,) = merged([{**TAP, "stalled": False}, {**TAP, "stalled": True}], ("name",))
    assert tap["stalled"] is True


def test_connections_after_the_first_are_reconnects_unless_a_tap_counts_them_itself() -> None:
    bare = {name: value for name, value in TAP.items() if name != "reconnects"}
    taps = [{**bare, "name": str(connects), "connects": connects} for connects in range(3)]
    own = [{**bare, "name": "own", "connects": 4, "reconnects": 0}]
    listening = [{**bare, "name": "listening", "connects": 5, "collectors": 1}]
    taken = status(taps=[*taps, *own, *listening])
    assert [tap.get("reconnects") for tap in taken["taps"]] == [0, 0, 1, 0, None]


def test_columns_that_few_taps_need_are_shown_where_one_does() -> None:
    assert not {"SPOOLED", "COLLECTORS"} & set(tables(status()).split())
    taps = [{**TAP, "spooled": 7}, {**TAP, "name": "b", "state": "listening", "collectors": 3}]
    header, first, second = tables(status(taps=taps)).split("\n\n")[2].splitlines()
    places = [header.index(column) + len(column) for column in ("SPOOLED", "COLLECTORS")]
    assert [line[:place].split()[-1] for line, place in zip((first, second), places, strict=True)] == ["7", "3"]


def test_of_upstreams_that_are_well_and_asked_by_udp_only_the_queries_are_shown() -> None:
    rare = {"FAILURES", "TRANSITIONS", "CONNECTIONS"}
    assert not rare & set(tables(status()).split())
    probing = {**UPSTREAM, "state": "probing", "failures": 2, "transitions": 1, "connections": 3}
    text = tables(status(upstreams=[probing]))
    assert rare <= set(text.split())
    assert text.splitlines()[-3].split()[-3:] == ["2", "1", "3"]
    assert "probing" in text


def test_a_tap_that_has_stalled_says_so_beside_its_state() -> None:
    assert "connected, stalled  " in tables(status(taps=[{**TAP, "stalled": True}]))


def test_what_others_wrote_cannot_move_the_cursor() -> None:
    text = tables(status(taps=[{**TAP, "last_error": "\x1b[2Jgone\r\n"}]))
    assert "\x1b" not in text
    assert "?[2Jgone??" in text


def test_entries_that_lack_counters_are_shown_without() -> None:
    assert "-" in tables({"taps": [{"name": "a"}]})
    assert problems({"taps": [{"name": "a"}], "upstreams": [{"name": "b"}]}) == ["tap a is None", "upstream b is None"]
