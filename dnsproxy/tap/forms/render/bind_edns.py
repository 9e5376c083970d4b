"""OPT records (RFC 6891) as BIND 9.18 checks and prints them, as text and as YAML."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Final

from dnsproxy.tap.forms.render.bind_names import Unparsable
from dnsproxy.tap.forms.render.miekg_words import ERRORS

LLQ, NSID, SUBNET, EXPIRE, COOKIE, KEEPALIVE, PAD, KEY_TAG, EDE = 1, 3, 8, 9, 10, 11, 12, 14, 15
CLIENT_TAG, SERVER_TAG = 16, 17
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
IPV4, IPV6 = 1, 2
DO, CO = 0x8000, 0x4000
EXPIRE_DIGITS: Final = 9  # in YAML there is room for no more
TITLES: Final = {
    LLQ: "LLQ",
    NSID: "NSID",
    SUBNET: "CLIENT-SUBNET",
    EXPIRE: "EXPIRE",
    COOKIE: "COOKIE",
    PAD: "PAD",
    KEY_TAG: "KEY-TAG",
    EDE: "EDE",
    CLIENT_TAG: "CLIENT-TAG",
    SERVER_TAG: "SERVER-TAG",
}
_UNITS: Final = (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
_PRINTABLE: Final = "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in range(256))


def read_options(wire: bytes, at: int, end: int) -> list[tuple[int, bytes]]:
    """Code and data of each option between two offsets; Unparsable if BIND refuses one."""
    options = []
    while at < end:
        start = at + 4
        behind = start + int.from_bytes(wire[at + 2 : start], "big")
        if behind > end:
            raise Unparsable("option is cut")
        code, data = wire[at] << 8 | wire[at + 1], wire[start:behind]
        is_right = _CHECKS.get(code)
        if is_right is not None and not is_right(data):
            raise Unparsable("bad option")
        options.append((code, data))
        at = behind
    return options


def _is_subnet(data: bytes) -> bool:
    if len(data) < 4:
        return False
    family, source, scope = struct.unpack_from("!HBB", data)
    if source > (most := {0: 0, IPV4: 32, IPV6: 128}.get(family, -1)) or scope > most:
        return False
    if len(data) != 4 + (source + 7) // 8:
        return False
    return source % 8 == 0 or not data[-1] & 0xFF >> source % 8


def _is_error(data: bytes) -> bool:
    if len(data) < 2 or data.startswith(BYTE_ORDER_MARK, 2):
        return False
    try:
        data[2:].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


_CHECKS: Final[dict[int, Callable[[bytes], bool]]] = {
    LLQ: lambda data: len(data) == 18,
    SUBNET: _is_subnet,
    EXPIRE: lambda data: len(data) in {0, 4},
    COOKIE: lambda data: len(data) == 8 or 16 <= len(data) <= 40,
    KEY_TAG: lambda data: len(data) > 0 and len(data) % 2 == 0,
    EDE: _is_error,
    CLIENT_TAG: lambda data: len(data) == 2,
    SERVER_TAG: lambda data: len(data) == 2,
}


def text_lines(size: int, ttl: int, options: list[tuple[int, bytes]]) -> list[str]:
    """The pseudo section from the record's class, TTL and options."""
    flags = _flags(ttl)
    rest = ttl & 0x3FFF
    udp = f"; MBZ: 0x{rest:04x}, udp: {size}" if rest else f"; udp: {size}"
    lines = [";; OPT PSEUDOSECTION:", f"; EDNS: version: {ttl >> 16 & 0xFF}, flags:{flags}{udp}"]
    return lines + [_option_line(code, data) for code, data in options]


def _flags(ttl: int) -> str:
    return (" do" if ttl & DO else "") + (" co" if ttl & CO else "")


def _option_line(code: int, data: bytes) -> str:
    if code == KEEPALIVE:
        return f"; TCP KEEPALIVE:{_keepalive(data) or _dump(data)}"
    title = f"; {TITLES[code]}:" if code in TITLES else f"; OPT={code}:"
    if code == PAD:
        return title + (f" ({len(data)} bytes)" if data else "")
    if code == EDE:
        return title + _error(data) + (f": ({_shown(data[2:])})" if len(data) > 2 else "")
    return title + _value(code, data)


