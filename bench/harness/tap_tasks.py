"""What the bench of `dnsproxy tap` has programs do, the real tool for each, and the bars: all of it as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.bars import Quantity

CPU = Quantity("total_us", "CPU per frame", "µs")
SPEED = Quantity("per_second", "frames/s")


@dataclass(frozen=True)
class Bar:
    """A bound for a quantity: itself, or as a multiple of the real tool's."""

    quantity: Quantity
    limit: float
    is_ratio: bool = False
    at_least: bool = False

    def text(self, tool: str) -> str:
        """As a sentence without its subject."""
        unit = f" × {tool}" if self.is_ratio else f" {self.quantity.unit}".rstrip()
        shown = f"{self.limit:,.10g}".replace(",", " ")
        return f"{self.quantity.words} {'≥' if self.at_least else '≤'} {shown}{unit}"

    def is_held_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Task:
    """Arguments of `dnsproxy tap`; the real tool's name and command if there is one.

    Placeholders are {frames} for the file to read, {socket} and {output} for whoever records.
    """

    name: str
    title: str
    ours: tuple[str, ...]
    bars: tuple[Bar, ...]
    tool: str = ""
    theirs: tuple[str, ...] = ()

    @property
    def records(self) -> bool:
        """Whether frames come to a socket, instead of being read from a file."""
        return "{socket}" in self.ours


def filled(words: Sequence[str], places: Mapping[str, object]) -> list[str]:
    """A command with its placeholders replaced."""
    return [word.format_map(places) for word in words]


CAPTURE = ("fstrm_capture", "-t", "protobuf:dnstap.Dnstap", "-u", "{socket}", "-w", "{output}")
REPLAY = ("fstrm_replay", "-t", "protobuf:dnstap.Dnstap", "-r", "{frames}", "-u", "{socket}")
"""Sends a file as fast as it is taken."""
FILTER_BARS = (Bar(CPU, 4.0),)


def _filter(name: str, option: str, value: str) -> Task:
    return Task(name, f"read -q {option}, nothing matches", ("read", "-q", option, value, "{frames}"), FILTER_BARS)


TASKS = (
    Task(
        "quiet",
        "read -q",
        ("read", "-q", "{frames}"),
        (Bar(CPU, 1.5, is_ratio=True),),
        "dnstap -q",
        ("dnstap", "-q", "-r", "{frames}"),
    ),
    Task(
        "json",
        "read --json",
        ("read", "--json", "{frames}"),
        (Bar(CPU, 3.0, is_ratio=True),),
        "dnstap -j",
        ("dnstap", "-j", "-r", "{frames}"),
    ),
    _filter("by-name", "--zone", "nobody.example.net"),
    _filter("by-type", "--qtype", "NAPTR"),
    _filter("by-latency", "--slower-than", "1h"),
    Task(
        "record",
        "record",
        ("record", "-u", "{socket}", "-w", "{output}"),
        (Bar(CPU, 2.5, is_ratio=True), Bar(SPEED, 300_000, at_least=True)),
        "fstrm_capture",
        CAPTURE,
    ),
)
