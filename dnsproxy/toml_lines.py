"""On which line of a TOML file each key, table and list element stands, which its parser does not tell."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BLANK_OR_COMMA = re.compile(r"(?:[ \t\n,]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_LINE_REST = re.compile(r"[^\n]*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_BASIC_STRING = re.compile(r'"((?:[^"\\\n]|\\[^\n])*)"?')
_LITERAL_STRING = re.compile(r"'([^'\n]*)'?")
_BASIC_PIECE = re.compile(r'\\[ \t]*\n[ \t\n]*|\\[^\n]|"{3,5}|\n')  # what moves through a multi-line basic string
_LITERAL_END = re.compile(r"'{3,5}")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(.))")
_NEWLINE_ESCAPE = re.compile(r"\\(?:n|x0[Aa]|u000[Aa]|U0000000[Aa])")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}
LAST_CODE_POINT = 0x10FFFF
MAX_DEPTH = 1000  # of a path; TOML's parsers end far before, by recursion


class Lines:
    """Lines by path: `("server", 0, "forward", 1, "to", 2)` is an element of a list in a table of a table."""

    def __init__(self, lines: dict[KeyPath, int], texts: dict[KeyPath, list[int]]) -> None:
        self.lines = lines
        self.texts = texts

    def line(self, path: KeyPath, text_line: int | None = None) -> int:
        """The line of `path`, or of the nearest thing around it: a missing key is at its table's header.

        With `text_line`, the source of that line (from 0) of a multi-line string's value.
        """
        if text_line is not None and path in self.texts:
            source = self.texts[path]
            return source[max(0, min(text_line, len(source) - 1))]
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def scan(text: str) -> Lines:
    """Find the lines of a document that a TOML parser accepted; what it would not accept gives some lines or none."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return Lines(scanner.lines, scanner.texts)


@dataclass
class _Open:
    """A list or inline table that the scanner is in."""

    path: KeyPath
    count: int  # elements so far; -1 for a table


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self.texts: dict[KeyPath, list[int]] = {}
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._counts: dict[KeyPath, int] = {}  # of [[tables]]

    def document(self) -> None:
        table: KeyPath = ()
        while True:
            self._skip(_BLANK)
            if self.at >= len(self.text):
                return
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_LINE_REST)

    def _header(self) -> KeyPath:
        line = self._line()
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        *parents, last = self._key() or [""]
        for part in parents:
            path = self._newest(self._note_implied(_within(path, part), line))
        path = _within(path, last)
        if is_array:
            self._note_implied(path, line)
            self._counts[path] = self._counts.get(path, 0) + 1
            path = self._newest(path)
        self.lines[path] = line
        return path

    def _newest(self, path: KeyPath) -> KeyPath:
        """Where a header's keys go: into the last of several [[tables]]."""
        return _within(path, self._counts[path] - 1) if path in self._counts else path

    def _pair(self, table: KeyPath) -> None:
        path = self._named(table)
        if path is not None:
            self._value(path)

    def _named(self, table: KeyPath) -> KeyPath | None:
        """Read `key =`, and note its line; None, a character further at least, when there is no such thing."""
        line, start = self._line(), self.at
        parts = self._key()
        if not parts or not self._skip(_EQUALS):
            self.at = max(self.at, start + 1)
            return None
        for part in parts[:-1]:
            table = self._note_implied(_within(table, part), line)
        path = _within(table, parts[-1])
        self.lines[path] = line
        return path

    def _note_implied(self, path: KeyPath, line: int) -> KeyPath:
        self.lines.setdefault(path, line)
        return path

    def _key(self) -> list[str]:
        """Read a dotted key; as much of one as there is."""
        self._skip(_SPACE)
        parts = []
        while (part := self._key_part()) is not None:
            parts.append(part)
            if not self._skip(_DOT):
                break
        return parts

    def _key_part(self) -> str | None:
        start = self.at
        if self._skip(_BARE_KEY):
            return self.text[start : self.at]
        if match := _BASIC_STRING.match(self.text, start):
            self.at = match.end()
            return _ESCAPE.sub(_unescape, match[1])
        if match := _LITERAL_STRING.match(self.text, start):
            self.at = match.end()
            return match[1]
        return None

    def _value(self, path: KeyPath) -> None:
        """Walk over a value, and over all that lists and inline tables hold; without recursion, for deep ones."""
        around: list[_Open] = []
        self._item(path, around)
        while around:
            self._skip(_BLANK_OR_COMMA)
            if self.at >= len(self.text):
                return
            if self.text[self.at] in "]}":
                self.at += 1
                around.pop()
            elif around[-1].count < 0:
                inner = self._named(around[-1].path)
                if inner is not None:
                    self._item(inner, around)
            else:
                self._element(around)

    def _element(self, around: list[_Open]) -> None:
        path = _within(around[-1].path, around[-1].count)
        around[-1].count += 1
        self.lines[path] = self._line()
        self._item(path, around)

    def _item(self, path: KeyPath, around: list[_Open]) -> None:
        """Walk over a scalar, or open a list or table."""
        char = self.text[self.at : self.at + 1]
        if char in ("[", "{"):
            self.at += 1
            around.append(_Open(path, 0 if char == "[" else -1))
        elif self.text.startswith(('"""', "'''"), self.at):
            self._multi_line(path)
        elif char in ('"', "'"):
            self._skip(_BASIC_STRING if char == '"' else _LITERAL_STRING)
        else:
            self._skip(_SCALAR)

    def _multi_line(self, path: KeyPath) -> None:
        is_basic = self.text[self.at] == '"'
        self.at += 3
        if self.text.startswith("\n", self.at):
            self.at += 1  # the first newline is no part of the value
        self.texts[path] = self._basic_lines() if is_basic else self._literal_lines()

    def _literal_lines(self) -> list[int]:
        first = self._line()
        match = _LITERAL_END.search(self.text, self.at)
        self.at = match.end() if match else len(self.text)
        return list(range(first, self._line() + 1))

    def _basic_lines(self) -> list[int]:
        """Source of each line of the value: escapes may add lines to it, a backslash at a line's end removes one."""
        sources, begun = [self._line()], self.at
        for match in _BASIC_PIECE.finditer(self.text, self.at):
            self.at = match.end()
            piece = match[0]
            if piece[0] == '"':
                return sources
            if piece == "\n" or _NEWLINE_ESCAPE.match(self.text, match.start()):
                sources.append(self._line())
                begun = self.at
            elif "\n" in piece and not self.text[begun : match.start()].strip():
                sources[-1], begun = self._line(), self.at  # nothing before it: the value's line starts further down
        self.at = len(self.text)
        return sources

    def _line(self) -> int:
        return bisect_right(self._newlines, self.at - 1) + 1

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Step over what matches; whether that was anything."""
        match = pattern.match(self.text, self.at)
        if match is None or match.end() == self.at:
            return False
        self.at = match.end()
        return True


def _within(path: KeyPath, part: str | int) -> KeyPath:
    """The path of something in `path`; deeper than any parser goes, of `path` itself."""
    return (*path, part) if len(path) < MAX_DEPTH else path


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits is None:
        return _ESCAPED.get(match[4], match[4])
    code = int(digits, 16)
    return chr(code) if code <= LAST_CODE_POINT else ""
