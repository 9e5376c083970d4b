"""The cache plugin alone: hits, misses, keys, what clients see."""

import random
import re
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
import tomli
import trio
from dnsproxy_cache import Cache, CacheConfig
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import trio_test

from dnsproxy.config import OptionError
from dnsproxy.convert import read_table
from dnsproxy.errors import QueryError, UpstreamsFailed
from dnsproxy.flight import Pending
from dnsproxy.message import Policy, Query, Response
from dnsproxy.plugin import Handler
from dnsproxy.testing import answer_of, make_query
from tests.plugins.cache_bench import Bench, Server, answer, ttls

A = "300 IN A 192.0.2.1"
SOA = "example.org. 600 IN SOA ns.example.org. hostmaster.example.org. 1 2 3 4 60"
COOKIE = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
NSID = dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")


def subnet(text: str, scope: int = 0) -> dns.edns.ECSOption:
    address, bits = text.split("/")
    return dns.edns.ECSOption(address, int(bits), scope)


def edns(**more: Any) -> Query:
    return make_query(use_edns=0, **more)


def with_flags(flags: int, **more: Any) -> Query:
    return make_query(flags=flags, **more)


def state(query: Query) -> object:
    return query.metadata.get("cache/state")


# hits


def test_the_second_query_is_answered_from_the_cache() -> None:
    bench = Bench(A)
    first, second = make_query(), make_query()
    assert bench.ask(first).answer == bench.ask(second).answer
    assert bench.asked == 1
    assert (state(first), state(second)) == ("miss", "hit")


def test_ttls_count_down_in_whole_seconds() -> None:
    bench = Bench(A, "200 IN A 192.0.2.2")
    shown = []
    for seconds in (0, 0.9, 0.2, 0.9, 100, 97.9, 0.05, 0.1):
        bench.wait(seconds)
        shown.append(ttls(bench.ask(make_query()))[0])
    assert shown == [200, 200, 199, 198, 98, 1, 1, 200]
    assert bench.asked == 2


def test_each_record_counts_down_from_its_own_ttl() -> None:
    bench = Bench()
    bench.upstream.by = lambda query: answer(
        query,
        ["www.example.org. 30 IN CNAME a.example.org.", "a.example.org. 300 IN A 192.0.2.1"],
        ["example.org. 3600 IN NS ns.example.org."],
        ["ns.example.org. 7200 IN A 192.0.2.53"],
    )
    bench.ask(make_query())
    bench.wait(10)
    assert ttls(bench.ask(make_query())) == [20, 290, 3590, 7190]
    bench.wait(20)
    bench.ask(make_query())
    assert bench.asked == 2, "the least TTL is the entry's"


def test_a_hit_has_the_clients_id_question_and_rd() -> None:
    bench = Bench(A)
    bench.ask(make_query("www.example.org."))
    query = make_query("wWw.eXample.ORG.", id=4711)
    octets = bench.octets(query)
    assert octets[:2] == query.wire[:2]
    assert octets[12 : query.shape.question_end] == query.shape.question
    assert octets[2] & 1
    assert bench.asked == 1


def test_aa_is_clear_in_hits_and_the_rest_of_the_header_stays() -> None:
    bench = Bench()
    bench.upstream.by = lambda query: answer(query, ["www.example.org. 9 IN A 192.0.2.1"], flags=dns.flags.AA)
    assert bench.ask(make_query()).flags & dns.flags.AA
    assert not bench.ask(make_query()).flags & dns.flags.AA


def test_a_hit_has_an_opt_of_our_own_exactly_if_the_client_sent_one() -> None:
    bench = Bench()

    def with_options(query: Query) -> Response:
        message = answer(query, ["www.example.org. 9 IN A 192.0.2.1"]).message
        message.use_edns(0, 0, 4096, options=[COOKIE, NSID])
        return Response.from_message(message)

    bench.upstream.by = with_options
    bench.ask(edns())
    without, with_opt = bench.ask(make_query()), bench.ask(edns(options=[COOKIE]))
    assert without.edns == -1
    assert (with_opt.edns, with_opt.payload, with_opt.options) == (0, 1232, ())
    assert without.answer == with_opt.answer
    assert bench.asked == 1


