"""What the cache keeps, and for how long."""

import struct

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.message import Policy, Query, Response
from dnsproxy.testing import answer_of, make_query
from tests.plugins.cache_bench import SOA, A, Bench, answer, edns, ttls


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


@pytest.mark.parametrize(
    ("soa_ttl", "minimum", "longest", "shown"), [(30, 60, 90.0, 30), (60, 30, 90.0, 30), (90, 60, 30.0, 30)]
)
def test_the_least_of_the_soas_ttl_its_minimum_and_max_negative_ttl_counts(
    soa_ttl: int, minimum: int, longest: float, shown: int
) -> None:
    soa = f"example.org. {soa_ttl} IN SOA ns.example.org. hostmaster.example.org. 1 2 3 4 {minimum}"
    bench = Bench(max_negative_ttl=longest)
    bench.upstream.by = lambda query: answer(query, [], [soa], rcode=dns.rcode.NXDOMAIN)
    bench.ask(make_query())
    assert ttls(bench.ask(make_query())) == [shown]


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


def test_a_failure_that_follows_an_answer_is_for_its_own_clients_only() -> None:
    bench = Bench("9 IN A 192.0.2.1")
    for query in (edns(), edns(), make_query()):
        assert bench.ask(query).rcode() == 0
    bench.wait(10)
    bench.upstream.by = lambda query: answer(query, rcode=dns.rcode.FORMERR)
    bench.ask(edns())
    assert bench.ask(edns()).rcode() == dns.rcode.FORMERR
    assert bench.asked == 2
    bench.ask(make_query())
    assert bench.asked == 3


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
        answer_of(bench.cache.handle(make_query()))
    assert bench.asked == 2


@given(st.binary(max_size=60))
def test_whatever_upstreams_say_gets_through(tail: bytes) -> None:
    bench = Bench()
    bench.upstream.by = lambda query: Response(query.wire[:2] + b"\x81\x80" + tail)
    expected = answer_of(bench.upstream(make_query(id=1)))
    for _ in range(2):
        assert answer_of(bench.cache.handle(make_query(id=1))).wire == expected.wire
