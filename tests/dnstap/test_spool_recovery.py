"""What is found in a spool: every whole frame that was not sent. Whatever else is there is told, and not in the way."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.spool_position import Position
from dnsproxy.dnstap.spool_segment import START, Segment, position_path
from tests.dnstap.spools import SPOOL_OCTETS, append, count_frames, opened, segments, send_all, send_some

FRAMES = [data_frame(b"%d" % number * 30) for number in range(100)]


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The only file of a spool that holds FRAMES, without STOP."""
    spool, _ = opened(tmp_path)
    append(spool, FRAMES)
    (path,) = segments(tmp_path)
    octets = path.read_bytes()
    spool.close()
    path.write_bytes(octets)
    return path


def found_and_sent(folder: Path) -> tuple[int, bytes]:
    spool, found = opened(folder)
    octets = send_all(spool, found.frames)
    spool.close()
    return found.frames, octets


def test_a_frame_that_was_being_written_is_cut_without_a_word(left: Path, caplog: pytest.LogCaptureFixture) -> None:
    left.write_bytes(left.read_bytes()[:-1])
    assert found_and_sent(left.parent) == (99, b"".join(FRAMES[:99]))
    assert caplog.messages == []


def test_what_is_damaged_is_told_with_place_and_cost(left: Path, caplog: pytest.LogCaptureFixture) -> None:
    at = len(START) + len(b"".join(FRAMES[:50]))
    octets = bytearray(left.read_bytes())
    octets[at : at + 4] = b"\xde\xad\xbe\xef"
    left.write_bytes(octets)
    assert found_and_sent(left.parent) == (50, b"".join(FRAMES[:50]))
    (line,) = caplog.messages
    assert line.startswith(f"tap tap: {left} is damaged at octet {at}: de ad be ef ")
    assert line.endswith(f" in place of a frame; {len(octets) - at} octets are left out")


def test_a_file_that_is_none_of_ours_in_spite_of_its_name_is_told(left: Path, caplog: pytest.LogCaptureFixture) -> None:
    left.write_bytes(b"rubbish")
    assert found_and_sent(left.parent) == (0, b"")
    assert caplog.messages == [
        f"tap tap: {left} is damaged at octet 0: no START of a dnstap stream; 7 octets are left out"
    ]
    assert not left.exists()


def test_a_cut_before_the_last_file_is_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool, _ = opened(tmp_path, 64 << 10)
    append(spool, FRAMES * 5)
    spool.close()
    first, *_, last = segments(tmp_path)
    first.write_bytes(first.read_bytes()[: len(START) + 2])
    last.write_bytes(last.read_bytes()[:100])
    found_and_sent(tmp_path)
    damage = f"is damaged at octet {len(START)}: the beginning of a frame; 2 octets are left out"
    assert caplog.messages == [f"tap tap: {first} {damage}"]


def test_what_cannot_be_read_stays_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, link = (Segment.new(tmp_path, 1, number, 0.0).path for number in (1, 2))
    folder.mkdir()
    link.symlink_to("/dev/zero")
    assert opened(tmp_path)[1].frames == 0
    assert caplog.messages == [
        f"tap tap leaves {folder} out: Is a directory",
        f"tap tap leaves {link} out: Too many levels of symbolic links",
    ]
    assert folder.exists()


def test_a_pipe_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(Segment.new(tmp_path, 1, 1, 0.0).path)
    assert opened(tmp_path)[1].frames == 0


def test_a_file_that_was_sent_before_the_process_died_is_not_sent_again(tmp_path: Path) -> None:
    spool, _ = opened(tmp_path, 64 << 10)
    append(spool, FRAMES * 5)
    first, second, *_ = segments(tmp_path)
    octets = first.read_bytes()
    sent = b""
    while first.exists():
        sent += send_some(spool)
    sent += send_some(spool, 200)
    spool.close()
    first.write_bytes(octets)
    assert second.exists()
    spool, found = opened(tmp_path, 64 << 10)
    assert sent + send_all(spool, found.frames) == b"".join(FRAMES * 5)
    assert not first.exists()


def test_a_position_that_does_not_fit_costs_repetition_and_no_frame(
    left: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for octets in (len(START) + 1, 10_000_000):
        position = Position.claim(position_path(left.parent, 1), SPOOL_OCTETS)
        assert position is not None
        position.set(1, octets)
        position.close(remove=False)
        spool, found = opened(left.parent)
        assert found.frames == 100
        spool.close()
    assert caplog.messages == [f"tap tap: {left} does not fit its position, and is sent from its beginning"] * 2


def test_without_a_position_everything_is_sent(left: Path) -> None:
    spool, _ = opened(left.parent)
    assert count_frames(send_some(spool, 300)) < 100
    spool.close()
    position_path(left.parent, 1).unlink()
    assert found_and_sent(left.parent) == (100, b"".join(FRAMES))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200), st.booleans())
def test_whatever_is_in_the_files_a_spool_opens_and_works(
    tmp_path_factory: pytest.TempPathFactory, segment: bytes, position: bytes, begins_well: bool
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    Segment.new(folder, 3, 7, 0.0).path.write_bytes(START * begins_well + segment)
    position_path(folder, 3).write_bytes(position)
    spool, found = opened(folder)
    append(spool, FRAMES)
    assert send_all(spool, found.frames + 100).endswith(b"".join(FRAMES))
    spool.close()
    assert list(folder.iterdir()) == []
