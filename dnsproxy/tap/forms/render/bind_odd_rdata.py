"""Record data whose form depends on what is in it, as BIND 9.18 checks and prints it."""

from __future__ import annotations

import base64
import socket
from typing import Final

from dnsproxy.tap.forms.render.bind_fields import (
    Read,
    address6_text,
    base32_text,
    base64_text,
    base64_words,
    bits_of,
    hex_text,
    hex_words,
    salt,
    stamp_near_now,
    types,
)
from dnsproxy.tap.forms.render.bind_names import Unparsable, quoted, read_labels, read_name, read_octets
from dnsproxy.tap.forms.render.bind_regex import is_substitution
from dnsproxy.tap.forms.render.bind_words import TYPES, type_word

NO_KEY: Final = 0xC000  # of a KEY's flags (RFC 2535)
PRIVATE_DNS: Final = 253  # a key's algorithm: a name stands before the key
SHA1, SHA256, SHA384 = 20, 32, 48
DIGESTS: Final = {1: SHA1, 2: SHA256, 4: SHA384}  # of DS: octets by type
FINGERPRINTS: Final = {1: SHA1, 2: SHA256}
ZONE_DIGESTS: Final = {1: SHA384, 2: 64}
LEAST_ZONE_DIGEST: Final = 12
MAX_NSEC3_HASH: Final = 39
LOC_ZERO: Final = 1 << 31  # the equator, and the prime meridian (RFC 1876)
LOC_DEGREE: Final = 3_600_000  # thousandths of a second of arc
LOC_GROUND: Final = 10_000_000  # centimetres below sea level where altitude begins
MAX_SERVICES: Final = 8 * 1024  # octets of WKS's bits
MAX_DATA: Final = 65535
POINTER: Final = 0xC0

_no_types = types(allow_none=True)


def _take(wire: bytes, at: int, end: int, size: int) -> bytes:
    if at + size > end:
        raise Unparsable("data too short")
    return wire[at : at + size]


def key(*, may_have_none: bool = False, flags: int | None = None) -> Read:
    """KEY and its like: flags, protocol, algorithm, key."""

    def read(wire: bytes, at: int, end: int) -> tuple[str, int]:
        head = _take(wire, at, end, 4)
        own_flags = head[0] << 8 | head[1]
        if flags is not None and own_flags != flags:
            raise Unparsable("bad flags")
        text = f"{own_flags} {head[2]} {head[3]}"
        at += 4
        if may_have_none and own_flags & NO_KEY == NO_KEY:
            return text, at
        _take(wire, at, end, 1)
        before = b""
        if head[3] == PRIVATE_DNS:
            labels, at = read_labels(wire, at, end)
            before = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
        return f"{text} {base64_words(before + wire[at:end])}", max(at, end)

    return read


