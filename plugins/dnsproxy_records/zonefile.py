"""From zone-file text (RFC 1035 section 5) to records, every problem with the line it starts on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.tokenizer
import dns.transaction
import dns.zonefile

DEFAULT_TTL_S = 3600  # of records before any TTL or $TTL
SHOWN_MAX = 60  # characters of a bad entry that an error repeats

# what may hide a parenthesis: an escaped character, a string, a comment
_OPAQUE = re.compile(r'\\.|"(?:\\.|[^"\\])*"|;.*')


class Record(NamedTuple):
    """One record, and the line (from 0) on which it starts."""

    line: int
    owner: dns.name.Name
    ttl: int
    rdata: dns.rdata.Rdata


class Problem(NamedTuple):
    """What is wrong on a line (from 0): "what is wrong; what was expected"."""

    line: int
    what: str


def read_records(text: str, origin: dns.name.Name) -> tuple[list[Record], list[Problem]]:
    """Every record that can be read, names absolute, and a problem for every entry that cannot."""
    collector = _Collector()
    reader = dns.zonefile.Reader(dns.tokenizer.Tokenizer(""), dns.rdataclass.IN, collector)
    reader.current_origin = reader.last_name = origin
    reader.last_ttl, reader.last_ttl_known = DEFAULT_TTL_S, True
    problems = []
    for collector.line, entry in _entries(text):
        reader.tok = dns.tokenizer.Tokenizer(entry)
        try:
            reader.read()
        except (dns.exception.DNSException, ValueError) as exc:
            problems.append(Problem(collector.line, _explain(entry, exc)))
    return collector.records, problems


class _Collector(dns.transaction.Transaction):
    """Takes what dnspython's reader reads."""

    def __init__(self) -> None:
        super().__init__(dns.zonefile.RRSetsReaderManager(), replacement=True)
        self.line = 0
        self.records: list[Record] = []

    def add(self, *args: object) -> None:
        owner, ttl, rdata = args
        assert isinstance(owner, dns.name.Name)
        assert isinstance(ttl, int)
        assert isinstance(rdata, dns.rdata.Rdata)
        self.records.append(Record(self.line, owner, ttl, rdata))

    def _set_origin(self, origin: dns.name.Name) -> None:
        """A new $ORIGIN concerns the reader only."""


def _entries(text: str) -> Iterator[tuple[int, str]]:
    """Cut into entries: (line, text), each a line or as many as its parentheses hold together."""
    start = depth = 0
    lines: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n")):
        if not lines:
            start = number
        lines.append(line)
        bare = _OPAQUE.sub("", line)
        depth += bare.count("(") - bare.count(")")
        if depth <= 0:
            yield start, "\n".join(lines)
            lines, depth = [], 0
    if lines:
        yield start, "\n".join(lines)


def _explain(entry: str, exc: Exception) -> str:
    what = re.sub(r"^<string>:\d+: ", "", str(exc)).rstrip(".") or "no such record in a zone"
    shown = " ".join(entry.split())
    if len(shown) > SHOWN_MAX:
        shown = shown[: SHOWN_MAX - 1] + "…"
    return f"bad zone text {shown!r}: {what}; expected a record such as 'www 300 IN A 192.0.2.1'"
