"""Files are replaced once all is there, and nothing else is ever touched."""

import os
import stat
import threading
from pathlib import Path

import pytest

from dnsproxy.tap.output import Output, open_output


def write(output: Output, *pieces: bytes) -> None:
    for piece in pieces:
        output.write(piece)


def test_a_file_is_there_once_it_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "out"
    output = open_output(str(path))
    write(output, b"one", b"two")
    assert not path.exists()
    output.finish()
    assert path.read_bytes() == b"onetwo"
    assert list(tmp_path.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_an_old_file_stays_until_then_and_hands_on_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(0o600)
    output = open_output(str(path))
    write(output, b"new")
    assert path.read_bytes() == b"old"
    output.finish()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_abandoned_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    output = open_output(str(path))
    write(output, b"new")
    output.abandon()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_behind_a_link_the_file_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    output = open_output(str(link))
    write(output, b"new")
    output.finish()
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_text_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for text in (b"one", b"two"):
        output = open_output(str(path), append=True)
        write(output, text)
        output.finish()
    assert path.read_bytes() == b"onetwo"


def test_a_device_is_written_to_as_it_is() -> None:
    before = Path(os.devnull).stat()
    output = open_output(os.devnull)
    write(output, b"gone")
    output.finish()
    assert os.path.samestat(before, Path(os.devnull).stat())


def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    output = open_output(str(path))
    write(output, b"x" * 200_000)  # more than a pipe holds
    output.finish()
    reader.join()
    assert read == [b"x" * 200_000]


@pytest.mark.parametrize("path", [None, "-"])
def test_standard_output_is_the_default(path: str | None, capfd: pytest.CaptureFixture[str]) -> None:
    output = open_output(path)
    write(output, b"shown")
    output.abandon()
    assert capfd.readouterr().out == "shown"


def test_a_folder_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_output(str(tmp_path / "no" / "out"))
