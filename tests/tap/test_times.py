"""Times as text, near and far, here and elsewhere."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.times import (
    FOUR_CENTURIES,
    LAST_PLAIN,
    SECONDS_KEPT,
    SecondTexts,
    clock_text,
    go_knows_zone,
    iso_text,
    named_text,
)
from tests.conftest import SetZone


@given(st.integers(0, LAST_PLAIN))
def test_a_second_is_written_as_the_library_writes_it(second: int) -> None:
    moment = datetime.fromtimestamp(second, UTC)
    assert SecondTexts(iso_text, utc=True).text(second) == moment.strftime("%Y-%m-%dT%H:%M:%S").zfill(19)
    assert SecondTexts(clock_text, utc=True).text(second) == moment.strftime("%H:%M:%S")


def test_months_are_english() -> None:
    assert SecondTexts(named_text, utc=True).text(1_700_000_000) == "14-Nov-2023 22:13:20"


@pytest.fixture
def berlin(set_zone: SetZone) -> None:
    """Local time is Berlin's."""
    set_zone("Europe/Berlin")


@pytest.mark.usefixtures("berlin")
def test_local_time_has_its_summer() -> None:
    clock = SecondTexts(clock_text, utc=False)
    assert (clock.text(1_700_000_000), clock.text(1_690_000_000)) == ("23:13:20", "06:26:40")


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("second", [LAST_PLAIN + 1, 2**40, 2**63 - 1, 2**64 - 1])
def test_the_far_future_has_the_calendar_of_four_centuries_before(second: int) -> None:
    near = second - -(-(second - LAST_PLAIN) // FOUR_CENTURIES) * FOUR_CENTURIES
    for utc in (True, False):
        clock, whole = SecondTexts(clock_text, utc), SecondTexts(iso_text, utc)
        assert clock.text(second) == clock.text(near)
        assert whole.text(second)[-15:] == whole.text(near)[-15:]
        assert int(whole.text(second)[:-15]) == int(whole.text(near)[:-15]) + (second - near) // FOUR_CENTURIES * 400


def test_few_seconds_are_remembered() -> None:
    clock = SecondTexts(clock_text, utc=True)
    texts = [clock.text(second) for second in range(3 * SECONDS_KEPT)]
    assert texts == [clock.text(second) for second in range(3 * SECONDS_KEPT)]


@pytest.mark.parametrize(
    ("zone", "known"),
    [
        (None, True),
        ("", True),
        ("Europe/Berlin", True),
        (":Europe/Berlin", True),
        ("CET-1CEST", False),
        ("No/Such", False),
    ],
)
def test_go_knows_files_of_zones_but_no_rules(zone: str | None, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if zone is None:
        monkeypatch.delenv("TZ", raising=False)
    else:
        monkeypatch.setenv("TZ", zone)
    assert go_knows_zone() is known
