"""Which messages are taken: the options of the command line, compiled once to one function of a frame."""

from __future__ import annotations

import argparse
import ipaddress
import re
import time
from binascii import crc32
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from dnsproxy import wire as dns
from dnsproxy.dnstap.schema import select_types
from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.frame import MAPPED, NS_PER_S, TapFrame
from dnsproxy.tap.words import PROTOCOLS, RCODES, TYPES

T = TypeVar("T")
Test = Callable[[TapFrame], bool]

EXCLUDING: Final = "!"
FINE_RCODES: Final = frozenset([0, 3])  # NOERROR, NXDOMAIN
CLIENTS_KEPT: Final = 65536  # whose networks have been looked up: about 8 MiB
MAX_QTYPE: Final = 0xFFFF
HASH_VALUES: Final = 1 << 32
_RATE: Final = re.compile(r"(\d{0,9}\.?\d{1,9})(%?)", re.ASCII)


def filter_from(options: argparse.Namespace) -> Test | None:
    """Whether to take a frame, from what `common.add_filters` reads; None if all are taken.

    WrongUsage says what is wrong with a value.
    """
    tests = [test for make in _MAKERS if (test := make(options)) is not None]
    if len(tests) < 2:
        return tests[0] if tests else None

    def takes(frame: TapFrame) -> bool:
        for test in tests:  # noqa: SIM110  half of what all() with a generator takes
            if not test(frame):
                return False
        return True

    return takes


def _terms(option: str, values: list[str] | None, read: Callable[[str], T]) -> tuple[list[T], list[T]]:
    """What is to be kept, and what is not."""
    kept: list[T] = []
    excluded: list[T] = []
    for value in ",".join(values or ()).split(",") if values else ():
        text = value.strip()
        try:
            (excluded if text.startswith(EXCLUDING) else kept).append(read(text.removeprefix(EXCLUDING)))
        except ValueError as exc:
            raise WrongUsage(f"{option}: {exc}") from exc
    return kept, excluded


def _equal(values: tuple[list[T], list[T]], read: Callable[[TapFrame], T | None]) -> Test | None:
    """Of a value that is equal to one that is kept, and to none that is excluded."""
    kept, excluded = map(frozenset, values)
    if not excluded:
        return (lambda frame: read(frame) in kept) if kept else None
    return lambda frame: (not kept or read(frame) in kept) and read(frame) not in excluded


def _any(values: tuple[list[Test], list[Test]]) -> Test | None:
    """Of a message for which one of the kept holds, and none of the excluded."""
    kept, excluded = values
    if len(kept) == 1 and not excluded:
        return kept[0]
    if not kept and not excluded:
        return None

    def holds(frame: TapFrame) -> bool:
        if kept and not any(test(frame) for test in kept):
            return False
        return not any(test(frame) for test in excluded)

    return holds


def _types(options: argparse.Namespace) -> Test | None:
    kept, excluded = _terms("--types", options.types, select_types)
    numbers = [[int(type) for types in chosen for type in types] for chosen in (kept, excluded)]
    return _equal((numbers[0], numbers[1]), lambda frame: frame.type)


def _zones(options: argparse.Namespace) -> Test | None:
    return _any(_terms("--zone", options.zone, _zone))


def _zone(text: str) -> Test:
    from dnsproxy.values import parse_name

    zone = parse_name(text)

    def is_in(frame: TapFrame) -> bool:
        octets = frame.wire
        if octets is None or zone not in octets.lower():  # 0.2 µs; to read a question takes 1
            return False
        qname = frame.qname
        return qname is not None and dns.is_below(qname.lower(), zone)

    return is_in


def _clients(options: argparse.Namespace) -> Test | None:
    return _any(_terms("--client", options.client, _network))


def _network(text: str) -> Test:
    from dnsproxy.values import parse_network

    network = parse_network(text)
    known: dict[bytes, bool] = {}

    def is_in(frame: TapFrame) -> bool:
        address = frame.query_address
        if address is None:
            return False
        found = known.get(address)
        if found is None:
            if len(known) >= CLIENTS_KEPT:
                known.clear()
            plain = address[12:] if len(address) == 16 and address.startswith(MAPPED) else address
            found = known[address] = len(plain) in {4, 16} and ipaddress.ip_address(plain) in network
        return found

    return is_in


