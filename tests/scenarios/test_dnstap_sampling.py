"""Taps that show a part of the client queries: decided once for each, with what must always be shown."""

import json
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import behaviours, wire
from tests.support.client import TcpClient, exchange
from tests.support.collector import Collector, wait_until
from tests.support.dnstap_decoder import TapMessage
from tests.support.load import ask_many
from tests.support.proxy import Proxy, config_errors
from tests.support.shared import shared_collector, shared_upstream
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

QUERIES = 400
ID = "{/query/id} {/dnstap/sample}"
RARE = 0.000001  # of the few hundred queries here it shows none
WHOLE = ["CQ", "FQ", "FR", "CR"]
TAPS: dict[str, dict[str, object]] = {
    "all": {},
    "half": {"sample": 0.5},
    "half again": {"sample": 0.5, "types": ["client"]},
    "a tenth": {"sample": 0.1},
    "every one": {"sample": 1.0},
    "errors": {"sample": RARE, "always": ["errors"]},
    "slow": {"sample": RARE, "always": ["slow"], "slower_than": "100ms"},
    "policy": {"sample": RARE, "always": ["policy"]},
    "any of them": {"sample": RARE, "always": ["errors", "slow", "policy"], "slower_than": "100ms"},
    "errors in a zone": {"sample": RARE, "always": ["errors"], "zones": ["sub.example.org"]},
    "threshold": {"sample": 1.0, "always": ["slow"], "slower_than": "100ms"},
    "slow and sampled": {"sample": 1.0, "always": ["errors"], "slower_than": "100ms"},
    "json": {"sample": 0.25, "extra": {"json": ["query/id", "dnstap/sample"]}},
}


upstream = shared_upstream(late=behaviours.delay(150), fail=behaviours.fail(wire.SERVFAIL), held=behaviours.hold)
collector = shared_collector()


