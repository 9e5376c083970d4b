"""What a scripted upstream can do with a query: each behaviour is a function that gets an `Asked`."""

import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support import wire as dns_wire

if TYPE_CHECKING:
    from tests.support.upstream import Asked

Behaviour = Callable[["Asked"], None]

ANSWER_FLAGS = dns_wire.QR | dns_wire.RA  # what a resolver sets
TTL = 300
TXT_STRING_OCTETS = 255


def answer(asked: "Asked") -> None:
    """NOERROR, with the upstream's address for A and NODATA for everything else."""
    asked.reply(answer_wire(asked.wire, address=asked.upstream.answer_address))


def drop(asked: "Asked") -> None:
    """Says nothing."""


def hold(asked: "Asked") -> None:
    """Parks the query until `HostileUpstream.release`."""
    asked.upstream.parked.append(asked)


def delay(milliseconds: float, then: Behaviour = answer) -> Behaviour:
    """Whatever `then` replies goes out so much later."""

    def delayed(asked: "Asked") -> None:
        asked.delay_s = milliseconds / 1000
        then(asked)

    return delayed


def truncate(asked: "Asked") -> None:
    """TC and no records over UDP, the whole answer over TCP."""
    if asked.connection is not None:
        answer(asked)
    else:
        truncate_everywhere(asked)


def truncate_everywhere(asked: "Asked") -> None:
    """TC whatever the transport."""
    asked.reply(answer_wire(asked.wire, flags=ANSWER_FLAGS | dns_wire.TC, empty=True))


def fail(rcode: int) -> Behaviour:
    """An empty answer with this rcode."""
    return lambda asked: asked.reply(answer_wire(asked.wire, rcode=rcode, empty=True))


def large(octets: int) -> Behaviour:
    """An answer of exactly so many octets, in TXT records."""
    return lambda asked: asked.reply(large_wire(asked.wire, octets))


def raw(edit: Callable[[bytes], bytes]) -> Behaviour:
    """Replies with whatever `edit` makes of the query's octets."""
    return lambda asked: asked.reply(edit(asked.wire))


def wrong_id(asked: "Asked") -> None:
    wire = answer_wire(asked.wire)
    asked.reply(dns_wire.with_id(wire, dns_wire.message_id(wire) ^ 0x5555))


def wrong_question(asked: "Asked") -> None:
    """The right ID with an answer to something else."""
    other = dns_wire.raw_query(dns_wire.name_to_wire("other.example.org"), id=asked.seen.id)
    asked.reply(answer_wire(other))


def wrong_port(asked: "Asked") -> None:
    """A perfect answer from another port of the same address."""
    asked.reply_from(asked.upstream.host, 0, answer_wire(asked.wire, address="192.0.2.66"))


def wrong_address(asked: "Asked") -> None:
    """A perfect answer from the same port of another address."""
    asked.reply_from("127.0.0.66", asked.upstream.port, answer_wire(asked.wire, address="192.0.2.66"))


def not_a_response(asked: "Asked") -> None:
    """The query itself, sent back."""
    asked.reply(asked.wire)


def both(*behaviours: Behaviour) -> Behaviour:
    """One after the other, for the same query."""

    def all_of_them(asked: "Asked") -> None:
        for behaviour in behaviours:
            behaviour(asked)

    return all_of_them


def times(count: int, behaviour: Behaviour) -> Behaviour:
    return both(*[behaviour] * count)


twice = times(2, answer)


def lower_case(asked: "Asked") -> None:
    """The answer, with the question in lower case as some servers send it."""
    wire = bytearray(answer_wire(asked.wire, address=asked.upstream.answer_address))
    end = dns_wire.question_end(asked.wire) - 4
    wire[12:end] = wire[12:end].lower()
    asked.reply(bytes(wire))


def close(asked: "Asked") -> None:
    """Closes the TCP connection without an answer; over UDP says nothing."""
    asked.close()


def reset(asked: "Asked") -> None:
    """Resets the TCP connection without an answer."""
    if asked.connection is not None:
        asked.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asked.close()


def half_answer(asked: "Asked") -> None:
    """Half of the answer's octets on the stream, then the end; over UDP half a datagram."""
    wire = answer_wire(asked.wire)
    if asked.connection is None:
        asked.reply(wire[: len(wire) // 2])
    else:
        asked.write((struct.pack("!H", len(wire)) + wire)[: len(wire) // 2])
        asked.close()


def garbage(asked: "Asked") -> None:
    """Octets that begin with the right ID and are no message."""
    asked.reply(asked.wire[:2] + b"\xff" * 40)


def with_option(code: int, data: bytes) -> Behaviour:
    """The answer, its OPT carrying one more option."""
    return lambda asked: asked.reply(answer_wire(asked.wire, options=dns_wire.option(code, data)))


def answer_wire(
    query: bytes,
    *,
    rcode: int = 0,
    flags: int = ANSWER_FLAGS,
    address: str = "192.0.2.1",
    empty: bool = False,
    options: bytes = b"",
    ttl: int = TTL,
) -> bytes:
    """A well-formed answer: RD and CD copied, an A record for A queries unless `empty`, an OPT if the query had one."""
    end = dns_wire.question_end(query)
    record = b"" if empty or rcode else _address_record(query[end - 4 : end - 2], address, ttl)
    return assemble(query, rcode, flags, record, int(bool(record)), options)


def assemble(query: bytes, rcode: int, flags: int, records: bytes, count: int, options: bytes = b"") -> bytes:
    """Header, the query's question, these answer records, an OPT if the query had one."""
    end = dns_wire.question_end(query)
    asked_flags = dns_wire.flags(query) & (dns_wire.RD | dns_wire.CD)
    has_opt = query[10:12] != b"\0\0"
    opt = dns_wire.opt_record(flags=_do(query, end), options=options) if has_opt else b""
    header = struct.pack("!HHHHHH", dns_wire.message_id(query), flags | asked_flags | rcode, 1, count, 0, int(has_opt))
    return header + query[12:end] + records + opt


def large_wire(query: bytes, octets: int) -> bytes:
    """TXT records that bring the message to exactly `octets` octets."""
    fixed = len(assemble(query, 0, ANSWER_FLAGS, b"", 0))
    records, count = b"", 0
    while left := octets - fixed - len(records):
        string_octets = min(TXT_STRING_OCTETS, left - 13)
        if 0 < left - 13 - string_octets < 14:
            string_octets -= 14  # leave room for a last record
        data = bytes((string_octets,)) + b"x" * string_octets
        records += struct.pack("!HHHIH", 0xC00C, dns_wire.TXT, 1, TTL, len(data)) + data
        count += 1
    return assemble(query, 0, ANSWER_FLAGS, records, count)


def _address_record(qtype: bytes, address: str, ttl: int) -> bytes:
    if int.from_bytes(qtype) != dns_wire.A:
        return b""
    return struct.pack("!HHHIH", 0xC00C, dns_wire.A, 1, ttl, 4) + socket.inet_aton(address)


def _do(query: bytes, opt_at: int) -> int:
    """The DO bit of a query whose OPT stands right behind the question."""
    return (query[opt_at + 7] & 0x80) << 8 if len(query) > opt_at + 7 else 0
