"""Opens the index of the record for a question, brought up to date first, and says what there is to say of that."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tocsin.consumers.audit.index import Index, index_as_it_is, on_disk
from tocsin.consumers.audit.record_reader import RecordReader, Updated
from tocsin.deploy.policy.rows import AUDITOR
from tocsin.schemas.bundle import Bundle

FILE: Final = "index.sqlite"

StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="FOLDER", help="Where the index is; by default `audit` under the login's folder."),
]
BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", metavar="DIR", help="An officer's bundle, in place of the auditor's under --home."),
]
UpdateOption = Annotated[bool, typer.Option("--update/--no-update", help="Bring the index up to date first.")]

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the record is read, by whom, and the file of the index."""

    bundle: Bundle
    path: Path
    update: bool

    @classmethod
    def of(cls, home: Path, state: Path | None, bundle: Path | None, *, update: bool = True) -> Source:
        """By the auditor's bundle under `home`, or by `bundle`. Raises BundleInvalid."""
        folder = state or (home if bundle is None else bundle) / "audit"
        return cls(Bundle.load(bundle or home / "services" / AUDITOR), folder / FILE, update)

    def ask(self, question: Callable[[Index], Answer]) -> Answer:
        """The answer. An index that turns out to be damaged is made anew and asked again.

        Raises:
            TocsinConsumerError: the topics cannot be read, or the index not be asked.
        """
        if self.update:
            index, _ = self.updated()
        else:
            index = index_as_it_is(self.path, self.bundle.config.login)
        with on_disk(self.path):
            try:
                return _put(index, question)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                index, _ = self.updated(anew=f"its file is damaged ({error})")
                return _put(index, question)

    def updated(self, *, anew: str | None = None, silent: bool = False) -> tuple[Index, Updated]:
        """The index with all that is on record now; `silent` says nothing of what is left out."""
        with RecordReader(self.bundle) as reader, _progress() as progress:
            index, updated = reader.update(self.path, progress, anew=anew)
        if updated.rebuilt is not None:
            say(f"the index was made anew: {updated.rebuilt}")
        if updated.left_out and updated.left_out != updated.left_out_before and not silent:
            say(left_out_text(self.bundle.config.login, updated))
        return index, updated


def left_out_text(login: str, updated: Updated) -> str:
    """What is not in the index."""
    return f"left out, as {login} may not read it: {', '.join(updated.left_out)}"


def say(what: str) -> None:
    """Say something beside the answer."""
    print(f"tocsin: {what}", file=sys.stderr)  # noqa: T201  # one clear line for people


def _put(index: Index, question: Callable[[Index], Answer]) -> Answer:
    try:
        return question(index)
    finally:
        index.close()


@contextmanager
def _progress() -> Generator[Callable[[int, int], None]]:
    """Shows, on a terminal, how far the record has been read."""
    console = Console(stderr=True)
    words, bar = TextColumn("reading the record"), BarColumn()
    columns = (words, bar, MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
