"""A proxy of several processes, and clients from so many ports that every worker has some."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import wire
from tests.support.client import answers, udp_socket
from tests.support.proxy import Proxy, Status

TWO = "workers = 2\n"
WWW = wire.query("www.example.org")
CLIENTS = 32  # source ports: that all of them meet the same worker is as likely as 1 in 2 000 000 000
BACK_WITHIN_S = 1.0  # on an idle machine; tests share theirs with others
PATIENCE_S = 5.0


def workers(proxy: Proxy) -> list[int]:
    """The process IDs of the workers."""
    pid = proxy.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_gone(pid: int) -> bool:
    """Whether the process has ended, taken note of by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@contextlib.contextmanager
def clients(proxy: Proxy, count: int = CLIENTS) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(udp_socket(proxy.port)) for _ in range(count)]


def ask_all(sockets: list[socket.socket], name: str = "www.example.org") -> None:
    """Each for another name: the same ones would share an exchange with the upstream."""
    for id, client in enumerate(sockets):
        client.send(wire.query(f"c{id}.{name}", id=id))


def answered(sockets: list[socket.socket], *, within_s: float) -> int:
    """How many of these have an answer by then."""
    end = time.monotonic() + within_s
    return sum(bool(answers(client, 1, within_s=max(end - time.monotonic(), 0.001))) for client in sockets)


def all_ready(status: Status) -> bool:
    return bool(status["workers_ready"] == status["workers"])
