"""From frames to a command's output: filtered, masked, in the form that was chosen, or as frames."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from dnsproxy.dnstap.framestreams import DNSTAP, ControlType, control_frame, data_frame
from dnsproxy.tap import forms
from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.filters import filter_from
from dnsproxy.tap.frame import TapFrame

T = TypeVar("T")

START: Final = control_frame(ControlType.START, DNSTAP)
STOP: Final = control_frame(ControlType.STOP)


class Rendering:
    """What options make of frames; `begin` and `end` enclose the whole output.

    WrongUsage where options do not agree, or a value is wrong.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._takes = filter_from(options)
        self._mask = _mask_from(options)
        is_raw = options.write is not None and not forms.is_chosen(options)
        if options.append and (options.write is None or is_raw):
            raise WrongUsage("-a appends text to a file; expected a form, and -w FILE")
        self._form = None if is_raw else forms.chosen(options, has_color(options))
        self._left: int | None = options.count  # messages still wanted
        self.begin = START if is_raw else b""
        self.end = STOP if is_raw else b""

    @property
    def is_done(self) -> bool:
        """Whether all messages that were wanted have been rendered."""
        return self._left == 0

    def render(self, frames: Iterable[TapFrame]) -> bytes:
        """Of those that are taken, as many as are still wanted."""
        if self._takes is not None:
            frames = filter(self._takes, frames)
        if self._mask is not None:
            frames = map(self._mask, frames)
        form = self._form
        if form is None:
            return b"".join(self._wanted([data_frame(frame.payload) for frame in frames]))
        text = "".join(self._wanted([form.write(frame) for frame in frames]))
        return text.encode("utf-8", "surrogateescape")

    def _wanted(self, pieces: list[T]) -> list[T]:
        """The first ones that are something, as long as the number lasts."""
        if self._left is None:
            return pieces
        wanted = [piece for piece in pieces if piece][: self._left]
        self._left -= len(wanted)
        return wanted


def _mask_from(options: argparse.Namespace) -> Callable[[TapFrame], TapFrame] | None:
    """Loads what masks take, 14 ms, only for those who want one."""
    if options.mask is None and options.pseudonymize is None and options.strip is None:
        return None
    from dnsproxy.tap.masks import mask_from

    return mask_from(options)


def has_color(options: argparse.Namespace) -> bool:
    """Whether the line for people has colours: on a terminal, unless it or the user (`NO_COLOR`) has none."""
    if options.color != "auto":
        return bool(options.color == "always")
    is_plain = options.write is not None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not is_plain and sys.stdout.isatty()