def signature(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """RRSIG: it has at least as many labels as its signer."""
    head = _take(wire, at, end, 18)
    labels, behind = read_labels(wire, at + 18, end)
    if head[3] < len(labels):
        raise Unparsable("more labels in the signer than in the owner")
    signer, _ = read_name(wire, at + 18, end)
    numbers = f"{type_word(head[0] << 8 | head[1])} {head[2]} {head[3]} {int.from_bytes(head[4:8], 'big')}"
    times = " ".join(stamp_near_now(int.from_bytes(head[at : at + 4], "big")) for at in (8, 12))
    _take(wire, behind, end, 1)
    return f"{numbers} {times} {head[16] << 8 | head[17]} {signer} {base64_words(wire[behind:end])}", end


def digest(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """DS and its like; digests of known types have their length, of others any but none."""
    head = _take(wire, at, end, 5)
    size = DIGESTS.get(head[3], end - at - 4)
    text = f"{head[0] << 8 | head[1]} {head[2]} {head[3]} {hex_words(_take(wire, at + 4, end, size))}"
    return text, at + 4 + size


def ssh_fingerprint(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """SSHFP; there may be none."""
    head = _take(wire, at, end, 2)
    octets = wire[at + 2 : end]
    if len(octets) != FINGERPRINTS.get(head[1], len(octets)):
        raise Unparsable("bad fingerprint")
    return f"{head[0]} {head[1]}" + (f" {hex_words(octets)}" if octets else ""), end


def zone_digest(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """ZONEMD."""
    head = _take(wire, at, end, 6 + LEAST_ZONE_DIGEST)
    size = ZONE_DIGESTS.get(head[5], end - at - 6)
    text = f"{int.from_bytes(head[:4], 'big')} {head[4]} {head[5]} {hex_words(_take(wire, at + 6, end, size))}"
    return text, at + 6 + size


def x25_address(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """X25: at least four digits."""
    octets, at = read_octets(wire, at, end)
    if len(octets) < 4 or not octets.isdigit():
        raise Unparsable("bad address")
    return quoted(octets), at


def atm_address(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """ATMA, of one of the two known kinds."""
    octets = wire[at + 1 : end]
    if wire[at] == 0:
        return octets.hex(), end
    if not octets.isdigit():
        raise Unparsable("bad address")
    return f"+{octets.decode('ascii')}", end


def next_types(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """NXT's bits, a space before each type; types without a word are numbers."""
    octets = wire[at:end]
    if octets and (octets[0] & 0x80 or len(octets) > 16 or not octets[-1]):
        raise Unparsable("bad bitmap")
    return "".join(f" {TYPES.get(bit) or bit}" for bit in bits_of(octets)), max(at, end)


def services(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """WKS: address, protocol, ports."""
    head = _take(wire, at, end, 5)
    octets = wire[at + 5 : end]
    if len(octets) > MAX_SERVICES or (octets and not octets[-1]):
        raise Unparsable("bad services")
    return f"{socket.inet_ntoa(head[:4])} {head[4]}" + "".join(f" {bit}" for bit in bits_of(octets)), end


def pointer_rewrite(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """NAPTR."""
    head = _take(wire, at, end, 4)
    flags, at = read_octets(wire, at + 4, end)
    service, at = read_octets(wire, at, end)
    regex, at = read_octets(wire, at, end)
    if not is_substitution(regex):
        raise Unparsable("bad regular expression")
    replacement, at = read_name(wire, at, end)
    numbers = f"{head[0] << 8 | head[1]} {head[2] << 8 | head[3]}"
    return f"{numbers} {quoted(flags)} {quoted(service)} {quoted(regex)} {replacement}", at


def location(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """LOC, of version 0."""
    octets = _take(wire, at, end, 16)
    latitude, longitude, altitude = (int.from_bytes(octets[at : at + 4], "big") for at in (4, 8, 12))
    if abs(latitude - LOC_ZERO) > 90 * LOC_DEGREE or abs(longitude - LOC_ZERO) > 180 * LOC_DEGREE:
        raise Unparsable("no place on earth")
    sizes = " ".join(map(_metres, octets[1:4]))
    height = abs(altitude - LOC_GROUND)
    sign = "-" if altitude < LOC_GROUND else ""
    place = f"{_degrees(latitude, 'SN')} {_degrees(longitude, 'WE')} {sign}{height // 100}.{height % 100:02d}m"
    return f"{place} {sizes}", at + 16


def _metres(octet: int) -> str:
    mantissa, exponent = octet >> 4, octet & 15
    if octet and (mantissa > 9 or exponent > 9 or not mantissa):
        raise Unparsable("bad size")
    if exponent > 1:
        return f"{mantissa * 10 ** (exponent - 2)}m"
    return f"0.{mantissa * 10**exponent:02d}m"


def _degrees(number: int, letters: str) -> str:
    seconds, fraction = divmod(abs(number - LOC_ZERO), 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60} {minutes % 60} {second}.{fraction:03d} {letters[number >= LOC_ZERO]}"


def _gateway(wire: bytes, at: int, end: int, kind: int) -> tuple[str, int]:
    if kind == 0:
        return ".", at
    if kind == 1:
        return socket.inet_ntoa(_take(wire, at, end, 4)), at + 4
    if kind == 2:
        return address6_text(_take(wire, at, end, 16)), at + 16
    return read_name(wire, at, end)


def ipsec_key(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """IPSECKEY; there must be an octet of the key."""
    head = _take(wire, at, end, 3)
    if head[1] > 3:
        raise Unparsable("unknown gateway")
    gateway, at = _gateway(wire, at + 3, end, head[1])
    _take(wire, at, end, 1)
    return f"{head[0]} {head[1]} {head[2]} {gateway} {base64_words(wire[at:end])}", end


def amt_relay(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """AMTRELAY, with one of the known kinds of gateway."""
    kind = wire[at + 1] & 0x7F
    gateway, behind = _gateway(wire, at + 2, end, kind)
    return f"{wire[at]} {wire[at + 1] >> 7} {kind} {gateway}", behind


def nsec3(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """NSEC3; a hash of the known kind has its length."""
    head = _take(wire, at, end, 5)
    hash_at = at + 5 + head[4]
    size = _take(wire, hash_at, end, 1)[0]
    hashed = _take(wire, hash_at + 1, end, size)
    if not 1 <= size <= MAX_NSEC3_HASH or (head[0] == 1 and size != SHA1):
        raise Unparsable("bad hash")
    words, behind = _no_types(wire, hash_at + 1 + size, end)
    numbers = f"{head[0]} {head[1]} {head[2] << 8 | head[3]} {salt(wire[at + 5 : hash_at])}"
    return f"{numbers} {base32_text(hashed)}{words}", behind


def is_hashed_owner(label: bytes) -> bool:
    """Whether an NSEC3 record's first label is base32 with the extended hex alphabet, its last bits zero."""
    text = label.upper()
    text += b"=" * (-len(text) % 8)
    try:
        return b"=" not in label and base64.b32hexencode(base64.b32hexdecode(text)) == text
    except ValueError:
        return False


def host_identity(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """HIP."""
    head = _take(wire, at, end, 4)
    hit, key = head[0], head[2] << 8 | head[3]
    if not hit or not key:
        raise Unparsable("no identity")
    octets = _take(wire, at + 4, end, hit + key)
    names, behind = _names(wire, at + 4 + hit + key, end, MAX_DATA - 4 - len(octets))
    return f"{head[1]} {hex_text(octets[:hit])} {base64_text(octets[hit:])}{names}", behind


def _names(wire: bytes, at: int, end: int, room: int) -> tuple[str, int]:
    """Any number of names, a space before each; they must have room without compression too."""
    known: dict[bytes, tuple[str, int]] = {}  # a record may consist of pointers to one far-fetched name
    texts = []
    while at < end:
        pointer = wire[at : at + 2]
        if pointer in known:
            text, octets = known[pointer]
            at += 2
        else:
            labels, behind = read_labels(wire, at, end)
            text, octets = read_name(wire, at, end)[0], 1 + sum(len(label) + 1 for label in labels)
            if pointer[0] >= POINTER:
                known[pointer] = text, octets
            at = behind
        room -= octets
        if room < 0:
            raise Unparsable("data too long without compression")
        texts.append(f" {text}")
    return "".join(texts), at


def authorization(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """CAA."""
    _take(wire, at, end, 2)
    tag, value_at = read_octets(wire, at + 1, end)
    if not tag.isalnum():
        raise Unparsable("bad tag")
    return f"{wire[at]} {tag.decode('ascii')} {quoted(wire[value_at:end])}", end


def a6(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """A6: prefix length, suffix of the address, name of the prefix."""
    bits = _take(wire, at, end, 1)[0]
    if bits > 128:
        raise Unparsable("bad prefix length")
    at += 1
    text = f"{bits} "
    if bits != 128:
        suffix = _take(wire, at, end, 16 - bits // 8)
        if suffix[0] & ~(0xFF >> bits % 8):
            raise Unparsable("bits of the prefix are set")
        text += address6_text(suffix.rjust(16, bytes(1)))
        at += len(suffix)
    if not bits:
        return text, at
    prefix, at = read_name(wire, at, end)
    return f"{text} {prefix}", at


def prefixes(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """APL (RFC 3123); as of no known type if one of the families is not known."""
    start = at
    texts = []
    is_known = True
    while at < end:
        head = _take(wire, at, end, 4)
        size = head[3] & 0x7F
        octets = _take(wire, at + 4, end, size)
        family = head[0] << 8 | head[1]
        is_known = is_known and family in {1, 2}
        _check_prefix(family, head[2], octets)
        texts.append(_prefix_text(family, head[2], octets, head[3] & 0x80))
        at += 4 + size
    if is_known:
        return " ".join(texts), end
    return f"\\# {end - start} {hex_words(wire[start:end])}", end


def _check_prefix(family: int, bits: int, octets: bytes) -> None:
    if (family == 1 and (bits > 32 or len(octets) > 4)) or (family == 2 and (bits > 128 or len(octets) > 16)):
        raise Unparsable("bad prefix")
    if octets and not octets[-1]:
        raise Unparsable("zeros at the end")


def _prefix_text(family: int, bits: int, octets: bytes, negation: int) -> str:
    if family == 1:
        address = socket.inet_ntoa(octets.ljust(4, b"\0"))
    else:
        address = address6_text(octets[:16].ljust(16, b"\0"))
    return f"{'!' if negation else ''}{family}:{address}/{bits}"
