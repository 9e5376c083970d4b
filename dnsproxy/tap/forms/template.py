"""What `--format TEMPLATE` prints: a line per message, made from labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dnsproxy.tap.damage import tell
from dnsproxy.tap.forms.json_lines import KEYS, values_of
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.labels import Value, shown, split, value_of

FRAME: Final = "frame"  # a key that lines have only where it is wanted
Part = Callable[[TapFrame, dict[str, Any]], object]


class TemplateForm:
    """A label that means nothing stays as it is written; that is told once, when the form is made."""

    def __init__(self, template: str) -> None:
        self._parts: list[str | Part] = []
        self._has_keys = self._has_frame = False
        for number, piece in enumerate(split(template)):
            self._parts.append(self._part(piece) if number % 2 else piece)

    def write(self, frame: TapFrame) -> str:
        """One line."""
        values = values_of(frame, octets=self._has_frame) if self._has_keys else {}
        return "".join([part if isinstance(part, str) else shown(part(frame, values)) for part in self._parts]) + "\n"

    def _part(self, label: str) -> str | Part:
        key = label.removeprefix(".")
        if label.startswith(".") and key in {*KEYS, FRAME}:
            self._has_keys = True
            self._has_frame |= key == FRAME
            return lambda _frame, values: values[key]
        value = value_of(label)
        if value is not None:
            return _of_frame(value)
        tell(f"dnsproxy tap: --format: {{{label}}} is no label, and stays as it is")
        return f"{{{label}}}"


def _of_frame(value: Value) -> Part:
    return lambda frame, _values: value(frame)
