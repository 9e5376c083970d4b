"""What a tap is told to show: by type, zone, client, record type, rcode, protocol, time taken, or failure."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import behaviours, wire
from tests.support.client import exchange, exchange_tcp, udp_socket
from tests.support.collector import Collector, wait_until
from tests.support.dnstap_decoder import TapMessage
from tests.support.proxy import Proxy, Status, config_errors
from tests.support.shared import shared_collector, shared_upstream
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

SLOW_MS = 150  # of `slow` names; the threshold below lies between that and what the loopback takes
THRESHOLD = "100ms"

TYPES = {
    "client": ("client", ["CQ", "CR"]),
    "forwarder": ("FORWARDER", ["FQ", "FR"]),
    "client query": ("Client Query", ["CQ"]),
    "client response": ("client response", ["CR"]),
    "forwarder query": ("forwarder query", ["FQ"]),
    "forwarder response": ("forwarder RESPONSE", ["FR"]),
    "all": ("all", ["CQ", "FQ", "FR", "CR"]),
    "all query": ("all query", ["CQ", "FQ"]),
    "all response": ("All Response", ["FR", "CR"]),
    "schema": (["CLIENT_QUERY", "FORWARDER_RESPONSE"], ["CQ", "FR"]),
    "both": (["forwarder query", "client response"], ["FQ", "CR"]),
}
SELECTIONS: dict[str, dict[str, object]] = {
    "everything": {},
    **{f"types {word}": {"types": types if isinstance(types, list) else [types]} for word, (types, _) in TYPES.items()},
    "zones": {"zones": ["Sub.Example.ORG"]},
    "clients": {"clients": ["127.0.0.2/32", "127.0.3.0/24", "2001:db8::/32"]},
    "qtypes": {"qtypes": ["aaaa", "HTTPS", "TYPE65534"]},
    "protocols": {"protocols": ["tcp"]},
    "rcodes": {"rcodes": ["nxdomain", "SERVFAIL"]},
    "noerror": {"rcodes": ["NOERROR"]},
    "badvers": {"rcodes": ["BADVERS"]},
    "errors": {"only": "errors"},
    "failed queries": {"only": "errors", "types": ["client query"]},
    "slow": {"slower_than": THRESHOLD},
    "together": {"zones": ["sub.example.org"], "qtypes": ["TXT"], "rcodes": ["NXDOMAIN"], "protocols": ["UDP"]},
}
WHOLE = ["CQ", "FQ", "FR", "CR"]


upstream = shared_upstream(
    nx=behaviours.fail(wire.NXDOMAIN),
    refused=behaviours.fail(wire.REFUSED),
    late=behaviours.delay(SLOW_MS),
    lost=behaviours.drop,
)
collector = shared_collector()


@pytest.fixture(scope="module")
def failing() -> Iterator[HostileUpstream]:
    with HostileUpstream(default=behaviours.fail(wire.SERVFAIL)) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(
    upstream: HostileUpstream,
    failing: HostileUpstream,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    """One tap for each selection, all of them to one collector; their identity tells them apart."""
    taps = [dnstap(to=collector, name=name, identity=name, **keys) for name, keys in SELECTIONS.items()]
    forwards = [
        forward(upstream, timeout="200ms", max_attempts=2),
        forward(upstream, from_="by-tcp.test", force_tcp=True),
        forward(upstream, from_="by-udp.test", prefer_udp=True, timeout="3s", deadline="4s"),
        forward(failing, upstream, from_="failover.test", policy="sequential", failover=["SERVFAIL"]),
    ]
    with Proxy(tmp_path_factory.mktemp("proxy"), "".join(taps + forwards)) as running:
        yield running


def settled(proxy: Proxy, collector: Collector, tap: str) -> Status:
    """The tap's status once everything that it was offered has arrived."""
    status = proxy.wait_for_tap(tap, lambda now: not now["queued"], "all is sent")
    wait_until(lambda: len(collector.of(tap)) == status["sent"], f"all of {tap} has arrived")
    return status


