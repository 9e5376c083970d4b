"""Giving closed files their names: never another file's, and for good."""

from __future__ import annotations

import os
from pathlib import Path

from dnsproxy.dnstap.rotation_compress import ENDING, TEMPORARY
from dnsproxy.dnstap.stream_file import PART, next_name


def publish(temporary: Path, base: Path) -> Path:
    """Rename a `.part` or `.tmp` to what it is called without that; its name, which is on disk when this returns.

    Where somebody has that name already it is one above the highest of the numbered names of `base`.
    """
    complete = temporary.with_name(temporary.name.removesuffix(temporary.suffix))
    packed = complete.suffix if temporary.suffix == TEMPORARY else ""
    while True:
        try:
            _rename(temporary, complete)
        except FileExistsError:
            free = next_name(base)
            complete = free.with_name(free.name + packed)
            continue
        sync_folder(complete.parent)
        return complete


def _rename(source: Path, target: Path) -> None:
    """As rename(2), but FileExistsError when there is a target."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError from None
        source.rename(target)
    else:
        source.unlink()


def sync_folder(folder: Path) -> None:
    """Wait until the disk has its names for good."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_published(part: Path) -> bool:
    """Whether a `.part` was left by a crash between its publication and its own end."""
    name = part.name.removesuffix(PART)
    return any(_time_of(part.with_name(name + ending)) == _time_of(part) for ending in ("", *ENDING.values()))


def _time_of(path: Path) -> int | None:
    """When it was last changed; a compressed file is as old as the one that it was made of."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
