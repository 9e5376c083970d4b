"""Lines of aligned columns for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "


def aligned(rows: Sequence[Sequence[object]], right: Sequence[int] = ()) -> list[str]:
    """One line per row, columns as wide as their widest cell; those numbered in `right` end at the right."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [_line(row, widths, right) for row in cells]


def clean(value: object) -> str:
    """Text that cannot move the cursor."""
    text = str(value)
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def _line(row: list[str], widths: list[int], right: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if number in right else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return GAP.join(padded).rstrip()
