"""The cache seen from outside: what clients get, what upstreams are asked, what taps and status say."""

import signal
import struct
import time

import dns.edns
import dns.flags
import dns.message
import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.behaviours import Behaviour
from tests.support.client import ask, by_id, exchange, exchange_tcp, udp_socket
from tests.support.collector import Collector
from tests.support.proxy import Proxy, tap_balances
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import HostileUpstream

COOKIE, NSID, ECS = 10, 3, 8
EXTRA = "{/query/id} {/cache/state} {/forward/outcome}"
SUBNETS = [struct.pack("!HBB", 1, 24, 0) + bytes(address) for address in ([192, 0, 2], [198, 51, 100])]


def cache(**keys: object) -> str:
    return stanza("[cache]", keys)


def living(ttl: int, address: str = "192.0.2.1") -> Behaviour:
    """The answer, with this TTL."""
    return behaviours.raw(lambda query: behaviours.answer_wire(query, ttl=ttl, address=address))


def with_records(*records: bytes, rcode: int = 0, counts: tuple[int, int, int] = (0, 1, 0)) -> Behaviour:
    """A response to a query without EDNS, with these records in these numbers per section."""

    def edit(query: bytes) -> bytes:
        header = query[:2] + struct.pack("!HHHHH", 0x8180 | rcode, 1, *counts)
        return header + query[12 : wire.question_end(query)] + b"".join(records)

    return behaviours.raw(edit)


def soa(ttl: int, minimum: int) -> bytes:
    numbers = struct.pack("!IIIII", 1, 2, 3, 4, minimum)
    data = b"\2ns\xc0\x0c\4host\xc0\x0c" + numbers
    return b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, ttl, len(data)) + data


def ttl_of(message: dns.message.Message) -> int:
    (ttl,) = {rrset.ttl for section in message.sections[1:] for rrset in section}
    return ttl


def counters(proxy: Proxy) -> dict[str, int]:
    return dict(proxy.status()["plugins"]["cache"])


def states(collector: Collector, label: str, count: int) -> list[tuple[str, str]]:
    """Type and cache/state of each message about that name."""
    messages = collector.wait_about(label, count)
    return [(message.type, (message.extra or "").split()[1]) for message in messages]


@pytest.fixture
def proxy(start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector) -> Proxy:
    return start_proxy(dnstap(to=collector, extra=EXTRA) + cache() + forward(upstream))


def test_a_second_query_is_a_hit_with_the_clients_own_header_and_question(
    proxy: Proxy, upstream: HostileUpstream
) -> None:
    first = wire.query("www.example.org")
    second = wire.with_id(first.replace(b"www", b"wWw"), 4711)
    exchange(first, proxy.port)
    octets = exchange(second, proxy.port)
    assert len(upstream.seen) == 1
    assert octets[:2] == second[:2]
    assert octets[12 : wire.question_end(octets)] == second[12:]
    assert wire.flags(octets) & (wire.RD | wire.RA | wire.AA) == wire.RD | wire.RA
    counted = counters(proxy)
    assert (counted["hits"], counted["misses"], counted["entries"]) == (1, 1, 1)


def test_ttls_count_down_and_the_answer_ends_with_its_ttl(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("short", living(2))
    query = wire.query("short.example.org")
    seen = []
    end = time.monotonic() + 2.2
    while time.monotonic() < end:
        seen.append(ttl_of(ask(query, proxy.port)))
        time.sleep(0.05)
    assert seen[0] == 2
    assert set(seen) == {1, 2}
    assert seen[: seen.index(1)] == [2] * seen.index(1), "it goes down first"
    assert len(upstream.seen_for("short")) == 2


def test_hits_go_to_udp_and_tcp_clients_alike_and_are_cut_for_udp(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("large", behaviours.truncate, behaviours.large(3000))
    upstream.on("large", behaviours.large(3000))
    query = wire.query("large.example.org", "TXT")
    assert len(exchange_tcp(query, proxy.port)) == 3000
    cut = exchange(query, proxy.port)
    assert wire.flags(cut) & wire.TC
    assert len(exchange_tcp(query, proxy.port)) == 3000
    assert len(upstream.seen) == 1


def test_an_opt_comes_exactly_to_those_who_sent_one_and_carries_nothing_of_the_upstreams(
    proxy: Proxy, upstream: HostileUpstream
) -> None:
    options = wire.option(COOKIE, b"clientcoservercoserverco") + wire.option(NSID, b"upstream 1")
    upstream.on("opt", behaviours.raw(lambda query: behaviours.answer_wire(query, options=options)))
    query = wire.query("opt.example.org", options=[(COOKIE, b"clientco"), (NSID, b"")])
    assert len(ask(query, proxy.port).options) == 2
    for _ in range(2):
        hit = ask(query, proxy.port)
        assert (hit.edns, hit.options) == (0, ())
        assert ask(wire.query("opt.example.org"), proxy.port).edns == -1
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("rcode", [wire.NXDOMAIN, 0], ids=["NXDOMAIN", "NODATA"])
def test_negative_answers_live_as_long_as_their_soa_says(proxy: Proxy, upstream: HostileUpstream, rcode: int) -> None:
    upstream.on("none", with_records(soa(900, 40), rcode=rcode))
    query = wire.query("none.example.org", "MX")
    assert ttl_of(ask(query, proxy.port)) == 900
    hit = ask(query, proxy.port)
    assert (hit.rcode(), ttl_of(hit)) == (rcode, 40)
    assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        living(0),
        behaviours.fail(wire.NXDOMAIN),
        with_records(counts=(0, 0, 0)),
        behaviours.truncate_everywhere,
    ],
    ids=["TTL 0", "NXDOMAIN without SOA", "NODATA without SOA", "TC"],
)
def test_what_must_not_be_kept_is_asked_for_each_time(
    proxy: Proxy, upstream: HostileUpstream, behaviour: Behaviour
) -> None:
    upstream.on("never", behaviour)
    query = wire.query("never.example.org")
    exchange(query, proxy.port)
    before = len(upstream.seen)
    exchange(query, proxy.port)
    assert len(upstream.seen) == 2 * before
    assert counters(proxy)["misses"] == 2


