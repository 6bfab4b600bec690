"""Where a lane keeps the bytes of its lineages: out of the process's memory, in a file without a name.

A million lineages are a gigabyte of alerts, of which seldom any is asked for. The file has no name, so nothing is left
when the process ends, however it ends; what is freed is overwritten with zeros at once.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final, NamedTuple, Protocol

_GRAIN: Final = 128


class Place(NamedTuple):
    """Where a content lies; `size` in bytes."""

    offset: int
    size: int


NOWHERE: Final = Place(0, 0)
"""The place of nothing."""


class Contents(Protocol):
    """Keeps byte strings. Used by one thread."""

    def put(self, content: bytes) -> Place:
        """Keep `content`."""
        ...

    def get(self, place: Place) -> bytes:
        """What was put there."""
        ...

    def free(self, place: Place) -> None:
        """Forget what lies there; no byte of it is left."""
        ...


class MemoryContents:
    """In memory, for tests and the exchange in memory."""

    def __init__(self) -> None:
        self._held: dict[int, bytes] = {}
        self._next = 1

    def put(self, content: bytes) -> Place:
        """Keep `content`."""
        self._held[self._next] = content
        self._next += 1
        return Place(self._next - 1, len(content))

    def get(self, place: Place) -> bytes:
        """What was put there."""
        return self._held[place.offset]

    def free(self, place: Place) -> None:
        """Forget what lies there."""
        del self._held[place.offset]


class FileContents:
    """In an unnamed file in `folder`, the system's folder for such files by default. What is freed is used again."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # as long as the lane
        self._fd = self._file.fileno()
        self._end = 0
        self._free: dict[int, list[int]] = {}

    def put(self, content: bytes) -> Place:
        """Keep `content`. Raises OSError when the disk is full."""
        room = _room(len(content))
        free = self._free.get(room)
        offset = free[-1] if free else self._end
        _write(self._fd, content, offset)
        if free:
            free.pop()
        else:
            self._end += room
        return Place(offset, len(content))

    def get(self, place: Place) -> bytes:
        """What was put there."""
        return os.pread(self._fd, place.size, place.offset)

    def free(self, place: Place) -> None:
        """Forget what lies there."""
        _write(self._fd, bytes(place.size), place.offset)
        self._free.setdefault(_room(place.size), []).append(place.offset)

    def close(self) -> None:
        """Let go of the file, and so of all that is in it."""
        self._file.close()


def _room(size: int) -> int:
    return -(-size // _GRAIN) * _GRAIN


def _write(fd: int, content: bytes, offset: int) -> None:
    written = os.pwrite(fd, content, offset)
    while written < len(content):
        written += os.pwrite(fd, content[written:], offset + written)
