"""Listening unix sockets: what a dead process left is replaced, whatever else stands at the path is not touched."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from pathlib import Path

PROBE_S = 1.0  # a live but busy owner of the socket answers a connect long before

log = logging.getLogger("dnsproxy")


def open_listener(path: str, mode: int) -> socket.socket:
    """A listening socket with that mode, whatever the umask is.

    OSError when it cannot be had: also when `path` is something other than a socket, or somebody answers on it.
    """
    _clear_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), mode)  # before it has a name: the umask only takes from it
        listening.bind(path)
        Path(path).chmod(mode)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _clear_stale(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "exists and is not a socket", path)
    if _somebody_answers(path):
        raise OSError(errno.EADDRINUSE, "another process listens on it", path)
    remove(path, found)


def _somebody_answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(path)
        except (TimeoutError, BlockingIOError):  # nobody takes the connections that wait
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def remove(path: str, ours: os.stat_result) -> None:
    """Remove the socket, unless something else has taken its place.

    To be called before it is closed: until then no other one can be taken for it.
    """
    try:
        if os.path.samestat(os.lstat(path), ours):
            Path(path).unlink()
    except OSError as exc:
        log.debug("unix socket %s stays: %s", path, exc)
