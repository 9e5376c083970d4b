"""Puts the messages of each client query together, whatever order they come in, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from typing import Final

from dnsproxy.dnstap.schema import MessageType
from dnsproxy.tap.frame import NS_PER_S, TapFrame
from dnsproxy.tap.joined import Joined, ends
from dnsproxy.tap.query_id import query_id

KEPT_MAX: Final = 50_000  # queries that are not complete; the oldest is given up
OCTETS_MAX: Final = 64 << 20  # of their messages
LOOKED_AT_MAX: Final = 32  # with the same key, which are one too many already
GRACE_NS: Final = NS_PER_S // 4  # messages of several streams come in any order within it

CLIENT_QUERY, CLIENT_RESPONSE = int(MessageType.CLIENT_QUERY), int(MessageType.CLIENT_RESPONSE)
FORWARDER_QUERY, FORWARDER_RESPONSE = int(MessageType.FORWARDER_QUERY), int(MessageType.FORWARDER_RESPONSE)
JOINED: Final = frozenset({CLIENT_QUERY, CLIENT_RESPONSE, FORWARDER_QUERY, FORWARDER_RESPONSE})


class Joiner:
    """Messages in, joined queries out, in the order in which they ended, or `by_start`: in which they began.

    One that has not ended `wait_ns` after it began, by the messages' own times, comes out as it is. Messages that no
    client's message belongs to, such as a prefetch's, are left out.
    """

    def __init__(self, wait_ns: int, by_start: bool = False) -> None:
        self.now_ns = 0  # the time of the last message
        self._wait_ns = wait_ns
        self._by_start = by_start
        self._kept: dict[Joined, None] = {}  # in the order of their beginning
        self._ended: dict[Joined, None] = {}  # in the order of their end
        self._octets = 0
        self._index = _Index()

    def add(self, frame: TapFrame) -> list[Joined]:
        """Take a message; what is complete now."""
        if frame.type not in JOINED:
            return []
        time_ns = frame.time_ns
        self.now_ns = self.now_ns if time_ns is None else time_ns
        joined = self._find(frame)
        if joined is not None:
            self._take(joined, frame)
        return self.release(self.now_ns)

    def release(self, now_ns: int) -> list[Joined]:
        """What is complete at this time, by the messages' clock, or is waited for no longer."""
        found = list(self._oldest_while(lambda joined: self._is_late(joined, now_ns)))
        while self._ended and not self._by_start and _is_over(joined := next(iter(self._ended)), now_ns):
            self._drop(joined)
            found.append(joined)
        return [joined for joined in found if joined.client is not None]

    def end(self) -> list[Joined]:
        """No message will come any more: all that is left, those that ended first."""
        left = [*self._kept] if self._by_start else [*(self._ended | self._kept)]
        for joined in left:
            self._drop(joined)
        return [joined for joined in left if joined.client is not None]

    def _oldest_while(self, is_over: Callable[[Joined], bool]) -> Iterator[Joined]:
        while self._kept and is_over(joined := next(iter(self._kept))):
            self._drop(joined)
            yield joined

    def _is_late(self, joined: Joined, now_ns: int) -> bool:
        if len(self._kept) > KEPT_MAX or self._octets > OCTETS_MAX:
            return True
        if self._by_start and joined.end_ns is not None:
            return _is_over(joined, now_ns)
        return now_ns - joined.start_ns >= self._wait_ns

    def _drop(self, joined: Joined) -> None:
        del self._kept[joined]
        self._ended.pop(joined, None)
        self._octets -= joined.size
        self._index.remove(joined)

    def _find(self, frame: TapFrame) -> Joined | None:
        """The query that a message belongs to, a new one if it is not known; None where none can be told."""
        id = query_id(frame.extra)
        if id is not None:
            return self._index.one(id, LACKS[frame.type]) or self._begin(id, frame)
        if frame.type == CLIENT_QUERY:
            return self._index.one(asker(frame), _lacks_query) or self._begin(None, frame)
        if frame.type == CLIENT_RESPONSE:
            known = self._index.one(asker(frame), _began_with(frame)) or self._index.one(asker(frame), _lacks_response)
            return known or self._begin(None, frame)
        return self._find_asked(frame)

    def _find_asked(self, frame: TapFrame) -> Joined | None:
        """The client's query that an upstream was asked for: by who asked, else by what was asked, and when."""
        sent_ns = frame.time_ns if frame.query_time_ns is None else frame.query_time_ns
        if frame.type == FORWARDER_RESPONSE:
            known = self._index.one((ends(frame), asker(frame)), _any)
            if known is not None:
                return known

        def was_open(joined: Joined) -> bool:
            return sent_ns is None or joined.was_open_at(sent_ns)

        known = self._index.one(asker(frame), was_open)
        return known if known is not None or frame.qname is None else self._guess(frame, was_open)

    def _guess(self, frame: TapFrame, was_open: Callable[[Joined], bool]) -> Joined | None:
        """One that asked the same at that time: with the same message ID, else one not asked about yet, else any."""

        def has_same_id(joined: Joined) -> bool:
            return was_open(joined) and joined.client is not None and joined.client.id == frame.id

        def is_fresh(joined: Joined) -> bool:
            return was_open(joined) and not joined.attempts

        guesses = (self._index.one(question(frame), is_likely) for is_likely in (has_same_id, is_fresh, was_open))
        return next((joined for joined in guesses if joined is not None), None)

    def _begin(self, id: str | None, frame: TapFrame) -> Joined:
        start_ns = frame.query_time_ns
        joined = Joined(id, self.now_ns if start_ns is None else start_ns)
        self._kept[joined] = None
        if id is not None:
            self._index.add(id, joined)
        return joined

    def _take(self, joined: Joined, frame: TapFrame) -> None:
        joined.size += len(frame.payload)
        self._octets += len(frame.payload)
        if frame.type == FORWARDER_QUERY:
            joined.add_query(frame)
            self._index.add((ends(frame), asker(frame)), joined)
        elif frame.type == FORWARDER_RESPONSE:
            joined.add_response(frame)
        else:
            self._take_client(joined, frame)

    def _take_client(self, joined: Joined, frame: TapFrame) -> None:
        if joined.client is None:
            joined.start_ns = joined.start_ns if frame.query_time_ns is None else frame.query_time_ns
            if joined.id is None:
                self._index.add(asker(frame), joined)
                self._index.add(question(frame), joined)
        if frame.type == CLIENT_QUERY:
            joined.query = frame
        else:
            joined.response = frame
            joined.end_ns = self.now_ns
            self._ended[joined] = None


