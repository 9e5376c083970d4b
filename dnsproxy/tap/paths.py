"""What became of a client query, as `trace` prints it: a line for people, or a JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from dnsproxy.tap.frame import NS_PER_S, TapFrame
from dnsproxy.tap.joined import ANSWERED, Attempt, Joined
from dnsproxy.tap.labels import extra_values
from dnsproxy.tap.report.amounts import duration
from dnsproxy.tap.report.summary import NS_PER_MS, endpoint_text, time_text
from dnsproxy.tap.times import SecondTexts, clock_text
from dnsproxy.tap.words import PROTOCOLS, TYPES, rcode_word, word

MISSING: Final = "-"
OPEN: Final = "open"  # instead of an rcode


def json_line(joined: Joined) -> str:
    """The query as a JSON object; what is not known is `null`.

    `id` is the one in `extra`, or the message ID, which is a number.
    """
    client = joined.client
    assert client is not None
    values = {
        "id": client.id if joined.id is None else joined.id,
        "client": client.query_address_text,
        "protocol": _protocol(client),
        "qname": client.name,
        "qtype": _qtype(client),
        "rcode": _rcode(joined.response),
        "latency_ms": _ms(joined.latency_ns),
        "attempts": [_attempt_values(joined, attempt) for attempt in joined.attempts],
    }
    return json.dumps(values, ensure_ascii=False)


def people_lines(utc: bool) -> Callable[[Joined], str]:
    """How a query is told in a line, at local times or `utc`."""
    clock = SecondTexts(clock_text, utc).text

    def line(joined: Joined) -> str:
        client = joined.client
        assert client is not None
        seconds, rest = divmod(joined.start_ns, NS_PER_S)
        words = [
            f"{clock(seconds)}.{rest // 1000:06d}",
            client.query_address_text or MISSING,
            _protocol(client) or MISSING,
            client.name or MISSING,
            _qtype(client) or MISSING,
            OPEN if joined.response is None else _rcode(joined.response) or MISSING,
        ]
        if joined.latency_ns is not None:
            words.append(duration(joined.latency_ns))
        return f"{' '.join(words)}: {', '.join(_path(joined))}"

    return line


def _path(joined: Joined) -> list[str]:
    """Upstreams asked and what became of it, and what time went by without any of them."""
    told = [_attempt_text(joined, attempt) for attempt in joined.attempts]
    if joined.response is not None:
        state = extra_values(joined.response).get("cache/state")
        if isinstance(state, str) and not (told and state == "miss"):
            told.append(f"cache {state}")
        told = told or ["no upstream"]
        if joined.attempts and joined.latency_ns is not None:
            told.append(f"own {duration(max(joined.latency_ns - _asking_ns(joined), 0))}")
    return told or ["no upstream yet"]


def _attempt_text(joined: Joined, attempt: Attempt) -> str:
    outcome, rcode = joined.outcome_of(attempt), _rcode(attempt.response)
    words = [_upstream(attempt.frame) or MISSING, _protocol(attempt.frame) or MISSING]
    words.append(rcode if rcode is not None and outcome == ANSWERED else outcome)
    if attempt.rtt_ns is not None:
        words.append(duration(attempt.rtt_ns))
    elif attempt.sent_ns is not None and joined.end_ns is not None:
        words.append(f"after {duration(max(_given_up_ns(joined, attempt) - attempt.sent_ns, 0))}")
    return " ".join(words)


def _given_up_ns(joined: Joined, attempt: Attempt) -> int:
    """When an attempt without response was followed by another one, or by the end."""
    sent_ns = attempt.sent_ns or 0
    later = [each.sent_ns for each in joined.attempts if each.sent_ns is not None and each.sent_ns > sent_ns]
    return min(later, default=joined.end_ns or sent_ns)


def _asking_ns(joined: Joined) -> int:
    """How long at least one upstream was being asked."""
    total = reached = 0
    for start, end in sorted(_span(joined, attempt) for attempt in joined.attempts if attempt.sent_ns is not None):
        total += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return total


def _span(joined: Joined, attempt: Attempt) -> tuple[int, int]:
    start = attempt.sent_ns or 0
    return start, _given_up_ns(joined, attempt) if attempt.rtt_ns is None else start + attempt.rtt_ns


def _attempt_values(joined: Joined, attempt: Attempt) -> dict[str, Any]:
    return {
        "upstream": _upstream(attempt.frame),
        "protocol": _protocol(attempt.frame),
        "sent": None if attempt.sent_ns is None else time_text(attempt.sent_ns),
        "rtt_ms": _ms(attempt.rtt_ns),
        "outcome": joined.outcome_of(attempt),
        "rcode": _rcode(attempt.response),
    }


def _upstream(frame: TapFrame) -> str | None:
    address = frame.response_address
    return None if address is None else endpoint_text((address, frame.response_port))


def _protocol(frame: TapFrame) -> str | None:
    protocol = frame.socket_protocol
    return None if protocol is None else word(PROTOCOLS, protocol)


def _qtype(frame: TapFrame) -> str | None:
    qtype = frame.qtype
    return None if qtype is None else word(TYPES, qtype)


def _rcode(response: TapFrame | None) -> str | None:
    rcode = None if response is None else response.rcode
    return None if rcode is None else rcode_word(rcode)


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / NS_PER_MS
