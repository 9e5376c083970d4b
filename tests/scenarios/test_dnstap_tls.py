"""Taps over TLS: either side knows the other by its certificate, and certificates change without a restart."""

from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.authority import Authority, certificate
from tests.support.client import exchange
from tests.support.collector import Collector, Dialer, tcp_address, wait_until
from tests.support.load import ask_many
from tests.support.proxy import config_errors
from tests.support.toml import dnstap, forward, listening
from tests.support.upstream import HostileUpstream


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def address() -> str:
    return tcp_address()


def tls(address: str) -> str:
    return address.replace("tcp://", "tls://")


def test_both_sides_may_demand_a_certificate(
    start_proxy: StartProxy, upstream: HostileUpstream, authority: Authority, address: str
) -> None:
    ours = authority.issue("proxy")
    with Collector(address, tls=authority.server(demands=True)) as collector:
        proxy = start_proxy(dnstap(to=tls(address), name="main", ca=authority.ca, **ours) + forward(upstream))
        ask_many(proxy.port, 100)
        collector.wait_for(400)
        assert collector.certificates == [certificate(ours["cert"])]
        assert proxy.tap("main")["state"] == "connected"
        proxy.stop()
        assert (collector.stops, collector.breaks, collector.refused) == (1, 0, 0)


def test_without_the_certificate_that_is_demanded_nothing_is_sent(
    start_proxy: StartProxy, upstream: HostileUpstream, authority: Authority, address: str
) -> None:
    with Collector(address, tls=authority.server(demands=True)) as collector:
        proxy = start_proxy(dnstap(to=tls(address), name="main", ca=authority.ca) + forward(upstream))
        exchange(wire.query("www.example.org"), proxy.port)
        status = proxy.wait_for_tap("main", lambda now: now["last_error"], "an error")
        assert (status["sent"], status["queued"], collector.received) == (0, 4, 0)


def test_a_collector_that_we_do_not_trust_gets_nothing(
    start_proxy: StartProxy, upstream: HostileUpstream, authority: Authority, address: str, tmp_path: Path
) -> None:
    with Collector(address, tls=Authority(tmp_path).server()) as collector:
        proxy = start_proxy(dnstap(to=tls(address), name="main", ca=authority.ca) + forward(upstream))
        exchange(wire.query("www.example.org"), proxy.port)
        status = proxy.wait_for_tap("main", lambda now: now["last_error"], "an error")
        assert "certificate" in status["last_error"]
        assert collector.received == 0


def test_a_hangup_takes_up_our_new_certificate(
    start_proxy: StartProxy, upstream: HostileUpstream, authority: Authority, address: str
) -> None:
    paths = authority.issue("renewed")
    old = certificate(paths["cert"])
    with Collector(address, tls=authority.server(demands=True)) as collector:
        proxy = start_proxy(dnstap(to=tls(address), ca=authority.ca, **paths) + forward(upstream))
        exchange(wire.query("www.example.org"), proxy.port)
        collector.wait_for(4)
        authority.issue("renewed")
        new = certificate(paths["cert"])
        proxy.reload()
        collector.stop()
        collector.start()
        exchange(wire.query("www.example.org"), proxy.port)
        collector.wait_for(8)
        assert (collector.certificates[0], collector.certificates[-1]) == (old, new)


def test_a_tap_that_listens_with_ca_takes_only_collectors_with_a_certificate(
    start_proxy: StartProxy, upstream: HostileUpstream, authority: Authority, address: str
) -> None:
    ours = authority.issue("listener")
    proxy = start_proxy(listening(at=tls(address), name="main", ca=authority.ca, **ours) + forward(upstream))
    with Dialer(address, tls=authority.client()) as stranger, Dialer(address, tls=authority.client("known")) as known:
        wait_until(lambda: stranger.refused + stranger.breaks == 1, "the stranger is shown out")
        wait_until(lambda: ask_until_seen(proxy.port, known), "the known one gets messages")
        assert known.certificates == [certificate(ours["cert"])]
        assert stranger.received == 0
        proxy.stop()
        known.wait_until(lambda: known.stops == 1, "STOP")


def ask_until_seen(port: int, collector: Dialer) -> bool:
    exchange(wire.query("hello.example.org"), port)
    return collector.received > 0


def test_a_tap_that_listens_without_ca_takes_everybody_over_tls(
    start_proxy: StartProxy, upstream: HostileUpstream, authority: Authority, address: str
) -> None:
    proxy = start_proxy(listening(at=tls(address), **authority.issue("open")) + forward(upstream))
    with Dialer(address, tls=authority.client()) as collector, Dialer(address) as plain:
        wait_until(lambda: ask_until_seen(proxy.port, collector), "messages")
        assert plain.received == 0, "not without TLS"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hangup_gives_collectors_that_dial_in_the_new_certificate_and_keeps_the_old_connections(
    start_proxy: StartProxy, upstream: HostileUpstream, authority: Authority, address: str, workers: int
) -> None:
    paths = authority.issue(f"changing{workers}")
    old = certificate(paths["cert"])
    tap = listening(at=tls(address), **paths)
    proxy = start_proxy(f"workers = {workers}\n" + tap + forward(upstream))
    with Dialer(address, tls=authority.client()) as early:
        wait_until(lambda: ask_until_seen(proxy.port, early), "messages")
        authority.issue(f"changing{workers}")
        new = certificate(paths["cert"])
        proxy.reload()
        with Dialer(address, tls=authority.client()) as late:
            wait_until(lambda: ask_until_seen(proxy.port, late), "messages")
            assert (early.certificates, late.certificates) == ([old], [new])
            assert (early.breaks, early.stops) == (0, 0)


def test_a_certificate_that_became_unreadable_changes_nothing(
    start_proxy: StartProxy, upstream: HostileUpstream, authority: Authority, address: str
) -> None:
    paths = authority.issue("spoiled")
    good = certificate(paths["cert"])
    proxy = start_proxy(listening(at=tls(address), **paths) + forward(upstream))
    Path(paths["cert"]).write_text("no certificate")
    proxy.process.send_signal(1)  # SIGHUP
    proxy.wait_for_log(r"\[dnstap\[?0?\]?\.cert\]")
    with Dialer(address, tls=authority.client()) as collector:
        wait_until(lambda: ask_until_seen(proxy.port, collector), "messages")
        assert collector.certificates == [good]


def test_what_tls_needs_is_checked_at_its_keys(authority: Authority, tmp_path: Path) -> None:
    ours = authority.issue("checked")
    taps = [
        listening(at="tls://127.0.0.1:16001"),
        listening(at="tls://127.0.0.1:16002", cert=ours["cert"], key=str(tmp_path / "none.pem")),
        listening(at="tcp://127.0.0.1:16003", **ours),
        dnstap(to="tls://127.0.0.1:16004", key=ours["key"]),
    ]
    errors = config_errors(tmp_path, "".join(taps) + forward("192.0.2.1"))
    for number, key in enumerate(("cert", "key", "cert", "key")):
        assert any(f"[dnstap[{number}].{key}]" in error for error in errors), errors
