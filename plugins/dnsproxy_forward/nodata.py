"""Whether an answer says that a name has nothing of the type asked (NODATA, RFC 2308 section 2.2)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from dnsproxy import wire
from dnsproxy.errors import NOERROR

if TYPE_CHECKING:
    from dnsproxy.shape import Shape

CNAME: Final = 5
ANY: Final = 255


def has_no_data(octets: bytes, shape: Shape) -> bool:
    """Whether it is NOERROR without a record of the type asked or CNAME; False where it is cut or cannot be read."""
    if octets[2] & wire.TC or wire.rcode_of(octets) != NOERROR:
        return False
    try:
        return not any(rtype in (shape.qtype, CNAME) or shape.qtype == ANY for rtype in _answer_types(octets, shape))
    except (wire.WireError, struct.error, IndexError):
        return False


def _answer_types(octets: bytes, shape: Shape) -> list[int]:
    types = []
    at = shape.question_end if octets[4:6] == b"\0\1" else wire.QUESTION_START
    for _ in range(int.from_bytes(octets[6:8])):
        rtype, _fixed, at = wire.skip_record(octets, at)
        types.append(rtype)
    return types