def test_do_is_copied_into_the_opt_of_a_hit() -> None:
    bench = Bench(A)
    bench.ask(make_query(want_dnssec=True))
    assert bench.ask(make_query(want_dnssec=True)).ednsflags & dns.flags.DO


def test_hits_in_the_same_second_share_their_octets() -> None:
    bench = Bench(A)
    bench.ask(make_query())
    first = answer_of(bench.cache.handle(make_query()))
    assert answer_of(bench.cache.handle(make_query())) is first
    bench.wait(1)
    assert answer_of(bench.cache.handle(make_query())) is not first


def test_every_client_query_is_either_a_hit_or_a_miss() -> None:
    bench = Bench(A)
    chance = random.Random(1)
    for _ in range(500):
        bench.ask(make_query(f"n{chance.randrange(20)}.example.org."))
        bench.wait(chance.random() * 10)
    status = bench.cache.status()
    assert status is not None
    assert status["misses"] == bench.asked
    assert status["hits"] == 500 - bench.asked > 0
    assert status["entries"] == 20
    assert set(status) >= {"hits", "misses", "stale", "prefetches", "entries", "bytes", "evictions"}


# keys


@pytest.mark.parametrize(
    "other",
    [
        make_query("wwx.example.org."),
        make_query(qtype="AAAA"),
        make_query(rdclass="CH"),
        make_query(flags=0),
        make_query(flags=dns.flags.RD | dns.flags.CD),
        make_query(flags=dns.flags.RD | dns.flags.AD),
        make_query(want_dnssec=True),
        make_query(use_edns=0, options=[subnet("192.0.2.0/24")]),
        make_query(use_edns=0, options=[dns.edns.GenericOption("65001", b"who asks")]),
    ],
    ids=["name", "type", "class", "RD", "CD", "AD", "DO", "ECS", "unknown option"],
)
def test_queries_whose_answers_may_differ_do_not_share_one(other: Query) -> None:
    bench = Bench(A)
    bench.upstream.by = lambda query: answer(query, [f"{query.name} 9 IN A 192.0.2.1"])
    bench.ask(make_query())
    bench.octets(other)
    assert bench.asked == 2
    bench.octets(make_query())
    assert bench.asked == 2


@pytest.mark.parametrize(
    "other",
    [
        make_query("WWW.example.org."),
        make_query(use_edns=0),
        make_query(use_edns=0, options=[COOKIE, NSID]),
        make_query(protocol="TCP"),
    ],
    ids=["case", "EDNS", "cookie", "TCP"],
)
def test_what_leaves_the_answer_as_it_is_does_not_matter(other: Query) -> None:
    bench = Bench(A)
    bench.ask(make_query())
    bench.ask(other)
    assert bench.asked == 1


def test_partitions_share_nothing() -> None:
    bench = Bench(A)
    for partition in (b"", b"one", b"two", b"one", b"", b"two"):
        query = make_query()
        query.partition = partition
        bench.ask(query)
    assert bench.asked == 3


def test_ad_of_an_answer_reaches_only_those_who_asked_for_it() -> None:
    bench = Bench()
    bench.upstream.by = lambda query: answer(query, ["www.example.org. 9 IN A 192.0.2.1"], flags=dns.flags.AD)
    for _ in range(2):
        assert not bench.ask(make_query()).flags & dns.flags.AD
        assert bench.ask(make_query(flags=dns.flags.RD | dns.flags.AD)).flags & dns.flags.AD
        assert bench.ask(make_query(want_dnssec=True)).flags & dns.flags.AD


def test_a_signed_query_is_neither_answered_nor_kept() -> None:
    bench = Bench(A)
    plain = make_query()
    tsig = b"\3key\0" + struct.pack("!HHIH", 250, 255, 0, 0)
    signed = plain.outgoing(plain.wire[:10] + b"\0\1" + plain.wire[12:] + tsig)
    bench.cache.next = lambda query: answer(make_query(), ["www.example.org. 9 IN A 192.0.2.1"])
    bench.octets(signed)
    bench.octets(plain)
    bench.octets(signed)
    assert bench.cache.status() == bench.store.status()
    assert (bench.store.hits, bench.store.misses) == (0, 3)


# client subnets (RFC 7871)


