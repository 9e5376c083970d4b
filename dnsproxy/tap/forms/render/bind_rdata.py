"""Record data of every type that BIND 9.18 knows, as it checks and prints it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dnsproxy.tap.forms.render import bind_fields as fields
from dnsproxy.tap.forms.render.bind_fields import ADDRESS, BASE64, HEX, TIME, U8, U16, U32, Read, name, rest, string
from dnsproxy.tap.forms.render.bind_names import Unparsable, read_labels
from dnsproxy.tap.forms.render.bind_odd_rdata import (
    a6,
    amt_relay,
    atm_address,
    authorization,
    digest,
    host_identity,
    ipsec_key,
    key,
    location,
    next_types,
    nsec3,
    pointer_rewrite,
    prefixes,
    services,
    signature,
    ssh_fingerprint,
    x25_address,
    zone_digest,
)
from dnsproxy.tap.forms.render.bind_svcb import parameters

IN: Final = 1
CH: Final = 3
HS: Final = 4
ANY: Final = 255
A6: Final = 38

_ALGORITHM_BASE64: Final = rest(fields.after_space(fields.base64_words))


def data_text(wire: bytes, at: int, end: int, type: int, rclass: int) -> str:
    """The data between two offsets of a message; Unparsable for what BIND refuses."""
    if type == 0:
        raise Unparsable("no type")
    read = _GENERIC.get(type) or _BY_CLASS.get((rclass, type)) or _unknown
    text, at = read(wire, at, end)
    if at != end:
        raise Unparsable("data too long")
    return text


def deleted_text(wire: bytes, at: int, end: int, type: int, zone_class: int) -> str:
    """Data that an update deletes (RFC 2136 section 2.5.4): checked as of the zone's class, printed as of none."""
    text = data_text(wire, at, end, type, zone_class)
    if (zone_class, type) not in _BY_CLASS:
        return text
    return unknown_text(_expanded(wire, at, end, type, zone_class))


def _expanded(wire: bytes, at: int, end: int, type: int, zone_class: int) -> bytes:
    """Data of a type that only some classes have, its names without compression."""
    before, names = _NAMES.get((zone_class, type), (0, 0))
    if type == A6 and wire[at]:
        before, names = 17 - wire[at] // 8 if wire[at] < 128 else 1, 1
    octets = wire[at : at + before]
    at += before
    for _ in range(names):
        labels, at = read_labels(wire, at, end)
        octets += b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return octets + wire[at:end]


def unknown_text(octets: bytes) -> str:
    """The form for types without one (RFC 3597)."""
    return f"\\# {len(octets)}" + (f" {fields.hex_words(octets)}" if octets else "")


def _unknown(wire: bytes, at: int, end: int) -> tuple[str, int]:
    return unknown_text(wire[at:end]), end


def _of(template: str, *layout: Read) -> Read:
    show = template.format

    def read(wire: bytes, at: int, end: int) -> tuple[str, int]:
        values = []
        for field in layout:
            value, at = field(wire, at, end)
            values.append(value)
        return show(*values), at

    return read


def _or_unknown(known: Callable[[bytes], bool], read: Read, least: int = 1) -> Read:
    """What is not of the known kind is printed as of no known type."""

    def text(wire: bytes, at: int, end: int) -> tuple[str, int]:
        if end - at < least:
            raise Unparsable("data too short")
        return read(wire, at, end) if known(wire[at:end]) else _unknown(wire, at, end)

    return text


_TWO_NAMES: Final = _of("{} {}", name, name)
_NUMBER_AND_NAME: Final = _of("{} {}", U16, name)
_THREE_OCTETS_AND_HEX: Final = _of("{} {} {} {}", U8, U8, U8, HEX)
_SERVICE: Final = _of("{} {}{}", U16, name, parameters)
_KEY_DATA: Final = "{} {} {} {} {} {} {} {} {}"

