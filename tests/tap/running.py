"""A command of `dnsproxy tap` that goes on until a signal, as a process; and a producer that speaks to it by octets."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dnsproxy.dnstap.framestreams import DNSTAP, ControlType, control_frame, data_frame
from tests.tap.frames import START, STOP, environment_with

Arguments = Sequence[str | Path]

WITHIN_S = 60.0  # more than a machine takes that has much else to do
EVERY_S = 0.01
READY = control_frame(ControlType.READY, DNSTAP)
ACCEPT = control_frame(ControlType.ACCEPT, DNSTAP)
FINISH = control_frame(ControlType.FINISH)
PIPE_OCTETS = 1 << 16
ACCEPTS = "00010000"  # the flag __SO_ACCEPTCON in /proc/net/unix


class Running:
    """A context manager: if it still runs at the end of the block it is ended by SIGTERM, which must give status 0."""

    def __init__(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] = {},
        is_ready: bool = True,
        cwd: Path | None = None,
        stdout: int = subprocess.PIPE,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dnsproxy", "tap", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environment_with(environment),
            cwd=cwd,
        )
        self._octets: list[bytes] = [b"", b""]
        self._pipes = [pipe for pipe in (self.process.stdout, self.process.stderr) if pipe is not None]
        self._readers = [
            threading.Thread(target=self._read, args=[pipe, pipe is self.process.stderr], daemon=True)
            for pipe in self._pipes
        ]
        for reader in self._readers:
            reader.start()
        self._is_ready = is_ready

    def __enter__(self) -> Self:
        if self._is_ready:
            self.wait_for_error("ready ")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            status = self.end()
            assert kind is not None or status == 0, self.errors
        for reader in self._readers:
            reader.join(WITHIN_S)
        for pipe in self._pipes:
            pipe.close()

    @property
    def output(self) -> bytes:
        return self._octets[0]

    @property
    def lines(self) -> list[str]:
        """Of what it has printed, those that are whole."""
        return self._octets[0].decode().split("\n")[:-1]

    @property
    def errors(self) -> str:
        return self._octets[1].decode()

    def port(self, number: int = 0) -> int:
        """The one that it was given."""
        return int(re.findall(r"127\.0\.0\.1:(\d+)", self.errors)[number])

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its status, once it ends by itself."""
        try:
            status = self.process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        for reader in self._readers:
            reader.join(WITHIN_S)
        return status

    def wait_for_lines(self, count: int) -> list[str]:
        self.wait_until(lambda: len(self.lines) >= count, f"{count} lines")
        return self.lines

    def wait_for_error(self, text: str) -> str:
        self.wait_until(lambda: text in self.errors, text)
        return self.errors

    def wait_until(self, holds: Callable[[], object], what: str) -> None:
        wait_until(holds, lambda: f"{what} did not come: {self.lines[:20]} {self.errors}", self.process)

    def _read(self, pipe: IO[bytes], number: int) -> None:
        while octets := os.read(pipe.fileno(), PIPE_OCTETS):
            self._octets[number] += octets


def wait_until(
    holds: Callable[[], object], what: Callable[[], str] | str = "it", process: subprocess.Popen[bytes] | None = None
) -> None:
    """AssertionError when it does not become true in time, or the process has ended before."""
    end = time.monotonic() + WITHIN_S
    while not holds():
        is_over = process is not None and process.poll() is not None and not holds()
        assert not is_over, text_of(what)
        assert time.monotonic() < end, text_of(what)
        time.sleep(EVERY_S)


def text_of(what: Callable[[], str] | str) -> str:
    return what if isinstance(what, str) else what()


def connected(address: Path | str | int) -> socket.socket:
    """To a unix socket or a port."""
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), WITHIN_S)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(WITHIN_S)
    plain.connect(str(address))
    return plain


def is_listening(address: Path | int) -> bool:
    """Whether somebody does, on a unix socket or a TCP port; without connecting, which dnstap would wait for."""
    if isinstance(address, int):
        tables = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        return f":{address:04X} 00000000:0000 0A" in tables
    rows = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    return any((row[3], row[-1]) == (ACCEPTS, str(address)) for row in rows)


def wait_for_listener(address: Path | int) -> None:
    """A socket has its name before anybody may connect."""
    wait_until(lambda: is_listening(address), f"{address} is not listened on")


class Sender:
    """A producer: bidirectional unless told otherwise; a context manager that closes."""

    def __init__(self, address: Path | str | int, *, bidirectional: bool = True, start: bool = True) -> None:
        self.socket = connected(address)
        self.bidirectional = bidirectional
        if start:
            self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def start(self) -> None:
        if self.bidirectional:
            self.socket.sendall(READY)
            assert self.receive(len(ACCEPT)) == ACCEPT
        self.socket.sendall(START)

    def send(self, *payloads: bytes) -> None:
        self.socket.sendall(b"".join(map(data_frame, payloads)))

    def stop(self) -> None:
        """STOP, and if there is one, FINISH; the other side closes."""
        self.socket.sendall(STOP)
        assert self.receive_all() == (FINISH if self.bidirectional else b"")

    def receive(self, octets: int) -> bytes:
        received = b""
        while len(received) < octets and (more := self.socket.recv(octets - len(received))):
            received += more
        return received

    def receive_all(self) -> bytes:
        """To the end, which may be rude."""
        received = b""
        try:
            while more := self.socket.recv(4096):
                received += more
        except ConnectionResetError:
            pass
        return received


def send(address: Path | str | int, payloads: Sequence[bytes], *, bidirectional: bool = True) -> None:
    """A whole session."""
    with Sender(address, bidirectional=bidirectional) as sender:
        sender.send(*payloads)
        sender.stop()