def echoing(scope: int | None) -> Any:
    """An upstream that says for how much of the subnet its answer holds."""

    def respond(query: Query) -> Response:
        message = answer(query, ["www.example.org. 9 IN A 192.0.2.1"]).message
        asked = [option for option in query.message.options if isinstance(option, dns.edns.ECSOption)]
        if asked and scope is not None:
            option = dns.edns.ECSOption(asked[0].address, asked[0].srclen, scope)
            message.use_edns(0, 0, 1232, options=[option])
        return Response.from_message(message)

    return respond


@pytest.mark.parametrize("scope", [24, None], ids=["for the subnet", "not saying"])
def test_a_subnets_answer_is_for_that_subnet_only(scope: int | None) -> None:
    bench = Bench()
    bench.upstream.by = echoing(scope)
    here, there = (edns(options=[subnet(text)]) for text in ("192.0.2.0/24", "198.51.100.0/24"))
    for query in (here, there, here, there, make_query()):
        bench.ask(query)
    assert bench.asked == 3


def test_an_answer_of_scope_0_is_shared() -> None:
    bench = Bench()
    bench.upstream.by = echoing(0)
    for query in (
        edns(options=[subnet("192.0.2.0/24")]),
        edns(options=[subnet("198.51.100.0/24")]),
        make_query(),
        edns(),
    ):
        bench.ask(query)
    assert bench.asked == 1


def test_an_answer_to_nobodys_subnet_is_not_given_to_one() -> None:
    bench = Bench()
    bench.upstream.by = echoing(0)
    bench.ask(make_query())
    bench.ask(edns(options=[subnet("192.0.2.0/24")]))
    assert bench.asked == 2


def test_a_hit_says_for_which_subnet_it_is() -> None:
    bench = Bench()
    bench.upstream.by = echoing(20)
    for _ in range(2):
        (option,) = bench.ask(edns(options=[subnet("192.0.2.0/24")])).options
        assert option == subnet("192.0.2.0/24", 20)
    assert bench.asked == 1


# what is kept, and how long


def test_min_ttl_and_max_ttl_change_what_hits_show() -> None:
    bench = Bench("10 IN A 192.0.2.1", min_ttl=60.0, max_ttl=100.0)
    assert ttls(bench.ask(make_query())) == [10], "the first answer is the upstream's own"
    assert ttls(bench.ask(make_query())) == [60]
    long = Bench("1000 IN A 192.0.2.1", max_ttl=100.0)
    long.ask(make_query())
    long.wait(1)
    assert ttls(long.ask(make_query())) == [99]


def test_min_ttl_never_lengthens_negatives() -> None:
    bench = Bench(min_ttl=600.0, max_ttl=6000.0)
    bench.upstream.by = lambda query: answer(query, [], [SOA], rcode=dns.rcode.NXDOMAIN)
    bench.ask(make_query())
    assert ttls(bench.ask(make_query())) == [60]


@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
def test_the_soa_of_a_negative_hit_shows_how_long_there_will_be_nothing(rcode: int) -> None:
    bench = Bench(max_negative_ttl=50.0)
    bench.upstream.by = lambda query: answer(query, [], [SOA], rcode=rcode)
    assert ttls(bench.ask(make_query())) == [600]
    bench.wait(20)
    assert ttls(bench.ask(make_query())) == [30]
    bench.wait(30)
    bench.ask(make_query())
    assert bench.asked == 2


@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
def test_a_negative_answer_without_soa_is_not_kept(rcode: int) -> None:
    bench = Bench()
    bench.upstream.by = lambda query: answer(query, rcode=rcode)
    for _ in range(2):
        bench.ask(make_query())
    assert (bench.asked, len(bench.store.entries)) == (2, 0)


def test_an_alias_that_leads_nowhere_is_negative() -> None:
    bench = Bench(min_ttl=600.0)
    bench.upstream.by = lambda query: answer(query, ["www.example.org. 40 IN CNAME a.example.org."], [SOA])
    bench.ask(make_query())
    assert ttls(bench.ask(make_query())) == [40, 60]


