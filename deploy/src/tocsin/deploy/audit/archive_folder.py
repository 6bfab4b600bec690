"""An archive of the record, read as one export: its parts are checked one by one, their records follow each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tocsin.consumers.audit.completeness import AlertEnds
from tocsin.consumers.audit.export_lines import LINE_BYTES_MAX, Line, decode_line
from tocsin.consumers.audit.findings import Finding, FirstFault, Place, failed
from tocsin.consumers.audit.seals import Tiles
from tocsin.consumers.audit.verification import ALERTS_FILE, file_of
from tocsin.deploy.audit.archive_files import Finished, Previous, finished, part_names
from tocsin.deploy.audit.export_files import MANIFEST, MANIFEST_CHECK, ExportFolder, alerts_in, note_files
from tocsin.deploy.errors import ArchiveRefused

Tick = Callable[[str, int], None]
_LINES: Final = file_of("")


class ArchiveFolder:
    """An archive: `verification.Export`. Without the logs' own files, which later parts could not replace.

    Raises:
        ArchiveRefused: it is none, or has no finished part.
    """

    def __init__(self, folder: Path, tick: Tick = lambda _what, _line: None) -> None:
        self.folder = folder
        self._tick = tick
        self._names = part_names(folder)
        self._parts = [part for name in self._names if (part := finished(folder, name)) is not None]
        if not self._parts:
            raise ArchiveRefused(f"{folder}: no part of it has a {MANIFEST}; run `tocsin audit archive` to its end")
        self.manifest = self._parts[-1].manifest
        self.topics: Sequence[str] = sorted(
            {path.name.removesuffix(_LINES) for part in self._parts for path in (folder / part.name).glob(f"*{_LINES}")}
        )
        self.alerts: Mapping[str, AlertEnds]
        """The alert topics as of the last part; none if their file cannot be read, which `findings` says."""
        self.alerts, self._alerts_fault = alerts_in(folder / self._parts[-1].name / ALERTS_FILE)
        self._begins: dict[str, list[tuple[int, str]]] = {}

    @property
    def coalition(self) -> str:
        """As the last manifest says."""
        return self.manifest.coalition

    @property
    def exported_ms(self) -> int:
        """When the last part was written, as its manifest says."""
        return round(self.manifest.exported_at.timestamp() * 1000)

    def lines(self, topic: str) -> Iterator[Line]:
        """What stands in each line of a topic's files, part by part."""
        begins = self._begins[topic] = []
        number = 0
        for part in self._parts:
            path = self.folder / part.name / file_of(topic)
            if not path.is_file():
                continue
            begins.append((number, part.name))
            with path.open("rb") as file:
                while line := file.readline(LINE_BYTES_MAX):
                    number += 1
                    if number % 1_000 == 0:
                        self._tick(topic, number)
                    yield decode_line(topic, line)

    def tiles(self, topic: str) -> Tiles | None:  # noqa: ARG002  # as the protocol names it
        """None: an archive does not have the logs' own files."""
        return None

    def head(self, topic: str) -> bytes | None:  # noqa: ARG002  # as the protocol names it
        """None, as of `tiles`."""
        return None

    def located(self, finding: Finding) -> Finding:
        """The finding with its places in files of the archive, where it counts lines through all parts."""
        return replace(finding, places=tuple(one for place in finding.places for one in self._places(place)))

    def _places(self, place: Place) -> Iterator[Place]:
        if place.file == ALERTS_FILE:
            yield place._replace(file=f"{self._parts[-1].name}/{place.file}")
            return
        begins = self._begins.get(place.file.removesuffix(_LINES), []) if place.line is not None else []
        if place.line is None or not begins:
            yield place
            return
        last = place.last_line or place.line
        for (before, part), (after, _) in zip(begins, [*begins[1:], (last, "")], strict=True):
            if before < last and place.line <= max(after, before + 1):
                first_here, last_here = max(place.line - before, 1), min(last, max(after, before + 1)) - before
                one = None if place.last_line is None else last_here
                yield Place(f"{part}/{place.file}", first_here, one, place.offset)

    def findings(self) -> Iterator[Finding]:
        """Whether the parts are those that were written, in their order, and none is missing in between."""
        before: Finished | None = None
        for part in self._parts:
            yield self._part_finding(part, before)
            before = part
        for name in self._names:
            if name > self._parts[-1].name:
                what = "unfinished: its run was stopped, or is at work; the next run leaves it and says so"
                yield failed(MANIFEST_CHECK, name, what, Place(name))
        if self._alerts_fault is not None:
            yield failed("alerts", "archive", self._alerts_fault, Place(f"{self._parts[-1].name}/{ALERTS_FILE}"))

    def _part_finding(self, part: Finished, before: Finished | None) -> Finding:
        fault = FirstFault(MANIFEST_CHECK, part.name)
        manifest, place = part.manifest, Place(f"{part.name}/{MANIFEST}")
        if manifest.part != part.name:
            fault.note(f"it is part {manifest.part}", place)
        if manifest.coalition != self.coalition:
            fault.note(f"of coalition {manifest.coalition}", place)
        if manifest.previous != (None if before is None else Previous(part=before.name, sha256=before.sha256)):
            wanted = manifest.previous.part if manifest.previous else "none"
            fault.note(f"the part before it, {wanted}, is missing or was changed", place)
        between = [name for name in _numbers(before, part) if name not in manifest.left]
        for name in (*between, *(name for name in manifest.left if name not in self._names)):
            fault.note(f"part {name} is missing, or its {MANIFEST} cannot be read", Place(name))
        note_files(self.folder / part.name, manifest.files, fault, self._tick, part=part.name)
        return fault.finding(f"{len(manifest.files)} files, as they were written{_said_of(manifest.left)}")


def _numbers(before: Finished | None, part: Finished) -> Iterator[str]:
    """The numbers between two parts."""
    return (f"{number:06}" for number in range(int(before.name) + 1 if before else 1, int(part.name)))


def _said_of(left: Sequence[str]) -> str:
    return f"; {', '.join(left)} before it was begun and never finished, and is no part" if left else ""


def opened(folder: Path, tick: Tick) -> ExportFolder | ArchiveFolder:
    """What is verified: an archive, if there are parts, or else an export.

    Raises:
        ExportRefused, ArchiveRefused: it is neither, or not whole.
    """
    is_export = (folder / MANIFEST).exists() or not any(path.name.isdigit() for path in folder.iterdir())
    return ExportFolder(folder, tick) if is_export else ArchiveFolder(folder, tick)
