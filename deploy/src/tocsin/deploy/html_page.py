"""Tables as one self-contained page: to be read on a telephone, by keyboard, or printed. All text is escaped. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from tocsin.consumers.audit.report import Cell, Table

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; }
nav ul { padding-left: 1.2rem; }
.table { margin: 2rem 0; overflow-x: auto; }
.table:focus-visible { outline: 3px solid Highlight; }
table { border-collapse: collapse; width: 100%; }
caption { font-size: 1.2rem; font-weight: bold; padding: .4rem 0; text-align: left; }
th, td { border-bottom: 1px solid GrayText; padding: .3rem .6rem; text-align: left; vertical-align: top; }
thead th { border-bottom-width: 2px; }
tbody th { font-weight: normal; }
.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
td, tbody th { overflow-wrap: anywhere; }
@media print {
  :root { color-scheme: light; }
  body { font-size: 9pt; margin: 0; max-width: none; padding: 0; }
  nav { display: none; }
  .table { overflow: visible; }
  thead { display: table-header-group; }
  tr, caption { break-inside: avoid; }
}
"""


def page(title: str, said: Sequence[str], tables: Sequence[Table], *, head: str = "", top: str = "") -> str:
    """A page without scripts: what is `said` stands above the tables. `head` and `top` are HTML for its two parts."""
    links = "\n".join(f'<li><a href="#{escape(one.name)}">{escape(one.title)}</a></li>' for one in tables)
    words = "\n".join(f"<p>{escape(one)}</p>" for one in said)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n{head}<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n{words}\n{top}"
        f'</header>\n<nav aria-label="Tables">\n<ul>\n{links}\n</ul>\n</nav>\n<main>\n'
        + "\n".join(map(_table, tables))
        + "\n</main>\n</body>\n</html>\n"
    )


def _table(one: Table) -> str:
    name = escape(one.name)
    numeric = [_is_numeric([row[at] for row in one.rows]) for at in range(len(one.columns))]
    heads = "".join(
        f'<th scope="col"{_CLASS if number else ""}>{escape(column)}</th>'
        for column, number in zip(one.columns, numeric, strict=True)
    )
    rows = "\n".join(_row(row, numeric) for row in one.rows)
    nothing = f'<tr><td colspan="{len(one.columns)}">nothing</td></tr>'
    note = f"<p>{escape(one.note)}</p>\n" if one.note else ""
    # what scrolls must be reachable by keyboard, and so have a name
    return (
        f'<section id="{name}">\n<div class="table" role="region" tabindex="0" aria-labelledby="{name}-caption">\n'
        f'<table>\n<caption id="{name}-caption">{escape(one.title)}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows or nothing}\n</tbody>\n</table>\n</div>\n{note}</section>"
    )


_CLASS: Final = ' class="number"'


def _is_numeric(values: Sequence[Cell]) -> bool:
    return any(isinstance(value, (int, float)) for value in values)


def _row(row: Sequence[Cell], numeric: Sequence[bool]) -> str:
    first, *rest = row
    cells = "".join(
        f"<td{_CLASS if number else ''}>{escape(_said(value))}</td>"
        for value, number in zip(rest, numeric[1:], strict=True)
    )
    return f'<tr><th scope="row">{escape(_said(first))}</th>{cells}</tr>'


def _said(value: Cell) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value)
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else value
