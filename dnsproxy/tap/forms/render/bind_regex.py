"""Whether BIND takes a NAPTR record's regular expression (RFC 3402), which it checks before it takes the record."""

from __future__ import annotations

import re
from typing import Final

MAX_REPEAT: Final = 255
CLASSES: Final = {
    b"alnum",
    b"alpha",
    b"blank",
    b"cntrl",
    b"digit",
    b"graph",
    b"lower",
    b"print",
    b"punct",
    b"space",
    b"upper",
    b"xdigit",
}
NO_DELIMITER: Final = b"0123456789\\i\0"

_substitution = re.compile(rb"(?:[^\\\0]|\\[^\0])*", re.DOTALL).fullmatch
_bound = re.compile(rb"\{(\d+)(?:,(\d*))?\}").match
_digit = re.compile(rb"\d").match


def is_substitution(text: bytes) -> bool:
    """`!regex!replacement!flags` with any delimiter; nothing at all is right too."""
    if not text:
        return True
    if text[0] in NO_DELIMITER or not _substitution(text[1:]):
        return False
    parts = _split(text[1:], text[0])
    if len(parts) != 3 or parts[2].strip(b"i"):
        return False
    references = [reference[1] - 0x30 for reference in re.findall(rb"\\.", parts[1], re.DOTALL)]
    if 0 in references:
        return False
    groups = groups_of(parts[0])
    return groups is not None and all(number <= groups for number in references if 0 < number < 10)


def _split(text: bytes, delimiter: int) -> list[bytes]:
    """At each delimiter without a backslash before it; flags have none."""
    parts = [bytearray()]
    at = 0
    while at < len(text):
        size = 2 if text[at] == 0x5C else 1
        if text[at] == delimiter:
            parts.append(bytearray())
        else:
            parts[-1] += text[at : at + size]
        at += size
    return [bytes(part) for part in parts]


def groups_of(text: bytes) -> int | None:
    """How many groups an extended regular expression has; None if it is none."""
    return _Regex(text).groups()


class _Wrong(ValueError):
    pass


class _Regex:
    """Goes through an expression once, as far as it goes."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0
        self.opened = self.seen = 0
        self.has_atom = self.is_repeated = self.may_be_empty = False
        self.range = self.range_start = 0

    def groups(self) -> int | None:
        """None where the expression is wrong."""
        try:
            while self.at < len(self.text):
                self._step(self.text[self.at : self.at + 1])
        except _Wrong:
            return None
        return self.seen if self.has_atom and not self.opened else None

    def _step(self, char: bytes) -> None:
        if char == b"\\":
            self._escaped()
        elif char == b"[":
            self._bracket()
        elif char == b"{" and _digit(self.text, self.at + 1):
            self._repeat()
        elif char in b"()|":
            self._group(char)
        elif char in b"^$":
            self._is_now(repeated=True)
        elif char in b"+*?":
            self._check_repeatable()
            self._is_now(repeated=True)
        else:
            self._is_now(repeated=False)

    def _is_now(self, *, repeated: bool, size: int = 1) -> None:
        self.has_atom = True
        self.is_repeated = repeated
        self.at += size

    def _check_repeatable(self) -> None:
        if self.is_repeated or not self.has_atom:
            raise _Wrong

    def _escaped(self) -> None:
        char = self.text[self.at + 1 : self.at + 2]
        if not char or (char in b"123456789" and int(char) > self.seen):
            raise _Wrong
        self._is_now(repeated=False, size=2)

    def _repeat(self) -> None:
        self._check_repeatable()
        found = _bound(self.text, self.at)
        if found is None:
            raise _Wrong
        low, high = int(found[1]), int(found[2] or MAX_REPEAT)
        if low > MAX_REPEAT or high > MAX_REPEAT or low > high:
            raise _Wrong
        self._is_now(repeated=True, size=len(found[0]))

    def _group(self, char: bytes) -> None:
        self.at += 1
        if char == b")":
            if self.opened and not self.has_atom and not self.may_be_empty:
                raise _Wrong
            self.opened -= self.opened > 0
        elif char == b"(":
            self.opened += 1
            self.seen += 1
        elif not self.has_atom:
            raise _Wrong
        self.has_atom = char == b")"
        self.is_repeated = False
        if char != b")":
            self.may_be_empty = char == b"("

    def _bracket(self) -> None:
        """`[…]`, from its first character to behind its last."""
        start = self.at = self.at + 1
        is_negated = False
        while self.at < len(self.text):
            char = self.text[self.at : self.at + 1]
            has_any = self.at > start + is_negated
            if char == b"]" and has_any:
                self.range = 0
                return self._is_now(repeated=False)
            if char == b"^" and not has_any and not is_negated:
                is_negated = True
                self.at += 1
            elif char == b"-" and has_any and self.range != 2:
                self._range()
            elif char == b"[":
                self._named()
            else:
                self._inside(char[0])
        raise _Wrong

    def _range(self) -> None:
        if self.range == 1:
            raise _Wrong
        self.range = 2
        self.at += 1

    def _inside(self, char: int) -> None:
        if self.range == 2 and char < self.range_start:
            raise _Wrong
        self.range -= self.range > 0
        self.range_start = char
        self.at += 1

    def _named(self) -> None:
        """`[.….]`, `[=…=]` or `[:…:]`; a `[` before anything else stands for itself."""
        kind = self.text[self.at + 1 : self.at + 2]
        self.at += 1
        if not kind or kind not in b".=:":
            return
        end = self.text.find(kind + b"]", self.at + 1)
        name = self.text[self.at + 1 : end]
        if end < 0 or not name or (kind == b":" and name not in CLASSES):
            raise _Wrong
        if kind == b".":
            self.range -= self.range > 0
            self.range_start = (name[0] ^ 0x80) - 0x80 if len(name) == 1 else 256  # a char of C has a sign
        elif self.range == 2:
            raise _Wrong
        self.at = end + 2
