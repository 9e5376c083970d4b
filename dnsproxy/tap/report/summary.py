"""A tally in words: what every form of the report shows, and the object that `--json` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from dnsproxy.listen_address import host_port
from dnsproxy.tap.frame import NS_PER_S, TYPE_NAMES, address_text
from dnsproxy.tap.quantiles import Quantiles
from dnsproxy.tap.tally import PROTOCOL, QTYPE, RCODE, TYPE, Endpoint, Tally
from dnsproxy.tap.times import SecondTexts, iso_text
from dnsproxy.tap.words import PROTOCOLS, TYPES, rcode_word, word
from dnsproxy.wire import name_to_text

SHARES: Final = (0.5, 0.9, 0.99)
NS_PER_MS: Final = 1_000_000

_utc = SecondTexts(iso_text, utc=True).text


class Summary:
    """Words with counts, most frequent first: types, protocols, and so on.

    Of names, clients and upstreams there are `top` at most.
    """

    def __init__(self, tally: Tally, top: int) -> None:
        self.tally = tally
        self.types = _worded(tally.by(TYPE), lambda type: word(TYPE_NAMES, type))
        self.protocols = _worded(tally.by(PROTOCOL), lambda protocol: word(PROTOCOLS, protocol))
        self.qtypes = _worded(tally.by(QTYPE), lambda qtype: word(TYPES, qtype))
        self.rcodes = _worded(tally.by(RCODE), rcode_word)
        self.names = tally.names.top(top, name_to_text)
        self.clients = tally.clients.top(top, address_text)
        self.upstreams = tally.upstreams.top(top, endpoint_text)
        self.first = None if tally.first_ns is None else time_text(tally.first_ns)
        self.last = None if tally.last_ns is None else time_text(tally.last_ns)
        self.is_exact = tally.names.is_exact and tally.clients.is_exact and tally.upstreams.is_exact

    def json(self) -> dict[str, Any]:
        """What `stats --json` prints."""
        tally = self.tally
        return {
            "frames": tally.frames,
            "damaged": tally.damaged,
            "first": self.first,
            "last": self.last,
            "types": dict(self.types),
            "protocols": dict(self.protocols),
            "qtypes": dict(self.qtypes),
            "rcodes": dict(self.rcodes),
            "latency_ms": latency_ms(tally.all_latencies()),
            "names": self.names,
            "clients": self.clients,
            "upstreams": self.upstreams,
        }


def latency_ms(latencies: Quantiles) -> dict[str, float | int | None]:
    """`{"count": 3, "p50": 1.25, …}`; null where there is none to tell of."""
    if not latencies.count:
        return {"count": 0, "p50": None, "p90": None, "p99": None, "max": None}
    p50, p90, p99 = (value / NS_PER_MS for value in latencies.at(*SHARES))
    return {"count": latencies.count, "p50": p50, "p90": p90, "p99": p99, "max": latencies.maximum / NS_PER_MS}


def time_text(time_ns: int) -> str:
    """`2023-11-14T22:13:20.123456789Z`."""
    seconds, rest = divmod(time_ns, NS_PER_S)
    return f"{_utc(seconds)}.{rest:09d}Z"


def endpoint_text(endpoint: Endpoint) -> str:
    """`192.0.2.1:53`, `[2001:db8::1]:53`; the address alone where the port is not known."""
    address, port = endpoint
    text = address_text(address)
    return text if port is None else host_port(text, port)


def _worded(counts: Counter[int], text: Callable[[int], str]) -> list[tuple[str, int]]:
    worded = [(text(number), count) for number, count in counts.items()]
    return sorted(worded, key=lambda item: (-item[1], item[0]))
