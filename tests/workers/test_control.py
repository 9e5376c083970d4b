"""The words between supervisor and workers: whole however they arrive, and never a surprise."""

import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.workers.control import (
    MAX_DESCRIPTORS,
    MAX_MESSAGE,
    Channel,
    Closed,
    ControlError,
    Decoder,
    Message,
    encode,
)

BODIES = st.dictionaries(st.text(), st.recursive(st.integers() | st.text() | st.none(), st.lists), max_size=5)
MESSAGES = st.lists(st.tuples(st.text(), BODIES, st.integers(0, MAX_DESCRIPTORS)), max_size=6)

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = [Channel(end) for end in socket.socketpair()]
    yield ends[0], ends[1]
    for end in ends:
        end.close()


def pieces(octets: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield octets[at : at + size]
        at += size
    yield octets[at:]


@given(MESSAGES, st.lists(st.integers(0, 40), max_size=30))
def test_messages_are_whole_whatever_pieces_they_come_in(
    messages: list[tuple[str, dict[str, Any], int]], sizes: list[int]
) -> None:
    decoder = Decoder()
    octets = b"".join(encode(*message) for message in messages)
    assert [found for piece in pieces(octets, sizes) for found in decoder.receive_data(piece)] == messages


@given(st.lists(st.binary(max_size=60)))
def test_any_octets_are_messages_or_the_one_error(data: list[bytes]) -> None:
    decoder = Decoder()
    try:
        for piece in data:
            decoder.receive_data(piece)
    except ControlError:
        pass


@given(st.binary(max_size=60) | st.recursive(st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode()))
def test_any_text_behind_a_length_is_a_message_or_the_one_error(text: bytes) -> None:
    try:
        for kind, body, descriptors in Decoder().receive_data(struct.pack("!I", len(text)) + text):
            assert (type(kind), type(body)) == (str, dict)
            assert 0 <= descriptors <= MAX_DESCRIPTORS
    except ControlError:
        pass


@pytest.mark.parametrize(
    "octets",
    [
        struct.pack("!I", MAX_MESSAGE + 1),
        struct.pack("!I", 0),
        encode("x", {}, MAX_DESCRIPTORS + 1),
        encode("x", {}, -1),
        struct.pack("!I", 100_000) + b"[" * 100_000,
    ],
)
def test_nonsense_is_an_error(octets: bytes) -> None:
    with pytest.raises(ControlError):
        Decoder().receive_data(octets)


def test_descriptors_arrive_with_their_message_and_stay_open(pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    paths = [tmp_path / name for name in "abc"]
    for number, path in enumerate(paths):
        with path.open("wb") as file:
            ours.put("file", {"number": number}, [file.fileno()] * number)
    ours.flush()
    assert not ours.wants_to_write
    messages = [message for _ in paths for message in theirs.receive()]
    assert [(message.body["number"], len(message.descriptors)) for message in messages] == [(0, 0), (1, 1), (2, 2)]
    for message in messages:
        for descriptor in message.descriptors:
            assert not os.get_inheritable(descriptor)
            os.write(descriptor, b"x")
            os.close(descriptor)
    assert [path.read_bytes() for path in paths] == [b"", b"x", b"xx"]


def test_what_the_kernel_does_not_take_waits_and_arrives_whole(pair: Pair) -> None:
    ours, theirs = pair
    texts = ["é" * 300_000, "short", "x" * 1_000_000]
    with socket.socket() as some:
        for text in texts:
            ours.put("text", {"text": text}, [some.fileno()])
    ours.flush()
    assert ours.wants_to_write
    found = list[Message]()
    while len(found) < len(texts):
        ours.flush()
        found += theirs.receive()
    assert [message.body["text"] for message in found] == texts
    for message in found:
        (descriptor,) = message.descriptors
        os.close(descriptor)


def test_nothing_to_read_is_no_message(pair: Pair) -> None:
    assert pair[0].receive() == []


def test_who_talks_to_nobody_is_told(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    with pytest.raises(Closed):
        ours.receive()
    ours.put("hello")
    with pytest.raises(Closed):
        ours.flush()


def test_descriptors_that_are_announced_and_do_not_come_are_an_error(pair: Pair) -> None:
    ours, theirs = pair
    ours.sock.send(encode("sockets", {}, 1))
    with pytest.raises(ControlError, match="announced"):
        theirs.receive()


def test_closing_closes_every_descriptor_on_its_way(pair: Pair) -> None:
    before = open_files()
    ours, theirs = pair
    with socket.socket() as some:
        for _ in range(50):
            ours.put("sockets", {"text": "x" * 20_000}, [some.fileno()] * 3)
    ours.flush()
    theirs._read()
    ours.close()
    theirs.close()
    assert open_files() == before - 2


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
