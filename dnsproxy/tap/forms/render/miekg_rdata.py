"""Record data of every type that miekg/dns 1.1.50 knows, as it unpacks and prints it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from dnsproxy.tap.forms.render import miekg_fields as fields
from dnsproxy.tap.forms.render.go import address_text, text_of
from dnsproxy.tap.forms.render.miekg_edns import options_text
from dnsproxy.tap.forms.render.miekg_fields import Field
from dnsproxy.tap.forms.render.miekg_names import Malformed, read_name
from dnsproxy.tap.forms.render.miekg_svcb import PARAMETERS_FIELD

BAD_LENGTH: Final = "bad rdlength"
OPT: Final = 41
LOC_ZERO: Final = 1 << 31  # the equator, and the prime meridian (RFC 1876)
LOC_DEGREE: Final = 3_600_000  # thousandths of a second of arc
LOC_MINUTE: Final = 60_000


class Data(NamedTuple):
    """How a type's data becomes text: `text` of a message and the data's offsets; `absent` where it has no octet."""

    text: Callable[[bytes, int, int], str]
    absent: str


def _data(template: str, *layout: Field, show: Callable[..., str] | None = None) -> Data:
    show = show or template.format
    absent = [field.absent for field in layout]

    def text(wire: bytes, at: int, end: int) -> str:
        values: list[str] = []
        for field in layout:
            value, at = field.read(wire, at, end, values)
            values.append(value)
            if at == end and field.may_be_last:
                break
        if at != end:
            raise Malformed(BAD_LENGTH)
        return show(*values, *absent[len(values) :])

    return Data(text, show(*absent))


def _address_text(wire: bytes, at: int, end: int) -> str:
    if end - at < 4:
        raise Malformed("overflow unpacking a")
    if end - at != 4:
        raise Malformed(BAD_LENGTH)
    return socket.inet_ntoa(wire[at:end])


def _name_text(wire: bytes, at: int, end: int) -> str:
    text, at = read_name(wire, at, end)
    if at != end:
        raise Malformed(BAD_LENGTH)
    return text


def _no_data(_wire: bytes, _at: int, _end: int) -> str:
    raise Malformed(BAD_LENGTH)


def _unknown_text(wire: bytes, at: int, end: int) -> str:
    return f"\\# {end - at} {wire[at:end].hex()}"


def _null_text(wire: bytes, at: int, end: int) -> str:
    return text_of(wire[at:end])


def _location(*values: str) -> str:
    size, horizontal, vertical, latitude, longitude, altitude = map(int, values[1:])
    metres = altitude / 100 - 100_000
    return (
        f"{_degrees(latitude, 'SN')} {_degrees(longitude, 'WE')} {metres:.{2 if altitude % 100 else 0}f}m "
        f"{_centimetres(size)}m {_centimetres(horizontal)}m {_centimetres(vertical)}m"
    )


def _degrees(number: int, letters: str) -> str:
    degrees, rest = divmod(abs(number - LOC_ZERO), LOC_DEGREE)
    minutes, rest = divmod(rest, LOC_MINUTE)
    return f"{degrees:02d} {minutes:02d} {rest / 1000:.3f} {letters[number > LOC_ZERO]}"


def _centimetres(octet: int) -> str:
    mantissa, exponent = octet >> 4, octet & 15
    if exponent < 2:
        return f"0.{mantissa * 10**exponent:02d}"
    return f"{mantissa}{'0' * (exponent - 2)}"


def _prefixes(wire: bytes, at: int, end: int) -> str:
    """APL (RFC 3123)."""
    texts = []
    while at < end:
        if at + 4 > end:
            raise Malformed("overflow unpacking APL prefix")
        family = wire[at] << 8 | wire[at + 1]
        texts.append(_prefix(family, wire[at + 2], wire[at + 3], wire[at + 4 : end]))
        at += 4 + (wire[at + 3] & 0x7F)
    return " ".join(texts)


def _prefix(family: int, bits: int, length: int, rest: bytes) -> str:
    if family not in {1, 2}:
        raise Malformed("unrecognized APL address family")
    octets = 4 if family == 1 else 16
    if bits > 8 * octets:
        raise Malformed("APL prefix too long")
    size = length & 0x7F
    if size > octets:
        raise Malformed("APL length too long")
    if size > len(rest):
        raise Malformed("overflow unpacking APL address")
    if size and not rest[size - 1]:
        raise Malformed("extra APL address bits")
    text = address_text(rest[:size].ljust(octets, b"\0"))
    mapped = "::ffff:" if family == 2 and ":" not in text else ""
    return f"{'!' if length & 0x80 else ''}{family}:{mapped}{text}/{bits}"


U8, U16, U32, NAME, STRING = fields.U8, fields.U16, fields.U32, fields.NAME, fields.STRING

_ONE_NAME: Final = Data(_name_text, "")
_TWO_NAMES: Final = _data("{} {}", NAME, NAME)
_NUMBER_AND_NAME: Final = _data("{} {}", U16, NAME)
_STRINGS: Final = _data("{}", fields.STRINGS)
_DIGEST: Final = _data("{} {} {} {}", U16, U8, U8, fields.UPPER_HEX)
_KEY: Final = _data("{} {} {} {}", U16, U8, U8, fields.BASE64)
_SIGNATURE: Final = _data(
    "{} {} {} {} {} {} {} {} {}",
    fields.TYPE,
    U8,
    U8,
    U32,
    fields.TIME,
    fields.TIME,
    U16,
    NAME,
    fields.BASE64,
)
_SERVICE: Final = _data("{} {}{}", U16, NAME, PARAMETERS_FIELD)
_HEX: Final = _data("{}", fields.UPPER_HEX)
_BASE64: Final = _data("{}", fields.BASE64)
_ID: Final = _data("{}", U32)

UNKNOWN: Final = Data(_unknown_text, "\\# 0 ")

DATA: Final[dict[int, Data]] = {
    1: Data(_address_text, ""),
    2: _ONE_NAME,
    3: _ONE_NAME,
    4: _ONE_NAME,
    5: _ONE_NAME,
    6: _data("{} {} {} {} {} {} {}", NAME, NAME, U32, U32, U32, U32, U32),
    7: _ONE_NAME,
    8: _ONE_NAME,
    9: _ONE_NAME,
    10: Data(_null_text, ""),
    12: _ONE_NAME,
    13: _data('"{}" "{}"', STRING, STRING),
    14: _TWO_NAMES,
    15: _NUMBER_AND_NAME,
    16: _STRINGS,
    17: _TWO_NAMES,
    18: _NUMBER_AND_NAME,
    19: _data("{}", STRING),
    21: _NUMBER_AND_NAME,
    23: _ONE_NAME,
    24: _SIGNATURE,
    25: _KEY,
    26: _data("{} {} {}", U16, NAME, NAME),
    27: _data("{} {} {}", STRING, STRING, STRING),
    28: _data("{}", fields.ADDRESS6),
    29: _data("", U8, U8, U8, U8, U32, U32, U32, show=_location),
    31: _HEX,
    32: _HEX,
    33: _data("{} {} {} {}", U16, U16, U16, NAME),
    35: _data('{} {} "{}" "{}" "{}" {}', U16, U16, STRING, STRING, STRING, NAME),
    36: _NUMBER_AND_NAME,
    37: _data("{} {} {} {}", fields.CERTIFICATE, U16, fields.ALGORITHM, fields.BASE64),
    39: _ONE_NAME,
    OPT: Data(options_text, ""),
    42: Data(_prefixes, ""),
    43: _DIGEST,
    44: _data("{} {} {}", U8, U8, fields.UPPER_HEX),
    46: _SIGNATURE,
    47: _data("{}{}", NAME, fields.TYPES),
    48: _KEY,
    49: _BASE64,
    50: _data(
        "{0} {1} {2} {4} {6}{7}",
        U8,
        U8,
        U16,
        U8,
        fields.sized_salt(3),
        U8,
        fields.sized_base32(5),
        fields.TYPES,
    ),
    51: _data("{0} {1} {2} {4}", U8, U8, U16, U8, fields.sized_salt(3)),
    52: _data("{} {} {} {}", U8, U8, U8, fields.HEX),
    53: _data("{} {} {} {}", U8, U8, U8, fields.HEX_IN_PIECES),
    55: _data("{1} {3} {4}{5}", U8, U8, U16, fields.sized_hex(0), fields.sized_base64(2), fields.NAMES),
    56: _STRINGS,
    57: _KEY,
    58: _TWO_NAMES,
    59: _DIGEST,
    60: _KEY,
    61: _BASE64,
    62: _data("{} {}{}", U32, U16, fields.TYPES),
    63: _data("{} {} {} {}", U32, U8, U8, fields.HEX),
    64: _SERVICE,
    65: _SERVICE,
    99: _STRINGS,
    100: _data('"{}"', STRING),
    101: _ID,
    102: _ID,
    104: _data("{} {}", U16, fields.NODE),
    105: _data("{}{}", U16, fields.LOCATOR32),
    106: _data("{} {}", U16, fields.LOCATOR64),
    107: _NUMBER_AND_NAME,
    108: _data("{}", fields.EUI48),
    109: _data("{}", fields.EUI64),
    249: _data(
        " {} {} {} {} {} {} {} {} {}",
        NAME,
        fields.TIME,
        fields.TIME,
        U16,
        U16,
        U16,
        fields.sized_hex(5),
        U16,
        fields.sized_hex(7),
    ),
    250: _data(
        " {} {} {} {} {} {} {} {} {}",
        NAME,
        fields.TIME48,
        U16,
        U16,
        fields.sized_upper_hex(3),
        U16,
        U16,
        U16,
        fields.sized_hex(7),
    ),
    255: Data(_no_data, ""),
    256: _data("{} {} {}", U16, U16, fields.QUOTED),
    257: _data("{} {} {}", U8, STRING, fields.QUOTED),
    258: _STRINGS,
    32768: _DIGEST,
    32769: _DIGEST,
}
