"""What taps add to an event: a frame's length, identity, version and `extra`, before the octets that all taps share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dnsproxy.dnstap.encode import FRAME_LENGTHS, SMALL, dnstap_prefix, extra_field, frame_length
from dnsproxy.dnstap.events import Event
from dnsproxy.template import Template

Offer = Callable[[bytes], None]

NO_EXTRA: Final = Template("", lambda event: "", "")

PREFIXES_KEPT: Final = 512  # rendered texts per form; up to about half a megabyte

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

    __slots__ = ("_full", "_has_failed", "_offer", "_others", "_prefix", "_prefixes", "_render")

    def __init__(self, form: FrameForm, offers: tuple[Offer, ...]) -> None:
        extra = form.extra
        self._offer, *others = offers
        self._others = tuple(others)
        self._full = form.full
        self._prefix = dnstap_prefix(form.identity.encode(), form.version.encode())
        self._prefix += extra_field((extra.constant or "").encode())
        self._prefixes: dict[str, bytes] = {}  # with the field of a text: most are few, as an upstream's address
        self._render: Callable[[Event], str] | None = extra.render if extra.constant is None else None
        self._has_failed = False

    def take(self, event: Event) -> None:
        """Offer the event's frame; never raises."""
        message = (event.whole if self._full else event.bare) or event.encoded(self._full)
        prefix = self._prefix
        if self._render is not None:
            try:
                text = self._render(event)
                prefix = self._prefixes.get(text) or self._with_extra(text)
            except Exception as exc:  # noqa: BLE001  some plugin's value and its __str__ must not cost a tap the message
                self._complain(exc)
        size = len(prefix) + len(message)
        frame = (FRAME_LENGTHS[size] if size < SMALL else frame_length(size)) + prefix + message
        self._offer(frame)
        if self._others:
            for offer in self._others:
                offer(frame)

    def _with_extra(self, text: str) -> bytes:
        if len(self._prefixes) >= PREFIXES_KEPT:
            self._prefixes.clear()
        prefix = self._prefixes[text] = self._prefix + extra_field(text.encode())
        return prefix

    def _complain(self, exc: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            log.error("a template cannot be rendered, and extra is left out (logged once): %r", exc, exc_info=exc)
