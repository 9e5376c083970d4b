"""The report as a page of its own: the picture, and the tables to copy from; nothing is fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from dnsproxy.tap.report.amounts import grouped
from dnsproxy.tap.report.summary import Summary
from dnsproxy.tap.report.svg import svg
from dnsproxy.text_table import clean

STYLE: Final = """
body{margin:0 auto;max-width:960px;font:14px system-ui,sans-serif;background:#fff;color:#1d2733}
svg{width:100%;height:auto}summary{cursor:pointer;padding:8px 24px;color:#66727f}
.tables{display:flex;flex-wrap:wrap;gap:24px;padding:0 24px 24px}table{border-collapse:collapse}
caption{text-align:left;font-weight:600;padding:4px 0}td{padding:2px 12px 2px 0}td+td{text-align:right}
@media(prefers-color-scheme:dark){body{background:#0e1319;color:#dfe5ec}}
""".strip()


def html(summary: Summary, title: str) -> str:
    """An HTML document."""
    lists = [
        ("Message types", summary.types),
        ("Protocols", summary.protocols),
        ("Record types", summary.qtypes),
        ("Response codes", summary.rcodes),
        ("Names", summary.names),
        ("Clients", summary.clients),
        ("Upstreams", summary.upstreams),
    ]
    tables = "\n".join(_table(heading, rows) for heading, rows in lists if rows)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{_safe(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n{svg(summary, title)}'
        f'<details><summary>All numbers</summary>\n<div class="tables">\n{tables}\n</div></details>\n</html>\n'
    )


def _table(heading: str, rows: Sequence[tuple[str, int]]) -> str:
    cells = "".join(f"<tr><td>{_safe(value)}<td>{grouped(count)}" for value, count in rows)
    return f"<table><caption>{heading}</caption>{cells}</table>"


def _safe(text: str) -> str:
    return escape(clean(text))
