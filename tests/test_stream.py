"""DNS messages on streams: whole, octet by octet, with what follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.stream import MessageReader, framed

MESSAGES = st.lists(st.binary(max_size=50), max_size=8)


@given(MESSAGES, st.lists(st.integers(1, 20), min_size=1))
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(framed, messages))
    reader, found, at = MessageReader(), [], 0
    while at < len(stream):
        size = cuts[at % len(cuts)]
        found += reader.receive_data(stream[at : at + size])
        at += size
    assert found == messages
    assert not reader.has_part


def test_a_part_waits_for_its_end() -> None:
    reader = MessageReader()
    assert reader.receive_data(framed(b"whole") + framed(b"part")[:-1]) == [b"whole"]
    assert reader.has_part
    assert reader.receive_data(b"t" + framed(b"")) == [b"part", b""]
    assert not reader.has_part


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1", b"\xff\xff" + b"x" * 65534])
def test_nothing_comes_of_less_than_a_message(data: bytes) -> None:
    reader = MessageReader()
    assert reader.receive_data(data) == []
    assert reader.has_part == bool(data)


def test_the_longest_message_fits() -> None:
    octets = b"x" * 65535
    assert MessageReader().receive_data(framed(octets)) == [octets]
    with pytest.raises(OverflowError):
        framed(octets + b"x")
