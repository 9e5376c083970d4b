"""Values as Go's standard library prints them: addresses, quoted strings, JSON strings, times."""

from __future__ import annotations

import re
import socket
from json.encoder import encode_basestring
from typing import Final

MAPPED: Final = b"\0" * 10 + b"\xff\xff"
NS_PER_S: Final = 1_000_000_000
DAY_S: Final = 86400
DAYS_KEPT: Final = 4096  # whose text is kept; a stream's messages share few
SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What strings.TrimSpace takes away."""

# octets that are no UTF-8 are surrogates in our strings, U+DC80 to U+DCFF, and leave as the octets that they were
_split_at_special = re.compile("([<>&\b\f\u2028\u2029\udc80-\udcff])").split
_is_special = re.compile("[<>&\b\f\u2028\u2029\udc80-\udcff]").search
_is_plain = re.compile(r"[ !#-\[\]-~]*").fullmatch
_QUOTED: Final = {char: f"\\{letter}" for char, letter in zip('"\\\a\b\f\n\r\t\v', '"\\abfnrtv', strict=True)}

_DAYS_BEFORE_1970: Final = 719468  # since 0000-03-01: a year's last day is then the leap day
_FIRST_SECOND: Final = -62135596800 - 292277022400 * 31556952  # where time.Time wraps round, 2^64 seconds wide
_FAR: Final = 1 << 40

_days: dict[int, str] = {}


def text_of(octets: bytes) -> str:
    """Octets that may be UTF-8; printed with `surrogateescape` they are what they were."""
    return octets.decode("utf-8", "surrogateescape")


def address_text(packed: bytes) -> str:
    """net.IP's String: v4-mapped as IPv4, `<nil>` for none, `?` and hex digits for what is no address."""
    if len(packed) == 4:
        return socket.inet_ntoa(packed)
    if len(packed) != 16:
        return f"?{packed.hex()}" if packed else "<nil>"
    if packed.startswith(MAPPED):
        return socket.inet_ntoa(packed[12:])
    text = socket.inet_ntop(socket.AF_INET6, packed)
    if "." not in text:
        return text
    # libc writes ::192.0.2.1 where the upper 96 bits are zero, Go does not
    return f"::{packed[12] << 8 | packed[13]:x}:{packed[14] << 8 | packed[15]:x}"


def quote(octets: bytes) -> str:
    """strconv.Quote."""
    text = text_of(octets)
    if _is_plain(text):
        return f'"{text}"'
    return '"' + "".join(map(_quote_char, text)) + '"'


def _quote_char(char: str) -> str:
    code = ord(char)
    if char in _QUOTED:
        return _QUOTED[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_string(text: str) -> str:
    """A string as encoding/json writes it: safe in HTML, U+FFFD for each octet that is no UTF-8."""
    if not _is_special(text):
        return encode_basestring(text)
    parts = _split_at_special(text)
    parts[::2] = [encode_basestring(part)[1:-1] for part in parts[::2]]
    parts[1::2] = ["\\ufffd" if char >= "\udc80" else f"\\u{ord(char):04x}" for char in parts[1::2]]
    return '"' + "".join(parts) + '"'


def clock_text(seconds: int, nanoseconds: int, middle: str) -> str:
    """`2023-11-14T22:13:20.125` with `middle` for the T: UTC, the fraction without trailing zeros.

    Seconds since 1970, of any number; Go's time wraps round after 2^64.
    """
    if nanoseconds >= NS_PER_S:
        seconds += nanoseconds // NS_PER_S
        nanoseconds %= NS_PER_S
    if seconds > _FAR:
        seconds = (seconds - _FIRST_SECOND) % (1 << 64) + _FIRST_SECOND
    day, second = divmod(seconds, DAY_S)
    minute, second = divmod(second, 60)
    date = _days.get(day) or _keep(day)
    text = f"{date}{middle}{minute // 60:02d}:{minute % 60:02d}:{second:02d}"
    return f"{text}.{nanoseconds:09d}".rstrip("0") if nanoseconds else text


def stamp_text(seconds: int) -> str:
    """`20231114221320`, seconds since 1970."""
    minute, second = divmod(seconds % DAY_S, 60)
    date = date_text(seconds // DAY_S).replace("-", "")
    return f"{date}{minute // 60:02d}{minute % 60:02d}{second:02d}"


def date_text(day: int) -> str:
    """`2023-11-14`, days since 1970, in the proleptic Gregorian calendar; years may have a sign or more digits."""
    era, day = divmod(day + _DAYS_BEFORE_1970, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (month <= 2)
    return f"{'-' if year < 0 else ''}{abs(year):04d}-{month:02d}-{day:02d}"


def _keep(day: int) -> str:
    if len(_days) >= DAYS_KEPT:
        _days.clear()
    text = _days[day] = date_text(day)
    return text
