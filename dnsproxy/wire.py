"""Functions on DNS messages in wire format (RFC 1035 section 4): no classes, no I/O."""

from __future__ import annotations

import struct

HEADER = struct.Struct("!HHHHHH")
RECORD = struct.Struct("!HHIH")  # type, class, TTL, RDLENGTH: what follows an owner name
QUESTION_START = 12
OPT = 41
EDE_OPTION = 15
ECS_OPTION = 8
COOKIE_OPTION = 10
OWN_UDP_SIZE = 1232  # what we announce in answers of our own: fits every common path unfragmented
MIN_UDP_SIZE = 512
DO_BIT = 0x8000
MAX_NAME = 255
MAX_MESSAGE = 65535
MAX_RCODE = 15  # that the header alone can carry
SERVFAIL = 2
MAX_EDE_TEXT = 200  # octets; keeps an error answer well under 512

# octets 2 and 3 of the header
QR, AA, TC, RD = 0x80, 0x04, 0x02, 0x01
RA, AD, CD = 0x80, 0x20, 0x10
OPCODE_MASK = 0x78

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*/+=:!#%&'<>?[]^`{|}~,")


class WireError(ValueError):
    """The octets are not a DNS message, or not one that we can walk."""


def name_end(wire: bytes, start: int) -> int:
    """Offset behind the uncompressed name at `start`; WireError for pointers, long names and running out."""
    at = start
    size = len(wire)
    while at < size:
        label = wire[at]
        if label == 0:
            if at + 1 - start > MAX_NAME:
                raise WireError("name is longer than 255 octets")
            return at + 1
        if label > 63:
            raise WireError("compression pointer or unknown label type")
        at += label + 1
    raise WireError("name runs past the end")


def skip_name(wire: bytes, start: int) -> int:
    """Offset behind a name that may end in a compression pointer, which is not followed."""
    at = start
    size = len(wire)
    while at < size:
        label = wire[at]
        if label == 0:
            return at + 1
        if label >= 0xC0:
            if at + 2 > size:
                break
            return at + 2
        if label > 63:
            raise WireError("unknown label type")
        at += label + 1
    raise WireError("name runs past the end")


def skip_record(wire: bytes, start: int) -> tuple[int, int, int]:
    """Walk over the record at `start`: (its type, offset of its fixed part, offset behind it)."""
    fixed = skip_name(wire, start)
    if fixed + 10 > len(wire):
        raise WireError("record runs past the end")
    rtype, _, _, rdlength = RECORD.unpack_from(wire, fixed)
    end = fixed + 10 + rdlength
    if end > len(wire):
        raise WireError("record data runs past the end")
    return rtype, fixed, end


def question_end(wire: bytes) -> int:
    """Offset behind the one question of a message with QDCOUNT 1."""
    end = name_end(wire, QUESTION_START) + 4
    if end > len(wire):
        raise WireError("question runs past the end")
    return end


def find_opts(wire: bytes, start: int) -> list[int]:
    """Offsets of the fixed parts of all OPT records in the additional section (RFC 6891 section 6.1.1).

    `start` is the offset behind the question section. Raises WireError when the records cannot be walked, when octets
    are left over, or when an OPT has an owner other than the root or stands in another section.
    """
    _, _, _, ancount, nscount, arcount = HEADER.unpack_from(wire)
    at = start
    found = []
    for number in range(ancount + nscount + arcount):
        owner = at
        rtype, fixed, at = skip_record(wire, owner)
        if rtype == OPT:
            if number < ancount + nscount or fixed != owner + 1:
                raise WireError("OPT in the wrong place")
            found.append(fixed)
    if at != len(wire):
        raise WireError("octets behind the last record")
    return found


def opt_options(wire: bytes, fixed: int) -> list[tuple[int, bytes]]:
    """Options (code, data) of the OPT whose fixed part is at `fixed`; WireError when they overlap its end."""
    at = fixed + 10
    end = at + int.from_bytes(wire[fixed + 8 : fixed + 10], "big")
    options = []
    while at < end:
        if at + 4 > end:
            raise WireError("EDNS option header is cut")
        code, size = struct.unpack_from("!HH", wire, at)
        at += 4
        if at + size > end:
            raise WireError("EDNS option runs past the OPT record")
        options.append((code, wire[at : at + size]))
        at += size
    return options


def is_malformed_option(code: int, data: bytes) -> bool:
    """Whether an option of a query breaks the rules on its length: ECS (RFC 7871) or COOKIE (RFC 7873)."""
    size = len(data)
    if code == ECS_OPTION:
        return size < 4 or size - 4 != (data[2] + 7) // 8
    return code == COOKIE_OPTION and size != 8 and not 16 <= size <= 40


def make_opt(extended_rcode: int = 0, dnssec_ok: bool = False, options: bytes = b"", size: int = OWN_UDP_SIZE) -> bytes:
    """An OPT record of our own, version 0."""
    flags = DO_BIT if dnssec_ok else 0
    return b"\0" + struct.pack("!HHBBHH", OPT, size, extended_rcode, 0, flags, len(options)) + options


def ede_option(code: int, text: str) -> bytes:
    """An Extended DNS Error option (RFC 8914 section 2), its text cut to 200 octets of whole characters."""
    encoded = text.encode("utf-8", "replace")[:MAX_EDE_TEXT].decode("utf-8", "ignore").encode()
    return struct.pack("!HHH", EDE_OPTION, 2 + len(encoded), code) + encoded


