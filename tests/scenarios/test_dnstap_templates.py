"""The `extra` templates of taps: every label, in the message that knows it, and text that cannot break out."""

import json
import re

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import exchange, exchange_tcp
from tests.support.collector import Collector
from tests.support.dnstap_decoder import NS_PER_S
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

TEMPLATES = {
    "{name}|{type}|{class}|{proto}": r"tmpl\.example\.org\.\|A\|IN\|udp",
    "{remote} {local}": r"127\.0\.0\.1 127\.0\.0\.1",
    "{>id} {>opcode} {>do} {>bufsize}": r"7 0 true 1400",
    "{/query/protocol} {/no/such}": r"UDP -",
    "{unknown} {": r"\{unknown\} \{",
}


def test_templates_render_the_clients_query_in_all_four_messages(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, extra=" ~ ".join(TEMPLATES)) + forward(upstream))
    exchange(wire.query("tmpl.example.org", id=7, do=True, size=1400), proxy.port)
    rendered = {message.extra for message in collector.wait_for(4)}
    (text,) = rendered
    assert text is not None
    for pattern, found in zip(TEMPLATES.values(), text.split(" ~ "), strict=True):
        assert re.fullmatch(pattern, found), found
    assert "{unknown}" in proxy.log, "an unknown label is named at start"


def test_labels_about_the_answer_belong_to_the_message_that_has_it(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("slow", behaviours.delay(60))
    proxy = start_proxy(dnstap(to=collector, extra="{rcode} {rsize} {duration} {>rflags}") + forward(upstream))
    exchange(wire.query("slow.example.org"), proxy.port)
    cq, fq, fr, cr = collector.wait_for(4)
    assert cq.extra == fq.extra == "- - - -"
    for message in (fr, cr):
        rcode, size, duration, flags = (message.extra or "").split(" ")
        assert (rcode, size) == ("NOERROR", str(len(message.wire or b"")))
        assert set(flags.split(",")) == {"qr", "rd", "ra"}
        assert message.response_ns is not None
        assert message.query_ns is not None
        took_s = (message.response_ns - message.query_ns) / NS_PER_S
        assert duration.endswith("s")
        assert abs(float(duration[:-1]) - took_s) < 0.001


def test_the_round_trip_time_is_a_bare_number_of_milliseconds(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("slow", behaviours.delay(60))
    proxy = start_proxy(dnstap(to=collector, extra="{/forward/rtt}") + forward(upstream))
    exchange(wire.query("slow.example.org"), proxy.port)
    cq, fq, fr, cr = collector.wait_for(4)
    took_ms = ((fr.response_ns or 0) - (fr.query_ns or 0)) / 1_000_000
    assert took_ms > 59
    assert (cq.extra, fq.extra) == ("-", "-")
    for message in (fr, cr):
        assert float(message.extra or "") == pytest.approx(took_ms, abs=0.002)


ODD_NAMES = {
    b"\x03a b\x07example\x03org\0": r"a\032b.example.org.",
    b"\x03a.b\x07example\x03org\0": r"a\.b.example.org.",
    b"\x04a\n{}\x07example\x03org\0": r"a\010{}.example.org.",
    b"\x03\xffA\0\0": r"\255a\000.",
    b"\0": ".",
}


def test_names_are_rendered_in_presentation_form(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, extra="{name}") + forward(upstream))
    for qname in ODD_NAMES:
        exchange(wire.raw_query(qname), proxy.port)
    rendered = [message.extra for message in collector.wait_for(4 * len(ODD_NAMES)) if message.type == "CQ"]
    assert rendered == list(ODD_NAMES.values())


def test_extended_rcodes_and_tcp_sizes_are_rendered_too(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, extra="{rcode} {>bufsize} {>opcode} {type}") + forward(upstream))
    exchange(wire.query("www.example.org", edns=1), proxy.port)
    exchange_tcp(wire.query("www.example.org", "TYPE65534"), proxy.port)
    exchange(wire.raw_query(b"\0", flags=5 << 11), proxy.port)
    extras = [message.extra for message in collector.wait_for(3, "CR")]
    assert extras[0] in ("BADVERS 1232 0 A", "BADSIG 1232 0 A")
    assert extras[1:] == ["NOERROR 65535 0 TYPE65534", "NOTIMP 512 5 A"]


def test_extra_may_be_json(start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector) -> None:
    keys = ["query/id", "forward/upstream", "forward/rtt", "no/such"]
    proxy = start_proxy(dnstap(to=collector, extra={"json": keys}) + forward(upstream))
    exchange(wire.query("www.example.org"), proxy.port)
    cq, _, _, cr = [json.loads(message.extra or "") for message in collector.wait_for(4)]
    assert list(cq) == list(cr) == keys
    assert cq["query/id"] == cr["query/id"]
    assert cq["forward/upstream"] is cq["no/such"] is cr["no/such"] is None
    assert cr["forward/upstream"] == upstream.address
    assert float(cr["forward/rtt"]) >= 0
