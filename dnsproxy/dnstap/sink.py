"""What taps add to a message: a frame's length, identity, version and `extra`, before what all taps share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dnsproxy.dnstap.encode import FRAME_LENGTHS, SMALL, View, dnstap_prefix, extra_field, frame_length
from dnsproxy.dnstap.events import Event, Route
from dnsproxy.template import Template

if TYPE_CHECKING:
    from dnsproxy.dnstap.privacy import Privacy, Veil
    from dnsproxy.message import Query

Offer = Callable[[bytes], None]

NO_EXTRA: Final = Template("", lambda event: "", "")

PREFIXES_KEPT: Final = 512  # rendered texts per form; up to about half a megabyte

_NOWHERE: Final = Route(0, b"", 0, b"", 0)  # of an event that is only asked for its query

log = logging.getLogger("dnsproxy")


@dataclass(frozen=True)
class FrameForm:
    """How a tap wants its frames; taps that agree share them. An empty text leaves its field out."""

    full: bool = False
    identity: str = ""
    version: str = ""
    extra: Template = NO_EXTRA
    with_queries: bool = False  # the query's octets in responses too
    compat: bool = False  # protocols as the first schemas had them
    privacy: Privacy | None = None


BARE_FORM: Final = FrameForm()


class Sink:
    """Turns events into frames (four octets of length, a Dnstap message), each offered to the outputs that want it."""

    __slots__ = (
        "_by_value",
        "_has_failed",
        "_key",
        "_offer",
        "_others",
        "_prefix",
        "_prefix_without_value",
        "_prefixes",
        "_render",
        "_veil",
        "_view",
        "full",
        "takes_messages",
    )

    def __init__(self, form: FrameForm, offers: tuple[Offer, ...]) -> None:
        extra = form.extra
        self._offer, *others = offers
        self._others = tuple(others)
        self.full = form.full
        self._prefix = dnstap_prefix(form.identity.encode(), form.version.encode())
        self._prefix += extra_field((extra.constant or "").encode())
        self._prefixes: dict[str, bytes] = {}  # with the field of a text: most are few, as an upstream's address
        self._by_value: dict[str, bytes] = {}  # likewise, by the value of the only label
        self._render: Callable[[Event], str] | None = extra.render if extra.constant is None else None
        self._key: str | None = extra.key
        self._prefix_without_value = self._prefix
        if extra.key is not None:
            self._prefix_without_value = self._with_extra(extra.render(Event(0, None, _NOWHERE, 0, None)))
        self._view = View(form.full, form.with_queries, form.compat)
        self._veil = None if form.privacy is None else _veil(form.privacy)
        self._has_failed = False
        is_plain = not (form.with_queries or form.compat or form.privacy)
        # whether the octets that all taps share and the query's metadata will do, without an Event
        self.takes_messages = is_plain and (extra.constant is not None or extra.key is not None)

    def put(self, message: bytes, query: Query) -> None:
        """Offer the frame of a message of that client's query, encoded with the DNS message if `full`; never raises."""
        prefix = self._prefix
        if self._key is not None:
            value = query.metadata.get(self._key)
            if value is None:
                prefix = self._prefix_without_value
            else:
                known = self._by_value.get(value) if type(value) is str else None
                prefix = known or self._with_value(query, value)
        size = len(prefix) + len(message)
        frame = (FRAME_LENGTHS[size] if size < SMALL else frame_length(size)) + prefix + message
        self._offer(frame)
        if self._others:
            for offer in self._others:
                offer(frame)

    def take(self, event: Event) -> None:
        """Offer the event's frame; never raises."""
        frame = self.frame(event)
        self._offer(frame)
        for offer in self._others:
            offer(frame)

    def frame(self, event: Event) -> bytes:
        """What `take` offers."""
        if self._veil is not None:
            event = self._veil.event(event)
        message = event.seen(self._view)
        prefix = self._prefix
        if self._render is not None:
            prefix = self._rendered(self._render, event)
        size = len(prefix) + len(message)
        return (FRAME_LENGTHS[size] if size < SMALL else frame_length(size)) + prefix + message

    def _rendered(self, render: Callable[[Event], str], event: Event) -> bytes:
        """The prefix with this event's `extra`; without any when a plugin's value cannot be rendered."""
        try:
            text = render(event)
            return self._prefixes.get(text) or self._remember(self._prefixes, text, text)
        except Exception as exc:  # noqa: BLE001  some plugin's value and its __str__ must not cost a tap the message
            self._complain(exc)
            return self._prefix

    def _with_value(self, query: Query, value: object) -> bytes:
        """The prefix for a value of the one label in `extra`; kept if it is text."""
        try:
            assert self._render is not None
            text = self._render(Event(0, query, _NOWHERE, 0, None))
            return self._remember(self._by_value, value, text) if type(value) is str else self._with_extra(text)
        except Exception as exc:  # noqa: BLE001  as above
            self._complain(exc)
            return self._prefix

    def _remember(self, prefixes: dict[str, bytes], key: str, text: str) -> bytes:
        if len(prefixes) >= PREFIXES_KEPT:
            prefixes.clear()
        prefix = prefixes[key] = self._with_extra(text)
        return prefix

    def _with_extra(self, text: str) -> bytes:
        return self._prefix + extra_field(text.encode())

    def _complain(self, exc: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            log.error("a template cannot be rendered, and extra is left out (logged once): %r", exc, exc_info=exc)


def _veil(privacy: Privacy) -> Veil:
    from dnsproxy.dnstap.privacy import veil_of  # few taps have one, and it takes a library to import

    return veil_of(privacy)
