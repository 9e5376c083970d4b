"""The cache past the end of its answers, and near it: stale answers and prefetch."""

from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from dnsproxy.errors import QueryError, UpstreamsFailed
from dnsproxy.flight import Waiter
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Handler
from dnsproxy.testing import make_query
from tests.plugins.cache_bench import SOA, Bench, answer, edns, fail, state, ttls


class Promise:
    """The rest of a chain whose answer is to come."""

    def __init__(self) -> None:
        self.waiter = Waiter()
        self.queries: list[Query] = []

    async def __call__(self, query: Query) -> Response:
        self.queries.append(query)
        response: Response = await self.waiter
        return response


# stale answers (RFC 8767)


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
    first, second = Promise(), Promise()
    bench.cache.next = first
    outcome = bench.launch(make_query())
    bench.wait(1.79)
    assert not outcome
    bench.cache.next = second
    bench.wait(0.02)
    assert ttls(only(outcome)) == [30]
    assert first.waiter.done, "the client's own exchange ends with its query"
    (asked,), (again,) = first.queries, second.queries
    assert (state(asked), state(again)) == ("stale", "prefetch")
    assert asked.metadata["query/id"] != again.metadata["query/id"]
    assert ttls(bench.ask(make_query())) == [30], "nobody else waits"
    second.waiter.set(answer(make_query(), ["www.example.org. 10 IN A 192.0.2.2"]))
    bench.flights.drain()
    assert ttls(bench.ask(make_query())) == [10]


def test_one_refresh_goes_on_for_all_who_waited() -> None:
    bench = stale_bench()
    first, second = Promise(), Promise()
    bench.cache.next = first
    outcomes = [bench.launch(make_query()) for _ in range(5)]
    bench.cache.next = second
    bench.wait(2)
    assert [ttls(only(outcome)) for outcome in outcomes] == [[30]] * 5
    assert (len(first.queries), len(second.queries)) == (5, 1)


def test_while_upstreams_stay_silent_a_refresh_is_tried_now_and_then() -> None:
    bench = stale_bench()
    asked: list[Query] = []

    async def never(query: Query) -> Response:
        asked.append(query)
        raise UpstreamsFailed("no upstream answered in time")

    bench.cache.next = Promise()
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
    to_come = bench.cache.next = Promise()
    outcome = bench.launch(make_query())
    bench.store.drop(next(iter(bench.store.entries)))
    to_come.waiter.fail(UpstreamsFailed("gone"))
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
