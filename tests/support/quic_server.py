"""A DoQ and DoH3 server on loopback whose every move is in the hands of the test."""

import base64
import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import trio
import trustme
from aioquic._buffer import Buffer
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, Headers, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionIdIssued,
    HandshakeCompleted,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
)
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler
from aioquic.tls import SessionTicket, load_pem_private_key, load_pem_x509_certificates

from dnsproxy.stream import framed

MAX_DATAGRAM = 65535
NAP_S = 0.02  # of the thread between looks at what it is told
DNS_MESSAGE = b"application/dns-message"


@dataclass(eq=False)
class Asked:
    """One query, and what can be done to it."""

    connection: "Served"
    stream: int
    octets: bytes
    headers: Headers = field(default_factory=list)

    def reply(self, octets: bytes, **more: Any) -> None:
        """As DoQ or DoH wants it."""
        self.connection.reply(self.stream, octets, **more)

    def write(self, octets: bytes, end_stream: bool = True) -> None:
        """Raw octets on the stream."""
        self.connection.quic.send_stream_data(self.stream, octets, end_stream)
        self.connection.server.flush()

    def reset(self, code: int) -> None:
        self.connection.quic.reset_stream(self.stream, code)
        self.connection.server.flush()


class Served:
    """One connection at the server's end."""

    def __init__(self, server: "QuicServer", quic: QuicConnection) -> None:
        self.server = server
        self.quic = quic
        self.h3: H3Connection | None = None
        self.received: dict[int, bytes] = {}
        self.headers: dict[int, Headers] = {}
        self.asked: list[Asked] = []
        self.stopped: dict[int, int] = {}  # streams the client wants nothing more from, and why
        self.resumed = False
        self.closed_with: int | None = None

    def handle(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.resumed = event.session_resumed
            self.h3 = H3Connection(self.quic) if event.alpn_protocol == "h3" else None
        elif isinstance(event, StopSendingReceived):
            self.stopped[event.stream_id] = event.error_code
        if self.h3 is not None:
            for happened in self.h3.handle_event(event):
                if isinstance(happened, HeadersReceived | DataReceived):
                    self._http(happened)
        elif isinstance(event, StreamDataReceived):
            self.received[event.stream_id] = self.received.get(event.stream_id, b"") + event.data
            if event.end_stream:
                octets = self.received.pop(event.stream_id)
                assert int.from_bytes(octets[:2], "big") == len(octets) - 2
                self._ask(Asked(self, event.stream_id, octets[2:]))

    def _http(self, event: HeadersReceived | DataReceived) -> None:
        stream = event.stream_id
        if isinstance(event, HeadersReceived):
            self.headers[stream] = event.headers
        else:
            self.received[stream] = self.received.get(stream, b"") + event.data
        if event.stream_ended:
            octets = self.received.pop(stream, b"")
            headers = self.headers.pop(stream)
            path = dict(headers)[b":path"]
            if dict(headers)[b":method"] == b"GET":
                encoded = path.partition(b"dns=")[2]
                octets = base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
            self._ask(Asked(self, stream, octets, headers))

    def _ask(self, asked: Asked) -> None:
        self.asked.append(asked)
        self.server.asked.append(asked)
        self.server.behaviour(asked)

    def reply(
        self,
        stream: int,
        octets: bytes,
        *,
        status: bytes = b"200",
        content_type: bytes = DNS_MESSAGE,
        more: Headers | None = None,
    ) -> None:
        if self.h3 is None:
            self.quic.send_stream_data(stream, framed(octets), end_stream=True)
        else:
            headers = [(b":status", status), (b"content-type", content_type), *(more or [])]
            self.h3.send_headers(stream, headers, end_stream=False)
            self.h3.send_data(stream, octets, end_stream=True)
        self.server.flush()

    def go_away(self, stream: int) -> None:
        """Send GOAWAY on the control stream."""
        assert self.h3 is not None
        control = self.h3._local_control_stream_id
        assert control is not None
        self.quic.send_stream_data(control, bytes((7, 1, stream)))
        self.server.flush()

    def close(self, code: int = 0) -> None:
        self.quic.close(error_code=code)
        self.server.flush()


def hold(_asked: Asked) -> None:
    """Leave the query to the test."""


@dataclass(eq=False)
class QuicServer:
    """Serves one UDP port, in a trio task (`run`) or in a thread (`in_thread`); `behaviour` meets each query."""

    certificate: trustme.LeafCert
    alpn: str = "doq"
    behaviour: Callable[[Asked], None] = hold
    streams: int | None = None  # how many the client may open at once
    retry: bool = False
    versions: list[int] | None = None
    wants_certificate: bool = False  # of the client
    accepts: int | None = None  # connections; others are refused
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: list[Served] = field(default_factory=list)
    is_mute: bool = False  # takes what comes and says nothing

    def __post_init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(("127.0.0.1", self.port))
        self.port = self.sock.getsockname()[1]
        self.by_cid: dict[bytes, Served] = {}
        self.live: list[Served] = []  # without those that were forgotten
        self.tickets: dict[bytes, SessionTicket] = {}
        self.tokens = QuicRetryTokenHandler()
        self.clock = trio.current_time
        self.lock = threading.RLock()
        self.configuration = self._configure()

    def _configure(self) -> QuicConfiguration:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=[self.alpn])
        chain = [cert for pem in self.certificate.cert_chain_pems for cert in load_pem_x509_certificates(pem.bytes())]
        configuration.certificate, configuration.certificate_chain = chain[0], chain[1:]
        configuration.private_key = load_pem_private_key(self.certificate.private_key_pem.bytes())
        if self.versions:
            configuration.supported_versions = self.versions
        return configuration

    def keep(self, certificate: trustme.LeafCert) -> None:
        """Show another certificate from now on."""
        self.certificate = certificate
        self.configuration = self._configure()

    def forget(self) -> None:
        """Know nothing of any connection, as after a restart."""
        self.by_cid.clear()
        self.live.clear()

    @property
    def now(self) -> float:
        return self.clock()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            timer = min((one.quic.get_timer() or float("inf") for one in self.live), default=float("inf"))
            with trio.move_on_at(timer):
                await trio.lowlevel.wait_readable(self.sock)
            self.turn()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator["QuicServer"]:
        """Serve until the block ends."""
        self.clock = time.monotonic
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                select.select([self.sock], [], [], NAP_S)
                with self.lock:
                    self.turn()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()
            self.close()

    def close(self) -> None:
        self.sock.close()

    def turn(self) -> None:
        """Everything that is due."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._receive(*self.sock.recvfrom(MAX_DATAGRAM))
        for one in list(self.live):
            timer = one.quic.get_timer()
            if timer is not None and timer <= self.now:
                one.quic.handle_timer(self.now)
        self.flush()

    def flush(self) -> None:
        """Send what there is."""
        for one in list(self.live):
            self._read(one)
            for datagram, address in one.quic.datagrams_to_send(self.now):
                self._send(datagram, address)

    def _send(self, datagram: bytes, address: Any) -> None:
        if not self.is_mute:
            with contextlib.suppress(ConnectionRefusedError):
                self.sock.sendto(datagram, address)

    def _receive(self, datagram: bytes, address: Any) -> None:
        header = pull_quic_header(Buffer(data=datagram), host_cid_length=8)
        if header.version is not None and header.version not in self.configuration.supported_versions:
            versions = self.configuration.supported_versions
            self._send(encode_quic_version_negotiation(header.destination_cid, header.source_cid, versions), address)
            return
        served = self.by_cid.get(header.destination_cid)
        if served is None and header.packet_type == QuicPacketType.INITIAL:
            served = self._accept(header, address)
        if served is not None:
            served.quic.receive_datagram(datagram, address, self.now)
            if self.accepts is not None and self.connections.index(served) >= self.accepts:
                served.quic.close(QuicErrorCode.CONNECTION_REFUSED, frame_type=0)
            self._read(served)

    def _accept(self, header: Any, address: Any) -> Served | None:
        original, retried = header.destination_cid, None
        if self.retry and not header.token:
            source = os.urandom(8)
            token = self.tokens.create_token(
                address=address,
                original_destination_connection_id=original,
                retry_source_connection_id=source,
                now=self.now,
            )
            self._send(encode_quic_retry(header.version, source, header.source_cid, original, token), address)
            return None
        if self.retry:
            retried = header.destination_cid
            original = self.tokens.validate_token(
                address=address, destination_cid=retried, token=header.token, now=self.now
            )
        served = Served(self, self._make(original, retried))
        self.by_cid[header.destination_cid] = self.by_cid[served.quic.host_cid] = served
        self.connections.append(served)
        self.live.append(served)
        return served

    def _make(self, original: bytes, retried: bytes | None) -> QuicConnection:
        quic = QuicConnection(
            configuration=self.configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
            session_ticket_fetcher=self.tickets.get,
            session_ticket_handler=self._keep_ticket,
        )
        if self.streams is not None:
            quic._local_max_streams_bidi.value = quic._local_max_streams_bidi.sent = self.streams
        if self.wants_certificate:
            _want_certificate(quic)
        return quic

    def _keep_ticket(self, ticket: SessionTicket) -> None:
        self.tickets[ticket.ticket] = ticket

    def _read(self, served: Served) -> None:
        while (event := served.quic.next_event()) is not None:
            if isinstance(event, ConnectionIdIssued):
                self.by_cid[event.connection_id] = served
            served.handle(event)
        ending = served.quic._close_event
        if ending is not None and served.closed_with is None:
            served.closed_with = ending.error_code


def _want_certificate(quic: QuicConnection) -> None:
    """aioquic's own tests do so, when its TLS begins."""
    begin = quic._initialize

    def initialize(peer_cid: bytes) -> None:
        begin(peer_cid)
        quic.tls._request_client_certificate = True
        quic.tls._verify_mode = ssl.CERT_NONE

    quic._initialize = initialize  # type: ignore[method-assign]
