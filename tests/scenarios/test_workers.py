"""Several processes that share the ports, as operators meet them: one proxy, whatever becomes of its workers."""

import json
import os
import re
import signal
import time
from pathlib import Path

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import answers, exchange_tcp
from tests.support.collector import Collector, wait_until
from tests.support.programs import run_program
from tests.support.proxy import books, run_dnsproxy, tap_balances
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream
from tests.support.workers import (
    BACK_WITHIN_S,
    CLIENTS,
    PATIENCE_S,
    TWO,
    all_ready,
    answered,
    ask_all,
    clients,
    is_gone,
    workers,
)


def test_two_workers_are_one_proxy(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    proxy = start_proxy(TWO + dnstap(to=collector, name="main") + forward(upstream))
    with clients(proxy) as sockets:
        ask_all(sockets)
        assert answered(sockets, within_s=5) == CLIENTS
    for number in range(8):
        assert wire.rcode(exchange_tcp(wire.query(f"t{number}.example.org"), proxy.port)) == 0
    collector.wait_for(4 * (CLIENTS + 8))
    status = proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "sent")
    assert (status["workers"], status["workers_ready"], len(workers(proxy))) == (2, 2, 2)
    assert [(one["address"], one["queries"], one["responses"]) for one in status["listeners"]] == [
        (f"udp://127.0.0.1:{proxy.port}", CLIENTS, CLIENTS),
        (f"tcp://127.0.0.1:{proxy.port}", 8, 8),
    ]
    (tap,) = status["taps"]
    assert (tap["name"], tap["state"], tap["sent"], tap["connects"]) == ("main", "connected", 4 * (CLIENTS + 8), 2)
    assert [(one["name"], one["queries"]) for one in status["upstreams"]] == [(upstream.address, CLIENTS + 8)]
    offered, tapped = books(status)
    assert offered == tapped
    proxy.stop()
    assert proxy.tap_lines == {"main": {"offered": tapped, "sent": tapped, "queued": 0, "dropped": 0}}
    assert proxy.log.count("offered=") == 1
    assert proxy.log.count("ready") == 1
    assert collector.stops == 2


