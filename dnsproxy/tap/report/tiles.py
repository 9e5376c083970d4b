"""The numbers of a report that one wants first."""

from __future__ import annotations

from dnsproxy.dnstap.schema import MessageType
from dnsproxy.tap.frame import NS_PER_S
from dnsproxy.tap.report.amounts import duration, grouped, rate, share
from dnsproxy.tap.report.summary import SHARES, Summary
from dnsproxy.tap.tally import FINE, RCODE

NOTHING = "–"


def tiles(summary: Summary) -> list[tuple[str, str]]:
    """Each with what it is; latencies are the clients', where responses to clients were seen."""
    tally = summary.tally
    span_s = ((tally.last_ns or 0) - (tally.first_ns or 0)) / NS_PER_S
    rcodes = tally.by(RCODE)
    errors = sum(count for rcode, count in rcodes.items() if rcode not in FINE)
    latencies = tally.latencies.get(MessageType.CLIENT_RESPONSE) or tally.all_latencies()
    half, _, most = (duration(value) if latencies.count else NOTHING for value in latencies.at(*SHARES))
    return [
        (grouped(tally.frames), "messages"),
        (rate(tally.frames / span_s) if span_s else NOTHING, "per second"),
        (half, "half answered within"),
        (most, "99 % answered within"),
        (share(errors, rcodes.total()), "with an error"),
        (grouped(tally.damaged), "damaged frames"),
    ]
