"""`tocsin audit heads`: what a member was shown of the sealed record, and whether others were shown the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from tocsin.consumers.audit.evidence import keep_fork, kept_forks
from tocsin.consumers.audit.heads_kept import HEADS, ByTopic, HeadsKept, Kept, Side, compare_sizes, read_heads
from tocsin.consumers.audit.heads_reader import HeadsReader
from tocsin.consumers.audit.logs import is_sealed, log_keys, origin_of
from tocsin.consumers.audit.note import Checkpoint, Note
from tocsin.consumers.audit.shown import Shown, opened
from tocsin.consumers.directory_watch import read_directory
from tocsin.consumers.errors import NoteInvalid
from tocsin.deploy.commands.publish import AsOption
from tocsin.deploy.output import Output, OutputOption, log_beside_output, show
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.directory import Directory
from tocsin.schemas.files import write_file
from tocsin.schemas.names import CHECKPOINTS_TOPIC

FORKED: Final = 3
INBOX: Final = "inbox"

Row = Mapping[str, object]


def heads(
    bundle: AsOption,
    *,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="What another member was shown: its file of --out, or a signed head.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what you were shown, to be sent to other members.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare the heads that tests of your line carried with `audit.checkpoints`, and with what others were shown.

    Exit codes: 0 no contradiction, 3 the record was told in two ways (the evidence is in `forks` in the bundle), or a
    head that you were shown is not in the topic; 1 nothing could be compared with a file.
    """
    log_beside_output()
    opened_bundle = Bundle.load(bundle)
    kept = HeadsKept(opened_bundle.path / HEADS)
    if out is not None:
        write_file(out, mailed_heads(kept))
    directory = read_directory(opened_bundle)
    comparing = Comparing(kept, kept.read(), directory)
    rows = [*comparing.kept_rows()]
    if comparing.heads:
        rows += comparing.with_topic(_checkpoints(opened_bundle))
    for path in compare or ():
        rows += comparing.with_file(str(path), heads_of(path, directory))
    rows += [_row(folder.name, "forks", None, "forked", str(folder)) for folder in kept_forks(kept.folder)]
    show(rows, output, title="heads")
    outcomes = {row["outcome"] for row in rows}
    if outcomes & {"forked", "missing"}:
        raise typer.Exit(FORKED)
    if "nothing in common" in outcomes:
        raise typer.Exit(1)


def _row(log: str, source: str, entries: int | None, outcome: str, detail: str) -> Row:
    return {"log": log, "from": source, "entries": entries, "outcome": outcome, "detail": detail}


@dataclass(frozen=True, slots=True)
class Comparing:
    """What was kept, and the directory that says whose signature counts."""

    kept: HeadsKept
    heads: ByTopic
    directory: Directory

    def kept_rows(self) -> Iterator[Row]:
        """What there is."""
        for topic, mine in self.heads.items():
            first, last = (datetime.fromtimestamp(one.issued_at / 1_000, UTC) for one in (mine[0], mine[-1]))
            detail = f"{len(mine)} heads, first told between {first:%Y-%m-%d %H:%M} and {last:%Y-%m-%d %H:%M}"
            yield _row(topic, INBOX, max(one.head.size for one in mine), "kept", detail)

    def with_topic(self, notes: Iterable[bytes]) -> Iterator[Row]:
        """What was kept against all heads in `audit.checkpoints`: each of ours must be there, and no other."""
        sizes = {(topic, one.head.size) for topic, mine in self.heads.items() for one in mine}
        theirs = [one for one in _opened(notes, self.directory) if (_topic(one.head), one.head.size) in sizes]
        for topic, mine in self.heads.items():
            side = self._compare(topic, mine, theirs)
            there = {one.head.size for one in theirs if _topic(one.head) == topic}
            missing = [one for one in mine if one.head.size not in there]
            yield from self._forked(topic, CHECKPOINTS_TOPIC, side)
            for one in missing:
                at = datetime.fromtimestamp(one.issued_at / 1_000, UTC)
                detail = f"you were shown it on {at:%Y-%m-%d %H:%M}, and it is not there"
                yield _row(topic, CHECKPOINTS_TOPIC, one.head.size, "missing", detail)
            if not side.forks and not missing:
                detail = f"all {len(mine)} heads are there"
                yield _row(topic, CHECKPOINTS_TOPIC, max(one.head.size for one in mine), "same", detail)

    def with_file(self, name: str, theirs: Sequence[Shown]) -> Iterator[Row]:
        """What was kept against what another member was shown."""
        for topic in sorted({*self.heads, *(_topic(one.head) for one in theirs)}):
            side = self._compare(topic, self.heads.get(topic, []), theirs)
            yield from self._forked(topic, name, side)
            if side.same:
                detail = f"{len(side.same)} heads of the same size; {side.apart} of sizes that you were not shown"
                yield _row(topic, name, max(one.size for one in side.same), "same", detail)
            elif not side.forks:
                yield _row(topic, name, None, "nothing in common", f"no size that both were shown; {side.apart} others")

    def _compare(self, topic: str, mine: Iterable[Kept], theirs: Iterable[Shown]) -> Side:
        of_topic = [one for one in theirs if _topic(one.head) == topic]
        return compare_sizes(mine, of_topic, log_keys(self.directory, topic)[0])

    def _forked(self, topic: str, name: str, side: Side) -> Iterator[Row]:
        for fork in side.forks:
            evidence = keep_fork(self.kept.folder, topic, fork)
            yield _row(topic, name, fork.offered.head.size, "forked", str(evidence))


def _topic(head: Checkpoint) -> str:
    return head.origin.rpartition("/")[2]


def _opened(notes: Iterable[bytes], directory: Directory) -> Iterator[Shown]:
    """The heads that the sealer has signed. What anybody else has says nothing of the log."""
    for note in notes:
        try:
            head = Checkpoint.parse(Note.parse(note).text)
            topic = _topic(head)
            if is_sealed(topic) and head.origin == origin_of(directory.coalition, topic):
                yield opened(note, log_keys(directory, topic))
        except NoteInvalid:
            continue


def mailed_heads(kept: HeadsKept) -> bytes:
    """The file for another member.

    Raises:
        NoteInvalid: there is nothing in it yet.
        LogInvalid: it is damaged.
    """
    path = kept.folder / HEADS
    kept.read()
    if not path.exists():
        raise NoteInvalid(f"{path}: no test of your line has brought a head yet; read your inbox with `tocsin inbox`")
    return path.read_bytes()


def heads_of(path: Path, directory: Directory) -> list[Shown]:
    """What another member was shown.

    Raises:
        NoteInvalid: it is no file of heads, or none of them is one that counts here.
    """
    data = path.read_bytes()
    try:
        notes = [one.note for mine in read_heads(data).values() for one in mine]
    except NoteInvalid as refusal:
        try:
            Note.parse(data)
        except NoteInvalid:
            raise NoteInvalid(f"{path}: {refusal}") from refusal
        notes = [data]
    found = [*_opened(notes, directory)]
    if len(found) < len(notes):
        raise NoteInvalid(
            f"{path}: {len(notes) - len(found)} heads that no key of the sealer has signed; ask for another"
        )
    return found


def _checkpoints(bundle: Bundle) -> list[bytes]:
    with closing(HeadsReader(bundle)) as reader:
        return reader.read()