def test_what_a_stopped_worker_has_been_sent_is_answered_when_it_goes_on(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(TWO + forward(upstream))
    stopped = workers(proxy)[0]
    with clients(proxy) as sockets:
        os.kill(stopped, signal.SIGSTOP)
        ask_all(sockets)
        end = time.monotonic() + 0.5
        silent = [client for client in sockets if not answers(client, 1, within_s=max(end - time.monotonic(), 0.01))]
        assert 0 < len(silent) < CLIENTS, "both workers have clients"
        os.kill(stopped, signal.SIGCONT)
        assert answered(silent, within_s=5) == len(silent)


def test_a_killed_worker_is_replaced_within_a_second_and_no_client_is_forgotten(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(TWO + dnstap(to=collector) + forward(upstream))
    for kill in range(3):
        killed = workers(proxy)[0]
        with clients(proxy) as sockets:
            os.kill(killed, signal.SIGKILL)
            began = time.monotonic()
            wait_until(lambda pid=killed: is_gone(pid), "the end of the worker")  # type: ignore[misc]
            ask_all(sockets)
            assert answered(sockets, within_s=PATIENCE_S) == CLIENTS
            took_s = time.monotonic() - began
        status = proxy.wait_for_status(all_ready, "another worker")
        assert status["worker_restarts"] == kill + 1
        assert tap_balances(status["taps"][0])
        assert took_s < BACK_WITHIN_S * 2
        time.sleep(1.1)  # it has proved itself: what ends after this is an accident again, and not put off
    assert len(workers(proxy)) == 2
    assert proxy.log.count("was ended by SIGKILL") == 3


def test_a_worker_that_is_told_to_stop_answers_first_and_is_replaced(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.on("slow", behaviours.delay(500))
    proxy = start_proxy(TWO + forward(upstream, timeout="2s", deadline="4s"))
    with clients(proxy) as sockets:
        ask_all(sockets, "slow.example.org")
        upstream.wait_for(2, "slow")
        os.kill(workers(proxy)[0], signal.SIGTERM)
        assert answered(sockets, within_s=5) == CLIENTS
    proxy.wait_for_status(lambda now: now["worker_restarts"] == 1 and all_ready(now), "another worker")


def test_a_worker_that_hangs_does_not_make_status_hang(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(TWO + dnstap(to=collector) + forward(upstream))
    with clients(proxy) as sockets:
        ask_all(sockets)
        assert answered(sockets, within_s=5) == CLIENTS
    collector.wait_for(4 * CLIENTS)
    proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "sent")
    hanging = workers(proxy)[1]
    os.kill(hanging, signal.SIGSTOP)
    for _ in range(2):
        began = time.monotonic()
        status = proxy.status()
        assert time.monotonic() - began < 3
        assert status["taps"][0]["sent"] == 4 * CLIENTS, "what it told last"
    os.kill(hanging, signal.SIGCONT)


def test_a_file_tap_of_several_workers_is_one_stream_in_order(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "taps" / "dns.fstrm"
    proxy = start_proxy(TWO + dnstap(to=f"file://{path}") + forward(upstream))
    with clients(proxy) as sockets:
        for turn in range(5):
            ask_all(sockets, f"r{turn}.example.org")
            assert answered(sockets, within_s=5) == CLIENTS
    messages = 4 * 5 * CLIENTS
    status = proxy.wait_for_status(lambda now: now["taps"][0]["sent"] == messages, "in the file")
    (tap,) = status["taps"]
    assert (tap["state"], tap["offered"], tap["queued"], tap["socket"]) == ("connected", messages, 0, f"file://{path}")
    proxy.stop()
    assert list(proxy.tap_lines.values()) == [{"offered": messages, "sent": messages, "queued": 0, "dropped": 0}]
    assert [file.name for file in path.parent.iterdir()] == ["dns.fstrm"]
    types_of = dict[str, list[str]]()
    for line in run_program("dnstap", "-r", str(path), "-j").splitlines():
        message = json.loads(line)["message"]
        text = message.get("query_message") or message["response_message"]
        types_of.setdefault(re.findall(r"c\d+\.r\d", text)[0], []).append(message["type"])
    order = ["CLIENT_QUERY", "FORWARDER_QUERY", "FORWARDER_RESPONSE", "CLIENT_RESPONSE"]
    assert len(types_of) == 5 * CLIENTS
    assert all(types == order for types in types_of.values())


def test_the_file_of_a_tap_goes_on_when_a_worker_is_killed(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "dns.fstrm"
    proxy = start_proxy(TWO + dnstap(to=f"file://{path}") + forward(upstream))
    for _ in range(2):
        with clients(proxy) as sockets:
            ask_all(sockets)
            assert answered(sockets, within_s=5) == CLIENTS
        proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "in the file")
        for pid in workers(proxy):
            os.kill(pid, signal.SIGKILL)
        proxy.wait_for_log(r"(?s)worker 1 was ended by.*worker 2 was ended by|worker 2 was.*worker 1 was")
        status = proxy.wait_for_status(all_ready, "other workers")
        assert all(map(tap_balances, status["taps"]))
        time.sleep(1.1)
    proxy.stop()
    assert [file.name for file in tmp_path.glob("*.fstrm")] == ["dns.fstrm"]
    summary = run_program("dnstap", "-r", str(path), "-q")
    assert summary.count("www.example.org") == 2 * 4 * CLIENTS


def test_status_for_people_and_for_monitoring_knows_of_workers(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(TWO + forward(upstream))
    assert "2 workers" in run_dnsproxy("status", "--admin", str(proxy.admin)).stdout
    assert run_dnsproxy("status", "--check", "--admin", str(proxy.admin)).returncode == 0
