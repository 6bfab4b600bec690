"""Compares a topic's records with the heads that were signed over them and with the files of its log. Pure.

The tree is computed once from the records, in order; a head is right if the root at its size is its own. Where one is
wrong, the log's files tell which record was altered, if they are the signed ones themselves.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

from tocsin.consumers.audit.findings import Finding, Place, failed, passed, unchecked
from tocsin.consumers.audit.heads import Head
from tocsin.consumers.audit.merkle import Edge
from tocsin.consumers.audit.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Growing,
    bundle_name,
    encode_bundle,
    read_bundle,
    tile_name,
    width_at,
)
from tocsin.consumers.errors import LogInvalid

SEALS: Final = "seals"
TILES: Final = "tiles"

Read: TypeAlias = Callable[[str], bytes | None]
"""Hands out a file of a log's folder by its name, `tile/0/x001/234`; None when it is missing."""


class Tiles(NamedTuple):
    """The files of a log that are those of its head of `size` entries; `folder` is what their names begin with."""

    folder: str
    size: int
    names: frozenset[str]
    read: Read

    def fetch(self, name: str) -> bytes:
        """A file. Raises LogInvalid when it is missing."""
        content = self.read(name)
        if content is None:
            raise LogInvalid(f"{name}: missing")
        return content


def names_at(size: int) -> Iterator[str]:
    """The names of all files of hashes and entries of a log of `size`."""
    for index in range(-(-size // TILE_WIDTH)):
        yield bundle_name(index, width_at(0, index, size))
    level = 0
    while size >> TILE_HEIGHT * level:
        for index in range(-(-(size >> TILE_HEIGHT * level) // TILE_WIDTH)):
            yield tile_name(level, index, width_at(level, index, size))
        level += 1


class Seals:
    """The seals of one topic, whose records are in `file`, one a line.

    `from_later` takes it that the first records may be gone with their time; then the log's files stand for them.
    """

    def __init__(
        self, topic: str, file: str, heads: Sequence[Head], tiles: Tiles | None, *, from_later: bool = False
    ) -> None:
        self._blind = from_later and tiles is None
        self._topic = topic
        self._file = file
        self._heads = sorted(heads, key=lambda head: head.checkpoint.size)
        self._tiles = tiles
        self._tree = Growing(Edge())
        self._next = 0
        self._gone = 0
        self._good = 0
        self._bad: list[Head] = []
        self._bad_file: str | None = None
        self._bad_entry: int | None = None
        self._largest_good = 0
        self._unsealed_ms: int | None = None

    def take(self, entry: bytes, appended_ms: int = 0) -> None:
        """Take in what must be sealed of the next record, and when the broker took that in."""
        tree = self._tree
        if self._unsealed_ms is None and self._next == len(self._heads):
            self._unsealed_ms = appended_ms
        full = tree.append(entry)
        if self._tiles is not None:
            for name, content in full.items():
                if tree.edge.size <= self._tiles.size:
                    self._compare(name, content)
            if tree.edge.size == self._tiles.size:
                for name, content in tree.partial().items():
                    self._compare(name, content)
        heads = self._heads
        while self._next < len(heads) and heads[self._next].checkpoint.size <= tree.edge.size:
            self._check(heads[self._next])
            self._next += 1

    def take_gone(self, entries: Sequence[bytes]) -> None:
        """Take in the entries of records that are gone, before any other."""
        self._gone = len(entries)
        for entry in entries:
            self.take(entry)

    def _check(self, head: Head) -> None:
        size, root = head.checkpoint.size, head.checkpoint.root
        if size == 0:
            return
        if size == self._tree.edge.size and root == self._tree.edge.root():
            self._good += 1
            self._largest_good = size
        else:
            self._bad.append(head)

    def _compare(self, name: str, content: bytes) -> None:
        if self._tiles is None:
            return
        found = self._tiles.read(name)
        if found == content:
            return
        if self._bad_file is None:
            self._bad_file = name
        if self._bad_entry is None and name.startswith("tile/entries/") and found is not None:
            first = (self._tree.edge.size - 1) // TILE_WIDTH * TILE_WIDTH
            self._bad_entry = first + _first_other(content, found)

    # -- the end -----------------------------------------------------------------------------------------------------

    def findings(self) -> list[Finding]:
        """Whether all records are those that were sealed, and all files of the log those of its records."""
        size = self._tree.edge.size
        missing = [head for head in self._heads[self._next :] if head.checkpoint.size > size]
        bad = [*self._bad, *missing]
        if self._tiles is not None and size < self._tiles.size:
            self._compare_end(self._tiles)
        if not self._heads or self._heads[-1].checkpoint.size == 0:
            what = f"no head of its log is here, so none of the {size} records is sealed"
            none = passed(SEALS, self._topic, "nothing to seal yet")
            return [failed(SEALS, self._topic, what, Place(self._file)) if size else none]
        return [self._seals(bad), *self._tiles_finding(bad)]

    def _compare_end(self, tiles: Tiles) -> None:
        """Where the records end before the log does."""
        size = self._tree.edge.size
        if self._bad_entry is None:
            index = size // TILE_WIDTH
            found = tiles.read(bundle_name(index, width_at(0, index, tiles.size))) or b""
            self._bad_entry = index * TILE_WIDTH + _first_other(encode_bundle(self._tree.bundle), found)

    @property
    def size(self) -> int:
        """How many entries were taken in."""
        return self._tree.edge.size

    def holds(self, head: Head) -> bool:
        """Whether a head is one of this tree; asked once all is taken in."""
        return head.checkpoint.size <= self._tree.edge.size and head not in self._bad

    def _seals(self, bad: list[Head]) -> Finding:
        size = self._tree.edge.size
        if not bad:
            newest = self._heads[-1].checkpoint.size
            gone = f"{self._gone} of them gone with their time, " if self._gone else ""
            rest = ""
            if size > newest:
                since = datetime.fromtimestamp((self._unsealed_ms or 0) / 1000, UTC).isoformat(timespec="seconds")
                rest = f"; {size - newest} after the newest, the first of {since}, are not sealed yet"
            return passed(SEALS, self._topic, f"{newest} records, {gone}are those of all {self._good} heads{rest}")
        if self._blind:
            why = "records may be gone with their time, and the log's files, which stand for them, are not here"
            return unchecked(SEALS, self._topic, why)
        first = bad[0]
        what = f"a head of {first.checkpoint.size} entries is signed ({first.place}), and "
        if self._tiles_hold() and self._bad_entry is not None:
            return failed(
                SEALS, self._topic, what + "this is the first record that is not the sealed one", *self._exactly()
            )
        good = max((h for h in self._good_sizes() if h < first.checkpoint.size), default=0)
        lines = self._lines(good, max(first.checkpoint.size, good + 1))
        if first.checkpoint.size > size:
            lines = lines._replace(last_line=max(size - self._gone + 1, lines.line or 1))
            return failed(SEALS, self._topic, what + f"here are {size} records: some are missing", lines, first.place)
        if self._largest_good > first.checkpoint.size:
            what += f"one of {self._largest_good} too, to which it does not belong: a split view"
            return failed(SEALS, self._topic, what, first.place, lines)
        return failed(SEALS, self._topic, what + "some of these records are not the sealed ones", lines, first.place)

    def _good_sizes(self) -> Iterator[int]:
        bad = {id(head) for head in self._bad}
        return (head.checkpoint.size for head in self._heads[: self._next] if id(head) not in bad)

    def _exactly(self) -> tuple[Place, ...]:
        at = self._bad_entry or 0
        return (self._lines(at, at + 1),)

    def _lines(self, start: int, end: int) -> Place:
        return Place(self._file, max(1, start - self._gone + 1), max(1, end - self._gone))

    def _tiles_finding(self, bad: list[Head]) -> list[Finding]:
        tiles = self._tiles
        if tiles is None:
            return [unchecked(TILES, self._topic, "the log's files are not in this export")]
        # of altered records, the files that say so are right
        wrong = self._alone if bad and self._bad_file is not None else self._bad_file
        extra = min(tiles.names - {*names_at(tiles.size)}, default=None)
        if wrong is None and extra is None:
            return [passed(TILES, self._topic, f"the files of {tiles.size} entries are those of its records")]
        if wrong is not None:
            what = "missing" if tiles.read(wrong) is None else "not what the records give"
            return [failed(TILES, self._topic, what, Place(tiles.folder + wrong))]
        return [failed(TILES, self._topic, "no file of this log", Place(f"{tiles.folder}{extra}"))]

    def _tiles_hold(self) -> bool:
        """Whether the log's files are signed themselves, so that they say which record is another."""
        return self._tiles is not None and self._alone is None

    @cached_property
    def _alone(self) -> str | None:
        return None if self._tiles is None else _check_alone(self._tiles, self._heads)


def _first_other(content: bytes, found: bytes) -> int:
    """The number of the first entry of a bundle that is another in `found`."""
    at, number = 0, 0
    while at < len(content):
        (length,) = struct.unpack_from(">H", content, at)
        if content[at : at + 2 + length] != found[at : at + 2 + length]:
            break
        at += 2 + length
        number += 1
    return number


def _check_alone(tiles: Tiles, heads: Sequence[Head]) -> str | None:
    """The first file of a log that its own entries, or the signed heads, contradict."""
    tree, roots = Growing(Edge()), defaultdict[int, set[bytes]](set)
    for head in heads:
        roots[head.checkpoint.size].add(head.checkpoint.root)
    for index in range(-(-tiles.size // TILE_WIDTH)):
        try:
            entries = read_bundle(index, tiles.size, tiles.fetch)
        except LogInvalid:
            return bundle_name(index, width_at(0, index, tiles.size))
        for entry in entries:
            full = tree.append(entry)
            if tree.edge.size == tiles.size:
                full |= tree.partial()
            wrong = next((name for name, content in full.items() if tiles.read(name) != content), None)
            if wrong is not None:
                return wrong
            if tree.edge.size in roots and roots[tree.edge.size] != {tree.edge.root()}:
                return bundle_name(index, width_at(0, index, tiles.size))
    return None
