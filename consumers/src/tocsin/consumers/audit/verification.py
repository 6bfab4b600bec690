"""Verifies the record of an exchange offline: whether what was decided is there, sealed, and by ACLs on record. Pure.

Nothing is believed but the pinned root keys. They vouch for the directory, it for the sealer's keys, these for the
heads of the logs, the heads for the records, and a digest in a record for the ACLs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from tocsin.consumers.audit.completeness import AlertEnds, Grants, LaneRecord
from tocsin.consumers.audit.deliveries import Deliveries
from tocsin.consumers.audit.export_lines import Line, Unreadable
from tocsin.consumers.audit.facts import RECORD_BYTES_MAX, decision_of, seal_of_decision
from tocsin.consumers.audit.findings import Finding, FirstFault, Place, failed, passed, unchecked
from tocsin.consumers.audit.given import Scratch
from tocsin.consumers.audit.heads import CLOCKS_APART_MS, Head, Heads
from tocsin.consumers.audit.logs import is_lane_record, is_sealed
from tocsin.consumers.audit.seals import Seals, Tiles
from tocsin.consumers.audit.tiles import TILE_WIDTH, read_bundle
from tocsin.consumers.errors import LogInvalid, NoteInvalid
from tocsin.consumers.snapshots import Snapshots
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import content_of
from tocsin.schemas.directory import Directory, Roots, open_directory
from tocsin.schemas.errors import DirectoryInvalid
from tocsin.schemas.names import (
    ACL_AUDIT_TOPIC,
    CHECKPOINTS_TOPIC,
    DIRECTORY_TOPIC,
    POLICY_AUDIT_TOPIC,
    AlertTopic,
    audit_topic,
)
from tocsin.schemas.verify import Verifier

DIRECTORY: Final = "directory"
RECORDS: Final = "records"
KEPT: Final = "kept heads"
ALERTS_FILE: Final = "alerts.json"

_POLICY_CHANGE: Final = schema("policy-change")


class Export(Protocol):
    """What is verified."""

    @property
    def coalition(self) -> str:
        """Whose record it says it is."""
        ...

    @property
    def exported_ms(self) -> int:
        """When it says that it was written, milliseconds since 1970."""
        ...

    @property
    def topics(self) -> Sequence[str]:
        """The topics whose records are here."""
        ...

    @property
    def alerts(self) -> Mapping[str, AlertEnds]:
        """The alert topics, by name."""
        ...

    def lines(self, topic: str) -> Iterator[Line]:
        """What stands in each line of a topic's file."""
        ...

    def tiles(self, topic: str) -> Tiles | None:
        """The files of a topic's log, if they are here."""
        ...

    def head(self, topic: str) -> bytes | None:
        """The signed note that is with those files."""
        ...


class Kept(NamedTuple):
    """A signed head that somebody else kept, and how it is called here."""

    name: str
    signed: bytes


