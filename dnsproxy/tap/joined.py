"""One client query as its messages tell it: what the client asked and got, and what upstreams were asked for it."""

from __future__ import annotations

from typing import Final

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.labels import extra_values

ATTEMPTS_MAX: Final = 100  # whoever has more tells nothing new
ANSWERED, TIMEOUT, OPEN = "answered", "timeout", "open"

Ends = tuple[bytes | None, int | None, bytes | None, int | None]


class Attempt:
    """One query to an upstream, and the response to it; one of the two may be missing."""

    __slots__ = ("query", "response")

    def __init__(self, query: TapFrame | None = None, response: TapFrame | None = None) -> None:
        self.query = query
        self.response = response

    @property
    def frame(self) -> TapFrame:
        """The query, or the response where it is all there is."""
        frame = self.query or self.response
        assert frame is not None
        return frame

    @property
    def sent_ns(self) -> int | None:
        """When it was sent, in nanoseconds since 1970."""
        return self.frame.query_time_ns

    @property
    def rtt_ns(self) -> int | None:
        """What the response took."""
        if self.response is None or self.sent_ns is None or self.response.response_time_ns is None:
            return None
        return self.response.response_time_ns - self.sent_ns

    def is_answered_by(self, response: TapFrame) -> bool:
        """Whether the response came where this query was sent from, from whom it was sent to."""
        return self.query is not None and self.response is None and ends(self.query) == ends(response)

    def __repr__(self) -> str:
        return f"<Attempt {self.query!r} {self.response!r}>"


class Joined:
    """The messages of one client query; `query` and `response` are the client's, either may be missing.

    `start_ns` and `end_ns` are when it began and when the client was answered, in nanoseconds since 1970.
    """

    __slots__ = ("attempts", "end_ns", "id", "query", "response", "size", "start_ns")

    def __init__(self, id: str | None, start_ns: int) -> None:
        self.id = id
        self.start_ns = start_ns
        self.end_ns: int | None = None
        self.size = 0  # octets of its messages
        self.query: TapFrame | None = None
        self.response: TapFrame | None = None
        self.attempts: list[Attempt] = []

    @property
    def client(self) -> TapFrame | None:
        """The client's message that tells most: the response, or the query."""
        return self.response or self.query

    @property
    def latency_ns(self) -> int | None:
        """From the client's query to the response."""
        response = self.response
        if response is None or response.response_time_ns is None:
            return None
        start = response.query_time_ns
        if start is None and self.query is not None:
            start = self.query.query_time_ns
        return None if start is None else response.response_time_ns - start

    def was_open_at(self, time_ns: int) -> bool:
        """Whether it had begun and not yet ended."""
        return self.start_ns <= time_ns and (self.end_ns is None or time_ns <= self.end_ns)

    def add_query(self, frame: TapFrame) -> None:
        """A query that an upstream was asked."""
        early = next((each for each in self.attempts if each.query is None and ends(each.frame) == ends(frame)), None)
        if early is not None:
            early.query = frame
        elif len(self.attempts) < ATTEMPTS_MAX:
            self.attempts.append(Attempt(query=frame))

    def add_response(self, frame: TapFrame) -> None:
        """A response that an upstream gave."""
        attempt = next((each for each in self.attempts if each.is_answered_by(frame)), None)
        if attempt is not None:
            attempt.response = frame
        elif len(self.attempts) < ATTEMPTS_MAX:
            self.attempts.append(Attempt(response=frame))

    def outcome_of(self, attempt: Attempt) -> str:
        """What became of an attempt: as the producer says, else `answered`, `timeout`, or `open` for not yet.

        The last attempt's outcome may stand in the client's response.
        """
        frames = [attempt.response or attempt.query]
        is_last = attempt is self.attempts[-1]
        if attempt.response is None and is_last:
            frames.append(self.response)
        for frame in frames:
            told = None if frame is None else extra_values(frame).get("forward/outcome")
            if isinstance(told, str):
                return told
        if attempt.response is not None:
            return ANSWERED
        return OPEN if is_last and self.response is None else TIMEOUT

    def __repr__(self) -> str:
        return f"<Joined {self.id} {self.client!r}, {len(self.attempts)} attempts>"


def ends(frame: TapFrame) -> Ends:
    """Both sockets between which an upstream's messages passed."""
    return frame.query_address, frame.query_port, frame.response_address, frame.response_port
