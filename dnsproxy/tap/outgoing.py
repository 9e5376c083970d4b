"""A stream to a collector, by calls that wait: the handshake, data as fast as it is taken, STOP and FINISH."""

from __future__ import annotations

import socket
from typing import Final, Self

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import ProtocolError, State, Writer
from dnsproxy.dnstap.session import HANDSHAKE_S, reason_of
from dnsproxy.tap.errors import Failure

CONNECT_S: Final = 5.0
STALL_S: Final = 30.0  # without anything taken: the collector hangs
FINISH_S: Final = 10.0  # for a collector to see to what it has taken
CLOSE_S: Final = 1.0  # for one that gets no STOP that it has to confirm
RECEIVE_OCTETS: Final = 4096


class Outgoing:
    """Connected, and open for data, when it is made; Failure says what went wrong, then and later."""

    def __init__(self, destination: Destination, trust: TlsOptions, *, bidirectional: bool = True) -> None:
        self._destination = destination
        self._bidirectional = bidirectional
        self._stream = Writer(bidirectional=bidirectional)
        self._doing = "cannot connect"
        try:
            self._socket = _connected(destination, trust)
        except OSError as exc:
            raise self._failure(exc) from exc
        try:
            self._shake_hands()
        except BaseException as exc:
            self._socket.close()
            if isinstance(exc, OSError | ProtocolError):
                raise self._failure(exc) from exc
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, octets: bytes) -> None:
        """Whole frames; returns once they are with the kernel."""
        self._doing = "sending"
        self._socket.settimeout(STALL_S)
        try:
            self._send(octets)
        except OSError as exc:
            raise self._failure(exc) from exc

    def finish(self) -> None:
        """STOP; returns once the collector has confirmed it, or, of one that is not asked, has had time to read all."""
        self._doing = "no FINISH"
        try:
            self._send(self._stream.stop())
            if self._bidirectional:
                self._hear_until(State.CLOSED, FINISH_S)
            else:
                self._linger()
        except (OSError, ProtocolError) as exc:
            raise self._failure(exc) from exc

    def _shake_hands(self) -> None:
        self._doing = "no ACCEPT"
        self._socket.settimeout(HANDSHAKE_S)
        self._send(self._stream.start())
        self._hear_until(State.OPEN, HANDSHAKE_S)

    def _hear_until(self, state: State, timeout_s: float) -> None:
        self._socket.settimeout(timeout_s)
        while self._stream.state is not state:
            data = self._socket.recv(RECEIVE_OCTETS)
            if not data:
                raise ConnectionError("closed by the collector")
            self._send(self._stream.receive_data(data))

    def _linger(self) -> None:
        """A collector that closes has read everything."""
        self._socket.settimeout(CLOSE_S)
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(RECEIVE_OCTETS):
                pass
        except TimeoutError:
            pass

    def _send(self, octets: bytes) -> None:
        rest = memoryview(octets)
        while rest:
            rest = rest[self._socket.send(rest) :]

    def _failure(self, exc: Exception) -> Failure:
        reason = "the collector hangs" if isinstance(exc, TimeoutError) else reason_of(exc)
        return Failure(f"{self._destination}: {self._doing}: {reason}")

    def __repr__(self) -> str:
        return f"<Outgoing {self._destination} {self._stream.state.value}>"


def _connected(destination: Destination, trust: TlsOptions) -> socket.socket:
    if destination.scheme == "unix":
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.settimeout(CONNECT_S)
        try:
            plain.connect(destination.path)
        except OSError:
            plain.close()
            raise
        return plain
    plain = socket.create_connection((destination.host, destination.port), CONNECT_S)
    if destination.scheme == "tcp":
        return plain
    try:
        name = trust.server_name or destination.host.removesuffix(".")
        return trust.context().wrap_socket(plain, server_hostname=name)
    except OSError:
        plain.close()
        raise
