"""The status as Prometheus reads it, read back with its own parser."""

import math
import platform
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import dnsproxy
from dnsproxy.discovery import find_plugins
from dnsproxy.metric import Metric
from dnsproxy.metrics import page
from dnsproxy.status import Entry
from tests.support.documents import ROOT
from tests.test_status import LISTENER, TAP, UPSTREAM, status

OPERATIONS = ROOT / "docs" / "operations.md"
Labels = dict[str, str]
Samples = dict[str, list[tuple[Labels, float]]]

LIMITS = {"in_flight": 7, "tcp_connections": 3, "refused": {"queries": 2, "tcp_connections": 0}, "run_tasks_refused": 1}
CACHE = (
    Metric("coredns_cache_requests_total", "Queries.", ("hits", "misses")),
    Metric("coredns_cache_entries", "Answers.", ("entries",)),
)


def samples(taken: Entry, plugins: dict[str, tuple[Metric, ...]] | None = None) -> Samples:
    """Every sample, by name; each name has one help and one type, and no labels twice."""
    text = b"".join(page(taken, plugins or {})).decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert text.count(f"# TYPE {family.name} ") + text.count(f"# TYPE {family.name}_total ") == 1
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    for values in found.values():
        labels = [sorted(has.items()) for has, _ in values]
        assert all(labels.count(each) == 1 for each in labels)
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    (number,) = [number for has, number in found[name] if has == labels]
    return number


def test_a_taps_books_are_there_under_its_name() -> None:
    tap = {**TAP, "name": "main", "dropped": {"queue_full": 3, "oversize": 0}, "spooled": 1, "stalled": True}
    found = samples(status(taps=[tap, {**TAP, "name": "other", "state": "listening", "collectors": 2}]))
    assert value(found, "dnsproxy_tap_offered_total", tap="main") == 32
    assert value(found, "dnsproxy_tap_sent_total", tap="main") == 30
    assert value(found, "dnsproxy_tap_dropped_total", tap="main", reason="queue_full") == 3
    assert value(found, "dnsproxy_tap_dropped_total", tap="main", reason="oversize") == 0
    assert value(found, "dnsproxy_tap_queued", tap="main") == 2
    assert value(found, "dnsproxy_tap_spooled", tap="main") == 1
    assert value(found, "dnsproxy_tap_sent_bytes_total", tap="main") == 8123
    assert value(found, "dnsproxy_tap_connects_total", tap="main") == 1
    assert value(found, "dnsproxy_tap_reconnects_total", tap="main") == 0
    assert value(found, "dnsproxy_tap_oldest_queued_seconds", tap="main") == 0.01
    assert value(found, "dnsproxy_tap_collectors", tap="other") == 2
    assert [has for has, _ in found["dnsproxy_tap_spooled"]] == [{"tap": "main"}]


@pytest.mark.parametrize(
    ("state", "connected"), [("connected", 1), ("listening", 1), ("connecting", 0), ("down", 0), ("closed", 0)]
)
def test_a_tap_is_connected_or_not_and_has_stalled_or_not(state: str, connected: int) -> None:
    found = samples(status(taps=[{**TAP, "name": "main", "state": state}]))
    assert value(found, "dnsproxy_tap_connected", tap="main") == connected
    assert value(found, "dnsproxy_tap_stalled", tap="main") == 0
    found = samples(status(taps=[{**TAP, "name": "main", "stalled": True}]))
    assert value(found, "dnsproxy_tap_stalled", tap="main") == 1


def test_a_tap_that_a_reload_moves_is_one_as_long_as_both_are_there() -> None:
    taps = [{**TAP, "name": "main", "socket": "/a", "state": "down"}, {**TAP, "name": "main", "socket": "/b"}]
    found = samples(status(taps=taps))
    assert value(found, "dnsproxy_tap_offered_total", tap="main") == 64
    assert value(found, "dnsproxy_tap_connected", tap="main") == 0


