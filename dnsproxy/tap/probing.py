"""Asks whether a collector is alive: a whole session with it, empty or with a message that can be told apart."""

from __future__ import annotations

import secrets
import struct
import time

import trio

import dnsproxy
from dnsproxy.dnstap.connection import Connection, connect
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import ProtocolError, State, Writer, data_frame
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.dnstap.session import reason_of
from dnsproxy.tap.compose import Fields, compose
from dnsproxy.tap.errors import Failure
from dnsproxy.wire import HEADER, name_from_text

ZONE = "dnsproxy-check.invalid."  # nobody ever asks for it (RFC 6761 section 6.4)
TXT, IN = 16, 1


class Probe:
    """A TOOL_QUERY for a name that no other message has; `label` is the octets in it that are like no others."""

    def __init__(self) -> None:
        word = secrets.token_hex(16)
        self.label = word.encode("ascii")
        self.name = f"{word}.{ZONE}"

    def payload(self) -> bytes:
        """The frame, with the time as it is now."""
        fields = Fields(MessageType.TOOL_QUERY, version=f"dnsproxy {dnsproxy.__version__}".encode())
        fields.query_time_ns = time.time_ns()
        question = name_from_text(self.name) + struct.pack("!HH", TXT, IN)
        fields.query_message = HEADER.pack(secrets.randbits(16), 0x0100, 1, 0, 0, 0) + question
        return compose(fields)


async def converse(destination: Destination, tls: TlsOptions, timeout_s: float, probe: Probe | None = None) -> float:
    """From READY to FINISH, the probe between; the seconds it took. Failure says what did not happen."""
    session = _Session(destination, tls)
    began = trio.current_time()
    with trio.move_on_after(timeout_s) as scope:
        try:
            await session.run(probe)
        except (OSError, ProtocolError) as exc:
            raise Failure(f"{destination}: {session.awaited}: {reason_of(exc)}") from exc
    if scope.cancelled_caught:
        raise Failure(f"{destination}: no {session.awaited} within {timeout_s:g} s")
    return trio.current_time() - began


class _Session:
    """`awaited` is what the other side has to do next."""

    def __init__(self, destination: Destination, tls: TlsOptions) -> None:
        self.awaited = "connection"
        self._destination = destination
        self._tls = tls
        self._stream = Writer()

    async def run(self, probe: Probe | None) -> None:
        connection = await connect(self._destination, self._tls)
        try:
            self.awaited = "ACCEPT"
            await connection.send_all(self._stream.start())
            await self._reach(connection, State.OPEN)
            frames = b"" if probe is None else data_frame(probe.payload())
            self.awaited = "FINISH"
            await connection.send_all(frames + self._stream.stop())
            await self._reach(connection, State.CLOSED)
        finally:
            connection.close()

    async def _reach(self, connection: Connection, state: State) -> None:
        while self._stream.state is not state:
            data = await connection.receive()
            if not data:
                raise ConnectionError("the connection was closed")
            await connection.send_all(self._stream.receive_data(data))
