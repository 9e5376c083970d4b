"""Parameters of SVCB and HTTPS records (RFC 9460) as miekg/dns unpacks and prints them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from dnsproxy.tap.forms.render.go import MAPPED, address_text
from dnsproxy.tap.forms.render.miekg_fields import Field, to_base64
from dnsproxy.tap.forms.render.miekg_names import Malformed
from dnsproxy.tap.forms.render.miekg_words import PARAMETERS

RESERVED: Final = 65535

_PRINTED: Final = {octet: chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03d}" for octet in range(256)}
_IN_VALUES: Final = _PRINTED | {octet: "\\" + chr(octet) for octet in b'"; \\'}
_IN_ALPN: Final = _IN_VALUES | {0x2C: r"\\\044", 0x5C: r"\\\092"}


def _read_parameters(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
    texts = []
    last = -1
    while at < end:
        size = int.from_bytes(wire[at + 2 : at + 4], "big")
        if at + 4 + size > end:
            raise Malformed("overflow unpacking SVCB")
        key = wire[at] << 8 | wire[at + 1]
        if key == RESERVED:
            raise Malformed("bad SVCB key")
        texts.append(f' {_key_word(key)}="{_value_text(key, wire[at + 4 : at + 4 + size])}"')
        if key <= last:
            raise Malformed("SVCB keys not in strictly increasing order")
        last = key
        at += 4 + size
    return "".join(texts), at


def _key_word(key: int) -> str:
    return PARAMETERS.get(key) or (f"key{key}" if key != RESERVED else "")


def _value_text(key: int, value: bytes) -> str:
    show = _VALUES.get(key)
    return show(value) if show else value.decode("latin-1").translate(_IN_VALUES)


def _mandatory(value: bytes) -> str:
    if len(value) % 2:
        raise Malformed("svcbmandatory: value length is not a multiple of 2")
    return ",".join(_key_word(value[at] << 8 | value[at + 1]) for at in range(0, len(value), 2))


def _alpn(value: bytes) -> str:
    names = []
    at = 0
    while at < len(value):
        behind = at + 1 + value[at]
        if behind > len(value):
            raise Malformed("svcbalpn: alpn array overflowing")
        names.append(value[at + 1 : behind].decode("latin-1").translate(_IN_ALPN))
        at = behind
    return ",".join(names)


def _no_default_alpn(value: bytes) -> str:
    if value:
        raise Malformed("svcbnodefaultalpn: no-default-alpn must have no value")
    return ""


def _port(value: bytes) -> str:
    if len(value) != 2:
        raise Malformed("svcbport: port length is not exactly 2 octets")
    return str(int.from_bytes(value, "big"))


def _ipv4hint(value: bytes) -> str:
    if not value or len(value) % 4:
        raise Malformed("svcbipv4hint: ipv4 address byte array length is not a multiple of 4")
    return ",".join(socket.inet_ntoa(value[at : at + 4]) for at in range(0, len(value), 4))


def _ipv6hint(value: bytes) -> str:
    if not value or len(value) % 16:
        raise Malformed("svcbipv6hint: ipv6 address byte array length not a multiple of 16")
    addresses = [value[at : at + 16] for at in range(0, len(value), 16)]
    if any(address.startswith(MAPPED) for address in addresses):
        raise Malformed("svcbipv6hint: expected ipv6, got ipv4")
    return ",".join(map(address_text, addresses))


_VALUES: Final[dict[int, Callable[[bytes], str]]] = {
    0: _mandatory,
    1: _alpn,
    2: _no_default_alpn,
    3: _port,
    4: _ipv4hint,
    5: to_base64,
    6: _ipv6hint,
}

PARAMETERS_FIELD: Final = Field(_read_parameters, "")
