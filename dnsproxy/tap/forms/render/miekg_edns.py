"""OPT records (RFC 6891) as miekg/dns unpacks and prints them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from dnsproxy.tap.forms.render.go import address_text, text_of
from dnsproxy.tap.forms.render.miekg_names import NO_ROOM, Malformed
from dnsproxy.tap.forms.render.miekg_words import ALGORITHMS, ERRORS, HASHES

DO: Final = 0x8000
IPV4: Final = 1
IPV6: Final = 2


def opt_text(size: int, ttl: int, options: str) -> str:
    """The whole pseudo section but its last line's end, from the record's class and TTL."""
    flags = "do" if ttl & DO else ""
    return f"\n;; OPT PSEUDOSECTION:\n; EDNS: version {ttl >> 16 & 0xFF}; flags: {flags}; udp: {size}{options}"


def options_text(wire: bytes, at: int, end: int) -> str:
    """The options between two offsets, each on a line of its own, which begins with the line's break."""
    texts = []
    while at < end:
        behind = at + 4 + int.from_bytes(wire[at + 2 : at + 4], "big")
        if behind > end:
            raise Malformed("overflow unpacking opt")
        code = wire[at] << 8 | wire[at + 1]
        show = _OPTIONS.get(code)
        data = wire[at + 4 : behind]
        texts.append(show(data) if show else f"\n; LOCAL OPT: {code}:0x{data.hex()}")
        at = behind
    return "".join(texts)


def _llq(data: bytes) -> str:
    if len(data) < 18:
        raise Malformed(NO_ROOM)
    version, opcode, error, id, lease = struct.unpack_from("!HHHQI", data)
    return f"\n; LONG LIVED QUERIES: {version} {opcode} {error} {id} {lease}"


def _update_lease(data: bytes) -> str:
    if len(data) not in {4, 8}:
        raise Malformed(NO_ROOM)
    return f"\n; UPDATE LEASE: {int.from_bytes(data[:4], 'big')} {int.from_bytes(data[4:], 'big')}"


def _nsid(data: bytes) -> str:
    return f"\n; NSID: {data.hex()}  " + "".join(f"({chr(octet)})" for octet in data)


def _esu(data: bytes) -> str:
    return f"\n; ESU: {text_of(data)}"


def _words_of(title: str, words: dict[int, str]) -> Callable[[bytes], str]:
    return lambda data: f"\n; {title} UNDERSTOOD: " + "".join(f" {words.get(octet) or octet}" for octet in data)


def _subnet(data: bytes) -> str:
    if len(data) < 4:
        raise Malformed(NO_ROOM)
    family, source, scope = struct.unpack_from("!HBB", data)
    if family not in {0, IPV4, IPV6} or (family == 0 and source):
        raise Malformed("bad address family")
    bits = 128 if family == IPV6 else 32
    if family and (source > bits or scope > bits):
        raise Malformed("bad netmask")
    return f"\n; SUBNET: {_subnet_address(family, data[4:])}/{source}/{scope}"


def _subnet_address(family: int, address: bytes) -> str:
    if family == 0:
        return "0.0.0.0"  # noqa: S104  what is printed, not what is bound
    octets = 16 if family == IPV6 else 4
    text = address_text(address[:octets].ljust(octets, b"\0"))
    return f"[{text}]" if ":" in text else text


def _expire(data: bytes) -> str:
    if data and len(data) < 4:
        raise Malformed(NO_ROOM)
    return ""  # read, and then forgotten


def _keepalive(data: bytes) -> str:
    if len(data) not in {0, 2}:
        raise Malformed(f"length mismatch, want 0/2 but got {len(data)}")
    timeout = int.from_bytes(data, "big")
    shown = f"timeout {timeout * 100 & 0xFFFF}ms" if timeout else "timeout omitted"  # in 16 bits, as there
    return f"\n; KEEPALIVE: use tcp keep-alive, {shown}"


def _error(data: bytes) -> str:
    if len(data) < 2:
        raise Malformed(NO_ROOM)
    code = data[0] << 8 | data[1]
    word = f" ({ERRORS[code]})" if code < len(ERRORS) else ""
    return f"\n; EDE: {code}{word}: ({text_of(data[2:])})"


_OPTIONS: Final[dict[int, Callable[[bytes], str]]] = {
    1: _llq,
    2: _update_lease,
    3: _nsid,
    4: _esu,
    5: _words_of("DNSSEC ALGORITHM", ALGORITHMS),
    6: _words_of("DS HASH", HASHES),
    7: _words_of("NSEC3 HASH", HASHES),
    8: _subnet,
    9: _expire,
    10: lambda data: f"\n; COOKIE: {data.hex()}",
    11: _keepalive,
    12: lambda data: f"\n; PADDING: {data.hex().upper()}",
    15: _error,
}