def test_an_alias_alone_is_kept_as_what_it_is() -> None:
    bench = Bench("40 IN CNAME a.example.net.")
    bench.ask(make_query())
    assert ttls(bench.ask(make_query())) == [40]


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP, dns.rcode.FORMERR])
def test_failures_are_kept_five_seconds(rcode: int) -> None:
    bench = Bench(min_ttl=60.0)
    bench.upstream.by = lambda query: answer(query, rcode=rcode)
    for seconds, asked in ((0, 1), (4.9, 1), (0.2, 2)):
        bench.wait(seconds)
        assert bench.ask(make_query()).rcode() == rcode
        assert bench.asked == asked


def test_who_falls_back_to_plain_dns_does_not_get_the_failure_of_edns() -> None:
    bench = Bench(A)
    bench.upstream.by = lambda query: (
        answer(query, rcode=dns.rcode.FORMERR)
        if query.has_opt
        else answer(query, ["www.example.org. 9 IN A 192.0.2.1"])
    )
    assert [bench.ask(query).rcode() for query in (edns(), edns(), make_query(), make_query())] == [1, 1, 0, 0]
    assert bench.asked == 2
    assert bench.ask(edns()).rcode() == 0, "there is an answer now"


def test_a_failure_replaces_no_answer() -> None:
    bench = Bench(A, serve_stale=3600.0)
    bench.ask(make_query())
    bench.cache.learn(make_query(), next(iter(bench.store.entries)), answer(make_query(), rcode=dns.rcode.SERVFAIL))
    assert bench.ask(make_query()).rcode() == 0


@pytest.mark.parametrize("ttl", [0, 2**31])
def test_ttl_0_is_not_kept(ttl: int) -> None:
    bench = Bench(min_ttl=60.0)

    def respond(query: Query) -> Response:
        response = answer(query, ["www.example.org. 77 IN A 192.0.2.1"])
        return Response(response.wire.replace(struct.pack("!I", 77), struct.pack("!I", ttl)))

    bench.upstream.by = respond
    for _ in range(2):
        bench.octets(make_query())
    assert (bench.asked, len(bench.store.entries)) == (2, 0)


def test_an_answer_that_cannot_be_kept_ends_what_was() -> None:
    bench = Bench(A)
    bench.ask(make_query())
    key = next(iter(bench.store.entries))
    bench.wait(1)
    bench.cache.learn(make_query(), key, answer(make_query(), ["www.example.org. 0 IN A 192.0.2.9"]))
    bench.ask(make_query())
    assert bench.asked == 2


def test_truncated_answers_are_not_kept() -> None:
    bench = Bench()
    bench.upstream.by = lambda query: answer(query, ["www.example.org. 9 IN A 192.0.2.1"], flags=dns.flags.TC)
    for _ in range(2):
        bench.ask(make_query())
    assert (bench.asked, len(bench.store.entries)) == (2, 0)


def test_what_a_plugin_made_up_is_not_kept() -> None:
    bench = Bench()
    refusal = Policy(rule=b"not today")

    def refuse(query: Query) -> Response:
        response = query.respond(dns.rcode.REFUSED)
        response.policy = refusal
        return response

    bench.upstream.by = refuse
    for _ in range(2):
        bench.ask(make_query())
    assert bench.asked == 2


def test_an_answer_to_another_question_is_not_kept() -> None:
    bench = Bench()
    bench.upstream.by = lambda query: answer(make_query("other.example.org."), ["other.example.org. 9 IN A 192.0.2.1"])
    for _ in range(2):
        bench.octets(make_query())
    assert bench.asked == 2


@given(st.binary(max_size=60))
def test_whatever_upstreams_say_gets_through(tail: bytes) -> None:
    bench = Bench()
    bench.upstream.by = lambda query: Response(query.wire[:2] + b"\x81\x80" + tail)
    expected = answer_of(bench.upstream(make_query(id=1)))
    for _ in range(2):
        assert answer_of(bench.cache.handle(make_query(id=1))).wire == expected.wire


# misses


class Promise(Pending):
    """An answer to come, as `forward` gives them; `then` makes something else of it."""

    def __init__(self, then: Callable[[Response], Any] | None = None) -> None:
        super().__init__()
        self.then = then

    def conclude(self) -> Any:
        return self.value if self.then is None else self.then(self.value)


