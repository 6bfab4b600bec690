"""A report as files: one page of HTML to read or print, and CSV for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Final

from tocsin.consumers.audit.report import Cell, Table
from tocsin.deploy.errors import ReportNotWritten
from tocsin.deploy.html_page import page
from tocsin.schemas.files import write_file

FILE_MODE: Final = 0o600
"""It says who was given how much."""


def csv_text(table: Table) -> str:
    """A table as CSV (RFC 4180). A text that a spreadsheet would take for a formula begins with an apostrophe."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(map(_harmless, table.columns))
    writer.writerows([_harmless(value) for value in row] for row in table.rows)
    return out.getvalue()


def _harmless(value: Cell) -> Cell:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def write_html(path: Path, title: str, tables: Sequence[Table], missing: Sequence[str]) -> None:
    """Write the page; `missing` is what it could not count. Raises ReportNotWritten."""
    said = ["Times are in UTC. No content of alerts is in the record."]
    if missing:
        said.append(f"Not counted, as it may not be read: {'; '.join(missing)}.")
    _write({path: page(title, said, tables)})


def write_csv(folder: Path, tables: Sequence[Table]) -> None:
    """Write a file for each table. Raises ReportNotWritten."""
    _write({folder / f"{table.name}.csv": csv_text(table) for table in tables})


def _write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        try:
            write_file(path, text.encode(), mode=FILE_MODE)
        except OSError as error:
            raise ReportNotWritten(f"{path}: {error.strerror}; choose another place") from error
