"""Points in time as people write them."""

from datetime import datetime

import pytest

from dnsproxy.tap.moments import NS_PER_S, read_moment, time_range
from tests.conftest import SetZone

NOW = 1_700_000_000 * NS_PER_S  # 2023-11-14T22:13:20Z


@pytest.fixture(autouse=True, params=["UTC", "Asia/Kolkata"])
def zone(request: pytest.FixtureRequest, set_zone: SetZone) -> object:
    """Local time here, and five and a half hours ahead."""
    set_zone(request.param)
    return request.param


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T22:13:20.123456789Z", NOW + 123_456_789),
        ("2023-11-14t22:13:20.5z", NOW + 500_000_000),
        ("2023-11-14 23:13:20+01:00", NOW),
        ("1969-12-31T23:59:59.5Z", -NS_PER_S // 2),
        ("15m", NOW - 900 * NS_PER_S),
        ("500ms", NOW - NS_PER_S // 2),
        ("7d", NOW - 7 * 86400 * NS_PER_S),
    ],
)
def test_a_moment_is_the_same_everywhere(text: str, moment: int) -> None:
    assert read_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["2023-11-14T22:13:20", "22:13", "22:13:20"])
def test_without_offset_local_time_is_meant(text: str) -> None:
    moment = datetime.fromtimestamp(read_moment(text, NOW) // NS_PER_S)  # noqa: DTZ006  local is meant
    assert (moment.hour, moment.minute) == (22, 13)


@pytest.mark.parametrize("text", ["", "now", "25:00", "22:60", "2023-13-01T00:00:00Z", "15", "-5m", "2023-11-14"])
def test_what_is_no_time_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|must be"):
        read_moment(text, NOW)


def test_a_time_of_day_that_lies_ahead_was_yesterday_and_so_was_the_end() -> None:
    now = read_moment("2023-11-14T00:10:00", NOW)
    first, last = time_range("23:50", "23:58", now)
    assert (first, last) == (now - 1200 * NS_PER_S, now - 720 * NS_PER_S)


def test_an_end_may_lie_ahead() -> None:
    now = read_moment("2023-11-14T12:00:00", NOW)
    assert time_range("11:00", "18:00", now) == (now - 3600 * NS_PER_S, now + 6 * 3600 * NS_PER_S)
    assert time_range(None, None, now) == (None, None)