def test_a_miss_needs_no_coroutine_and_learns_the_answer_that_comes() -> None:
    bench = Bench()
    to_come = Promise()
    bench.cache.next = lambda query: to_come
    pending: Any = bench.cache.handle(make_query())
    before = pending.done
    to_come.set(answer(make_query(), ["www.example.org. 9 IN A 192.0.2.1"]))
    assert (isinstance(pending, Pending), before, pending.done) == (True, False, True)
    assert pending.conclude() is to_come.value
    assert len(bench.store.entries) == 1
    assert to_come.watcher is None, "nothing is left that holds itself"


def test_a_miss_that_has_failed_already_is_done() -> None:
    bench = Bench()
    to_come = Promise()
    to_come.fail(UpstreamsFailed("gone"))
    bench.cache.next = lambda query: to_come
    (error,) = bench.launch(make_query())
    assert error is to_come.error


def test_further_attempts_are_learned_from_too() -> None:
    bench = Bench()

    async def again(response: Response) -> Response:
        return await response

    to_come = Promise(again)
    bench.cache.next = lambda query: to_come
    outcome = bench.launch(make_query())
    to_come.set(answer(make_query(), ["www.example.org. 9 IN A 192.0.2.1"]))
    bench.flights.drain()
    assert outcome == [to_come.value]
    assert len(bench.store.entries) == 1


def test_a_miss_that_is_given_up_gives_up_the_exchange() -> None:
    bench = Bench()
    to_come = Promise()
    bench.cache.next = lambda query: to_come
    pending: Any = bench.cache.handle(make_query())
    pending.cancel()
    assert to_come.done


def test_a_coroutine_behind_the_cache_is_learned_from() -> None:
    bench = Bench()

    async def slow(query: Query) -> Response:
        return answer(query, ["www.example.org. 9 IN A 192.0.2.1"])

    bench.cache.next = slow
    for _ in range(2):
        assert ttls(bench.ask(make_query())) == [9]
    assert (bench.store.hits, bench.store.misses) == (1, 1)


def test_queries_joined_in_flight_are_misses_and_kept_once() -> None:
    bench = Bench()
    to_come = [Promise(), Promise()]
    left = iter(to_come)
    bench.cache.next = lambda query: next(left)
    outcomes = [bench.launch(make_query()) for _ in to_come]
    shared = answer(make_query(), ["www.example.org. 9 IN A 192.0.2.1"])
    for one in to_come:
        one.set(shared)
    bench.flights.drain()
    assert outcomes == [[shared], [shared]]
    assert (bench.store.hits, bench.store.misses, len(bench.store.entries)) == (0, 2, 1)


def test_nonsense_from_behind_is_passed_on() -> None:
    bench = Bench()
    nonsense: Any = 42
    bench.cache.next = lambda query: nonsense
    assert bench.cache.handle(make_query()) is nonsense


# stale answers (RFC 8767)


def fail(_query: Query) -> Awaitable[Response]:
    raise UpstreamsFailed("gone")


def stale_bench(**options: Any) -> Bench:
    """One whose entry has just expired."""
    bench = Bench("10 IN A 192.0.2.1", serve_stale=3600.0, **options)
    bench.ask(make_query())
    bench.wait(11)
    return bench


def only(outcome: list[Response | QueryError]) -> dns.message.Message:
    (response,) = outcome
    assert isinstance(response, Response)
    return response.message


def test_a_stale_answer_is_given_when_upstreams_fail() -> None:
    bench = stale_bench()
    bench.cache.next = fail
    query = edns()
    message = only(bench.launch(query))
    assert ttls(message) == [30]
    assert [(int(one.code), one.text) for one in message.options if isinstance(one, dns.edns.EDEOption)] == [(3, None)]
    assert state(query) == "stale"
    assert only(bench.launch(make_query())).edns == -1
    assert (bench.store.hits, bench.store.misses, bench.store.stale) == (0, 3, 2)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_an_upstream_that_answers_with_a_failure_has_failed(rcode: int) -> None:
    bench = stale_bench()
    bench.upstream.by = lambda query: answer(query, rcode=rcode)
    for _ in range(2):
        assert ttls(only(bench.launch(make_query()))) == [30]
    assert bench.asked == 3, "each query tries again"


def test_a_fresh_answer_is_preferred_to_a_stale_one() -> None:
    bench = stale_bench()
    query = make_query()
    assert ttls(only(bench.launch(query))) == [10]
    assert state(query) == "miss"
    assert ttls(bench.ask(make_query())) == [10]
    assert (bench.asked, bench.store.stale) == (2, 0)


