"""The id that a producer gives all messages of one client query."""

from __future__ import annotations

import re
from typing import Final

_LABELLED: Final = re.compile(rb'"query/id":\s*"([0-9A-Fa-f]{16})"')
_ANYWHERE: Final = re.compile(rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{16}(?![0-9A-Za-z])")


def query_id(extra: bytes | None) -> str | None:
    """`query/id` of a JSON object, else the first 16 hex digits that stand alone anywhere in the text, lower-cased."""
    if extra is None:
        return None
    found = _LABELLED.search(extra)
    if found is not None:
        return found[1].decode("ascii").lower()
    found = _ANYWHERE.search(extra)
    return None if found is None else found[0].decode("ascii").lower()