def test_failures_are_kept_for_a_moment(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("failing", behaviours.fail(wire.SERVFAIL))
    query = wire.query("failing.example.org")
    for _ in range(3):
        assert ask(query, proxy.port).rcode() == wire.SERVFAIL
    assert len(upstream.seen) == 1


def test_subnets_are_told_apart_unless_the_upstream_says_that_it_does_not_matter(
    proxy: Proxy, upstream: HostileUpstream
) -> None:
    def queries(label: str) -> list[bytes]:
        return [wire.query(f"{label}.example.org", options=[(ECS, subnet)]) for subnet in SUBNETS]

    def scoped(scope: int) -> Behaviour:
        said = SUBNETS[0][:3] + bytes((scope,)) + SUBNETS[0][4:]
        return behaviours.raw(lambda query: behaviours.answer_wire(query, options=wire.option(ECS, said)))

    upstream.on("apart", scoped(24))
    upstream.on("alike", scoped(0))
    for label, asked in (("apart", 2), ("alike", 1), ("silent", 2)):
        for query in queries(label) * 2:
            exchange(query, proxy.port)
        assert len(upstream.seen_for(label)) == asked
    hit = ask(queries("apart")[0], proxy.port)
    assert hit.options == (dns.edns.ECSOption("192.0.2.0", 24, 24),)


def test_queries_with_a_subnet_are_not_joined_in_flight_and_others_are_and_are_misses(
    proxy: Proxy, upstream: HostileUpstream
) -> None:
    upstream.on("joined", behaviours.delay(200, behaviours.answer))
    plain = [wire.query("joined.example.org", id=number) for number in range(10)]
    local = [wire.query("joined.example.org", options=[(ECS, SUBNETS[0])], id=100 + number) for number in range(3)]
    with udp_socket(proxy.port) as client:
        for query in (*plain, *local):
            client.send(query)
        received = by_id([client.recv(65_535) for _ in (*plain, *local)])
    assert sorted(received) == [*range(10), 100, 101, 102]
    assert len(upstream.seen_for("joined")) == 4
    counted = counters(proxy)
    assert (counted["hits"], counted["misses"]) == (0, 13)
    exchange(plain[0], proxy.port)
    assert counters(proxy)["hits"] == 1


def test_taps_see_client_messages_only_of_a_hit_and_its_state_in_the_answer(proxy: Proxy, collector: Collector) -> None:
    for _ in range(2):
        exchange(wire.query("tapped.example.org"), proxy.port)
    assert states(collector, "tapped", 6) == [
        ("CQ", "-"),
        ("FQ", "miss"),
        ("FR", "miss"),
        ("CR", "miss"),
        ("CQ", "-"),
        ("CR", "hit"),
    ]
    assert tap_balances(proxy.status()["taps"][0])


# stale answers


def test_a_stale_answer_is_given_while_the_upstream_is_silent_and_the_fresh_one_comes_back(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("old", living(1), behaviours.drop)
    body = dnstap(to=collector, extra=EXTRA) + cache(serve_stale="1h")
    proxy = start_proxy(body + forward(upstream, timeout="2s", deadline="4s"))
    query = wire.query("old.example.org", edns=True)
    assert ttl_of(ask(query, proxy.port)) == 1
    time.sleep(1.1)
    before = time.monotonic()
    stale = ask(query, proxy.port)
    assert 1.75 < time.monotonic() - before < 2.5
    assert ttl_of(stale) == 30
    assert wire.addresses(stale) == ["192.0.2.1"]
    assert wire.ede(stale) == (3, "")
    before = time.monotonic()
    plain = ask(wire.query("old.example.org"), proxy.port)
    assert (ttl_of(plain), plain.edns) == (30, -1)
    assert time.monotonic() - before < 0.5, "nobody else waits"
    upstream.on("old", living(600, "192.0.2.9"))
    proxy.wait_for_status(lambda _: wire.addresses(ask(query, proxy.port)) == ["192.0.2.9"], "fresh again", within_s=6)
    counted = counters(proxy)
    assert counted["stale"] >= 2
    asked_by_clients = sum(one["queries"] for one in proxy.status()["listeners"])
    assert counted["hits"] + counted["misses"] == asked_by_clients
    collector.wait_about("old", 9)
    messages = [(message.type, *(message.extra or "").split()) for message in collector.about("old")]
    stale_id = messages[4][1]
    assert [(one[0], *one[2:]) for one in messages if one[1] == stale_id] == [
        ("CQ", "-", "-"),
        ("FQ", "miss", "-"),
        ("CR", "stale", "cancelled"),
    ]
    refreshing = [one for one in messages if one[2] == "prefetch"]
    assert {type for type, *_ in refreshing} <= {"FQ", "FR"}
    assert refreshing[0][1] != stale_id


@pytest.mark.parametrize("how", ["closed", "SERVFAIL"])
def test_a_stale_answer_is_given_at_once_when_upstreams_fail(
    start_proxy: StartProxy, upstream: HostileUpstream, how: str
) -> None:
    upstream.on("old", living(1), behaviours.fail(wire.SERVFAIL))
    proxy = start_proxy(cache(serve_stale="1h") + forward(upstream))
    query = wire.query("old.example.org")
    ask(query, proxy.port)
    time.sleep(1.1)
    if how == "closed":
        upstream.close_port()
    for _ in range(3):
        before = time.monotonic()
        assert ttl_of(ask(query, proxy.port)) == 30
        assert time.monotonic() - before < 1.0
    if how == "closed":
        upstream.open_port()
    upstream.on("old", living(77))
    proxy.wait_for_status(lambda _: ttl_of(ask(query, proxy.port)) > 30, "fresh again")


def test_without_serve_stale_nothing_is_served_past_its_end(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("old", living(1), behaviours.drop)
    query = wire.query("old.example.org")
    ask(query, proxy.port)
    time.sleep(1.1)
    assert ask(query, proxy.port).rcode() == wire.SERVFAIL


# prefetch


def test_a_popular_name_is_refreshed_before_its_end_and_only_taps_of_forwarders_see_it(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("popular", living(3), living(600, "192.0.2.9"))
    upstream.on("once", living(3))
    proxy = start_proxy(dnstap(to=collector, extra=EXTRA) + cache(prefetch=2) + forward(upstream))
    for name in ("popular", "popular", "popular", "once"):
        exchange(wire.query(f"{name}.example.org"), proxy.port)
    asked = upstream.wait_for(2, "popular")
    assert 1.9 < asked[1].at_s - asked[0].at_s < 2.5
    assert states(collector, "popular", 10)[-2:] == [("FQ", "prefetch"), ("FR", "prefetch")]
    time.sleep(1.2)
    assert wire.addresses(ask(wire.query("popular.example.org"), proxy.port)) == ["192.0.2.9"]
    assert len(upstream.seen_for("once")) == 1
    counted = counters(proxy)
    assert (counted["hits"], counted["misses"], counted["prefetches"]) == (3, 2, 1)


# size, reload


def test_the_cache_stays_within_its_size_and_keeps_what_is_asked_for_again(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    size = 2**20
    proxy = start_proxy(cache(size=size) + forward(upstream))
    popular = [wire.query(f"popular{number}.example.org") for number in range(50)]
    for query in popular * 2:
        exchange(query, proxy.port)
    with udp_socket(proxy.port) as client:
        for number in range(4000):
            client.send(wire.query(f"scan{number}.example.org"))
            client.recv(65_535)
    before = len(upstream.seen)
    for query in popular:
        exchange(query, proxy.port)
    assert len(upstream.seen) == before
    counted = counters(proxy)
    assert counted["bytes"] <= size
    assert counted["evictions"] == 4050 - counted["entries"] > 0


def test_a_reload_that_leaves_the_chain_alike_keeps_answers_and_counters(
    proxy: Proxy, upstream: HostileUpstream
) -> None:
    query = wire.query("kept.example.org")
    exchange(query, proxy.port)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log("reload: done")
    exchange(query, proxy.port)
    counted = counters(proxy)
    assert (len(upstream.seen), counted["hits"], counted["misses"]) == (1, 1, 1)
    proxy.config.write_text(
        proxy.config.read_text().replace("[cache]\n", "[cache]\nmax_ttl = 5\n").replace("= 5", '= "5s"')
    )
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log(r"reload: done(?s:.*)reload: done")
    assert ttl_of(ask(query, proxy.port)) == behaviours.TTL
    assert ttl_of(ask(query, proxy.port)) == 5
    assert len(upstream.seen) == 2


def test_the_start_says_what_is_kept(proxy: Proxy) -> None:
    assert "cache: keeps answers in 32MiB, at most 1d" in proxy.log
