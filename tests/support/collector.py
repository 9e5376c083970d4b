"""Dnstap collectors in threads: one listens, one dials in; they can be stopped, killed, restarted, stalled or rude."""

import socket
import threading
import time
from pathlib import Path

from tests.support.ports import free_port
from tests.support.receiver import Receiver, shut, wait_until

__all__ = ["Collector", "Dialer", "Receiver", "listen", "tcp_address", "unix_address", "wait_until"]

DIAL_WITHIN_S = 5.0


class Collector(Receiver):
    """Listens on `address` from `start` to `stop` or `kill`; may start again."""

    _listening: socket.socket | None = None

    def start(self) -> None:
        self._listening = listen(self.address)
        self._acceptor = threading.Thread(target=self._accept, args=[self._listening], daemon=True)
        self._acceptor.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                raw, _ = listening.accept()
            except OSError:
                return
            self._add(raw)

    def _end(self, how: int) -> None:
        if self._listening is not None:
            listening, self._listening = self._listening, None
            shut(listening, socket.SHUT_RDWR)
            self._acceptor.join()
            listening.close()
            _remove(self.address)
        super()._end(how)


class Dialer(Receiver):
    """Dials a tap that listens on `address`, once for each `start`."""

    def start(self) -> None:
        """Waits for somebody to listen there; ConnectionError or FileNotFoundError when nobody does."""
        end = time.monotonic() + DIAL_WITHIN_S
        while True:
            try:
                return self._add(connect(self.address))
            except (ConnectionRefusedError, FileNotFoundError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)


def unix_address(folder: Path, name: str = "tap.sock") -> str:
    return f"unix://{folder / name}"


def tcp_address() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


def listen(address: str) -> socket.socket:
    """A listening socket on `unix:///path` or `tcp://host:port`."""
    family, place = _place(address)
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(16)
    except OSError:
        listening.close()
        raise
    return listening


def connect(address: str) -> socket.socket:
    """A socket connected to `unix:///path`, `tcp://host:port` or, without the TLS, `tls://host:port`."""
    family, place = _place(address)
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.connect(place)
    except OSError:
        connected.close()
        raise
    return connected


def _place(address: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    kind, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    return (socket.AF_UNIX, rest) if kind == "unix" else (socket.AF_INET, (host, int(port)))


def _remove(address: str) -> None:
    if address.startswith("unix://"):
        Path(address.removeprefix("unix://")).unlink(missing_ok=True)