@pytest.mark.parametrize("name", ['say "cheese"', "back\\slash", "new\nline", "brace}", "ü, 日本"])
def test_whatever_a_tap_is_called_is_read_back(name: str) -> None:
    assert value(samples(status(taps=[{**TAP, "name": name}])), "dnsproxy_tap_sent_total", tap=name) == 30


def test_upstreams_are_told_apart_by_name_and_address() -> None:
    over_tcp = {**UPSTREAM, "address": "tcp://127.0.0.1:5301", "state": "down", "rtt_ms": None, "timeouts": 4}
    found = samples(status(upstreams=[UPSTREAM, over_tcp]))
    first = {"upstream": "127.0.0.1:5301", "address": "udp://127.0.0.1:5301"}
    second = {**first, "address": "tcp://127.0.0.1:5301"}
    assert value(found, "dnsproxy_upstream_up", **first) == 1
    assert value(found, "dnsproxy_upstream_up", **second) == 0
    assert value(found, "dnsproxy_upstream_queries_total", **first) == 8
    assert value(found, "dnsproxy_upstream_responses_total", **first) == 8
    assert value(found, "dnsproxy_upstream_timeouts_total", **second) == 4
    assert value(found, "dnsproxy_upstream_mismatches_total", **second) == 0
    assert value(found, "dnsproxy_upstream_in_flight", **first) == 0
    assert found["dnsproxy_upstream_rtt_seconds"] == [(first, 0.0004)]


def test_upstreams_tell_of_their_probes_and_connections() -> None:
    numbers = {"transitions": 3, "probes": 20, "probe_failures": 8, "connections": 2, "handshakes": 7, "resumptions": 6}
    over_tls = {**UPSTREAM, **numbers, "address": "tls://127.0.0.1:5301"}
    found = samples(status(upstreams=[{**UPSTREAM, "probe_failures": 1}, over_tls]))
    labels = {"upstream": "127.0.0.1:5301", "address": "tls://127.0.0.1:5301"}
    assert value(found, "dnsproxy_upstream_transitions_total", **labels) == 3
    assert value(found, "dnsproxy_upstream_probes_total", **labels) == 20
    assert value(found, "dnsproxy_upstream_probe_failures_total", **labels) == 8
    assert value(found, "dnsproxy_upstream_connections", **labels) == 2
    assert value(found, "dnsproxy_upstream_tls_handshakes_total", **labels) == 7
    assert value(found, "dnsproxy_upstream_tls_resumptions_total", **labels) == 6
    by_coredns = {"proxy_name": "forward", "to": "127.0.0.1:5301"}
    assert found["coredns_proxy_healthcheck_failures_total"] == [(by_coredns, 9)]


def test_a_listeners_reasons_are_there_before_anything_was_dropped() -> None:
    where = {"listener": "udp://127.0.0.1:5300"}
    found = samples(status(listeners=[{**LISTENER, "send_failed": 5}]))
    assert value(found, "dnsproxy_listener_queries_total", **where) == 9
    assert value(found, "dnsproxy_listener_responses_total", **where) == 8
    assert value(found, "dnsproxy_listener_send_failed_total", **where) == 5
    assert {has["reason"]: number for has, number in found["dnsproxy_listener_dropped_total"]} == {
        "malformed": 1,
        "not_allowed": 0,
        "port_zero": 0,
    }


@pytest.mark.parametrize(
    ("address", "labels"),
    [
        ("udp://127.0.0.1:53", {"server": "dns://127.0.0.1:53", "proto": "udp", "family": "1"}),
        ("tcp://[2001:db8::1]:53", {"server": "dns://[2001:db8::1]:53", "proto": "tcp", "family": "2"}),
        ("udp://0.0.0.0:53", {"server": "dns://0.0.0.0:53", "proto": "udp", "family": "1"}),
        ("udp://[::]:53", {"server": "dns://[::]:53", "proto": "udp", "family": ""}),
        ("tls://127.0.0.1:853", {"server": "tls://127.0.0.1:853", "proto": "tcp", "family": "1"}),
        ("quic://127.0.0.1:853", {"server": "quic://127.0.0.1:853", "proto": "udp", "family": "1"}),
    ],
)
def test_queries_have_the_name_and_the_labels_that_coredns_gives_them(address: str, labels: Labels) -> None:
    found = samples(status(listeners=[{**LISTENER, "address": address}]))
    assert found["coredns_dns_requests_total"] == [(labels, 9)]


