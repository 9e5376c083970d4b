"""A tally in words, and what `stats --json` prints."""

import json

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.report.summary import Summary, endpoint_text
from dnsproxy.tap.tally import Tally
from tests.tap.dialogue import UPSTREAM, Dialogue
from tests.tap.frames import corpus_payloads, payload

KEYS = ["frames", "damaged", "first", "last", "types", "protocols", "qtypes", "rcodes"]
KEYS += ["latency_ms", "names", "clients", "upstreams"]


def tally_of(*frames: TapFrame) -> Tally:
    tally = Tally()
    tally.add(frames)
    return tally


def test_json_has_its_keys_and_no_others() -> None:
    values = Summary(tally_of(*Dialogue().whole(0, 20)), 10).json()
    assert list(values) == KEYS
    assert values == {
        "frames": 4,
        "damaged": 0,
        "first": "2023-11-14T22:13:20.000000000Z",
        "last": "2023-11-14T22:13:20.020000000Z",
        "types": {"CLIENT_QUERY": 1, "CLIENT_RESPONSE": 1, "FORWARDER_QUERY": 1, "FORWARDER_RESPONSE": 1},
        "protocols": {"UDP": 4},
        "qtypes": {"A": 4},
        "rcodes": {"NOERROR": 2},
        "latency_ms": {"count": 2, "p50": 18.0, "p90": 20.0, "p99": 20.0, "max": 20.0},
        "names": [("www.example.org.", 4)],
        "clients": [("192.0.2.7", 2)],
        "upstreams": [(f"{UPSTREAM}:53", 2)],
    }


def test_of_nothing_it_has_them_too() -> None:
    values = Summary(Tally(), 10).json()
    assert list(values) == KEYS
    assert (values["first"], values["names"], values["latency_ms"]["p50"]) == (None, [], None)


def test_words_are_in_the_order_of_their_counts() -> None:
    frames = [Dialogue(qtype=qtype).asked() for qtype in ("TXT", "A", "TXT", "MX")]
    assert Summary(tally_of(*frames), 10).qtypes == [("TXT", 2), ("A", 1), ("MX", 1)]


def test_what_has_no_word_is_its_number() -> None:
    unknown = TapFrame(payload("TOOL_QUERY", socket_protocol=7).replace(b"\x08\x0b", b"\x08\x63", 1))
    summary = Summary(tally_of(unknown, Dialogue(qtype="TYPE65534").asked()), 10)
    assert summary.types == [("99", 1), ("CLIENT_QUERY", 1)]
    assert summary.qtypes == [("65534", 1), ("A", 1)]


def test_top_is_how_many_names_there_are_at_most() -> None:
    frames = [Dialogue(f"www{number}.example.org").asked() for number in range(5)]
    assert len(Summary(tally_of(*frames), 3).names) == 3


def test_an_endpoint_has_its_port_if_it_is_known() -> None:
    assert endpoint_text((b"\xc0\0\2\1", 53)) == "192.0.2.1:53"
    assert endpoint_text((bytes.fromhex("20010db8" + "0" * 23 + "1"), 853)) == "[2001:db8::1]:853"
    assert endpoint_text((b"\xc0\0\2\1", None)) == "192.0.2.1"


def test_recorded_streams_become_json() -> None:
    json.dumps(Summary(tally_of(*map(TapFrame, corpus_payloads())), 10).json())