def yaml_lines(size: int, ttl: int, options: list[tuple[int, bytes]]) -> list[str]:
    """The same as YAML, indented below the first key; an empty line stays empty at any depth."""
    lines = ["OPT_PSEUDOSECTION:", "  EDNS:", f"    version: {ttl >> 16 & 0xFF}", f"    flags:{_flags(ttl)}"]
    if ttl & 0x3FFF:
        lines.append(f"    MBZ: 0x{ttl & 0x3FFF:04x}")
    lines.append(f"    udp: {size}")
    for code, data in options:
        lines += _option_yaml(code, data)
    return lines


def _option_yaml(code: int, data: bytes) -> list[str]:
    if code == KEEPALIVE:
        return [f"    TCP-KEEPALIVE:{_keepalive(data) or _dump(data)}"]
    title = f"    {TITLES[code]}:" if code in TITLES else f"    OPT={code}:"
    if code == EDE:
        lines = [title, f"      INFO-CODE:{_error(data)}"]
        return [*lines, f'      EXTRA-TEXT: "{_shown(data[2:])}"' if len(data) > 2 else ""]
    if code == EXPIRE and data:
        seconds = int.from_bytes(data, "big")
        return [f"{title} {str(seconds)[:EXPIRE_DIGITS]} ({_spelt(seconds)})"]
    return [title + _value(code, data)]


def _value(code: int, data: bytes) -> str:
    """Of what is written alike as text and as YAML."""
    show = _VALUES.get(code)
    return _dump(data) if show is None else show(data)


def _dump(data: bytes) -> str:
    """Hex digits and what can be printed of them."""
    if not data:
        return ""
    return f' {data.hex(" ")} ("{data.decode("latin-1").translate(_PRINTABLE)}")'


def _keepalive(data: bytes) -> str:
    if len(data) != 2:
        return ""
    tenths = int.from_bytes(data, "big")
    return f" {tenths // 10}.{tenths % 10} secs"


def _error(data: bytes) -> str:
    code = data[0] << 8 | data[1]
    return f" {code} ({ERRORS[code]})" if code < len(ERRORS) else f" {code}"


def _shown(text: bytes) -> str:
    """Text of an extended error; its octets that are no ASCII stay as they are."""
    return "".join(
        char if " " <= char <= "~" or char > "\x7f" else "." for char in text.decode("utf-8", "surrogateescape")
    )


def _llq(data: bytes) -> str:
    version, opcode, error, id, lifetime = struct.unpack("!HHHQI", data)
    return f" Version: {version}, Opcode: {opcode}, Error: {error}, Identifier: {id}, Lifetime: {lifetime}"


def _subnet(data: bytes) -> str:
    family, source, scope = struct.unpack_from("!HBB", data)
    if family == 0:
        return " 0/0/0"
    if family == IPV4:
        address = socket.inet_ntoa(data[4:].ljust(4, b"\0"))
    else:
        address = socket.inet_ntop(socket.AF_INET6, data[4:].ljust(16, b"\0"))
    return f" {address}/{source}/{scope}"


def _expire(data: bytes) -> str:
    if not data:
        return ""
    seconds = int.from_bytes(data, "big")
    return f" {seconds} ({_spelt(seconds)})"


def _spelt(seconds: int) -> str:
    """`1 hour 2 seconds`."""
    parts: list[str] = []
    for unit, length in _UNITS:
        count, seconds = divmod(seconds, length)
        if count or (unit == "second" and not parts):
            parts.append(f"{count} {unit}{'s' if count != 1 else ''}")
    return " ".join(parts)


def _tags(data: bytes) -> str:
    return " " + ", ".join(str(data[at] << 8 | data[at + 1]) for at in range(0, len(data), 2))


_VALUES: Final[dict[int, Callable[[bytes], str]]] = {
    LLQ: _llq,
    SUBNET: _subnet,
    EXPIRE: _expire,
    COOKIE: lambda data: f" {data.hex()}",
    KEY_TAG: _tags,
    CLIENT_TAG: _tags,
    SERVER_TAG: _tags,
}