@pytest.fixture(scope="module")
def proxy(upstream: HostileUpstream, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    taps = [dnstap(to=collector, name=name, identity=name, **{"extra": ID, **keys}) for name, keys in TAPS.items()]
    forwards = [
        forward(upstream),
        forward(upstream, from_="bounded.test", max_concurrent=1, timeout="3s", deadline="4s"),
    ]
    with Proxy(tmp_path_factory.mktemp("proxy"), "".join(taps + forwards)) as running:
        ask_many(running.port, QUERIES, "sampled")
        yield running


def about(proxy: Proxy, collector: Collector, tap: str, label: str) -> list[TapMessage]:
    """What this tap showed about names with this label, once it has shown all it will."""
    status = proxy.wait_for_tap(tap, lambda now: not now["queued"], "all is sent")
    wait_until(lambda: len(collector.of(tap)) == status["sent"], f"all of {tap} has arrived")
    return [message for message in collector.about(label) if message.identity == tap]


def names(messages: list[TapMessage]) -> Counter[str]:
    """How many messages there are about each name's first label."""
    return Counter(wire.qname(message.wire or b"").partition(".")[0] for message in messages)


@pytest.mark.parametrize(("tap", "least", "most"), [("half", 150, 250), ("a tenth", 10, 75), ("json", 60, 140)])
def test_a_part_is_shown_and_what_is_shown_is_whole(
    proxy: Proxy, collector: Collector, tap: str, least: int, most: int
) -> None:
    shown = names(about(proxy, collector, tap, "sampled"))
    assert least <= len(shown) <= most, "five standard deviations"
    assert set(shown.values()) == {4}


def test_a_query_is_decided_by_its_id_the_same_in_every_tap(proxy: Proxy, collector: Collector) -> None:
    shown = names(about(proxy, collector, "half", "sampled"))
    again = names(about(proxy, collector, "half again", "sampled"))
    assert shown.keys() == again.keys()
    assert set(again.values()) == {2}


def test_a_sample_of_one_is_everything(proxy: Proxy, collector: Collector) -> None:
    assert len(about(proxy, collector, "every one", "sampled")) == 4 * QUERIES


def test_a_sampled_tap_is_offered_only_what_it_shows(proxy: Proxy, collector: Collector) -> None:
    messages = about(proxy, collector, "half", "sampled")
    assert proxy.tap("half")["offered"] >= len(messages)
    assert proxy.tap("half")["offered"] < 0.7 * proxy.tap("all")["offered"]


def test_the_rate_is_in_extra_as_it_was_configured(proxy: Proxy, collector: Collector) -> None:
    assert {text(one).split(" ")[1] for one in about(proxy, collector, "half", "sampled")} == {"0.5"}
    assert {text(one).split(" ")[1] for one in about(proxy, collector, "a tenth", "sampled")} == {"0.1"}
    rendered = [json.loads(text(one)) for one in about(proxy, collector, "json", "sampled")]
    assert {float(one["dnstap/sample"]) for one in rendered} == {0.25}


def test_the_messages_of_a_query_have_one_id(proxy: Proxy, collector: Collector) -> None:
    messages = about(proxy, collector, "half", "sampled")
    ids = Counter(text(one).split(" ")[0] for one in messages)
    assert set(ids.values()) == {4}


def test_errors_are_always_shown_whole(proxy: Proxy, collector: Collector) -> None:
    for name in ("fine", "fail", "late"):
        exchange(wire.query(f"{name}.erring.example.org"), proxy.port)
    for tap in ("errors", "any of them"):
        shown = [one for one in about(proxy, collector, tap, "erring") if "fail" in wire.qname(one.wire or b"")]
        assert [one.type for one in shown] == WHOLE
    assert names(about(proxy, collector, "errors", "erring")) == {"fail": 4}


def test_slow_queries_are_always_shown_whole(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("quick.timed.example.org"), proxy.port)
    exchange(wire.query("late.timed.example.org"), proxy.port)
    for tap in ("slow", "any of them"):
        messages = about(proxy, collector, tap, "timed")
        assert names(messages) == {"late": 4}
        assert [one.type for one in messages] == WHOLE


def test_slower_than_is_only_a_threshold_when_slow_is_always_shown(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("quick.limit.example.org"), proxy.port)
    exchange(wire.query("late.limit.example.org"), proxy.port)
    assert names(about(proxy, collector, "threshold", "limit")) == {"quick": 4, "late": 4}
    assert names(about(proxy, collector, "slow and sampled", "limit")) == {"late": 4}


def test_what_a_policy_touched_is_always_shown(proxy: Proxy, upstream: HostileUpstream, collector: Collector) -> None:
    with TcpClient(proxy.port) as client:
        client.send(wire.query("held.bounded.test", id=1))
        upstream.wait_for(1, "held")
        client.send(wire.query("turned-away.bounded.test", id=2))
        assert struct.unpack_from("!HH", client.receive())[0] == 2
        upstream.release()
        client.receive()
    for tap in ("policy", "any of them"):
        assert names(about(proxy, collector, tap, "bounded")) == {"turned-away": 2}


def test_always_lifts_the_sampling_and_no_other_key(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("fail.placed.example.org"), proxy.port)
    exchange(wire.query("fail.placed.sub.example.org"), proxy.port)
    messages = about(proxy, collector, "errors in a zone", "placed")
    assert {wire.qname(one.wire or b"") for one in messages} == {"fail.placed.sub.example.org"}
    assert [one.type for one in messages] == WHOLE


@pytest.mark.parametrize("rate", [-0.1, 1.01, "half", True])
def test_a_rate_is_a_number_from_0_to_1(tmp_path: Path, rate: object) -> None:
    (error,) = config_errors(tmp_path, dnstap(to="unix:///tap.sock", sample=rate) + forward("192.0.2.1"))
    assert "[dnstap[0].sample]" in error or "[dnstap.sample]" in error


def text(message: TapMessage) -> str:
    assert message.extra is not None
    return message.extra
