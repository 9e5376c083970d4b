"""The cache plugin alone: hits, misses, keys, what clients see."""

import random
import re
import struct
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
from trio.testing import trio_test

from dnsproxy.config import OptionError
from dnsproxy.convert import read_table
from dnsproxy.errors import UpstreamsFailed
from dnsproxy.message import Query, Response
from dnsproxy.testing import answer_of, make_query
from tests.plugins.cache_bench import A, Bench, Server, answer, edns, fail, state, ttls

COOKIE = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
NSID = dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")


def subnet(text: str, scope: int = 0) -> dns.edns.ECSOption:
    address, bits = text.split("/")
    return dns.edns.ECSOption(address, int(bits), scope)


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


# misses


def test_a_miss_that_fails_leaves_nothing() -> None:
    bench = Bench(A)
    bench.cache.next = fail
    with pytest.raises(UpstreamsFailed):
        bench.cache.handle(make_query())
    assert (bench.store.misses, len(bench.store.entries)) == (1, 0)


def test_a_coroutine_behind_the_cache_is_learned_from() -> None:
    bench = Bench()

    async def slow(query: Query) -> Response:
        return answer(query, ["www.example.org. 9 IN A 192.0.2.1"])

    bench.cache.next = slow
    for _ in range(2):
        assert ttls(bench.ask(make_query())) == [9]
    assert (bench.store.hits, bench.store.misses) == (1, 1)


def test_nonsense_from_behind_is_passed_on() -> None:
    bench = Bench()
    nonsense: Any = 42
    bench.cache.next = lambda query: nonsense
    assert bench.cache.handle(make_query()) is nonsense


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


def test_workers_share_the_size() -> None:
    assert Bench(A, server=Server(workers=4), size=4 * 2**20).store.size == 2**20


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
