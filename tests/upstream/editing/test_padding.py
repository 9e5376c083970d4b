"""Padding: every length becomes one of few."""

from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.upstream.editing.padding import padding_for


@given(st.integers(12, 65_400))
def test_messages_are_filled_to_multiples_of_128_octets(size: int) -> None:
    padding = padding_for(size)
    assert (size + len(padding)) % 128 == 0
    assert 4 <= len(padding) < 132
    assert padding == bytes((0, 12)) + (len(padding) - 4).to_bytes(2) + bytes(len(padding) - 4)


@given(st.integers(65_400, 65_535))
def test_no_message_becomes_longer_than_one_may_be(size: int) -> None:
    assert size + len(padding_for(size)) <= 65_535