def own_answer(
    wire: bytes, question: bytes, rcode: int, opt: bool, dnssec_ok: bool, options: bytes = b"", aa: bool = False
) -> bytes:
    """An answer without records to the query `wire`, made by us: `question` is b"" when it could not be read.

    An extended RCODE takes an OPT (RFC 6891 section 6.1.3); without one it becomes SERVFAIL.
    """
    if rcode > MAX_RCODE and not opt:
        rcode = SERVFAIL
    flags = QR | wire[2] & (OPCODE_MASK | RD) | (AA if aa else 0)
    second = RA | wire[3] & CD | rcode & 15
    header = wire[:2] + bytes((flags, second, 0, 1 if question else 0, 0, 0, 0, 0, 0, 1 if opt else 0))
    if not opt:
        return header + question
    return header + question + make_opt(rcode >> 4, dnssec_ok, options)


def truncate(wire: bytes, limit: int) -> bytes:
    """The response `wire` cut to at most `limit` octets (RFC 2181 section 9): TC set, question and OPT kept.

    An OPT that does not fit with its options goes without them.
    """
    header = wire[:2] + bytes((wire[2] | TC, wire[3]))
    question = _only_question(wire)
    counts = (b"\0\1" if question else b"\0\0") + b"\0\0\0\0"
    fixed = opt_of(wire)
    if fixed < 0:
        return header + counts + b"\0\0" + question
    rdlength = int.from_bytes(wire[fixed + 8 : fixed + 10], "big")
    opt = b"\0" + wire[fixed : fixed + 10 + rdlength]
    if QUESTION_START + len(question) + len(opt) > limit:
        opt = b"\0" + wire[fixed : fixed + 8] + b"\0\0"
    return header + counts + b"\0\1" + question + opt


def _only_question(wire: bytes) -> bytes:
    """The question of a message; b"" when there is none, several, or one that cannot be read."""
    if wire[4:6] != b"\0\1":
        return b""
    try:
        return wire[QUESTION_START : question_end(wire)]
    except WireError:
        return b""


def rcode_of(wire: bytes) -> int:
    """RCODE of a response with the extended bits of its OPT (RFC 6891 section 6.1.3)."""
    rcode = wire[3] & 15
    if wire[10:12] == b"\0\0":
        return rcode
    fixed = opt_of(wire)
    return rcode if fixed < 0 else wire[fixed + 4] << 4 | rcode


def opt_of(wire: bytes) -> int:
    """Offset of the fixed part of a message's OPT; -1 without one or when the message cannot be walked."""
    try:
        at = QUESTION_START
        qdcount, ancount, nscount, arcount = struct.unpack_from("!HHHH", wire, 4)
        for _ in range(qdcount):
            at = skip_name(wire, at) + 4
        for _ in range(ancount + nscount):
            at = skip_record(wire, at)[2]
        for _ in range(arcount):
            rtype, fixed, at = skip_record(wire, at)
            if rtype == OPT:
                return fixed
    except (WireError, struct.error):
        pass
    return -1


def name_to_text(name: bytes) -> str:
    """Presentation form of an uncompressed wire name (RFC 1035 section 5.1): absolute, `\\DDD` where it must be."""
    if name == b"\0":
        return "."
    parts = []
    at = 0
    while name[at]:
        label = name[at + 1 : at + 1 + name[at]]
        parts.append(_label_to_text(label))
        at += len(label) + 1
    return ".".join(parts) + "."


def _label_to_text(label: bytes) -> str:
    if _PLAIN.issuperset(label):
        return label.decode("ascii")
    return "".join(_octet_to_text(octet) for octet in label)


def _octet_to_text(octet: int) -> str:
    if octet in _PLAIN:
        return chr(octet)
    if 0x20 < octet < 0x7F:
        return "\\" + chr(octet)
    return f"\\{octet:03d}"


def name_from_text(text: str) -> bytes:
    """Wire form of a domain name in presentation form, always absolute; ValueError says what is wrong with it."""
    if text == ".":
        return b"\0"
    labels = _labels_from_text(text)
    if labels and not labels[-1]:
        labels.pop()
    if not labels or not all(labels):
        raise ValueError("empty label")
    if any(len(label) > 63 for label in labels):
        raise ValueError("label longer than 63 octets")
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(name) > MAX_NAME:
        raise ValueError("name longer than 255 octets")
    return name


def _labels_from_text(text: str) -> list[bytes]:
    labels = []
    label = bytearray()
    octets = iter(_encode_idna(text))
    for octet in octets:
        if octet == 0x2E:
            labels.append(bytes(label))
            label.clear()
        elif octet == 0x5C:
            label.append(_unescape(octets))
        else:
            label.append(octet)
    return [*labels, bytes(label)]


def _encode_idna(text: str) -> bytes:
    if text.isascii():
        return text.encode("ascii")
    try:
        return text.encode("idna")
    except UnicodeError as exc:
        raise ValueError(f"not a domain name ({exc})") from exc


def _unescape(octets: object) -> int:
    first = next(octets, None)  # type: ignore[call-overload]
    if first is None:
        raise ValueError("a backslash at the end")
    if not 0x30 <= first <= 0x39:
        return int(first)
    digits = bytes((first, next(octets, 0), next(octets, 0)))  # type: ignore[call-overload]
    if not digits.isdigit() or int(digits) > 255:
        raise ValueError("\\DDD takes three digits up to 255")
    return int(digits)


def label_count(name: bytes) -> int:
    """Labels of an uncompressed wire name, the root's not counted."""
    count = at = 0
    while name[at]:
        at += name[at] + 1
        count += 1
    return count


def is_below(folded: bytes, zone: bytes) -> bool:
    """Whether a lower-cased wire name is `zone` or a name in it, by whole labels."""
    if not folded.endswith(zone):
        return False
    at = 0
    start = len(folded) - len(zone)
    while at < start:
        at += folded[at] + 1
    return at == start
