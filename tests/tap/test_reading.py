"""Several files as one: by time, or one after the other, whatever is wrong with some."""

import resource
from pathlib import Path

import pytest

from dnsproxy.tap.reading import BATCH, Reading
from tests.tap.frames import SECOND, payload, write_stream


def at(second: int, port: int = 1) -> bytes:
    """A frame of that second."""
    return payload(query_time=(SECOND + second, 0), query_port=port)


def ports(reading: Reading) -> list[int | None]:
    return [frame.query_port for batch in reading.batches() for frame in batch]


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Two files whose frames take turns."""
    one = write_stream(tmp_path / "one", [at(1, 1), at(3, 3), at(5, 5)])
    two = write_stream(tmp_path / "two", [at(2, 2), at(3, 33), at(4, 4)])
    return [str(one), str(two)]


def test_files_are_merged_by_message_time_and_equal_times_by_the_order_of_files(paths: list[str]) -> None:
    reading = Reading(paths)
    assert ports(reading) == [1, 2, 3, 33, 4, 5]
    assert reading.is_whole
    assert reading.position == sum(Path(path).stat().st_size for path in paths)


def test_concat_reads_one_after_the_other(paths: list[str]) -> None:
    assert ports(Reading(paths, concat=True)) == [1, 3, 5, 2, 33, 4]


def test_each_file_is_taken_to_be_in_order(tmp_path: Path) -> None:
    one = write_stream(tmp_path / "one", [at(9, 9), at(1, 1)])
    two = write_stream(tmp_path / "two", [at(5, 5), at(10, 10)])
    assert ports(Reading([str(one), str(two)])) == [5, 9, 1, 10]


def test_a_frame_without_time_comes_where_it_stands(tmp_path: Path) -> None:
    one = write_stream(tmp_path / "one", [at(1, 1), payload(query_time=None, query_port=11), at(4, 4)])
    two = write_stream(tmp_path / "two", [payload(query_time=None, query_port=0), at(2, 2)])
    assert ports(Reading([str(one), str(two)])) == [0, 1, 11, 2, 4]


def test_the_same_file_may_be_named_twice(paths: list[str]) -> None:
    assert ports(Reading([paths[0], paths[0]])) == [1, 1, 3, 3, 5, 5]


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_read(paths: list[str]) -> None:
    told: list[str] = []
    reading = Reading([paths[0], "no/such", paths[1]], tell=told.append)
    assert len(ports(reading)) == 6
    assert told == ["no/such: No such file or directory"]
    assert not reading.is_whole


def test_damage_in_one_file_is_damage(paths: list[str]) -> None:
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:-3])
    told: list[str] = []
    reading = Reading(paths, tell=told.append)
    assert len(ports(reading)) == 6
    assert not reading.is_whole
    assert len(told) == 2


def test_merged_frames_come_in_batches(tmp_path: Path) -> None:
    paths = [str(write_stream(tmp_path / name, [at(number) for number in range(BATCH)])) for name in "ab"]
    assert [len(batch) for batch in Reading(paths).batches()] == [BATCH, BATCH]


def test_more_files_are_merged_than_the_soft_limit_allows(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    paths = [str(write_stream(tmp_path / str(number), [at(number, number)])) for number in range(80)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        assert ports(Reading(paths)) == list(range(80))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