def test_nxdomain_is_an_answer_not_a_failure() -> None:
    bench = stale_bench()
    bench.upstream.by = lambda query: answer(query, [], [SOA], rcode=dns.rcode.NXDOMAIN)
    assert only(bench.launch(make_query())).rcode() == dns.rcode.NXDOMAIN
    assert bench.ask(make_query()).rcode() == dns.rcode.NXDOMAIN


def test_silence_becomes_a_stale_answer_after_1_8_seconds_and_a_refresh_goes_on() -> None:
    bench = stale_bench()
    exchanges = [Promise(), Promise()]
    asked: list[Query] = []

    def ask(query: Query) -> Promise:
        asked.append(query)
        return exchanges[len(asked) - 1]

    bench.cache.next = ask
    query = make_query()
    outcome = bench.launch(query)
    bench.wait(1.79)
    assert not outcome
    bench.wait(0.02)
    assert ttls(only(outcome)) == [30]
    assert exchanges[0].done, "the client's own exchange ends with its query"
    assert [one.metadata["cache/state"] for one in asked] == ["stale", "prefetch"]
    assert asked[0].metadata["query/id"] != asked[1].metadata["query/id"]
    assert ttls(bench.ask(make_query())) == [30], "nobody else waits"
    assert len(asked) == 2
    exchanges[1].set(answer(make_query(), ["www.example.org. 10 IN A 192.0.2.2"]))
    bench.flights.drain()
    assert ttls(bench.ask(make_query())) == [10]


def test_while_upstreams_stay_silent_a_refresh_is_tried_now_and_then() -> None:
    bench = stale_bench()
    asked: list[Query] = []

    async def never(query: Query) -> Response:
        asked.append(query)
        raise UpstreamsFailed("no upstream answered in time")

    exchange = Promise()
    bench.cache.next = lambda query: exchange
    bench.launch(make_query())
    bench.cache.next = never
    bench.wait(1.8)
    for _ in range(20):
        assert ttls(bench.ask(make_query())) == [30]
        bench.wait(0.5)
    assert len(asked) == 2


def test_nothing_is_served_stale_beyond_the_duration_configured() -> None:
    bench = stale_bench()
    bench.cache.next = fail
    bench.wait(3600)
    assert isinstance(bench.launch(make_query())[0], UpstreamsFailed)
    never = Bench("10 IN A 192.0.2.1")
    never.ask(make_query())
    never.wait(10)
    never.cache.next = fail
    with pytest.raises(UpstreamsFailed):
        never.cache.handle(make_query())


def test_a_failure_is_not_served_stale() -> None:
    bench = Bench(serve_stale=3600.0)
    bench.upstream.by = lambda query: answer(query, rcode=dns.rcode.SERVFAIL)
    bench.ask(make_query())
    bench.wait(6)
    bench.ask(make_query())
    assert (bench.asked, bench.store.stale) == (2, 0)


def test_a_stale_answer_survives_its_eviction_while_a_client_waits_for_it() -> None:
    bench = stale_bench()
    exchange = Promise()
    bench.cache.next = lambda query: exchange
    outcome = bench.launch(make_query())
    bench.store.drop(next(iter(bench.store.entries)))
    exchange.fail(UpstreamsFailed("gone"))
    bench.flights.drain()
    assert ttls(only(outcome)) == [30]


# prefetch


def test_a_popular_name_is_refreshed_in_the_last_tenth_of_its_ttl() -> None:
    bench = Bench("100 IN A 192.0.2.1", prefetch=2)
    for _ in range(3):
        bench.ask(make_query())
    bench.wait(89)
    assert bench.asked == 1
    bench.wait(2)
    assert bench.asked == 2
    assert ttls(bench.ask(make_query())) == [99]
    assert (bench.store.hits, bench.store.misses, bench.store.prefetches) == (3, 1, 1)
    prefetched = bench.upstream.queries[1]
    assert prefetched.metadata["cache/state"] == "prefetch"
    assert prefetched.metadata["query/id"] != bench.upstream.queries[0].metadata["query/id"]


