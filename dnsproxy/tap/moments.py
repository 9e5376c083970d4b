"""Points in time as people write them: RFC 3339, local `22:13` or `22:13:20`, or back from now (`15m`)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

NS_PER_S: Final = 1_000_000_000
EXPECTED: Final = "RFC 3339 such as 2023-11-14T22:13:20Z, local 22:13 or 22:13:20, or back from now such as 15m"
_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_OF_DAY: Final = re.compile(r"(\d\d):(\d\d)(?::(\d\d))?", re.ASCII)
_YESTERDAY: Final = 1


def read_moment(text: str, now_ns: int, days_ago: int = 0) -> int:
    """Nanoseconds since 1970; a time of day is of the day so many days ago. ValueError where there is no such time.

    RFC 3339 without offset is local.
    """
    if match := _OF_DAY.fullmatch(text):
        day = datetime.fromtimestamp(now_ns // NS_PER_S) - timedelta(days=days_ago)  # noqa: DTZ006  local is meant
        hour, minute, second = (int(digits or 0) for digits in match.groups())
        return int(day.replace(hour=hour, minute=minute, second=second).timestamp()) * NS_PER_S
    if match := _RFC3339.fullmatch(text):
        moment = datetime.fromisoformat(match[1] + (match[3] or "").upper())
        return int(moment.timestamp()) * NS_PER_S + int((match[2] or "").ljust(9, "0"))
    from dnsproxy.values import parse_duration

    try:
        return now_ns - int(parse_duration(text) * NS_PER_S)
    except ValueError:
        raise ValueError(f'"{text}" is no time; expected {EXPECTED}') from None


def time_range(since: str | None, until: str | None, now_ns: int) -> tuple[int | None, int | None]:
    """The first and the last nanosecond meant; ValueError names the option where there is no such time.

    A time of day is today's; where the first one would lie ahead, it is yesterday's, and so is the last one.
    """
    first = _read("--since", since, now_ns)
    if since is not None and first is not None and first > now_ns and _OF_DAY.fullmatch(since):
        return _read("--since", since, now_ns, _YESTERDAY), _read("--until", until, now_ns, _YESTERDAY)
    return first, _read("--until", until, now_ns)


def _read(option: str, text: str | None, now_ns: int, days_ago: int = 0) -> int | None:
    try:
        return None if text is None else read_moment(text, now_ns, days_ago)
    except ValueError as exc:
        raise ValueError(f"{option}: {exc}") from exc