@dataclass(frozen=True, slots=True)
class Verification:
    """How an export is verified. `from_later` takes it that the first records are gone because their time was over.

    What was decided about whom is kept in `scratch` meanwhile; in memory if there is none.
    """

    roots: Roots
    kept: Sequence[Kept] = ()
    from_later: bool = False
    scratch: Scratch | None = None

    def findings(self, export: Export) -> Iterator[Finding]:
        """What each check found, as it ends."""
        directory = newest_directory(export, self.roots)
        if isinstance(directory, Finding):
            yield directory
            why = "the sealer's keys are not known, so nothing that it signed can be"
            yield from (unchecked("seals", topic, why) for topic in export.topics if is_sealed(topic))
            return
        yield passed(DIRECTORY, DIRECTORY_TOPIC, f"version {directory.version}, signed by the pinned root keys")
        sealed = [topic for topic in export.topics if is_sealed(topic)]
        heads = Heads(directory, sealed)
        for number, line in enumerate(self._lines(export, CHECKPOINTS_TOPIC), 1):
            heads.take(line, Place(file_of(CHECKPOINTS_TOPIC), number))
        yield heads.finding()
        yield from self._more_heads(export, heads, sealed)
        for topic in (POLICY_AUDIT_TOPIC, ACL_AUDIT_TOPIC, CHECKPOINTS_TOPIC):
            if topic not in export.topics:
                yield failed(RECORDS, topic, "every exchange has it, and it is not here", Place(file_of(topic)))
        grants = Grants(self._snapshots(export))
        deliveries = Deliveries(export.topics, export.lines, self.scratch, from_later=self.from_later)
        for topic in sealed:
            yield from self._topic(export, topic, heads.of(topic), grants, deliveries)
        lanes = {audit_topic(AlertTopic.parse(name).jurisdiction) for name, ends in export.alerts.items() if ends.end}
        for topic in sorted(lanes - {*sealed}):
            what = "there are alerts of this lane, and its record is not here"
            yield failed(RECORDS, topic, what, Place(file_of(topic)))
        yield from deliveries.findings(Verifier(export.coalition, directory), file_of)

    def _lines(self, export: Export, topic: str) -> Iterator[Line]:
        return export.lines(topic) if topic in export.topics else iter(())

    def _snapshots(self, export: Export) -> Snapshots:
        found = Snapshots()
        for line in self._lines(export, ACL_AUDIT_TOPIC):
            if isinstance(line, BusRecord):
                found.apply(line.value)
        return found

    def _more_heads(self, export: Export, heads: Heads, sealed: Iterable[str]) -> Iterator[Finding]:
        """The heads that are with the logs' files, and those that others kept."""
        for topic in sealed:
            signed, tiles = export.head(topic), export.tiles(topic)
            if signed is not None and tiles is not None:
                place = Place(f"{tiles.folder}checkpoint")
                try:
                    head = heads.opened(signed, place)
                    if heads.topic_of(head) != topic:
                        raise NoteInvalid("the head of another log")  # noqa: TRY301  # told as the others
                except NoteInvalid as error:
                    yield failed("tiles", topic, str(error), place)
                else:
                    heads.keep(head)
        for one in self.kept:
            try:
                head = heads.opened(one.signed, Place(one.name))
            except NoteInvalid as error:
                yield failed(KEPT, one.name, str(error), Place(one.name))
            else:
                heads.keep(head)

    def _topic(
        self, export: Export, topic: str, heads: Sequence[Head], grants: Grants, deliveries: Deliveries
    ) -> Iterator[Finding]:
        """One pass over a sealed topic."""
        tiles, file = export.tiles(topic), file_of(topic)
        seals = Seals(topic, file, heads, tiles, from_later=self.from_later)
        lane = None
        if is_lane_record(topic):
            place = topic.removeprefix(audit_topic(""))
            lane = LaneRecord(place, topic, export.alerts, grants, from_later=self.from_later)
        order = _Order(topic)
        for number, line in enumerate(export.lines(topic), 1):
            if isinstance(line, Unreadable):
                order.fault.note(line.why, Place(file, number))
                seals.take(b"")
                continue
            if number == 1 and self.from_later and tiles is not None:
                seals.take_gone(_gone(tiles, line.offset))
            decision = decision_of(line.value)
            seals.take(seal_of_decision(line, decision), line.appended_ms)
            # a place for each record is much of the work of a check that finds nothing
            at = Place(file, number, None, line.offset)
            order.take(line, at, lane=lane is not None)
            if lane is not None:
                lane.take(decision, at)
                if decision is not None:
                    deliveries.take(decision)
        yield order.finding()
        yield from seals.findings()
        if lane is not None:
            yield from lane.findings(ALERTS_FILE)
        yield from self._kept(topic, heads, seals)

    def _kept(self, topic: str, heads: Sequence[Head], seals: Seals) -> Iterator[Finding]:
        names = {one.name for one in self.kept}
        for head in heads:
            if head.place.file in names:
                size = head.checkpoint.size
                if seals.holds(head):
                    yield passed(KEPT, head.place.file, f"a head of this record of {topic}, of {size} entries")
                elif size > seals.size:
                    what = f"of {size} entries of {topic}, and here are {seals.size}: cut off, or exported before it"
                    yield failed(KEPT, head.place.file, what, head.place)
                else:
                    what = f"a split view: signed by the sealer, and no head of this record of {topic}"
                    yield failed(KEPT, head.place.file, what, head.place)


def file_of(topic: str) -> str:
    """The name of the file with a topic's records."""
    return f"{topic}.jsonl"


def newest_directory(export: Export, roots: Roots) -> Directory | Finding:
    """The newest document that the root keys signed, or what was found instead."""
    found: Directory | None = None
    why = "no directory is here"
    for line in export.lines(DIRECTORY_TOPIC) if DIRECTORY_TOPIC in export.topics else ():
        if isinstance(line, Unreadable) or line.value is None:
            continue
        try:
            one = open_directory(line.value, line.headers, roots, coalition=export.coalition, now_ms=export.exported_ms)
        except DirectoryInvalid as error:
            why = str(error)
        else:
            found = one if found is None or one.version > found.version else found
    return found or failed(DIRECTORY, DIRECTORY_TOPIC, why, Place(file_of(DIRECTORY_TOPIC)))


class _Order:
    """Whether a topic's records are in the order of their offsets and times, with what their values say beside them."""

    def __init__(self, topic: str) -> None:
        self.fault = FirstFault(RECORDS, topic)
        self._offset = -1
        self._appended_ms = 0
        self._count = 0

    def take(self, record: BusRecord, at: Place, *, lane: bool) -> None:
        self._count += 1
        if record.offset <= self._offset:
            self.fault.note(f"after offset {self._offset}", at)
        if record.appended_ms < self._appended_ms - CLOCKS_APART_MS:
            self.fault.note(f"stamped {self._appended_ms - record.appended_ms} ms before one that precedes it", at)
        if record.headers:
            self.fault.note("has headers, which nothing seals", at)
        if record.key != (None if lane else _change_id(record.value)):
            self.fault.note("its key is not the one of its value", at)
        self._offset, self._appended_ms = record.offset, max(self._appended_ms, record.appended_ms)

    def finding(self) -> Finding:
        return self.fault.finding(f"{self._count} records, in the order of their offsets and times")


def _change_id(value: bytes | None) -> bytes | None:
    change = content_of(value, _POLICY_CHANGE, bytes_max=RECORD_BYTES_MAX)
    return None if change is None else str(change["change_id"]).encode()


def _gone(tiles: Tiles, first_offset: int) -> list[bytes]:
    """The entries of the log that are of records before `first_offset`; none if they cannot be read."""
    found: list[bytes] = []
    for index in range(-(-tiles.size // TILE_WIDTH)):
        try:
            entries = read_bundle(index, tiles.size, tiles.fetch)
        except LogInvalid:
            return []
        for entry in entries:
            offset, _, _ = entry.partition(b" ")
            if not offset.isdigit() or int(offset) >= first_offset:
                return found
            found.append(entry)
    return found
