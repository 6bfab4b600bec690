"""ACL snapshots as records of the topic `audit.acls`: what the rows were that decisions name by digest. Pure.

A digest is recorded as its whole set of rows, or as the difference to one before; either in parts. Any number of
processes write at the same time, each from what it has seen: the order of records, and what comes twice, have no say. A
digest proves its rows, so a wrong record can hide nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.consumers.errors import SnapshotUnknown
from tocsin.consumers.sight import Snapshot
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode, encode, schema_of
from tocsin.schemas.errors import Rejection

PART_BYTES: Final = 32_768
"""A part is no larger, or a single row."""
WHOLE_EVERY_MS: Final = 30 * 86_400_000
"""No record that a decision needs is older than it by more: `audit.acls` is kept so much longer than decisions."""

_SCHEMA: Final = schema("acl-snapshot")
_FIELDS: Final = tuple(field.name for field in fields(AclRow))
_words = attrgetter(*_FIELDS)
_ROW_OVERHEAD: Final = 2 * len(_FIELDS)


# -- writing ---------------------------------------------------------------------------------------------------------


def records(snapshot: Snapshot, base: Snapshot | None, worker: str) -> list[bytes]:
    """The records that say what the rows of `snapshot` are, by how they differ from those of `base`."""
    before = frozenset(base.acls.rows) if base else frozenset[AclRow]()
    now = frozenset(snapshot.acls.rows)
    pieces = [*_pieces([*sorted(now - before, key=_words), *sorted(before - now, key=_words)])] or [[]]
    return [
        encode(
            _SCHEMA,
            {
                "digest": snapshot.digest,
                "part": part,
                "parts": len(pieces),
                "read_at": snapshot.read_at_ms,
                "base": base.digest if base else None,
                "added": [_record(row) for row in piece if row in now],
                "removed": [_record(row) for row in piece if row not in now],
                "worker": worker,
            },
        )
        for part, piece in enumerate(pieces)
    ]


def _pieces(rows: Iterable[AclRow]) -> Iterator[list[AclRow]]:
    piece: list[AclRow] = []
    size = 0
    for row in rows:
        more = _ROW_OVERHEAD + sum(len(word.encode()) for word in _words(row))
        if piece and size + more > PART_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(row)
        size += more
    if piece:
        yield piece


def _record(row: AclRow) -> dict[str, str]:
    return dict(zip(_FIELDS, _words(row), strict=True))


# -- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """The rows of the digest `base`, or none, less those that were `removed` and with those that were `added`."""

    base: bytes | None
    added: frozenset[AclRow]
    removed: frozenset[AclRow]


class Recorded(NamedTuple):
    """What one writer put on record of one digest."""

    digest: bytes
    read_at_ms: int
    difference: Difference


class _Head(NamedTuple):
    """What the parts of one difference have in common."""

    digest: bytes
    base: bytes | None
    read_at_ms: int
    worker: str
    parts: int


class Parts:
    """Puts parts together, however those of several writers are mixed."""

    def __init__(self) -> None:
        self._open: dict[_Head, dict[int, Mapping[str, Any]]] = {}

    def take(self, value: bytes | None) -> Recorded | None:
        """What is whole with this record of `audit.acls`; None while it is not, and for records of other kinds."""
        record = _snapshot_record(value or b"")
        if record is None:
            return None
        head = _Head(record["digest"], record["base"], record["read_at"], record["worker"], record["parts"])
        parts = self._open.setdefault(head, {})
        parts[record["part"]] = record
        if len(parts) < head.parts:
            return None
        del self._open[head]
        difference = Difference(head.base, _rows(parts.values(), "added"), _rows(parts.values(), "removed"))
        return Recorded(head.digest, head.read_at_ms, difference)


def _snapshot_record(value: bytes) -> Mapping[str, Any] | None:
    try:
        return decode(value)[1] if schema_of(value) is _SCHEMA else None
    except Rejection:
        return None


def _rows(parts: Iterable[Mapping[str, Any]], which: str) -> frozenset[AclRow]:
    return frozenset(AclRow(**row) for part in parts for row in part[which])


class _Link(NamedTuple):
    """A step from no rows to those of a digest, and the step after it."""

    digest: bytes
    difference: Difference
    then: _Link | None


class Snapshots:
    """All snapshots that are on record, of all writers."""

    def __init__(self) -> None:
        self._parts = Parts()
        # a dictionary for its order: what several writers say alike counts once
        self._differences: dict[bytes, dict[Difference, None]] = {}

    def apply(self, value: bytes | None) -> None:
        """Take in one record of `audit.acls`, of whatever kind."""
        recorded = self._parts.take(value)
        if recorded is not None:
            self._differences.setdefault(recorded.digest, {})[recorded.difference] = None

    def rows(self, digest: bytes) -> frozenset[AclRow]:
        """The ACL rows on topics that a decision names by `digest`.

        Raises:
            SnapshotUnknown: they are not on record, or only as a difference to what is not, or not those.
        """
        if digest not in self._differences:
            raise SnapshotUnknown(f"{_named(digest)} is not on record, or not whole: of another exchange, or too old")
        wrong = False
        while chain := self._chain(digest):
            rows = [*_steps(chain)][-1][1]
            if AclSet(rows).digest() == digest:
                return rows
            self._forget_wrong(chain)
            wrong = True
        if wrong:
            raise SnapshotUnknown(f"{_named(digest)}: the rows on record do not have this digest; they were altered")
        raise SnapshotUnknown(f"{_named(digest)} is on record as a difference, and what it differs from is not")

    def _chain(self, digest: bytes) -> _Link | None:
        """The shortest way from no rows to those of `digest`."""
        seen, waiting = {digest}, deque[tuple[bytes, _Link | None]]([(digest, None)])
        while waiting:
            at, then = waiting.popleft()
            for difference in self._differences.get(at, ()):
                link, base = _Link(at, difference, then), difference.base
                if base is None:
                    return link
                if base not in seen:
                    seen.add(base)
                    waiting.append((base, link))
        return None

    def _forget_wrong(self, chain: _Link) -> None:
        """Drop the first step that does not lead to the digest that it says; there is one."""
        for link, rows in _steps(chain):
            if AclSet(rows).digest() != link.digest:
                del self._differences[link.digest][link.difference]
                return


def _steps(link: _Link | None) -> Iterator[tuple[_Link, frozenset[AclRow]]]:
    rows = frozenset[AclRow]()
    while link is not None:
        rows = (rows - link.difference.removed) | link.difference.added
        yield link, rows
        link = link.then


def _named(digest: bytes) -> str:
    return f"ACL snapshot {digest.hex()}"


# -- what is on record -----------------------------------------------------------------------------------------------


class Register:
    """Which snapshots are on record, as one writer knows. What it does not know of is written again, which is harmless.

    A snapshot counts for as long as the whole set that it goes back to is no older than WHOLE_EVERY_MS.
    """

    def __init__(self) -> None:
        self._parts = Parts()
        self._whole_at_ms: dict[bytes, int] = {}
        self._last: Snapshot | None = None

    def apply(self, value: bytes | None) -> None:
        """Take in one record of `audit.acls`, of whatever kind; they come in order."""
        recorded = self._parts.take(value)
        if recorded is not None:
            base = recorded.difference.base
            self._note(recorded.digest, recorded.read_at_ms if base is None else self._whole_at_ms.get(base))

    def missing(self, snapshot: Snapshot, worker: str) -> list[bytes]:
        """The records to be written before decisions may name `snapshot`; none when it is on record."""
        if self._counts(snapshot.digest, snapshot.read_at_ms):
            return []
        return records(snapshot, self._base(snapshot), worker)

    def wrote(self, snapshot: Snapshot) -> None:
        """Note that what was missing of `snapshot` is on record now; the next one is compared with it."""
        if not self._counts(snapshot.digest, snapshot.read_at_ms):
            base = self._base(snapshot)
            self._note(snapshot.digest, self._whole_at_ms[base.digest] if base else snapshot.read_at_ms)
        self._last = snapshot

    def _base(self, snapshot: Snapshot) -> Snapshot | None:
        last = self._last
        return last if last and self._counts(last.digest, snapshot.read_at_ms) else None

    def _counts(self, digest: bytes, now_ms: int) -> bool:
        whole_at_ms = self._whole_at_ms.get(digest)
        return whole_at_ms is not None and now_ms - whole_at_ms < WHOLE_EVERY_MS

    def _note(self, digest: bytes, whole_at_ms: int | None) -> None:
        if whole_at_ms is not None:
            self._whole_at_ms[digest] = max(whole_at_ms, self._whole_at_ms.get(digest, 0))
