"""TLS in front of a scripted upstream: what speaks DoT to it is heard there over TCP."""

import contextlib
import selectors
import socket
import ssl
import threading
from types import TracebackType
from typing import Self

CHUNK_OCTETS = 1 << 16
HANDSHAKE_WITHIN_S = 5.0


class TlsFront:
    """Listens in its `with` block; `context` serves those who come from now on, None keeps them waiting.

    `handshakes` counts those that were begun.
    """

    def __init__(self, upstream_port: int, context: ssl.SSLContext | None) -> None:
        self.upstream_port = upstream_port
        self.context = context
        self.handshakes = 0
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.close_connections()
        for thread in self._threads:
            thread.join()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close_connections(self) -> None:
        """Of everybody, those included that wait for a handshake."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _start(self, run: object, *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                self._open.append(accepted)
                self._start(self._serve, accepted, self.context)

    def _serve(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError), accepted:
            if context is None:
                while accepted.recv(CHUNK_OCTETS):
                    pass
                return
            self.handshakes += 1
            accepted.settimeout(HANDSHAKE_WITHIN_S)
            with context.wrap_socket(accepted, server_side=True) as near:
                self._open.append(near)
                with socket.create_connection(("127.0.0.1", self.upstream_port)) as far:
                    _carry(near, far)


def _carry(near: ssl.SSLSocket, far: socket.socket) -> None:
    """Both ways, until either side closes."""
    with selectors.DefaultSelector() as selector:
        selector.register(near, selectors.EVENT_READ, far)
        selector.register(far, selectors.EVENT_READ, near)
        while True:
            for key, _ in selector.select():
                source: socket.socket = key.fileobj  # type: ignore[assignment]
                chunk = source.recv(CHUNK_OCTETS)
                while source is near and near.pending():
                    chunk += near.recv(CHUNK_OCTETS)
                if not chunk:
                    return
                key.data.sendall(chunk)