def test_the_process_tells_what_it_is_and_what_it_refused() -> None:
    found = samples(status() | {"limits": LIMITS, "failures": 6})
    build = {"version": dnsproxy.__version__, "compiled": str(dnsproxy.COMPILED).lower()}
    assert found["dnsproxy_build_info"] == [({**build, "python": platform.python_version()}, 1)]
    assert value(found, "dnsproxy_uptime_seconds") >= 5
    assert (value(found, "dnsproxy_workers"), value(found, "dnsproxy_workers_ready")) == (1, 1)
    assert value(found, "dnsproxy_worker_restarts_total") == 0
    assert (value(found, "dnsproxy_queries_in_flight"), value(found, "dnsproxy_tcp_connections")) == (7, 3)
    refused = {has["limit"]: number for has, number in found["dnsproxy_refused_total"]}
    assert refused == {"queries": 2, "tcp_connections": 0, "run_tasks": 1}
    assert value(found, "dnsproxy_failures_total") == value(found, "coredns_panics_total") == 6


def test_missing_workers_show() -> None:
    found = samples(status() | {"workers": 4, "workers_ready": 3, "worker_restarts": 2})
    assert (value(found, "dnsproxy_workers"), value(found, "dnsproxy_workers_ready")) == (4, 3)
    assert value(found, "dnsproxy_worker_restarts_total") == 2


def test_plugins_numbers_have_the_names_that_they_gave_them_and_their_own() -> None:
    counters = {
        "cache": {"hits": 5, "misses": 7, "entries": 4, "name": "x", "on": True},
        "types": {"queries": {"A": 2.5}},
    }
    found = samples(status(plugins=counters), {"cache": CACHE})
    assert value(found, "coredns_cache_requests_total") == 12
    assert value(found, "coredns_cache_entries") == 4
    own = {(has["plugin"], has["key"]): number for has, number in found["dnsproxy_plugin_status"]}
    assert own == {("cache", "hits"): 5, ("cache", "misses"): 7, ("cache", "entries"): 4, ("types", "queries.A"): 2.5}


def test_two_plugins_that_use_the_same_name_are_added_up() -> None:
    counters = {"cache": {"hits": 1, "misses": 1}, "other": {"hits": 10, "misses": 0}}
    found = samples(status(plugins=counters), {"cache": CACHE, "other": CACHE})
    assert value(found, "coredns_cache_requests_total") == 12


@pytest.mark.parametrize("taken", [{}, {"taps": [{"name": "a"}], "upstreams": [{"name": "b"}]}])
def test_what_a_status_lacks_is_left_out(taken: dict[str, Any]) -> None:
    found = samples(taken)
    assert not math.isnan(value(found, "dnsproxy_build_info", version="None", compiled="false", python=PYTHON))
    assert "dnsproxy_tap_offered_total" not in found
    assert "dnsproxy_upstream_queries_total" not in found


PYTHON = platform.python_version()


def test_every_metric_is_explained_and_none_that_there_is_not() -> None:
    tap = {**TAP, "spooled": 0, "collectors": 0}
    taken = status(taps=[tap]) | {"limits": LIMITS, "failures": 0}
    of_plugins = [metric for plugin in find_plugins().values() for metric in plugin.load().metrics]
    there = set(samples(taken)) | {metric.name for metric in of_plugins}
    section = OPERATIONS.read_text().partition("### Prometheus\n")[2].partition("\n## ")[0]
    explained, _, left_out = section.partition("Left out is")
    assert set(re.findall(r"`((?:dnsproxy|coredns)_\w+)`", explained)) == there
    assert not set(re.findall(r"`(coredns_\w+)`", left_out)) & there
    used = set(re.findall(r"\b(dnsproxy_\w+)", section))
    assert used <= there
