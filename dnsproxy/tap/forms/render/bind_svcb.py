"""Parameters of SVCB and HTTPS records (RFC 9460) as BIND 9.18 checks and prints them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from dnsproxy.tap.forms.render.bind_fields import address6_text, base64_text
from dnsproxy.tap.forms.render.bind_names import Unparsable, quoted
from dnsproxy.tap.forms.render.bind_uri import is_dohpath
from dnsproxy.tap.forms.render.bind_words import PARAMETERS

MANDATORY: Final = 0
ALPN: Final = 1
NO_DEFAULT_ALPN: Final = 2
DOHPATH: Final = 7

_PRINTED: Final = {octet: chr(octet) if 0x20 < octet < 0x7F else f"\\{octet:03d}" for octet in range(256)}
_IN_ALPN: Final = _PRINTED | {0x22: '\\"', 0x2C: "\\\\,", 0x5C: "\\" * 4}


def parameters(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """All of them, a space before each."""
    if at > end:
        raise Unparsable("name runs past the data")
    found = _split(wire[at:end])
    _check_order([key for key, _ in found])
    _check_mandatory(dict(found))
    return "".join(f" {_parameter_text(key, value)}" for key, value in found), end


def _split(octets: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 0
    while at < len(octets):
        start = at + 4
        behind = start + int.from_bytes(octets[at + 2 : start], "big")
        if behind > len(octets):
            raise Unparsable("parameter is cut")
        found.append((octets[at] << 8 | octets[at + 1], octets[start:behind]))
        at = behind
    return found


def _check_order(keys: list[int]) -> None:
    if any(key <= before for before, key in pairwise(keys)):
        raise Unparsable("keys not in order")
    if NO_DEFAULT_ALPN in keys and ALPN not in keys:
        raise Unparsable("no-default-alpn without alpn")


def _check_mandatory(found: dict[int, bytes]) -> None:
    """Every key that is said to be mandatory must be there; `mandatory` itself must not be among them."""
    value = found.get(MANDATORY)
    if value is None:
        return
    if not value or len(value) % 2:
        raise Unparsable("bad list of keys")
    keys = _keys_of(value)
    if keys != sorted(set(keys)) or MANDATORY in keys or not set(keys) <= set(found):
        raise Unparsable("bad list of keys")


def _keys_of(value: bytes) -> list[int]:
    return [value[at] << 8 | value[at + 1] for at in range(0, len(value), 2)]


def _key_word(key: int) -> str:
    return PARAMETERS.get(key) or f"key{key}"


def _parameter_text(key: int, value: bytes) -> str:
    show = _VALUES.get(key)
    text = show(value) if show is not None else quoted(value)
    return f"{_key_word(key)}={text}" if value else _key_word(key)


def _mandatory(value: bytes) -> str:
    return ",".join(map(_key_word, _keys_of(value)))


def _alpn(value: bytes) -> str:
    names = []
    at = 0
    while at < len(value):
        behind = at + 1 + value[at]
        if behind > len(value) or not value[at]:
            raise Unparsable("bad alpn")
        names.append(value[at + 1 : behind].decode("latin-1").translate(_IN_ALPN))
        at = behind
    if not names:
        raise Unparsable("no alpn")
    return f'"{",".join(names)}"'


def _no_default_alpn(value: bytes) -> str:
    if value:
        raise Unparsable("no-default-alpn has a value")
    return ""


def _port(value: bytes) -> str:
    if len(value) != 2:
        raise Unparsable("bad port")
    return str(int.from_bytes(value, "big"))


def _hints(size: int, show: Callable[[bytes], str]) -> Callable[[bytes], str]:
    def text(value: bytes) -> str:
        if not value or len(value) % size:
            raise Unparsable("bad hint")
        return ",".join(show(value[at : at + size]) for at in range(0, len(value), size))

    return text


def _dohpath(value: bytes) -> str:
    if not is_dohpath(value):
        raise Unparsable("bad dohpath")
    return quoted(value)


_VALUES: Final[dict[int, Callable[[bytes], str]]] = {
    MANDATORY: _mandatory,
    ALPN: _alpn,
    NO_DEFAULT_ALPN: _no_default_alpn,
    3: _port,
    4: _hints(4, socket.inet_ntoa),
    5: base64_text,
    6: _hints(16, address6_text),
    DOHPATH: _dohpath,
}
