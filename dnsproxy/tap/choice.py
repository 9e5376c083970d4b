"""Which frames a command takes, and what it hides of them: filters and masks of a command line as one function."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from dnsproxy.tap.filters import filter_from
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.masks import mask_from

Choice = Callable[[list[TapFrame]], list[TapFrame]]


def choice_from(options: argparse.Namespace) -> Choice:
    """What to make of frames, by what `common.add_filters` and `add_masks` read; WrongUsage for a wrong value."""
    takes, mask = filter_from(options), mask_from(options)

    def choose(frames: list[TapFrame]) -> list[TapFrame]:
        if takes is not None:
            frames = list(filter(takes, frames))
        return frames if mask is None else list(map(mask, frames))

    return choose