def _qtypes(options: argparse.Namespace) -> Test | None:
    return _equal(_terms("--qtype", options.qtype, _read_qtype), lambda frame: frame.qtype)


def _read_qtype(text: str) -> int:
    number = _number(text.upper().removeprefix("TYPE"), TYPES, "record type")
    if number > MAX_QTYPE:
        raise ValueError(f'"{text}" is no record type; expected up to {MAX_QTYPE}')
    return number


def _rcodes(options: argparse.Namespace) -> Test | None:
    return _equal(
        _terms("--rcode", options.rcode, lambda text: _number(text, RCODES, "rcode")), lambda frame: frame.rcode
    )


def _protocols(options: argparse.Namespace) -> Test | None:
    values = _terms("--protocol", options.protocol, lambda text: _number(text, PROTOCOLS, "protocol"))
    return _equal(values, lambda frame: frame.socket_protocol)


def _number(text: str, words: dict[int, str], what: str) -> int:
    """The number of a word in any case, or written as one."""
    if text.isdecimal() and text.isascii():
        return int(text)
    for number, word in words.items():
        if word.upper() == text.upper():
            return number
    raise ValueError(f'"{text}" is no {what}; expected {_listed(words.values())}')


def _listed(words: Iterable[str]) -> str:
    """Some of the words, where there are many."""
    words = list(words)
    return ", ".join(words[:8]) + (", … or a number" if len(words) > 8 else " or a number")


def _identities(options: argparse.Namespace) -> Test | None:
    return _equal(_terms("--identity", options.identity, _octets), lambda frame: frame.identity)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _slower(options: argparse.Namespace) -> Test | None:
    return _any(_terms("--slower-than", options.slower_than, _at_least))


def _at_least(text: str) -> Test:
    from dnsproxy.values import parse_duration

    threshold_ns = round(parse_duration(text) * NS_PER_S)

    def is_slow(frame: TapFrame) -> bool:
        latency_ns = frame.latency_ns
        return latency_ns is not None and latency_ns >= threshold_ns

    return is_slow


def _only(options: argparse.Namespace) -> Test | None:
    return _any(_terms("--only", options.only, _kind))


def _kind(text: str) -> Test:
    if text != "errors":
        raise ValueError(f'"{text}" is nothing to choose by; expected errors')
    return _is_error


def _is_error(frame: TapFrame) -> bool:
    rcode = frame.rcode
    return rcode is not None and rcode not in FINE_RCODES


def _extras(options: argparse.Namespace) -> Test | None:
    return _any(_terms("--extra", options.extra, _extra))


def _extra(text: str) -> Test:
    octets = _octets(text)
    return lambda frame: frame.extra is not None and octets in frame.extra


def _times(options: argparse.Namespace) -> Test | None:
    if options.since is None and options.until is None:
        return None
    from dnsproxy.tap.moments import time_range

    try:
        first, last = time_range(options.since, options.until, time.time_ns())
    except ValueError as exc:
        raise WrongUsage(str(exc)) from exc

    def is_within(frame: TapFrame) -> bool:
        time_ns = frame.time_ns
        return time_ns is not None and (first is None or first <= time_ns) and (last is None or time_ns <= last)

    return is_within


def _sample(options: argparse.Namespace) -> Test | None:
    if options.sample is None:
        return None
    below = round(read_rate(options.sample) * HASH_VALUES)
    return lambda frame: hash_of(frame) < below


def read_rate(text: str) -> float:
    """A part of all: `0.1`, or `10%`; WrongUsage says what is wrong with it."""
    match = _RATE.fullmatch(text)
    rate = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < rate <= 1:
        raise WrongUsage(f'--sample: "{text}" is no part of all; expected above 0 and up to 1, such as 0.1')
    return rate


def hash_of(frame: TapFrame) -> int:
    """32 bits that all messages of one query and its response share."""
    octets, qname = frame.wire or b"", frame.qname or b""
    who = b"%b%d/%b" % (frame.query_address or b"", frame.query_port or 0, octets[:2])
    return crc32(qname.lower(), crc32(who))


_MAKERS: Final = (
    _types,
    _protocols,
    _times,
    _clients,
    _qtypes,
    _zones,
    _rcodes,
    _slower,
    _only,
    _identities,
    _extras,
    _sample,
)
"""The cheapest first: they are asked in this order."""
