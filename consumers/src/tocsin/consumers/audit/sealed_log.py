"""A Merkle log in a folder that anyone can serve and verify as it is (https://c2sp.org/tlog-tiles).

    checkpoint          the newest signed head
    head                the newest head that may have been signed, without a signature
    tile/0/x001/234     hashes, and tile/entries/x001/234 entries

What must never happen is that two heads are signed of which neither continues the other. A writer that is killed after
signing does not know whether anybody has the signature. So what may have been signed is settled before: `seal` makes
tiles and entries durable, then `head`, and only then signs; and whoever opens the folder goes on from `head`, not from
`checkpoint`. What was appended and not sealed is gone with the process: append again what comes after `size`.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

from tocsin.consumers.audit.merkle import Edge, ReadHashes, leaf_hash, read_edge
from tocsin.consumers.audit.note import Checkpoint, Note, Signature, Verifier, open_checkpoint
from tocsin.consumers.audit.tiles import (
    ENTRY_BYTES_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    Growing,
    bundle_name,
    hashes_of,
    next_tile,
    read_bundle,
    read_tile,
    tile_name,
    width_at,
)
from tocsin.consumers.errors import LogInvalid, NoteInvalid
from tocsin.schemas.files import sync_folder, write_file

CHECKPOINT: Final = "checkpoint"
HEAD: Final = "head"

_NO_ENTRIES_LOST: Final = "restore it from a copy of this log; a log that lost entries must end, under this origin"

Sign: TypeAlias = Callable[[str], Signature]


class Files(Protocol):
    """The files of one log, by their names in its folder."""

    def read(self, name: str) -> bytes:
        """What a file holds.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace a file. A crash leaves the old content or the new, and any crash before `sync` may leave the old."""
        ...

    def sync(self, folder: str) -> None:
        """Make durable what a folder (`.` is the log's own) lists, but not what the folders in it do."""
        ...

    def remove(self, folder: str) -> None:
        """Remove a folder and all that is in it. It need not exist, and need not be gone after a crash."""
        ...


class Folder:
    """A log's folder on disk, made if need be. Nobody else can have it until it is closed or the process ends.

    Raises:
        LogInvalid: somebody has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            sync_folder(folder.parent)
        self._lock = (path / ".lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise LogInvalid(f"{path}: in use by another process; one alone may write a log") from error

    def read(self, name: str) -> bytes:
        """As Files says."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """As Files says."""
        write_file(self.path / name, content)

    def sync(self, folder: str) -> None:
        """As Files says."""
        sync_folder(self.path / folder)

    def remove(self, folder: str) -> None:
        """As Files says."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path / folder)

    def close(self) -> None:
        """Let others have it."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class SealedLog:
    """The one writer of a log. `log` is the key that verifies its heads; the key's name is the log's origin.

    Opening reads O(log n) files: those of the right edge, which make up the root, and the last entries.

    Raises:
        LogInvalid: the files are not those that the newest heads were signed over.
    """

    def __init__(self, files: Files, log: Verifier) -> None:
        self._files = files
        self._log = log
        self.checkpoint: bytes | None = self._read(CHECKPOINT)
        """The newest signed head; it may be published."""
        head, sealed = self._heads()
        self._sealed_size = sealed.size
        edge = self._recovered_edge(head, sealed)
        tiles = [
            read_tile(level, next_tile(level, head.size), head.size, self._fetch) for level in range(_levels(head.size))
        ]
        self._growing = Growing(edge, tiles, self._last_bundle(head.size, tiles))
        # the files that are full and not written yet
        self._full: dict[str, bytes] = {}
        self._listed: set[PurePosixPath] = set()

    @property
    def size(self) -> int:
        """How many entries there are, with those that are not sealed yet. The next one has this index."""
        return self._growing.edge.size

    def append(self, entries: Sequence[bytes]) -> None:
        """Take in entries, in memory until `seal`.

        Raises:
            ValueError: one is longer than ENTRY_BYTES_MAX; none is taken in.
        """
        if any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
            raise ValueError(f"an entry longer than {ENTRY_BYTES_MAX} bytes, which is the most that a log holds")
        for entry in entries:
            self._full |= self._growing.append(entry)

    def seal(self, sign: Sign) -> bytes:
        """Make durable what was appended, sign its head, and give the signed note once it is durable, too.

        After any error it can be called again. Without new entries it gives the note that is there.

        Raises:
            NoteInvalid: what `sign` made does not verify.
            OSError: the files cannot be written.
        """
        if self.checkpoint is not None and self.size == self._sealed_size:
            return self.checkpoint
        text = Checkpoint(self._log.name, self.size, self._growing.edge.root()).text()
        self._write(self._full | self._growing.partial())
        self._write({HEAD: text.encode()})
        note = Note(text, (sign(text),))
        note.verified([self._log])
        signed = note.encode()
        self._write({CHECKPOINT: signed})
        self.checkpoint, self._sealed_size = signed, self.size
        for name in self._full:
            self._files.remove(f"{name}.p")
        self._full.clear()
        return signed

    def hashes(self) -> ReadHashes:
        """Reads nodes of the newest checkpoint's tree, for proofs in it and in all before."""
        return hashes_of(self._sealed_size, self._fetch)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _write(self, contents: dict[str, bytes]) -> None:
        for name, content in contents.items():
            self._files.write(name, content)
        folders = self._listing(contents)
        for folder in folders:
            self._files.sync(str(folder))
        self._listed |= folders

    def _listing(self, names: Iterable[str]) -> set[PurePosixPath]:
        """The folders that list these files, and those above that are not known to list them for good."""
        found: set[PurePosixPath] = set()
        for name in names:
            for folder in PurePosixPath(name).parents:
                found.add(folder)
                if folder in self._listed:
                    break
        return found

    # -- opening -----------------------------------------------------------------------------------------------------

    def _read(self, name: str) -> bytes | None:
        try:
            return self._files.read(name)
        except FileNotFoundError:
            return None

    def _fetch(self, name: str) -> bytes:
        content = self._read(name)
        if content is None:
            raise LogInvalid(f"{name}: missing; {_NO_ENTRIES_LOST}")
        return content

    def _heads(self) -> tuple[Checkpoint, Checkpoint]:
        """What may have been signed last, and what certainly was."""
        none = Checkpoint(self._log.name, 0, Edge().root())
        head = self._read(HEAD)
        try:
            sealed = none if self.checkpoint is None else open_checkpoint(self.checkpoint, self._log)
        except NoteInvalid as error:
            raise LogInvalid(f"{CHECKPOINT}: {error}; is this the key of the log in this folder?") from error
        try:
            newest = none if head is None else Checkpoint.parse(head.decode())
        except (NoteInvalid, UnicodeDecodeError) as error:
            raise LogInvalid(f"{HEAD}: not a head; {_NO_ENTRIES_LOST}") from error
        if newest.origin != sealed.origin:
            raise LogInvalid(f"{HEAD}: of the log {newest.origin}; this key is that of {sealed.origin}")
        if newest.size < sealed.size:
            raise LogInvalid(f"{HEAD}: says {newest.size} entries, {CHECKPOINT} {sealed.size}; {_NO_ENTRIES_LOST}")
        return newest, sealed

    def _recovered_edge(self, head: Checkpoint, sealed: Checkpoint) -> Edge:
        read = hashes_of(head.size, self._fetch)
        for name, said in ((HEAD, head), (CHECKPOINT, sealed)):
            if read_edge(said.size, read).root() != said.root:
                tiles = ", ".join(_edge_tiles(head.size))
                raise LogInvalid(f"{name}: of {said.size} entries, whose root is not in {tiles}; {_NO_ENTRIES_LOST}")
        return read_edge(head.size, read)

    def _last_bundle(self, size: int, tiles: Sequence[Sequence[bytes]]) -> list[bytes]:
        index, width = divmod(size, TILE_WIDTH)
        entries = read_bundle(index, size, self._fetch)
        if entries and [leaf_hash(entry) for entry in entries] != tiles[0]:
            raise LogInvalid(f"{bundle_name(index, width)}: not the entries of its tile; {_NO_ENTRIES_LOST}")
        return entries


def _levels(size: int) -> int:
    """How many levels of tiles a log of `size` has."""
    return -(-size.bit_length() // TILE_HEIGHT)


def _edge_tiles(size: int) -> list[str]:
    last = [(level, ((size >> TILE_HEIGHT * level) - 1) // TILE_WIDTH) for level in range(_levels(size))]
    return [tile_name(level, index, width_at(level, index, size)) for level, index in last]
