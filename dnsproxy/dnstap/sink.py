"""What taps add to an event: a frame's length, identity, version and `extra`, before the octets that all taps share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dnsproxy.dnstap.encode import dnstap_prefix, extra_field, frame_length
from dnsproxy.dnstap.events import Event
from dnsproxy.template import Template

Offer = Callable[[bytes], None]

NO_EXTRA: Final = Template("", lambda event: "", "")

log = logging.getLogger("dnsproxy")


@dataclass(frozen=True)
class FrameForm:
    """How a tap wants its frames; taps that agree share them. An empty text leaves its field out."""

    full: bool = False
    identity: str = ""
    version: str = ""
    extra: Template = NO_EXTRA


class Sink:
    """Turns events into frames (four octets of length, a Dnstap message), each offered to the outputs that want it."""

    __slots__ = ("_full", "_has_failed", "_offers", "_prefix", "_render")

    def __init__(self, form: FrameForm, offers: tuple[Offer, ...]) -> None:
        extra = form.extra
        self._offers = offers
        self._full = form.full
        self._prefix = dnstap_prefix(form.identity.encode(), form.version.encode())
        self._prefix += extra_field((extra.constant or "").encode())
        self._render: Callable[[Event], str] | None = extra.render if extra.constant is None else None
        self._has_failed = False

    def take(self, event: Event) -> None:
        """Offer the event's frame; never raises."""
        message = event.encoded(self._full)
        prefix = self._prefix
        if self._render is not None:
            try:
                prefix += extra_field(self._render(event).encode())
            except Exception:  # a value's own __str__, some plugin's, must not cost a tap the message
                self._complain()
        frame = b"".join((frame_length(len(prefix) + len(message)), prefix, message))
        for offer in self._offers:
            offer(frame)

    def _complain(self) -> None:
        if not self._has_failed:
            self._has_failed = True
            log.exception("a template cannot be rendered (logged once); extra is left out")


def make_sinks(wanting: list[tuple[FrameForm, Offer]]) -> tuple[Sink, ...]:
    """One sink for each form: what has one form is put together once."""
    offers: dict[FrameForm, tuple[Offer, ...]] = {}
    for form, offer in wanting:
        offers[form] = (*offers.get(form, ()), offer)
    return tuple(Sink(form, offers) for form, offers in offers.items())
