"""Filters and masks as one function."""

import pytest

from dnsproxy.tap.choice import choice_from
from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.frame import TapFrame
from tests.tap.frames import payload
from tests.tap.options import parsed

FRAMES = [TapFrame(payload("CLIENT_QUERY")), TapFrame(payload("CLIENT_RESPONSE"))]


def chosen(*arguments: str) -> list[TapFrame]:
    return choice_from(parsed(*arguments))(FRAMES)


def test_without_options_frames_are_what_they_are() -> None:
    assert chosen() == FRAMES


def test_filters_take_some() -> None:
    assert chosen("--types", "CR") == FRAMES[1:]


def test_masks_change_what_is_taken() -> None:
    (frame,) = chosen("--types", "CR", "--mask", "24/56", "--client", "192.0.2.7")
    assert frame.query_address_text == "192.0.2.0"


def test_a_wrong_value_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage):
        choice_from(parsed("--rcode", "WELL"))
