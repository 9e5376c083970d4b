"""Frames for the bench of `dnsproxy tap`: what a resolver with some thousand clients tells, the same in every run."""

import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from dnsproxy.dnstap.dnstap_pb2 import Dnstap, Message, SocketFamily, SocketProtocol
from dnsproxy.dnstap.framestreams import DNSTAP, ControlType, control_frame, data_frame

SEED = 1
NAMES = 50_000  # asked again and again, few of them often
FRESH = 0.05  # of the queries: names that nobody has asked before
POPULARITY = 0.6  # of a Pareto distribution, by which names are chosen: one in three queries is for the first one
CLIENTS = 5_000
UPSTREAMS = 3
NXDOMAIN_SHARE = 0.1  # of the names
QTYPES, QTYPE_WEIGHTS = (1, 28, 65, 15), (60, 25, 12, 3)  # A, AAAA, HTTPS, MX
BEGIN_NS = 1_700_000_000_000_000_000
APART_NS = 40_000  # at most, from one query to the next
LATENCY_NS = 200_000, 60_000_000  # of the upstream
OWN_NS = 20_000  # the resolver's, each way
WRITTEN = 10_000  # frames at once

LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789"
QUERY_FLAGS, RESPONSE_FLAGS = 0x0100, 0x8180
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
SOA_DATA = b"\2ns\xc0\x0c\4root\xc0\x0c" + struct.pack("!5I", 2023, 7200, 3600, 1209600, 300)
SERVER_V4, SERVER_V6 = bytes([192, 0, 2, 53]), bytes.fromhex("20010db8000000000000000000000053")

INET, INET6, UDP = SocketFamily.INET, SocketFamily.INET6, SocketProtocol.UDP

Response = tuple[int, list[bytes], list[bytes]]  # rcode, answer, authority
Party = tuple[bytes, int]


def write_frames(path: Path, frames: int) -> None:
    """A Frame Streams file of that many, rounded down to four for each query."""
    payloads = _payloads()
    with path.open("wb") as file:
        file.write(control_frame(ControlType.START, DNSTAP))
        left = frames - frames % 4
        while batch := list(islice(payloads, min(left, WRITTEN))):
            file.write(b"".join(map(data_frame, batch)))
            left -= len(batch)
        file.write(control_frame(ControlType.STOP))


def _payloads() -> Iterator[bytes]:
    traffic = _Traffic()
    while True:
        yield from traffic.query()


class _Traffic:
    """One query after the other, and what becomes of each."""

    def __init__(self) -> None:
        self._random = random = Random(SEED)  # noqa: S311  the same in every run is what is wanted
        self._names = [self._name(b"www", b"test") for _ in range(NAMES)]
        self._clients = [_client(random) for _ in range(CLIENTS)]
        self._responses: dict[bytes, Response] = {}
        self._now_ns = BEGIN_NS

    def query(self) -> Iterator[bytes]:
        """CLIENT_QUERY, FORWARDER_QUERY, FORWARDER_RESPONSE, CLIENT_RESPONSE."""
        random = self._random
        asked_ns = self._now_ns = self._now_ns + random.randrange(APART_NS)
        forwarded_ns = asked_ns + OWN_NS
        answered_ns = forwarded_ns + random.randrange(*LATENCY_NS)
        question = self._question()
        rcode, answer, authority = self._responses.get(question) or self._respond(question)
        client, server, proxy, upstream = self._parties()
        ids = random.randrange(65536), random.randrange(65536)
        queries = [_message(id, QUERY_FLAGS, question) for id in ids]
        responses = [_message(id, RESPONSE_FLAGS | rcode, question, answer, authority) for id in ids]
        yield _frame(Message.CLIENT_QUERY, client, server, queries[0], asked_ns)
        yield _frame(Message.FORWARDER_QUERY, proxy, upstream, queries[1], forwarded_ns)
        yield _frame(Message.FORWARDER_RESPONSE, proxy, upstream, responses[1], forwarded_ns, answered_ns)
        yield _frame(Message.CLIENT_RESPONSE, client, server, responses[0], asked_ns, answered_ns + OWN_NS)

    def _question(self) -> bytes:
        random = self._random
        if random.random() < FRESH:
            name = self._name(b"example", b"org")
        else:
            name = self._names[int(random.paretovariate(POPULARITY)) % NAMES]
        return name + struct.pack("!HH", *random.choices(QTYPES, QTYPE_WEIGHTS), 1)

    def _name(self, *others: bytes) -> bytes:
        label = bytes(self._random.choices(LETTERS, k=self._random.randint(4, 14)))
        return b"".join(bytes([len(each)]) + each for each in (label, *others)) + b"\0"

    def _respond(self, question: bytes) -> Response:
        """An answer that stays the same."""
        if self._random.random() < NXDOMAIN_SHARE:
            response: Response = 3, [], [_record(6, SOA_DATA)]
        else:
            qtype = int.from_bytes(question[-4:-2], "big")
            response = 0, [_record(qtype, data) for data in self._answers(qtype)], []
        self._responses[question] = response
        return response

    def _answers(self, qtype: int) -> list[bytes]:
        random = self._random
        if qtype == 1:
            return [random.randbytes(4) for _ in range(random.choice((1, 1, 2, 4)))]
        if qtype == 28:
            return [SERVER_V6[:4] + random.randbytes(12)]
        return [b"\0\1\0\0\1\0\6\2h2\2h3"] if qtype == 65 else [b"\0\x0a\4mail\xc0\x0c"]

    def _parties(self) -> tuple[Party, Party, Party, Party]:
        """Client and the address it asked, the resolver's other side and the upstream."""
        random = self._random
        client = random.choice(self._clients)
        proxy = SERVER_V4, random.randrange(1024, 65536)
        upstream = bytes([198, 51, 100, random.randint(1, UPSTREAMS)])
        server = SERVER_V4 if len(client) == 4 else SERVER_V6
        return (client, random.randrange(1024, 65536)), (server, 53), proxy, (upstream, 53)


def _client(random: Random) -> bytes:
    """Three in ten have IPv6."""
    return bytes([192, 0, 2, random.randrange(256)]) if random.random() < 0.7 else SERVER_V6[:4] + random.randbytes(12)


def _record(rtype: int, data: bytes) -> bytes:
    return b"\xc0\x0c" + struct.pack("!HHIH", rtype, 1, 300, len(data)) + data


def _message(
    id: int, flags: int, question: bytes, answer: list[bytes] | None = None, authority: list[bytes] | None = None
) -> bytes:
    answer, authority = answer or [], authority or []
    header = struct.pack("!6H", id, flags, 1, len(answer), len(authority), 1)
    return b"".join((header, question, *answer, *authority, OPT))


def _frame(
    type: Message.Type, asker: Party, asked: Party, wire: bytes, query_ns: int, response_ns: int | None = None
) -> bytes:
    frame = Dnstap(identity=b"resolver1", version=b"bench 1", type=Dnstap.MESSAGE)
    message = frame.message
    message.type = type
    message.socket_family = INET if len(asker[0]) == 4 else INET6
    message.socket_protocol = UDP
    message.query_address, message.query_port = asker
    message.response_address, message.response_port = asked
    message.query_time_sec, message.query_time_nsec = divmod(query_ns, 1_000_000_000)
    if response_ns is None:
        message.query_message = wire
    else:
        message.response_time_sec, message.response_time_nsec = divmod(response_ns, 1_000_000_000)
        message.response_message = wire
    return frame.SerializeToString()
