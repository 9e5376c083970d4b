"""From runs of data frames to what is in them: decoded, filtered, masked."""

from __future__ import annotations

import argparse

from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.tap.damage import UNDECODABLE, Damages
from dnsproxy.tap.filters import filter_from
from dnsproxy.tap.frame import TapFrame, Undecodable
from dnsproxy.tap.masks import mask_from
from dnsproxy.tap.producer import Consumer
from dnsproxy.tap.runs import Run


def decoded(run: Run, damages: Damages) -> list[TapFrame]:
    """The good frames of a run; the others are reported, and no more counted as good."""
    try:
        return [TapFrame(payload) for payload in run.payloads()]
    except Undecodable:
        return _decoded_with_care(run, damages)


def _decoded_with_care(run: Run, damages: Damages) -> list[TapFrame]:
    frames = []
    offset = run.offset
    for payload in run.payloads():
        try:
            frames.append(TapFrame(payload))
        except Undecodable as exc:
            damages.frames -= 1
            damages.report(UNDECODABLE, offset, str(exc))
        offset += 4 + len(payload)
    return frames


class Selection:
    """What options choose of messages, masked; WrongUsage says what is wrong with them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._takes = filter_from(options)
        self._mask = mask_from(options)

    @property
    def is_everything(self) -> bool:
        """Whether all messages are taken as they are."""
        return self._takes is None and self._mask is None

    def of(self, frames: list[TapFrame]) -> list[TapFrame]:
        """Those that are chosen."""
        if self._takes is not None:
            frames = list(filter(self._takes, frames))
        return frames if self._mask is None else list(map(self._mask, frames))


def selecting(options: argparse.Namespace, consumer: Consumer) -> Consumer:
    """The consumer itself where everything is chosen, else one before it that hands on what is; WrongUsage."""
    selection = Selection(options)
    return consumer if selection.is_everything else Selecting(consumer, selection)


class Selecting:
    """Looks into each frame before it hands it on; one that is not masked is handed on octet for octet."""

    def __init__(self, consumer: Consumer, selection: Selection) -> None:
        self._consumer = consumer
        self._selection = selection
        self.wait_for_room = consumer.wait_for_room
        self.flush = consumer.flush

    @property
    def is_full(self) -> bool:
        """As the consumer's."""
        return self._consumer.is_full

    def take(self, run: Run, damages: Damages) -> None:
        """As a consumer's."""
        frames = self._selection.of(decoded(run, damages))
        if frames:
            self._consumer.take(run_of(frames, run.offset), damages)


def run_of(frames: list[TapFrame], offset: int = 0) -> Run:
    """Frames as they are sent."""
    return Run(b"".join([data_frame(frame.payload) for frame in frames]), len(frames), offset)
