"""The files of a broker's authorizer log, followed through rolling. Touches files, and nothing else."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

LIVE: Final = "access.log"
"""What the broker writes; what was rolled is `access-<n>.log`, and n only rises."""
LINE_BYTES_MAX: Final = 65_536
"""More than the broker's settings let a line have; what is longer comes in pieces."""
_ROLLED: Final = re.compile(r"access-(\d{1,18})\.log")


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file, held open. `identity` is the SHA-256 of its first line: a name changes, and an inode is used again."""

    identity: str
    stream: BinaryIO
    live: bool

    @property
    def size(self) -> int:
        """How many bytes there are now."""
        return os.fstat(self.stream.fileno()).st_size

    def lines(self, begin: int) -> Iterator[tuple[int, bytes]]:
        """Each whole line from the byte `begin`, and where it begins; what is rolled has no line that is not whole."""
        self.stream.seek(begin)
        while line := self.stream.readline(LINE_BYTES_MAX):
            if self.live and not line.endswith(b"\n") and len(line) < LINE_BYTES_MAX:
                return
            yield begin, line
            begin += len(line)


@contextmanager
def log_files(folder: Path) -> Generator[list[LogFile]]:
    """The files of the log in a broker's folder, the oldest first; one without a whole line is left out.

    The live file is opened before the names of the others are read: rolled meanwhile, it is met twice and counts once,
    and no file between is missed.
    """
    with ExitStack() as stack:
        opened: list[tuple[BinaryIO, bool]] = []
        live = _open(stack, folder / LIVE)
        numbered = sorted(
            (int(match[1]), name) for name in _names(folder) if (match := _ROLLED.fullmatch(name)) is not None
        )
        for _, name in numbered:
            rolled = _open(stack, folder / name)
            if rolled is not None:
                opened.append((rolled, False))
        if live is not None and _inode(live) not in {_inode(stream) for stream, _ in opened}:
            opened.append((live, True))
        found = [(_identity(stream, live=is_live), stream, is_live) for stream, is_live in opened]
        yield [LogFile(name, stream, is_live) for name, stream, is_live in found if name is not None]


def sources(logs: Path) -> list[str]:
    """The names of the folders under `logs` that hold a broker's log."""
    return sorted(
        path.name for path in logs.glob("*") if any(name == LIVE or _ROLLED.fullmatch(name) for name in _names(path))
    )


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _open(stack: ExitStack, path: Path) -> BinaryIO | None:
    try:
        return stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        # rolled, or the oldest and deleted, between two looks
        return None


def _inode(stream: BinaryIO) -> tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_dev, found.st_ino


def _identity(stream: BinaryIO, *, live: bool) -> str | None:
    line = stream.readline(LINE_BYTES_MAX)
    whole = line.endswith(b"\n") or len(line) == LINE_BYTES_MAX or (line and not live)
    return hashlib.sha256(line).hexdigest() if whole else None