def found(proxy: Proxy, collector: Collector, tap: str, label: str) -> list[TapMessage]:
    """What this tap showed about names with this label, once it has shown all it will."""
    settled(proxy, collector, tap)
    return [message for message in collector.about(label) if message.identity == tap]


def shown(proxy: Proxy, collector: Collector, tap: str, label: str) -> list[str]:
    return [message.type for message in found(proxy, collector, tap, label)]


@pytest.mark.parametrize(("word", "types"), [(word, types) for word, (_, types) in TYPES.items()], ids=TYPES)
def test_types_go_by_the_schemas_names_and_by_binds_words(
    proxy: Proxy, collector: Collector, word: str, types: list[str]
) -> None:
    label = "types-" + word.replace(" ", "-")
    exchange(wire.query(f"{label}.example.org"), proxy.port)
    assert shown(proxy, collector, f"types {word}", label) == types


def test_zones_are_at_and_below_in_any_case(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("SUB.example.org", "SOA"), proxy.port)
    exchange(wire.query("zoned.sUb.exAmple.org"), proxy.port)
    exchange(wire.query("zoned.notsub.example.org"), proxy.port)
    exchange(wire.query("zoned.example.org"), proxy.port)
    assert shown(proxy, collector, "zones", "zoned") == WHOLE
    assert shown(proxy, collector, "zones", "sub") == WHOLE * 2


def test_clients_are_networks_and_hold_for_what_is_forwarded_too(proxy: Proxy, collector: Collector) -> None:
    for source in ("127.0.0.1", "127.0.0.2", "127.0.3.77", "127.0.4.1"):
        exchange(wire.query("networks.example.org"), proxy.port, source=source)
    messages = found(proxy, collector, "clients", "networks")
    assert [message.type for message in messages] == WHOLE * 2
    assert [messages[at].query_address for at in (0, 4)] == ["127.0.0.2", "127.0.3.77"]


def test_qtypes_are_words_in_any_case(proxy: Proxy, collector: Collector) -> None:
    for qtype in ("A", "AAAA", "HTTPS", "TXT", "TYPE65534"):
        exchange(wire.query("qtyped.example.org", qtype), proxy.port)
    assert shown(proxy, collector, "qtypes", "qtyped") == WHOLE * 3


def test_protocols_are_the_clients_whatever_the_upstream_is_asked_by(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("proto.by-tcp.test"), proxy.port)
    exchange_tcp(wire.query("proto.by-udp.test"), proxy.port)
    messages = found(proxy, collector, "protocols", "proto")
    assert [(message.type, message.protocol) for message in messages] == [
        ("CQ", "TCP"),
        ("FQ", "UDP"),
        ("FR", "UDP"),
        ("CR", "TCP"),
    ]


def test_rcodes_keep_the_whole_exchange_until_the_answer_is_known(proxy: Proxy, collector: Collector) -> None:
    for name in ("fine.rcoded", "nx.rcoded", "refused.rcoded", "lost.rcoded"):
        exchange(wire.query(f"{name}.example.org"), proxy.port)
    messages = found(proxy, collector, "rcodes", "rcoded")
    assert [message.type for message in messages] == [*WHOLE, "CQ", "FQ", "FQ", "CR"]
    asked, sent, replied, answered = messages[:4]
    assert (asked.query_ns or 0) <= (sent.query_ns or 0) <= (replied.response_ns or 0) <= (answered.response_ns or 0)
    everything = [message for message in found(proxy, collector, "everything", "rcoded") if message.type == "CQ"]
    assert asked.query_ns == everything[1].query_ns, "it is as old as it was"


def test_what_counts_is_the_clients_answer_not_the_upstreams(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("over.failover.test"), proxy.port)
    assert shown(proxy, collector, "rcodes", "over") == []
    assert shown(proxy, collector, "noerror", "over") == ["CQ", "FQ", "FR", "FQ", "FR", "CR"]


def test_rcodes_have_ednss_extended_bits(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("version.example.org", edns=1), proxy.port)
    exchange(wire.query("version.example.org"), proxy.port)
    assert shown(proxy, collector, "badvers", "version") == ["CQ", "CR"]


