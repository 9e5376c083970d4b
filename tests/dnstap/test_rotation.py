"""When files end: multiples of local time, also where the clocks change."""

import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.backlog import Backlog
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.rotation import NEVER, Rotation, next_multiple
from dnsproxy.dnstap.stream_file import START, STOP
from tests.conftest import SetZone

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"  # POSIX form: no zone database is needed
WINTER, SUMMER = timezone(timedelta(hours=1)), timezone(timedelta(hours=2))
INDIA = "IST-5:30"


def berlin(text: str, zone: timezone) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("every_s", "now", "turn"),
    [
        (MINUTE, "2023-11-14 22:13:20", "2023-11-14 22:14:00"),
        (15 * MINUTE, "2023-11-14 22:13:20", "2023-11-14 22:15:00"),
        (HOUR, "2023-11-14 22:13:20", "2023-11-14 23:00:00"),
        (HOUR, "2023-11-14 22:00:00", "2023-11-14 23:00:00"),
        (6 * HOUR, "2023-11-14 22:13:20", "2023-11-15 00:00:00"),
        (DAY, "2023-11-14 22:13:20", "2023-11-15 00:00:00"),
        (7 * DAY, "2023-11-14 22:13:20", "2023-11-16 00:00:00"),  # a Thursday, as the first day of 1970
    ],
)
def test_files_end_at_multiples_of_local_time(set_zone: SetZone, every_s: float, now: str, turn: str) -> None:
    set_zone(BERLIN)
    assert next_multiple(berlin(now, WINTER), every_s) == berlin(turn, WINTER)


def test_the_hour_is_the_one_on_the_wall(set_zone: SetZone) -> None:
    set_zone(INDIA)
    turn = next_multiple(1_700_000_000, HOUR)
    assert time.strftime("%H:%M:%S", time.localtime(turn)) == "04:00:00"
    assert turn % HOUR == HOUR / 2


@pytest.mark.parametrize(
    ("every_s", "now", "turn"),
    [
        (DAY, ("2024-03-31 01:30", WINTER), ("2024-04-01 00:00", SUMMER)),  # 23 hours long
        (DAY, ("2024-10-27 01:30", SUMMER), ("2024-10-28 00:00", WINTER)),  # 25 hours long
        (HOUR, ("2024-03-31 01:30", WINTER), ("2024-03-31 03:00", SUMMER)),
        (HOUR, ("2024-10-27 02:30", SUMMER), ("2024-10-27 02:00", WINTER)),  # the hour that comes twice
        (HOUR, ("2024-10-27 02:30", WINTER), ("2024-10-27 03:00", WINTER)),
        (2 * HOUR, ("2024-03-31 01:30", WINTER), ("2024-03-31 03:00", SUMMER)),  # there is no two o'clock
        (12 * HOUR, ("2024-03-31 01:30", WINTER), ("2024-03-31 12:00", SUMMER)),
    ],
)
def test_files_end_by_the_clock_where_it_changes(
    set_zone: SetZone, every_s: float, now: tuple[str, timezone], turn: tuple[str, timezone]
) -> None:
    set_zone(BERLIN)
    assert next_multiple(berlin(*now), every_s) == berlin(*turn)


@given(st.floats(0, 4e9), st.integers(1, 100_000))
def test_the_next_turn_is_ahead_and_not_further_than_the_time_between_two(now: float, every_s: int) -> None:
    assert now < next_multiple(now, every_s) <= now + every_s + HOUR


def test_files_may_end_by_utc(set_zone: SetZone) -> None:
    set_zone("IST-5:30")
    assert Rotation(every_s=HOUR, utc=True).next_turn(1_700_000_000) % HOUR == 0


def test_without_a_time_a_file_never_has_to_end() -> None:
    assert Rotation(size=1000).next_turn(1_700_000_000) == NEVER
    assert [Rotation(size=1000).is_on, Rotation(every_s=60).is_on, Rotation(keep=3, compress="gzip").is_on] == [
        True,
        True,
        False,
    ]


def test_frames_that_no_file_has_room_for_are_too_long() -> None:
    backlog = Backlog(10, 1 << 20, lambda: 0.0, lambda: None)
    frame = data_frame(bytes(1000))
    offer = Rotation(size=len(START + frame + STOP)).guarded(backlog.offer)
    offer(frame)
    offer(data_frame(bytes(1001)))
    assert (backlog.queued, backlog.dropped["oversize"], backlog.offered) == (1, 1, 2)
    assert backlog.take(5000) == frame


def test_where_any_frame_has_room_nothing_stands_before_offer() -> None:
    offer = Backlog(10, 1 << 20, lambda: 0.0, lambda: None).offer
    assert Rotation().guarded(offer) == Rotation(size=1 << 20, every_s=60).guarded(offer) == offer
