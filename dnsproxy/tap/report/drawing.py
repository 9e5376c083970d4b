"""Scalable Vector Graphics by hand: texts, boxes, lines and areas, in colours for light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from dnsproxy.text_table import clean

STYLE: Final = """
svg{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.page{fill:#fff}.panel{fill:#f5f7fa}text{fill:#1d2733}.dim{fill:#66727f}.big{font-size:22px;font-weight:600}
.head{font-size:13px;font-weight:600}.mark{fill:none;stroke:#d5dbe2}.end{text-anchor:end}.middle{text-anchor:middle}
.bar{fill:#2f6fde;fill-opacity:.22}.a{fill:#2f6fde;stroke:#2f6fde}.b{fill:#d9801a;stroke:#d9801a}
.c{fill:#3b9c6d;stroke:#3b9c6d}.d{fill:#8a63c4;stroke:#8a63c4}.bad{fill:#cf3340;stroke:#cf3340}
.area{fill-opacity:.18;stroke-width:1.4}.line{fill:none;stroke-width:1.4}
@media(prefers-color-scheme:dark){.page{fill:#0e1319}.panel{fill:#171e27}text{fill:#dfe5ec}.dim{fill:#8d99a6}
.mark{stroke:#2c3643}.bar{fill:#5b94ff}}
""".strip()
COLOURS: Final = ("a", "b", "c", "d")

Point = tuple[float, float]


class Drawing:
    """Elements of an SVG document, in the order in which they are drawn; all texts are escaped."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._elements: list[str] = []

    def text(self, x: float, y: float, text: str, style: str = "", hint: str = "") -> None:
        """A line of text whose base line is at `y`; the hint is shown when one points at it."""
        title = f"<title>{_safe(hint)}</title>" if hint else ""
        self._add(f'<text x="{_n(x)}" y="{_n(y)}"{_class(style)}>{_safe(text)}{title}</text>')

    def box(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """A filled rectangle, its corners rounded a little."""
        self._add(f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="3"{_class(style)}/>')

    def line(self, points: Sequence[Point], style: str) -> None:
        """From point to point."""
        self._add(f'<path d="{_path(points)}"{_class(style)}/>')

    def area(self, points: Sequence[Point], floor: float, style: str) -> None:
        """What lies between a line and the floor."""
        if points:
            closed = [(points[0][0], floor), *points, (points[-1][0], floor)]
            self._add(f'<path d="{_path(closed)}Z"{_class(style)}/>')

    def document(self, height: float, title: str) -> str:
        """The whole document."""
        size = f'width="{self.width}" height="{_n(height)}" viewBox="0 0 {self.width} {_n(height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{_safe(title)}</title>'
            f'<style>{STYLE}</style><rect class="page" width="100%" height="100%"/>\n'
            + "\n".join(self._elements)
            + "\n</svg>\n"
        )

    def _add(self, element: str) -> None:
        self._elements.append(element)


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""


def _n(number: float) -> str:
    """A coordinate to a tenth of a pixel."""
    return f"{number:.1f}".removesuffix(".0")


def _safe(text: str) -> str:
    return escape(clean(text), quote=False)
