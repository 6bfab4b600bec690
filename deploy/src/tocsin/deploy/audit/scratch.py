"""Bytes that a verification puts aside, in files of a folder that is gone afterwards: `given.Scratch`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self


class ScratchFolder:
    """Where temporary files lie; TMPDIR names another place. A context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tocsin-")

    def append(self, number: int, content: bytes | bytearray) -> None:
        """Append to the file of that number."""
        # opened each time: a thousand members would be a thousand open files
        with self._path(number).open("ab") as file:
            file.write(content)

    def read(self, number: int) -> bytes:
        """The content of the file of that number; empty if there is none."""
        path = self._path(number)
        return path.read_bytes() if path.exists() else b""

    def _path(self, number: int) -> Path:
        return Path(self._folder.name) / str(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()
