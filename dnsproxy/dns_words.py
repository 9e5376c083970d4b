"""Record types and rcodes as operators write them: IANA's words in any case, or numbers."""

from __future__ import annotations

from typing import Annotated, Final

from dnsproxy.errors import RCODES
from dnsproxy.options import Reader, did_you_mean, shown

MAX_QTYPE: Final = 0xFFFF
MAX_RCODE: Final = 0xFFF  # with EDNS's extension (RFC 6891)
QTYPE_FORM: Final = 'a record type such as "AAAA", "TYPE65" or 65'
RCODE_FORM: Final = 'an rcode such as "SERVFAIL", "NXDOMAIN" or 2'


def parse_qtype(text: str) -> int:
    """The number of a record type (`aaaa`, `HTTPS`, `TYPE65`); ValueError when there is none of that name."""
    from dns import rdatatype  # 15 ms that a start without such words does not pay

    try:
        return int(rdatatype.from_text(text))
    except (rdatatype.UnknownRdatatype, ValueError):
        guess = did_you_mean(text, rdatatype.RdataType.__members__)
        raise ValueError(f"{shown(text)} is no record type; {guess}expected {QTYPE_FORM}") from None


def show_qtype(qtype: int) -> str:
    """As TOML: `"AAAA"`, and `"TYPE65534"` where there is no word."""
    from dns import rdatatype

    return f'"{rdatatype.to_text(rdatatype.RdataType.make(qtype))}"'


def parse_rcode(text: str) -> int:
    """The number of an rcode (`servfail`, `BADVERS`); ValueError when there is none of that name."""
    rcode = RCODES.get(text.upper())
    if rcode is None:
        raise ValueError(f"{shown(text)} is no rcode; {did_you_mean(text, RCODES)}expected {RCODE_FORM}")
    return rcode


def show_rcode(rcode: int) -> str:
    """As TOML: `"SERVFAIL"`, and the number where there is no word."""
    return next((f'"{word}"' for word, number in RCODES.items() if number == rcode), str(rcode))


def _read_qtype(value: str | int, _folder: object) -> int:
    if isinstance(value, str):
        return parse_qtype(value)
    if not 0 <= value <= MAX_QTYPE:
        raise ValueError(f"{shown(value)} is no record type; expected 0 to {MAX_QTYPE}")
    return value


def _read_rcode(value: str | int, _folder: object) -> int:
    if isinstance(value, str):
        return parse_rcode(value)
    if not 0 <= value <= MAX_RCODE:
        raise ValueError(f"{shown(value)} is no rcode; expected 0 to {MAX_RCODE}")
    return value


Qtype = Annotated[int, Reader((str, int), QTYPE_FORM, _read_qtype, show_qtype)]
"""A record type's number; in TOML its word, `TYPE65`, or the number."""

Rcode = Annotated[int, Reader((str, int), RCODE_FORM, _read_rcode, show_rcode)]
"""An rcode's number; in TOML its word, or the number."""
