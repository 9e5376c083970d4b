"""Listening unix sockets: what may be replaced, and what is not touched."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dnsproxy.unix_listener import open_listener, remove


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_is_as_wanted_whatever_the_umask(path: Path, mode: int) -> None:
    with umask(0o077), open_listener(str(path), mode):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_a_dead_process_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with open_listener(str(path), 0o600), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_where_somebody_answers_nothing_is_touched(path: Path) -> None:
    with open_listener(str(path), 0o600), pytest.raises(OSError, match="another process listens on it"):
        open_listener(str(path), 0o600)
    assert path.is_socket()


def test_a_listener_that_is_too_busy_to_answer_is_alive(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(OSError, match="another process listens on it"):
            open_listener(str(path), 0o600)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_not_touched(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.with_name("target"))
    with pytest.raises(FileExistsError, match="exists and is not a socket"):
        open_listener(str(path), 0o600)
    assert os.path.lexists(path)


def test_only_ones_own_socket_is_removed(path: Path) -> None:
    with open_listener(str(path), 0o600):
        ours = path.lstat()
        path.unlink()
        remove(str(path), ours)
        with open_listener(str(path), 0o600):
            remove(str(path), ours)
            assert path.exists()
            remove(str(path), path.lstat())
    assert not path.exists()
