"""Data frames in runs: the same frames as one by one, whatever the pieces they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.framestreams import MAX_SKIPPED, Control, Damage, Deframer, Frame, control_frame, data_frame
from dnsproxy.tap.runs import Run, RunCutter
from tests.tap.frames import START, STOP

FRAMES = st.one_of(
    st.binary(min_size=1, max_size=60).map(data_frame),
    st.sampled_from([START, STOP, control_frame(77), b"\0\0\0\0\0\0\0\5abcde"]),
    st.integers(61, 200).map(lambda length: length.to_bytes(4, "big") + bytes(length)),  # oversize
)


def one_by_one(items: list[Run | Control | Damage]) -> list[Frame]:
    found: list[Frame] = []
    for item in items:
        found += item.payloads() if isinstance(item, Run) else [item]
    return found


def test_neighbouring_data_frames_stay_together() -> None:
    frames = [data_frame(payload) for payload in (b"one", b"two", b"three")]
    items = RunCutter().cut(START + frames[0] + frames[1] + STOP + frames[2] + frames[0][:5])
    runs = [item for item in items if isinstance(item, Run)]
    assert [type(item).__name__ for item in items] == ["Control", "Run", "Control", "Run"]
    assert runs[0] == Run(frames[0] + frames[1], 2, len(START))
    assert runs[1] == Run(frames[2], 1, len(START + frames[0] + frames[1] + STOP))
    assert runs[0].payloads() == [b"one", b"two"]
    assert runs[0].whole_frames() == frames[:2]
    assert runs[0].recount() == 2


@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(1, 90), max_size=20), st.binary(max_size=20))
def test_any_stream_has_the_same_frames_as_one_by_one(frames: list[bytes], sizes: list[int], rest: bytes) -> None:
    octets = b"".join(frames) + rest
    plain, cutter = Deframer(max_frame=60), RunCutter(max_frame=60)
    expected, found = plain.receive_data(octets), list[Run | Control | Damage]()
    while octets:
        size = sizes.pop() if sizes else len(octets)
        found += cutter.cut(octets[:size])
        octets = octets[size:]
    assert one_by_one(found) == expected
    assert (cutter.offset, cutter.is_inside_frame) == (plain.offset, plain.is_inside_frame)


@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(1, 90), max_size=20))
def test_each_run_knows_its_place_and_its_number(frames: list[bytes], sizes: list[int]) -> None:
    octets = rest = b"".join(frames)
    cutter = RunCutter(max_frame=60)
    while rest:
        size = sizes.pop() if sizes else len(rest)
        for item in cutter.cut(rest[:size]):
            if isinstance(item, Run):
                assert octets[item.offset : item.offset + len(item.octets)] == item.octets
                assert item.frames == item.recount() == len(item.payloads())
        rest = rest[size:]


@pytest.mark.parametrize("head", [b"\xff\xff\xff\xff", (MAX_SKIPPED + 1).to_bytes(4, "big"), bytes(4) + b"\0\1\0\0"])
def test_nothing_is_kept_behind_fatal_damage(head: bytes) -> None:
    cutter = RunCutter()
    damage = cutter.cut(head + bytes(100))[-1]
    assert isinstance(damage, Damage)
    assert damage.fatal
    assert cutter.cut(data_frame(b"more")) == []


def test_an_oversize_frame_is_passed_over_without_being_kept() -> None:
    cutter = RunCutter(max_frame=1000)
    (damage,) = cutter.cut((1 << 20).to_bytes(4, "big"))
    assert damage == Damage("oversize", 0, "frame of 1048576 octets")
    for _ in range(16):
        assert cutter.cut(bytes(1 << 16)) == []
    assert cutter.cut(data_frame(b"next")) == [Run(data_frame(b"next"), 1, 4 + (1 << 20))]
