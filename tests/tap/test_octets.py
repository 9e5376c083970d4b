"""Plain files, gzip, zstd and standard input give the same octets, and broken ones say so."""

import contextlib
import gzip
import io
import os
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.errors import MissingModule
from dnsproxy.tap.octets import CHUNK, NotWhole, Octets

PLAIN = bytes(range(256)) * 3000  # several chunks


def read(path: Path | str) -> bytes:
    octets = Octets(str(path))
    try:
        return b"".join(octets.chunks())
    finally:
        octets.close()


def packed(octets: bytes, kind: str) -> bytes:
    if kind == "plain":
        return octets
    return gzip.compress(octets) if kind == "gzip" else zstandard.compress(octets)


KINDS = ["plain", "gzip", "zstd"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 4, CHUNK, len(PLAIN)])
def test_what_is_in_a_file_is_known_by_content(kind: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / "any.name"
    path.write_bytes(packed(PLAIN[:size], kind))
    assert read(path) == PLAIN[:size]


@pytest.mark.parametrize("kind", KINDS)
def test_files_joined_are_one(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "joined"
    path.write_bytes(packed(b"one", kind) + packed(b"two", kind))
    assert read(path) == b"onetwo"


def test_gzip_may_be_padded(tmp_path: Path) -> None:
    path = tmp_path / "padded"
    path.write_bytes(gzip.compress(b"one") + bytes(100))
    assert read(path) == b"one"


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("cut", [5, 30, -1])
def test_a_compressed_file_that_ends_early_is_not_whole(kind: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(packed(os.urandom(2000), kind)[:cut])
    with pytest.raises(NotWhole, match=f"{kind}: "):
        read(path)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_what_follows_a_compressed_file_must_be_one(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "junk"
    path.write_bytes(packed(b"one", kind) + b"some text")
    with pytest.raises(NotWhole):
        read(path)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_comes_in_pieces_of_bounded_size(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(packed(bytes(64 << 20), kind))
    octets = Octets(str(path))
    sizes = [len(chunk) for chunk in octets.chunks()]
    octets.close()
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 33 << 20


class Slow(io.BytesIO):
    """A pipe whose writer takes its time: an octet at a time."""

    def read(self, _size: int | None = -1, /) -> bytes:
        return super().read(1)


def chunks_of(file: io.BytesIO) -> bytes:
    """As if the file had been opened by name."""
    octets = Octets(os.devnull)
    octets.close()
    octets._file = file  # type: ignore[assignment]
    return b"".join(octets.chunks())


@given(st.binary(max_size=200), st.sampled_from([b"\x1f\x8b", b"\x28\xb5\x2f\xfd"]))
def test_any_octets_behind_a_mark_come_to_an_end(junk: bytes, mark: bytes) -> None:
    with contextlib.suppress(NotWhole):
        chunks_of(io.BytesIO(mark + junk))


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_pipe_is_read_as_it_comes(kind: str) -> None:
    assert chunks_of(Slow(packed(b"slow", kind))) == b"slow"


def test_position_is_what_was_read_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(gzip.compress(PLAIN))
    octets = Octets(str(path))
    assert octets.position == 0
    assert len(b"".join(octets.chunks())) == len(PLAIN)
    assert octets.position == path.stat().st_size
    octets.close()


def test_zstd_without_its_module_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "z"
    path.write_bytes(zstandard.compress(b"one"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingModule, match="pip install zstandard"):
        read(path)


@pytest.mark.parametrize("error", [FileNotFoundError, IsADirectoryError])
def test_what_cannot_be_opened_is_the_systems_error(error: type[OSError], tmp_path: Path) -> None:
    with pytest.raises(error):
        read(tmp_path if error is IsADirectoryError else tmp_path / "none")