def asker(frame: TapFrame) -> Hashable:
    """What tells queries apart where no id does: who asked, from which port, with which message ID, for what."""
    return frame.query_address, frame.query_port, frame.id, *question(frame)


def question(frame: TapFrame) -> tuple[bytes | None, int | None]:
    """Lower-cased name and type."""
    qname = frame.qname
    return None if qname is None else qname.lower(), frame.qtype


class _Index:
    """Finds what is not complete by several keys, of which each may belong to several."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, dict[Joined, None]] = {}
        self._keys: dict[Joined, list[Hashable]] = {}

    def add(self, key: Hashable, joined: Joined) -> None:
        self._by_key.setdefault(key, {})[joined] = None
        self._keys.setdefault(joined, []).append(key)

    def one(self, key: Hashable, is_meant: Callable[[Joined], bool]) -> Joined | None:
        """The oldest of those with this key that is meant."""
        return next(filter(is_meant, islice(self._by_key.get(key, ()), LOOKED_AT_MAX)), None)

    def remove(self, joined: Joined) -> None:
        for key in dict.fromkeys(self._keys.pop(joined, ())):
            del self._by_key[key][joined]
            if not self._by_key[key]:
                del self._by_key[key]


def _is_over(joined: Joined, now_ns: int) -> bool:
    """Whether what its messages' order may differ by has passed since its end."""
    return joined.end_ns is not None and now_ns - joined.end_ns >= GRACE_NS


def _any(_joined: Joined) -> bool:
    return True


def _lacks_query(joined: Joined) -> bool:
    return joined.query is None


def _lacks_response(joined: Joined) -> bool:
    return joined.response is None


def _began_with(response: TapFrame) -> Callable[[Joined], bool]:
    def is_meant(joined: Joined) -> bool:
        query = joined.query
        return joined.response is None and query is not None and query.query_time_ns == response.query_time_ns

    return is_meant


# an id that is not unique, such as a number in every message's text, joins at least a query and its response
LACKS: Final = {
    CLIENT_QUERY: _lacks_query,
    CLIENT_RESPONSE: _lacks_response,
    FORWARDER_QUERY: _any,
    FORWARDER_RESPONSE: _any,
}
