"""An archive of the record on write-once storage: numbered parts, each what came since the part before.

A file is created once, for reading only, and never renamed, changed or deleted. A part is finished by its manifest,
which is written last and names the manifest of the finished part before by its SHA-256. What a run that was stopped
left behind stays; the next finished part names it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from tocsin.consumers.audit.export_lines import encode_line
from tocsin.consumers.audit.verification import ALERTS_FILE, file_of
from tocsin.deploy.audit.export_files import MANIFEST, Manifest, sum_of, whose
from tocsin.deploy.errors import ArchiveRefused
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.directory import Roots
from tocsin.schemas.files import sync_folder

FORMAT: Final = "tocsin-archive/1"
_PART: Final = re.compile(r"[0-9]{6}")
_READ_ONLY: Final = 0o444

New = Callable[[Path], BinaryIO]
"""Creates a file that was not there, and opens it for writing."""


class Reached(BaseModel):
    """How far a topic is in the archive: its id, and the offset of the next record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic_id: str
    next_offset: int


class Previous(BaseModel):
    """The finished part before, and the SHA-256 of its manifest in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: str
    sha256: str


class PartManifest(Manifest):
    """`manifest.json` of a part. `left` are the parts since the `previous` one that were begun and never finished."""

    part: str
    previous: Previous | None
    left: tuple[str, ...]
    reached: dict[str, Reached]


class Finished(NamedTuple):
    """A part that has its manifest."""

    name: str
    manifest: PartManifest
    sha256: str


class Source(Protocol):
    """Where the records come from."""

    @property
    def coalition(self) -> str:
        """Whose record it is."""
        ...

    @property
    def roots(self) -> Roots:
        """The root keys of its directory."""
        ...

    def alerts(self) -> bytes:
        """The content of the file of the alert topics."""
        ...

    def groups(self) -> Iterator[Mapping[str, str]]:
        """The topics, in the order in which they are to be read, some at a time; each with its id."""
        ...

    def read(self, places: Mapping[str, int], take: Callable[[BusRecord], None]) -> Mapping[str, int]:
        """Give `take` the records of these topics, each from its offset on. The offset at which each goes on.

        Raises:
            ArchiveRefused: records from there on are gone.
        """
        ...


def new_file(path: Path) -> BinaryIO:
    """Create a file that nobody can write again. Raises FileExistsError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _READ_ONLY), "wb")


def part_names(archive: Path) -> list[str]:
    """The parts that there are, finished or not, in order.

    Raises:
        ArchiveRefused: something else is there.
    """
    names = sorted(path.name for path in archive.iterdir())
    other = [name for name in names if not _PART.fullmatch(name)]
    if other:
        raise ArchiveRefused(f"{archive / other[0]}: no part of an archive; name a folder that holds nothing else")
    return names


def finished(archive: Path, name: str) -> Finished | None:
    """The part of this name, if it has its manifest. One that cannot be read is none: its run was stopped in it."""
    try:
        content = (archive / name / MANIFEST).read_bytes()
        manifest = PartManifest.model_validate_json(content)
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    if manifest.format != FORMAT:
        raise ArchiveRefused(f"{archive / name}: of the format {manifest.format}, and this release knows {FORMAT}")
    return Finished(name, manifest, hashlib.sha256(content).hexdigest())


def add_part(archive: Path, source: Source, at: datetime, new: New = new_file) -> tuple[str, dict[str, int]]:
    """Add to the archive what came since its last finished part: the new part, and how many records each file has.

    Raises:
        ArchiveRefused: another run is at work, it is of another coalition, or records are gone that it does not have.
    """
    archive.mkdir(parents=True, exist_ok=True)
    with _locked(archive):
        names = part_names(archive)
        parts = [part for name in names if (part := finished(archive, name)) is not None]
        return _Part(archive, names, parts[-1] if parts else None, new).write(source, at)


@contextmanager
def _locked(archive: Path) -> Generator[None]:
    """For one run at a time; no file says so, since none could be removed."""
    descriptor = os.open(archive, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArchiveRefused(f"{archive}: another run is at work in it; wait for its end") from error
        yield
    finally:
        os.close(descriptor)


class _Part:
    """The part that is being written."""

    def __init__(self, archive: Path, names: list[str], before: Finished | None, new: New) -> None:
        self._archive = archive
        self._before = before
        self._new = new
        self._left = tuple(name for name in names if before is None or name > before.name)
        self._name = f"{int(names[-1]) + 1 if names else 1:06}"
        self._folder = archive / self._name
        self._reached = {} if before is None else dict(before.manifest.reached)

    def write(self, source: Source, at: datetime) -> tuple[str, dict[str, int]]:
        if self._before is not None and self._before.manifest.coalition != source.coalition:
            theirs = self._before.manifest.coalition
            raise ArchiveRefused(f"{self._archive}: of coalition {theirs}, not {source.coalition}; name another folder")
        self._folder.mkdir()
        self._create(ALERTS_FILE, source.alerts())
        made: dict[str, int] = {}
        for topics in source.groups():
            made |= self._copy(source, topics)
        sync_folder(self._folder)
        self._create(MANIFEST, self._manifest(source, at).model_dump_json(indent=1).encode() + b"\n")
        sync_folder(self._folder)
        sync_folder(self._archive)
        return self._name, made

    def _copy(self, source: Source, topics: Mapping[str, str]) -> dict[str, int]:
        count = dict.fromkeys(topics, 0)
        with ExitStack() as stack:
            files = {topic: stack.enter_context(self._new(self._folder / file_of(topic))) for topic in topics}

            def take(record: BusRecord) -> None:
                files[record.topic].write(encode_line(record))
                count[record.topic] += 1

            ends = source.read({topic: self._next(topic, topic_id) for topic, topic_id in topics.items()}, take)
            for file in files.values():
                _make_durable(file)
        self._reached |= {
            topic: Reached(topic_id=topic_id, next_offset=ends[topic]) for topic, topic_id in topics.items()
        }
        return {file_of(topic): number for topic, number in count.items()}

    def _next(self, topic: str, topic_id: str) -> int:
        known = self._reached.get(topic)
        if known is None:
            return 0
        if known.topic_id != topic_id:
            raise ArchiveRefused(
                f"{topic}: deleted and made again since part {self._before.name if self._before else ''};"
                " keep this archive as it is, and begin another in a new folder"
            )
        return known.next_offset

    def _create(self, name: str, content: bytes) -> None:
        with self._new(self._folder / name) as file:
            file.write(content)
            _make_durable(file)

    def _manifest(self, source: Source, at: datetime) -> PartManifest:
        before = self._before
        return PartManifest(
            format=FORMAT,
            **whose(source.coalition, source.roots, at),
            files={path.name: sum_of(path) for path in sorted(self._folder.iterdir())},
            part=self._name,
            previous=None if before is None else Previous(part=before.name, sha256=before.sha256),
            left=self._left,
            reached=self._reached,
        )


def _make_durable(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