_GENERIC: Final[dict[int, Read]] = {
    2: name,
    3: name,
    4: name,
    5: name,
    6: _of("{} {} {} {} {} {} {}", name, name, U32, U32, U32, U32, U32),
    7: name,
    8: name,
    9: name,
    12: name,
    13: _of("{} {}", string, string),
    14: _TWO_NAMES,
    15: _NUMBER_AND_NAME,
    16: fields.strings,
    17: _TWO_NAMES,
    18: _NUMBER_AND_NAME,
    19: x25_address,
    20: fields.string_or_two,
    21: _NUMBER_AND_NAME,
    24: _of(_KEY_DATA, fields.SIG_TYPE, U8, U8, U32, TIME, TIME, U16, name, BASE64),
    25: key(may_have_none=True),
    27: _of("{} {} {}", string, string, string),
    29: _or_unknown(lambda octets: octets[0] == 0, location),
    30: _of("{}{}", name, next_types),
    35: pointer_rewrite,
    37: _of("{} {} {} {}", fields.CERTIFICATE, U16, fields.ALGORITHM, BASE64),
    39: name,
    40: _of("{} {} {}{}", U8, U8, U8, _ALGORITHM_BASE64),
    43: digest,
    44: ssh_fingerprint,
    45: ipsec_key,
    46: signature,
    47: _of("{}{}", name, fields.types(allow_none=False)),
    48: key(),
    50: nsec3,
    51: _of("{} {} {} {}", U8, U8, U16, fields.sized(1, fields.salt)),
    52: _THREE_OCTETS_AND_HEX,
    53: _THREE_OCTETS_AND_HEX,
    55: host_identity,
    56: fields.strings,
    57: key(flags=0),
    58: _TWO_NAMES,
    59: digest,
    60: key(),
    61: BASE64,
    62: _of("{} {}{}", U32, U16, fields.types(allow_none=True)),
    63: zone_digest,
    66: _of("{} {} {} {}", fields.TYPE, fields.SCHEME, U16, name),
    67: BASE64,
    68: BASE64,
    99: fields.strings,
    104: _of("{} {}", U16, fields.GROUPS),
    105: _of("{} {}", U16, ADDRESS),
    106: _of("{} {}", U16, fields.GROUPS),
    107: _NUMBER_AND_NAME,
    108: fields.EUI48,
    109: fields.EUI64,
    249: _of(
        "{} {} {} {} {} {} {}",
        name,
        U32,
        U32,
        U16,
        fields.TSIG_RCODE,
        fields.sized(2, lambda octets: f"{len(octets)} {fields.base64_words(octets)}"),
        fields.sized(2, lambda octets: f"{len(octets)}{fields.after_space(fields.base64_words)(octets)}"),
    ),
    256: _of("{} {} {}", U16, U16, fields.TARGET),
    257: authorization,
    258: fields.strings,
    259: _of("{} {} {} {} {}", U32, U32, U8, string, rest(lambda octets: fields.base64_text(octets) or "-")),
    260: _or_unknown(lambda octets: octets[1] & 0x7F <= 3, amt_relay, least=2),
    261: fields.strings,
    262: fields.strings,
    32768: digest,
    32769: digest,
}

# octets before the names in data that only some classes have, and how many there are
_NAMES: Final = {
    (CH, 1): (0, 1),
    (IN, 23): (0, 1),
    (IN, 26): (2, 2),
    (IN, 33): (6, 1),
    (IN, 36): (2, 1),
    (IN, 64): (2, 1),
    (IN, 65): (2, 1),
}
_BY_CLASS: Final[dict[tuple[int, int], Read]] = {
    (IN, 1): ADDRESS,
    (HS, 1): ADDRESS,
    (CH, 1): _of("{} {}", name, fields.OCTAL),
    (IN, 11): services,
    (IN, 22): rest(lambda octets: f"0x{octets.hex()}", 1),
    (IN, 23): name,
    (IN, 26): _of("{} {} {}", U16, name, name),
    (IN, 28): fields.ADDRESS6,
    (IN, 31): HEX,
    (IN, 32): HEX,
    (IN, 33): _of("{} {} {} {}", U16, U16, U16, name),
    (IN, 34): _or_unknown(lambda octets: octets[0] <= 1, atm_address, least=2),
    (IN, 36): _NUMBER_AND_NAME,
    (IN, 38): a6,
    (IN, 42): prefixes,
    (IN, 49): BASE64,
    (IN, 64): _SERVICE,
    (IN, 65): _SERVICE,
    (ANY, 250): _of(
        "{} {} {} {} {} {} {}",
        name,
        fields.U48,
        U16,
        fields.sized(2, lambda octets: f"{len(octets)}{fields.after_space(fields.base64_words)(octets)}"),
        U16,
        fields.TSIG_RCODE,
        fields.sized(2, lambda octets: f"{len(octets)} {fields.base64_words(octets)}"),
    ),
}
