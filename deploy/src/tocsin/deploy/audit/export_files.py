"""The files of an export of the record: what is written last says that it is whole, and what its files are."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tocsin.consumers.audit.completeness import AlertEnds
from tocsin.consumers.audit.export_lines import LINE_BYTES_MAX, Line, decode_line
from tocsin.consumers.audit.findings import Finding, FirstFault, Place, failed
from tocsin.consumers.audit.note import Checkpoint, Note
from tocsin.consumers.audit.sealed_log import CHECKPOINT
from tocsin.consumers.audit.seals import Tiles
from tocsin.consumers.audit.verification import ALERTS_FILE, file_of
from tocsin.consumers.errors import NoteInvalid
from tocsin.deploy.errors import ExportRefused
from tocsin.schemas.directory import Roots
from tocsin.schemas.errors import NameInvalid
from tocsin.schemas.files import sync_folder, write_file
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.signing import fingerprint

MANIFEST: Final = "manifest.json"
MANIFEST_CHECK: Final = "manifest"
FORMAT: Final = "tocsin-export/1"
TILES_FOLDER: Final = "tiles"
_PIECE: Final = 1 << 20


class FileSum(BaseModel):
    """A file's SHA-256, in hex, and its size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    size: int


class Manifest(BaseModel):
    """`manifest.json`. `roots` are public keys in hex; who verifies pins them by something that is not in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    coalition: str
    exported_at: datetime
    roots: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...]
    roots_threshold: int
    root_fingerprints: tuple[str, ...]
    files: dict[str, FileSum]

    def pinned(self, fingerprints: Iterable[str], needed: int | None) -> Roots:
        """The root keys with these fingerprints, of which `needed` must have signed; all of them if not given.

        Raises:
            ExportRefused: a fingerprint is of none of the keys here.
        """
        wanted = {one.lower().replace(" ", "") for one in fingerprints}
        keys = {one: public for public in self.roots if (one := fingerprint(bytes.fromhex(public))) in wanted}
        if wanted - keys.keys():
            raise ExportRefused(
                f"no root key here has the fingerprint {min(wanted - keys.keys())}: the export is of another"
                " coalition, or forged; compare with the paper"
            )
        return Roots(tuple(keys.values()), len(keys) if needed is None else needed)


def sum_of(path: Path) -> FileSum:
    """What the manifest says of a file."""
    found, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
            size += len(piece)
    return FileSum(sha256=found.hexdigest(), size=size)


def names_in(folder: Path) -> Iterator[str]:
    """The names of all files in a folder and below it."""
    for place, _, names in os.walk(folder):
        for name in names:
            yield (Path(place) / name).relative_to(folder).as_posix()


def whose(coalition: str, roots: Roots, exported_at: datetime) -> dict[str, Any]:
    """What a manifest says of the exchange that it is of, and when."""
    return {
        "coalition": coalition,
        "exported_at": exported_at.astimezone(UTC),
        "roots": roots.public_keys,
        "roots_threshold": roots.threshold,
        "root_fingerprints": roots.fingerprints,
    }


def write_manifest(folder: Path, coalition: str, roots: Roots, exported_at: datetime) -> None:
    """Say that the export in a folder is whole; all of it must be durable by then, and nothing be written after."""
    made = Manifest(
        format=FORMAT,
        **whose(coalition, roots, exported_at),
        files={name: sum_of(folder / name) for name in sorted(names_in(folder)) if name != MANIFEST},
    )
    write_file(folder / MANIFEST, made.model_dump_json(indent=1).encode() + b"\n")
    sync_folder(folder)


def alerts_json(alerts: Mapping[str, AlertEnds]) -> bytes:
    """The content of the file of the alert topics."""
    return json.dumps({name: ends._asdict() for name, ends in sorted(alerts.items())}, indent=1).encode() + b"\n"


def parse_alerts(content: bytes) -> dict[str, AlertEnds]:
    """What `alerts_json` wrote. Raises ValueError, TypeError, AttributeError or NameInvalid when it did not."""
    document: dict[str, dict[str, Any]] = json.loads(content)
    found = {name: AlertEnds(**ends) for name, ends in document.items()}
    if alerts_json(found) != content:
        raise ValueError("written in another way")
    for name, ends in found.items():
        AlertTopic.parse(name)
        if type(ends.topic_id) is not str or type(ends.first) is not int or type(ends.end) is not int:
            raise ValueError(f"{name} has no id or no offsets")
    return found


def alerts_in(path: Path) -> tuple[Mapping[str, AlertEnds], str | None]:
    """The alert topics that a file names; none, and why, if it cannot be read."""
    try:
        return parse_alerts(path.read_bytes()), None
    except (OSError, ValueError, TypeError, AttributeError, NameInvalid) as error:
        return {}, f"not the alert topics: {error}"


def note_files(
    folder: Path, said: Mapping[str, FileSum], fault: FirstFault, tick: Callable[[str, int], None], *, part: str = ""
) -> int:
    """Note which of a folder's files are not as its manifest has `said`; how many there are.

    `part` names the folder if that is a part of an archive, which places then begin with.
    """
    before, whole = (f"{part}/", "part") if part else ("", "export")
    there = {*names_in(folder)} - {MANIFEST}
    for name, known in said.items():
        if name not in there:
            fault.note("missing", Place(f"{before}{name}"))
            continue
        tick(f"{before}{name}", 0)
        if sum_of(folder / name) != known:
            fault.note("changed since it was written", Place(f"{before}{name}"))
    for name in sorted(there - said.keys()):
        fault.note(f"not of this {whole}", Place(f"{before}{name}"))
    return len(there)


class ExportFolder:
    """An export that has been written: `verification.Export`.

    Raises:
        ExportRefused: it is none, or not whole.
    """

    def __init__(self, folder: Path, tick: Callable[[str, int], None] = lambda _topic, _line: None) -> None:
        self.folder = folder
        self._tick = tick
        try:
            content = (folder / MANIFEST).read_bytes()
            self.manifest = Manifest.model_validate_json(content)
        except FileNotFoundError as error:
            raise ExportRefused(
                f"{folder}: no {MANIFEST}: not an export, or one that was stopped before its end; make it again"
            ) from error
        except (OSError, ValidationError) as error:
            raise ExportRefused(f"{folder / MANIFEST}: cannot be read: {str(error).splitlines()[0]}") from error
        if self.manifest.format != FORMAT:
            raise ExportRefused(f"{folder}: of the format {self.manifest.format}, and this release reads {FORMAT}")
        suffix = file_of("")
        self.topics: Sequence[str] = sorted(path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}"))
        """The topics that have a file."""
        self.alerts: Mapping[str, AlertEnds]
        """The alert topics; none if their file cannot be read, which `findings` says."""
        self.alerts, self._alerts_fault = alerts_in(folder / ALERTS_FILE)

    @property
    def coalition(self) -> str:
        """As the manifest says."""
        return self.manifest.coalition

    @property
    def exported_ms(self) -> int:
        """As the manifest says."""
        return round(self.manifest.exported_at.timestamp() * 1000)

    def lines(self, topic: str) -> Iterator[Line]:
        """What stands in each line of a topic's file."""
        with (self.folder / file_of(topic)).open("rb", buffering=_PIECE) as file:
            number = 0
            while line := file.readline(LINE_BYTES_MAX):
                number += 1
                if number % 1_000 == 0:
                    self._tick(topic, number)
                yield decode_line(topic, line)

    def tiles(self, topic: str) -> Tiles | None:
        """The files of a topic's log, if they are here and their head can be read."""
        signed = self.head(topic)
        if signed is None:
            return None
        folder = self._log(topic)
        try:
            size = Checkpoint.parse(Note.parse(signed).text).size
        except NoteInvalid:
            size = 0
        names = frozenset(name for name in names_in(folder) if name != CHECKPOINT)
        return Tiles(f"{TILES_FOLDER}/{topic}/", size, names, lambda name: _read(folder / name))

    def head(self, topic: str) -> bytes | None:
        """The signed note that is with a log's files."""
        return _read(self._log(topic) / CHECKPOINT)

    def _log(self, topic: str) -> Path:
        return self.folder / TILES_FOLDER / topic

    def findings(self) -> Iterator[Finding]:
        """Whether the files are those of the manifest, all of them and no others, and can be read."""
        yield self._manifest_finding()
        if self._alerts_fault is not None:
            yield failed("alerts", "export", self._alerts_fault, Place(ALERTS_FILE))

    def _manifest_finding(self) -> Finding:
        fault = FirstFault(MANIFEST_CHECK, "export")
        count = note_files(self.folder, self.manifest.files, fault, self._tick)
        return fault.finding(f"{count} files, as they were written")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
