"""The heads of sealed logs that a member was shown in tests of its line: kept, and compared by their size.

Two heads of one size must have one root. Heads of different sizes are not compared here: that needs a proof from the
log's tiles, which is a witness's work (`witnessing`).

heads.json    of each log the heads, and when the exchange told each; the same file goes to other members
forks/        heads that contradict each other (`evidence`)
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from tocsin.consumers.audit.evidence import keep_fork
from tocsin.consumers.audit.note import Checkpoint, Note, Verifier
from tocsin.consumers.audit.shown import Fork, Shown
from tocsin.consumers.errors import LogInvalid, NoteInvalid
from tocsin.schemas.files import write_file

HEADS: Final = "heads.json"
KEPT_MAX: Final = 1_000
"""How many heads of a log are kept, the newest: of six weeks, where the line is tested hourly."""


class HeadFound(StrEnum):
    """What was found of a head. NEW: none of its size was shown before, so there is nothing to compare it with."""

    NEW = "new"
    SAME = "same"
    FORKED = "forked"
    WENT_BACK = "went-back"
    REFUSED = "refused"
    NOT_KEPT = "not-kept"


class Kept(NamedTuple):
    """A head that was shown, a signed note, and when it was told first (milliseconds since 1970)."""

    issued_at: int
    note: bytes

    @property
    def head(self) -> Checkpoint:
        """What it says."""
        return Checkpoint.parse(Note.parse(self.note).text)


ByTopic: TypeAlias = dict[str, list[Kept]]
"""The heads of each sealed topic's log."""


class Taken(NamedTuple):
    """What became of a head; `evidence` is the folder of a fork."""

    found: HeadFound
    evidence: Path | None = None


class HeadsKept:
    """In the file `path`, which processes may share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def folder(self) -> Path:
        """Where the file and the evidence are."""
        return self._path.parent

    def read(self) -> ByTopic:
        """What is kept.

        Raises:
            LogInvalid: the file is damaged.
        """
        try:
            return read_heads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except NoteInvalid as error:
            raise LogInvalid(
                f"{self._path}: damaged; move it away, and keep it: it says what you were shown"
            ) from error

    def take(self, topic: str, shown: Shown, issued_at: int) -> Taken:
        """Compare a head, which the exchange told at `issued_at`, with those that were shown before, and keep it.

        Raises:
            LogInvalid, OSError: it cannot be kept.
        """
        with self._locked():
            heads = self.read()
            mine = heads.setdefault(topic, [])
            before = next((one for one in mine if one.head.size == shown.head.size), None)
            if before is not None and before.head != shown.head:
                fork = Fork(Shown(before.note, before.head, shown.log), shown)
                return Taken(HeadFound.FORKED, keep_fork(self.folder, topic, fork))
            larger = any(one.head.size > shown.head.size and one.issued_at < issued_at for one in mine)
            if before is None:
                heads[topic] = sorted([*mine, Kept(issued_at, shown.note)])[-KEPT_MAX:]
                write_file(self._path, encode_heads(heads))
        if larger:
            return Taken(HeadFound.WENT_BACK)
        return Taken(HeadFound.NEW if before is None else HeadFound.SAME)

    @contextmanager
    def _locked(self) -> Generator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f".{self._path.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


# -- as a file -------------------------------------------------------------------------------------------------------


def encode_heads(heads: Mapping[str, Iterable[Kept]]) -> bytes:
    """The file that holds these heads, as `read_heads` reads it."""
    document = {
        topic: [{"issued_at": one.issued_at, "note": one.note.decode()} for one in kept]
        for topic, kept in sorted(heads.items())
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def read_heads(data: bytes) -> ByTopic:
    """The heads in a file, which may be somebody else's: whose signature they have is not said.

    Raises:
        NoteInvalid: it is no such file.
    """
    try:
        document: dict[str, list[dict[str, Any]]] = json.loads(data)
        return {topic: [_kept(one) for one in kept] for topic, kept in document.items()}
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError, NoteInvalid) as error:
        raise NoteInvalid("not a file of heads, as `tocsin audit heads --out` writes it") from error


def _kept(row: Mapping[str, Any]) -> Kept:
    found = Kept(int(row["issued_at"]), str(row["note"]).encode())
    Checkpoint.parse(Note.parse(found.note).text)
    return found


# -- two members' ----------------------------------------------------------------------------------------------------


class Side(NamedTuple):
    """How the heads of one log that two were shown compare: `same` have a size that both have, `apart` do not."""

    same: list[Checkpoint]
    apart: int
    forks: list[Fork]


def compare_sizes(ours: Iterable[Kept], theirs: Iterable[Shown], log: Verifier) -> Side:
    """Compare heads that were shown here with heads of the same log that were shown elsewhere, size by size."""
    mine = {one.head.size: one for one in ours}
    found = Side([], 0, [])
    for one in theirs:
        known = mine.get(one.head.size)
        if known is None:
            found = found._replace(apart=found.apart + 1)
        elif known.head == one.head:
            found.same.append(one.head)
        else:
            found.forks.append(Fork(Shown(known.note, known.head, log), one))
    return found
