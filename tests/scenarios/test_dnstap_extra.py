"""`extra` in full: every label there is, as text and as JSON, and values that cannot break out of either."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import exchange, exchange_tcp
from tests.support.collector import Collector, unix_address
from tests.support.packages import install_package
from tests.support.proxy import Proxy
from tests.support.shared import shared_collector, shared_upstream
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

OF_THE_QUERY = ["name", "type", "class", "proto", "size", "remote", "port", "local"]
OF_THE_QUERY += [">id", ">opcode", ">do", ">bufsize"]
OF_THE_ANSWER = ["rcode", "rsize", "duration", ">rflags"]
ALWAYS = ["query/id", "query/protocol", "forward/upstream", "forward/attempt", "forward/attempts"]
ALWAYS += ["forward/outcome", "forward/rtt", "forward/zone", "cache/state", "policy/rule"]
LABELS = OF_THE_QUERY + OF_THE_ANSWER + ALWAYS
TEXT = "|".join(f"{{/{label}}}" if "/" in label else f"{{{label}}}" for label in LABELS)

TALKER = r'''
"""Says what nobody should believe."""

from dataclasses import dataclass

from dnsproxy.plugin import Plugin, Stage


class Talker(Plugin):
    stage = Stage.GUARD

    @dataclass(frozen=True)
    class Config:
        pass

    def handle(self, query):
        query.metadata["talker/quote"] = 'a "quoted" \\ {name} {/query/id}'
        query.metadata["talker/control"] = "tab\tline\nnull\0escape\x1b"
        query.metadata["talker/letters"] = "ümläut ☃"
        query.metadata["talker/number"] = 7
        return self.next(query)
'''


upstream = shared_upstream(lost=behaviours.drop, nx=behaviours.fail(wire.NXDOMAIN))
collector = shared_collector()


@pytest.fixture(scope="module")
def proxy(upstream: HostileUpstream, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    body = "[cache]\n" + dnstap(to=collector, name="json", identity="json", extra={"json": LABELS})
    body += dnstap(to=collector, name="text", identity="text", extra=TEXT)
    with Proxy(tmp_path_factory.mktemp("proxy"), body + forward(upstream, timeout="200ms")) as running:
        yield running


Rendered = dict[str, str | None]


def rendered(collector: Collector, label: str, count: int) -> tuple[list[Rendered], list[Rendered]]:
    """What the tap with JSON, and that with text, said about a name: a dictionary for each of `count` messages."""
    messages = collector.wait_about(label, 2 * count)
    objects = [json.loads(one.extra or "") for one in messages if one.identity == "json"]
    texts = [dict(zip(LABELS, (one.extra or "").split("|"), strict=True)) for one in messages if one.identity == "text"]
    return objects, [{key: None if value == "-" else value for key, value in one.items()} for one in texts]


def test_json_takes_every_label_and_says_what_text_says(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("Every.Label.example.org", id=7, do=True, size=1400), proxy.port, source="127.0.0.9")
    objects, texts = rendered(collector, "every", 4)
    assert [list(one) for one in objects] == [LABELS] * 4, "keys as written, in order"
    for one, other in zip(objects, texts, strict=True):
        assert {key: as_text(value) for key, value in one.items()} == other


def as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def test_labels_about_the_query_are_the_clients_in_all_four_messages(proxy: Proxy, collector: Collector) -> None:
    query = wire.query("Client.Query.example.org", "AAAA", id=7, do=True, size=1400)
    exchange(query, proxy.port, source="127.0.0.9")
    for one in rendered(collector, "client", 4)[1]:
        assert one["name"] == "client.query.example.org."
        assert (one["type"], one["class"], one["proto"], one["size"]) == ("AAAA", "IN", "udp", str(len(query)))
        assert (one["remote"], one["local"]) == ("127.0.0.9", "127.0.0.1")
        assert int(one["port"] or "") > 0
        assert (one[">id"], one[">opcode"], one[">do"], one[">bufsize"]) == ("7", "0", "true", "1400")
        assert re.fullmatch("[0-9a-f]{16}", one["query/id"] or "")
        assert one["query/protocol"] == "UDP"


def test_labels_about_the_answer_stand_wherever_there_is_one(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("nx.answers.example.org"), proxy.port)
    exchange(wire.query("answers.example.org", edns=1), proxy.port)
    exchange(wire.query("lost.answers.example.org"), proxy.port)
    cq, fq, fr, cr, own_query, own_answer, _, _, _, lost = rendered(collector, "answers", 10)[1]
    for query in (cq, fq, own_query):
        assert [query[label] for label in OF_THE_ANSWER] == [None] * 4
    assert [one["rcode"] for one in (fr, cr, own_answer, lost)] == ["NXDOMAIN", "NXDOMAIN", "BADVERS", "SERVFAIL"]
    for answer in (fr, cr, own_answer, lost):
        assert re.fullmatch(r"\d+(\.\d+)?(e-\d+)?s", answer["duration"] or "")
        assert int(answer["rsize"] or "") > 0
        assert "qr" in (answer[">rflags"] or "")
    assert float((lost["duration"] or "s")[:-1]) > 0.2


def test_timeouts_are_told_in_the_answer_that_the_client_got(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    exchange(wire.query("lost.outcome.example.org"), proxy.port)
    last = rendered(collector, "outcome", 4)[1][-1]
    assert (last["forward/outcome"], last["forward/attempts"]) == ("timeout", "2")
    assert last["forward/upstream"] == upstream.address
    assert last["policy/rule"] is None


def test_a_cache_hit_says_so(proxy: Proxy, collector: Collector) -> None:
    for _ in range(2):
        exchange(wire.query("hit.example.org"), proxy.port)
    states = [one["cache/state"] for one in rendered(collector, "hit", 6)[1]]
    assert (states[0], states[3:]) == (None, ["miss", None, "hit"])


ODD_NAMES = {
    b'\x04a"b\\\x07example\x03org\0': r"a\"b\\.example.org.",
    b"\x05a\n\t\0b\x07example\x03org\0": r"a\010\009\000b.example.org.",
    b"\x04\xff{}|\x00": r"\255{}|.",
}


@pytest.mark.parametrize(("qname", "expected"), ODD_NAMES.items())
def test_odd_names_are_sound_json(proxy: Proxy, collector: Collector, qname: bytes, expected: str) -> None:
    already = len(collector.of("json"))
    exchange_tcp(wire.raw_query(qname), proxy.port)
    collector.wait_until(lambda: len(collector.of("json")) > already, "the query")
    found = json.loads(collector.of("json")[already].extra or "")
    assert found["name"] == expected


def test_whatever_a_plugin_says_is_sound_json_and_one_line_of_text(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    environment = install_package(tmp_path / "site", "talker", TALKER, {"talker": "Talker"})
    labels = [f"talker/{key}" for key in ("quote", "control", "letters", "number")]
    with Collector(unix_address(tmp_path, "talked.sock")) as tap:
        taps = dnstap(to=tap, name="json", identity="json", extra={"json": [*labels, "name"]})
        taps += dnstap(to=tap, name="text", identity="text", extra="".join(f"<{{/{label}}}>" for label in labels))
        proxy = start_proxy("[talker]\n" + taps + forward(upstream), environment=environment)
        exchange(wire.query("talked.example.org"), proxy.port)
        tap.wait_for(8)
        (packed,) = [one.extra or "" for one in tap.of("json") if one.type == "CR"]
        (text,) = [one.extra or "" for one in tap.of("text") if one.type == "CR"]
    found = json.loads(packed)
    assert list(found) == [*labels, "name"]
    assert str(found["talker/number"]) == "7"
    assert "{/query/id}" in text, "what is rendered is not rendered again"
    assert "{/query/id}" in found["talker/quote"]
    assert not any(ord(character) < 32 for character in text + packed)
    assert text.count("<") == text.count(">") == 4


def test_each_tap_has_its_own_extra(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("own.example.org"), proxy.port)
    messages = collector.wait_about("own", 8)
    assert {(one.identity, (one.extra or "")[0]) for one in messages} == {("json", "{"), ("text", "o")}
