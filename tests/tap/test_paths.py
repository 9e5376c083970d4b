"""What `trace` prints."""

import json
from typing import Any

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.joined import Joined
from dnsproxy.tap.paths import json_line, people_lines
from tests.tap.dialogue import OTHER_UPSTREAM, UPSTREAM, Dialogue
from tests.tap.frames import payload
from tests.tap.test_joining import joined

ID = b"00000000000000aa"


def only(*frames: TapFrame) -> Joined:
    (query,) = joined(frames)
    return query


def line(*frames: TapFrame) -> str:
    return people_lines(utc=True)(only(*frames))


def values(*frames: TapFrame) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json_line(only(*frames)))
    return found


def failing_over() -> list[TapFrame]:
    one = Dialogue(extra=ID)
    frames = [one.asked(0), one.sent(1), one.sent(501, OTHER_UPSTREAM), one.came(501, 520, OTHER_UPSTREAM)]
    return [*frames, one.answered(522)]


def test_json_has_the_way_of_a_query() -> None:
    found = values(*failing_over())
    assert list(found) == ["id", "client", "protocol", "qname", "qtype", "rcode", "latency_ms", "attempts"]
    assert found | {"attempts": 0} == {
        "id": ID.decode(),
        "client": "192.0.2.7",
        "protocol": "UDP",
        "qname": "www.example.org.",
        "qtype": "A",
        "rcode": "NOERROR",
        "latency_ms": 522.0,
        "attempts": 0,
    }
    silent, answered = found["attempts"]
    assert silent == {
        "upstream": f"{UPSTREAM}:53",
        "protocol": "UDP",
        "sent": "2023-11-14T22:13:20.001000000Z",
        "rtt_ms": None,
        "outcome": "timeout",
        "rcode": None,
    }
    assert (answered["upstream"], answered["rtt_ms"], answered["outcome"], answered["rcode"]) == (
        f"{OTHER_UPSTREAM}:53",
        19.0,
        "answered",
        "NOERROR",
    )


def test_json_of_an_open_query_has_neither_rcode_nor_latency() -> None:
    one = Dialogue(id=4711)
    found = values(one.asked(0), one.sent(1))
    assert (found["id"], found["rcode"], found["latency_ms"]) == (4711, None, None)
    assert found["attempts"][0]["outcome"] == "open"


def test_json_of_a_query_without_anything_has_nulls() -> None:
    nothing = dict.fromkeys(("socket_protocol", "query_address", "query_port", "response_address", "query_time"))
    found = values(TapFrame(payload("CLIENT_QUERY", None, **nothing)))
    assert {*map(str, found.values())} == {"None", "[]"}


def test_a_line_says_where_the_time_went() -> None:
    assert line(*failing_over()) == (
        "22:13:20.000000 192.0.2.7 UDP www.example.org. A NOERROR 522 ms: "
        "198.51.100.1:53 UDP timeout after 500 ms, 198.51.100.2:53 UDP NOERROR 19 ms, own 3 ms"
    )


def test_attempts_at_the_same_time_count_once() -> None:
    one = Dialogue(extra=ID)
    frames = [one.asked(0), one.sent(1), one.sent(1, OTHER_UPSTREAM), one.came(1, 11), one.came(1, 9, OTHER_UPSTREAM)]
    assert line(*frames, one.answered(12)).endswith(", own 2 ms")


def test_a_line_says_where_the_answer_came_from_without_an_upstream() -> None:
    one = Dialogue()
    assert line(one.asked(0), one.answered(1)).endswith("NOERROR 1 ms: no upstream")
    hit = b'{"query/id":"00000000000000aa","cache/state":"hit"}'
    two = Dialogue(extra=b"00000000000000aa")
    assert line(two.asked(0), two.answered(1, extra=hit)).endswith("NOERROR 1 ms: cache hit")


def test_a_line_of_an_open_query_says_so() -> None:
    one = Dialogue()
    assert line(one.asked(0)) == "22:13:20.000000 192.0.2.7 UDP www.example.org. A open: no upstream yet"
    assert line(one.asked(0), one.sent(1)).endswith(f" A open: {UPSTREAM}:53 UDP open")


def test_a_line_has_the_producers_word_for_what_went_wrong() -> None:
    one = Dialogue(extra=ID)
    told = b'{"query/id":"00000000000000aa","forward/outcome":"refused"}'
    text = line(one.asked(0), one.sent(1), one.answered(2, rcode="SERVFAIL", extra=told))
    assert text.endswith("SERVFAIL 2 ms: 198.51.100.1:53 UDP refused after 1 ms, own 1 ms")
