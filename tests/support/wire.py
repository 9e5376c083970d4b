"""Queries as octets and the few looks into octets that scripted servers need, without help from the code under test."""

import ipaddress
import random
import struct
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype

HEADER_OCTETS = 12
A, TXT, AAAA, OPT = 1, 16, 28, 41
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5
ECS, COOKIE, NSID = 8, 10, 3
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010


def query(name: str, qtype: str = "A", *, edns: bool | int = False, size: int = 1232, **more: Any) -> bytes:
    """A query's octets; `edns` True or a version adds an OPT; more: id, rd, ad, cd, do, qclass and
    options as pairs of code and data."""
    message = dns.message.make_query(name, qtype, rdclass=more.get("qclass", "IN"), id=more.get("id"))
    message.flags = _flags(more)
    if edns is not False or more.get("do") or more.get("options"):
        version = 0 if isinstance(edns, bool) else edns
        flags = dns.flags.DO if more.get("do") else 0
        pairs = more.get("options", [])
        options = [dns.edns.option_from_wire(code, data, 0, len(data)) for code, data in pairs]
        message.use_edns(version, flags, size, options=options)
    return message.to_wire(max_size=65_535)


def raw_query(
    qname: bytes, qtype: int = A, *, id: int | None = None, flags: int = RD, counts: tuple[int, ...] = (1, 0, 0, 0)
) -> bytes:
    """A query from parts that no library would put together."""
    id = random.randrange(65536) if id is None else id
    return struct.pack("!HHHHHH", id, flags, *counts) + qname + struct.pack("!HH", qtype, 1)


def opt_record(
    size: int = 1232, version: int = 0, flags: int = 0, options: bytes = b"", extended_rcode: int = 0
) -> bytes:
    return struct.pack("!BHHBBHH", 0, OPT, size, extended_rcode, version, flags, len(options)) + options


def option(code: int, data: bytes = b"") -> bytes:
    return struct.pack("!HH", code, len(data)) + data


def ecs(address: str, source: int, scope: int = 0) -> tuple[int, bytes]:
    """The client-subnet option (RFC 7871), as `query` takes options; bits beyond the source length stay."""
    packed = ipaddress.ip_address(address).packed
    return ECS, struct.pack("!HBB", 1 if len(packed) == 4 else 2, source, scope) + packed[: (source + 7) // 8]


def name_to_wire(name: str) -> bytes:
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def message_id(wire: bytes) -> int:
    return int.from_bytes(wire[:2])


def with_id(wire: bytes, id: int) -> bytes:
    return id.to_bytes(2) + wire[2:]


def rcode(wire: bytes) -> int:
    return wire[3] & 15


def flags(wire: bytes) -> int:
    return int.from_bytes(wire[2:4])


def question_end(wire: bytes) -> int:
    """The offset behind the first question, which is taken to be sound."""
    at = HEADER_OCTETS
    while wire[at]:
        at += wire[at] + 1
    return at + 5


def qname(wire: bytes) -> str:
    """The first question's name in lower case, without the last dot."""
    at, labels = HEADER_OCTETS, []
    while wire[at]:
        labels.append(wire[at + 1 : at + 1 + wire[at]].decode("latin-1"))
        at += wire[at] + 1
    return ".".join(labels).lower()


def ede(message: dns.message.Message) -> tuple[int, str] | None:
    """The Extended DNS Error of a response: code and text."""
    for one in message.options:
        if isinstance(one, dns.edns.EDEOption):
            return int(one.code), one.text or ""
    return None


def options(wire: bytes) -> list[tuple[int, bytes]]:
    """Codes and data of the EDNS options in a message that can be parsed, as they are on the wire."""
    found, at = list[tuple[int, bytes]](), _opt_data(wire)
    while at and at < len(wire):
        code, length = struct.unpack_from("!HH", wire, at)
        found.append((code, wire[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def _opt_data(wire: bytes) -> int:
    """Where the options of an OPT that stands last in the message begin; 0 without one."""
    message = dns.message.from_wire(wire)
    if message.edns < 0:
        return 0
    bare = wire.rindex(b"\0\0\x29" + struct.pack("!H", message.payload))
    return bare + 11


def txt(message: dns.message.Message) -> list[str]:
    """The texts of every TXT record in the answer section."""
    sets = [rrset for rrset in message.answer if rrset.rdtype == dns.rdatatype.TXT]
    return [b"".join(record.strings).decode() for rrset in sets for record in rrset]


def addresses(message: dns.message.Message) -> list[str]:
    """The addresses of every A record in the answer section."""
    sets = [rrset for rrset in message.answer if rrset.rdtype == dns.rdatatype.A]
    return [record.address for rrset in sets for record in rrset]


def _flags(more: dict[str, Any]) -> int:
    bits = (("rd", RD, True), ("ad", AD, False), ("cd", CD, False))
    return sum(bit for key, bit, default in bits if more.get(key, default))
