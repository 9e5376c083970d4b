"""What a tap shows to whom, in words for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dnsproxy.dnstap.schema import ALL_TYPES
from dnsproxy_dnstap.options import TapConfig

SELECTING: Final = ("zones", "clients", "qtypes", "protocols", "rcodes", "only", "slower_than", "sample")
HIDING: Final = ("anonymize", "strip", "qname")


def described(config: TapConfig) -> str:
    """`taps client, TQ, selected by zones and sample, to unix:///run/tap.sock`."""
    pieces = [_types(config)]
    if selecting := _given(config, [key for key in SELECTING if _selects(config, key)]):
        pieces.append(f"selected by {selecting}")
    if hiding := _given(config, HIDING):
        pieces.append(f"with {hiding}")
    place = f"{'to' if config.listen is None else 'for collectors at'} {config.destination}"
    return f"taps {', '.join(pieces)}{',' if len(pieces) > 1 else ''} {place}"


def _types(config: TapConfig) -> str:
    return "everything" if config.selected == ALL_TYPES else ", ".join(each.word for each in config.types)


def _selects(config: TapConfig, key: str) -> bool:
    return key != "slower_than" or "slow" not in config.always  # which it is only the threshold of then


def _given(config: TapConfig, keys: Iterable[str]) -> str:
    """The names of those keys that are set: `a, b and c`."""
    names = [key for key in keys if getattr(config, key) not in (None, ())]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
