"""What an answer says, whatever its TTLs, the order of its records and the case of names: for comparing two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnsproxy.wire import QUESTION_START, rcode_of

if TYPE_CHECKING:
    from dns.rrset import RRset

ID: Final = 2  # octets of the header that say nothing of the answer


def rcode(wire: bytes | None) -> int | None:
    """With the extended bits; None where there is no message, or none with a whole header."""
    return None if wire is None or len(wire) < QUESTION_START else rcode_of(wire)


def records(wire: bytes | None) -> tuple[str, ...] | None:
    """The answer section, sorted, such as `www.example.com. IN A 192.0.2.1`; None where it cannot be read."""
    if wire is None or len(wire) < QUESTION_START:
        return None
    if wire[6:8] == b"\0\0":
        return ()
    from dns import message
    from dns.exception import DNSException

    try:
        read = message.from_wire(wire, ignore_trailing=True, one_rr_per_rrset=True)
        return tuple(sorted(map(_text, read.answer)))
    except (DNSException, ValueError):
        return None


def say_the_same(one: bytes | None, other: bytes | None) -> bool:
    """Whether two responses have the same rcode and the same records in the answer section."""
    if one is None or other is None:
        return one is other
    if one[ID:] == other[ID:]:  # most, and for the others it takes 100 µs
        return True
    if rcode(one) != rcode(other):
        return False
    both = records(one), records(other)
    return both[0] == both[1] and both[0] is not None


def _text(rrset: RRset) -> str:
    from dns import rdata, rdataclass, rdatatype

    record = rrset[0]
    canonical = record.to_digestable()  # names in lower case (RFC 4034 section 6.2)
    plain = rdata.from_wire(rrset.rdclass, rrset.rdtype, canonical, 0, len(canonical))
    classes = rdataclass.to_text(rrset.rdclass), rdatatype.to_text(rrset.rdtype)
    return " ".join((str(rrset.name).lower(), *classes, plain.to_text()))
