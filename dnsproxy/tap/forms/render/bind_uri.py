"""Whether BIND takes a `dohpath` parameter (RFC 9461): a relative URI template (RFC 6570) with a variable `dns`."""

from __future__ import annotations

import re
from typing import Final

_OPERATOR: Final = rb"[+#./;?&]?"
_CHAR: Final = rb"(?:[0-9A-Za-z_]|%[0-9A-Fa-f]{2})"
_PREFIX: Final = rb":[1-9][0-9]{0,3}"
# behind a prefix and a comma BIND takes the next name for more of the one before: it may be empty, and has no operator
_AFTER_PREFIX: Final = _PREFIX + b"," + _CHAR + b"*"
_VARIABLE: Final = _OPERATOR + _CHAR + b"+"
_EXPRESSION: Final = (
    rb"\{" + _VARIABLE + rb"(?:\*?," + _VARIABLE + b"|" + _AFTER_PREFIX + rb")*(?:\*|" + _PREFIX + rb")?\}"
)
_is_template = re.compile(rb"/(?:[^{%]|%[0-9A-Fa-f]{2}|" + _EXPRESSION + b")*", re.DOTALL).fullmatch
_expressions = re.compile(_EXPRESSION).findall
_without_more = re.compile(_AFTER_PREFIX).sub
_has_dns = re.compile(rb"[{,]" + _OPERATOR + rb"dns[*:,}]").search


def is_dohpath(value: bytes) -> bool:
    """It begins with `/`, is UTF-8, all its expressions are right, and one has the variable."""
    try:
        value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    if not _is_template(value):
        return False
    return any(_has_dns(_without_more(b"", expression)) for expression in _expressions(value))