def test_errors_are_all_rcodes_but_noerror_and_nxdomain(proxy: Proxy, collector: Collector) -> None:
    for name in ("fine.erring", "nx.erring", "refused.erring", "lost.erring"):
        exchange(wire.query(f"{name}.example.org"), proxy.port)
    exchange(wire.raw_query(wire.name_to_wire("notimp.erring.test"), flags=2 << 11), proxy.port)
    exchange(wire.query("transfer.erring.test", "AXFR"), proxy.port)
    whole = [*WHOLE, "CQ", "FQ", "FQ", "CR", "CQ", "CR", "CQ", "CR"]
    assert shown(proxy, collector, "errors", "erring") == whole
    assert shown(proxy, collector, "failed queries", "erring") == ["CQ"] * 4


def test_slow_is_the_time_from_the_clients_query_to_its_answer(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("quick.timed.example.org"), proxy.port)
    exchange(wire.query("late.timed.example.org"), proxy.port)
    messages = found(proxy, collector, "slow", "timed")
    assert [message.type for message in messages] == WHOLE
    assert (messages[3].response_ns or 0) - (messages[0].query_ns or 0) >= 100_000_000


def test_all_keys_must_hold_together(proxy: Proxy, collector: Collector) -> None:
    for name, qtype, send in (
        ("nx.all.sub.example.org", "TXT", exchange),
        ("nx.all.sub.example.org", "TXT", exchange_tcp),
        ("nx.all.sub.example.org", "A", exchange),
        ("fine.all.sub.example.org", "TXT", exchange),
        ("nx.all.example.org", "TXT", exchange),
    ):
        send(wire.query(name, qtype), proxy.port)
    messages = found(proxy, collector, "together", "all")
    assert [message.type for message in messages] == WHOLE
    assert {wire.qname(message.wire or b"") for message in messages} == {"nx.all.sub.example.org"}


def test_offered_counts_what_the_selection_let_through(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("counted.example.org"), proxy.port)
    status = proxy.wait_for_status(lambda now: not any(tap["queued"] for tap in now["taps"]), "all is sent")
    sent = {tap["name"]: tap["sent"] for tap in status["taps"]}
    wait_until(lambda: {name: len(collector.of(name)) for name in sent} == sent, "all has arrived")
    assert {tap["name"]: tap["offered"] for tap in status["taps"]} == sent


def test_what_waits_for_its_answer_is_shown_only_then(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("waiting", behaviours.hold)
    with udp_socket(proxy.port) as client:
        client.send(wire.query("waiting.by-udp.test"))
        upstream.wait_for(1, "waiting")
        assert shown(proxy, collector, "everything", "waiting") == ["CQ", "FQ"]
        assert shown(proxy, collector, "noerror", "waiting") == []
        upstream.release()
        client.recv(65_535)
    assert shown(proxy, collector, "noerror", "waiting") == WHOLE


REFUSED: dict[str, object] = {
    "types": ["client", "clientele"],
    "qtypes": ["A", "NO-SUCH"],
    "rcodes": ["NOERROR", "NO-SUCH"],
    "protocols": ["UDP", "SCTP"],
    "clients": ["127.0.0.0/8", "not an address"],
    "zones": ["example.org", "a..b"],
    "slower_than": "quickly",
    "only": "failures",
    "sample": 1.5,
    "always": ["errors", "never"],
}


def test_words_that_mean_nothing_are_errors_at_their_keys(tmp_path: Path) -> None:
    sampled = {"sample": 0.5}
    body = "".join(
        dnstap(to=f"unix:///tap-{key}.sock", **{**(sampled if key == "always" else {}), key: value})
        for key, value in REFUSED.items()
    )
    errors = config_errors(tmp_path, body + forward("192.0.2.1"))
    assert len(errors) == len(REFUSED), errors
    for number, key in enumerate(REFUSED):
        assert f"[dnstap[{number}].{key}" in errors[number]
