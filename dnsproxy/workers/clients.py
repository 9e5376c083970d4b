"""Clients of the supervisor's small services: each bounded in time, all of them in number, whatever they do."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from dnsproxy.workers.loop import READ, WRITE, Loop

READ_OCTETS: Final = 4096

log = logging.getLogger("dnsproxy")

Reply = Callable[[bytes], None]


class Conversation(Protocol):
    """What is said on one connection: a request, then a response."""

    def receive_data(self, data: bytes) -> bool:
        """Take octets, none at the client's end; whether it is time for the response."""

    def answer(self, reply: Reply) -> None:
        """Call `reply` with the response, now or later."""


class Clients:
    """Lets in everybody; when there are more than `most`, whoever came first has to go."""

    def __init__(self, loop: Loop, converse: Callable[[], Conversation], most: int, seconds: float) -> None:
        self.loop = loop
        self.seconds = seconds
        self._converse = converse
        self._most = most
        self._open: dict[_Client, None] = {}

    def listen(self, listening: socket.socket) -> None:
        """Let them in on this socket, until `leave`."""
        listening.setblocking(False)
        self.loop.watch(listening, partial(self._accept, listening))

    def leave(self, listening: socket.socket) -> None:
        """Let nobody in any more, and close the socket."""
        self.loop.forget(listening)
        listening.close()

    def close(self) -> None:
        """End every conversation."""
        for client in list(self._open):
            client.close()

    def _accept(self, listening: socket.socket, _mask: int) -> None:
        try:
            sock, _ = listening.accept()
        except OSError as exc:
            log.debug("nobody can be let in: %s", exc)
            return
        if len(self._open) >= self._most:
            next(iter(self._open)).close()
        self._open[_Client(sock, self, self._converse())] = None

    def forget(self, client: _Client) -> bool:
        """It is gone; whether it was still there."""
        was_there = client in self._open
        self._open.pop(client, None)
        return was_there


class _Client:
    def __init__(self, sock: socket.socket, clients: Clients, conversation: Conversation) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._clients = clients
        self._loop = clients.loop
        self._conversation = conversation
        self._response = memoryview(b"")
        self._is_answered = False
        self._timer = self._loop.later(clients.seconds, self.close)
        self._loop.watch(sock, self._on_event)

    def close(self) -> None:
        """End it, whatever it was about to do."""
        if self._clients.forget(self):
            self._timer.cancel()
            self._loop.forget(self._sock)
            self._sock.close()

    def _on_event(self, mask: int) -> None:
        try:
            if mask & WRITE:
                self._write()
            else:
                self._read()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _read(self) -> None:
        data = self._sock.recv(READ_OCTETS)
        if self._is_answered:  # were it closed with octets unread, the response might not arrive
            if not data:
                self.close()
        elif self._conversation.receive_data(data):
            self._loop.forget(self._sock)
            self._conversation.answer(self._reply)

    def _reply(self, response: bytes) -> None:
        if self._sock.fileno() >= 0:  # not closed meanwhile
            self._response = memoryview(response)
            self._loop.watch(self._sock, self._on_event, WRITE)

    def _write(self) -> None:
        self._response = self._response[self._sock.send(self._response) :]
        if not self._response:
            self._is_answered = True
            self._sock.shutdown(socket.SHUT_WR)
            self._loop.events(self._sock, READ)