def test_a_short_ttl_is_refreshed_a_second_before_its_end() -> None:
    bench = Bench("4 IN A 192.0.2.1", prefetch=1)
    bench.ask(make_query())
    bench.ask(make_query())
    bench.wait(2.99)
    assert bench.asked == 1
    bench.wait(0.02)
    assert bench.asked == 2


def test_an_unpopular_name_is_not_refreshed() -> None:
    bench = Bench("100 IN A 192.0.2.1", prefetch=2)
    bench.ask(make_query())
    bench.ask(make_query())
    bench.wait(99)
    assert bench.asked == 1


def test_popularity_is_earned_anew_in_each_life() -> None:
    bench = Bench("100 IN A 192.0.2.1", prefetch=2)
    for _ in range(3):
        bench.ask(make_query())
    bench.wait(500)
    assert bench.asked == 2


@pytest.mark.parametrize(
    "failing", [fail, lambda query: answer(query, rcode=dns.rcode.SERVFAIL)], ids=["none", "SERVFAIL"]
)
def test_a_failed_prefetch_changes_nothing(failing: Handler) -> None:
    bench = Bench("100 IN A 192.0.2.1", prefetch=1)
    bench.ask(make_query())
    bench.ask(make_query())
    bench.cache.next = failing
    bench.wait(95)
    assert ttls(bench.ask(make_query())) == [5]
    assert bench.store.prefetches == 1


def test_an_evicted_name_is_not_refreshed() -> None:
    bench = Bench("100 IN A 192.0.2.1", prefetch=1)
    bench.ask(make_query())
    bench.ask(make_query())
    bench.store.drop(next(iter(bench.store.entries)))
    bench.wait(100)
    assert bench.asked == 1


# around it


def test_the_store_outlives_a_reload_that_leaves_the_chain_alike() -> None:
    server = Server()
    before, after = Bench(A, server=server), Bench(A, server=server)
    before.ask(make_query())
    after.ask(make_query())
    assert (before.asked, after.asked) == (1, 0)
    other = Bench(A, server=server, max_ttl=5.0)
    other.ask(make_query())
    assert other.asked == 1
    assert before.cache.status() is None, "counted by its successor"
    assert after.cache.status() == after.store.status()


def test_chains_that_go_on_differently_share_nothing() -> None:
    server = Server()
    caches = [Cache([CacheConfig()]) for _ in range(2)]
    behind = [Cache([CacheConfig(max_ttl=limit)]) for limit in (5.0, 6.0)]
    for cache, rest in zip(caches, behind, strict=True):
        cache.bind([cache, rest], server)  # type: ignore[arg-type]
    assert caches[0].store is not caches[1].store


@trio_test
async def test_a_chain_refreshes_the_store_while_it_is_in_service() -> None:
    bench = Bench(A)
    shelf: Any = bench.cache.shelf
    shelf.keeper = None
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.cache.run)
        assert shelf.keeper is bench.cache.refresher
        nursery.cancel_scope.cancel()
    assert shelf.keeper is None


def read(table: dict[str, Any], folder: Path) -> Any:
    return read_table(CacheConfig, table, folder)


@pytest.mark.parametrize(
    ("table", "key"),
    [({"min_ttl": "2h", "max_ttl": "1h"}, "min_ttl"), ({"size": 0}, "size"), ({"serve_stale": True}, "serve_stale")],
)
def test_bad_options_are_told(table: dict[str, Any], key: str, tmp_path: Path) -> None:
    (error,) = read(table, tmp_path).errors
    assert isinstance(error, OptionError)
    assert error.path == (key,)


def test_serve_stale_is_a_duration_or_false(tmp_path: Path) -> None:
    assert [read({"serve_stale": value}, tmp_path).value.stale_s for value in ("1d", False)] == [86400.0, 0.0]


def test_the_configuration_in_the_readme_works(tmp_path: Path) -> None:
    readme = Path(__file__).parents[2] / "plugins" / "dnsproxy_cache" / "README.md"
    (block,) = re.findall(r"```toml\n(.*?)```", readme.read_text(), re.DOTALL)
    outcome = read(tomli.loads(block)["cache"], tmp_path)
    assert outcome.errors == []
    assert Cache([outcome.value]).describe() == ["keeps answers in 64MiB, at most 1d"]
