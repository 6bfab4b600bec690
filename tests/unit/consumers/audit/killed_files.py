"""A disk that ends its writer at any step and, in a power cut, keeps of what was not synced whatever it likes."""

from __future__ import annotations

import random
from pathlib import PurePosixPath
from typing import Final


class Killed(BaseException):
    """The writer is gone. No error of its own: nothing may handle it."""


class _Inode:
    """What a file holds, and whether that is on the disk."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.is_synced = False


FOLDER: Final = _Inode(b"")


class KilledFiles:
    """The files of one log, as tocsin.consumers.audit.sealed_log.Files has them, each step of writing on its own.

    A folder's list of names outlasts a power cut once the folder is synced; a new folder is a name in the one above.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._now: dict[str, _Inode] = {}
        self._on_disk: dict[str, _Inode] = {}
        self.steps_left = 0

    def step(self) -> None:
        """Something happens to the disk, or the writer is ended before it."""
        if self.steps_left == 0:
            raise Killed
        self.steps_left -= 1

    def read(self, name: str) -> bytes:
        """What the file holds."""
        if self._now.get(name, FOLDER) is FOLDER:
            raise FileNotFoundError(name)
        return self._now[name].content

    def write(self, name: str, content: bytes) -> None:
        """As write_file does it: a file of another name, synced, then renamed; missing folders are made."""
        for folder in reversed(PurePosixPath(name).parents[:-1]):
            if str(folder) not in self._now:
                self.step()
                self._now[str(folder)] = FOLDER
        self.step()
        part = self._now[f"{name}.part"] = _Inode(content)
        self.step()
        part.is_synced = True
        self.step()
        self._now[name] = self._now.pop(f"{name}.part")

    def sync(self, folder: str) -> None:
        """What the folder lists is on the disk now."""
        self.step()
        for name in self._listed(folder):
            self._settle(name)

    def remove(self, folder: str) -> None:
        """One name after another."""
        for name in [*self._listed(folder), folder]:
            if name in self._now:
                self.step()
                del self._now[name]

    def cut_power(self) -> None:
        """Each name that is not synced is there or not; a file that is not synced holds part of what it should."""
        for name in sorted(self._now.keys() | self._on_disk.keys()):
            if self._rng.random() < 0.5:
                self._settle(name)
        for name in sorted(self._on_disk):
            if any(str(folder) not in self._on_disk for folder in PurePosixPath(name).parents[:-1]):
                del self._on_disk[name]
        for inode in self._on_disk.values():
            if not inode.is_synced:
                inode.content = inode.content[: self._rng.randint(0, len(inode.content))]
        self._now = dict(self._on_disk)

    def _listed(self, folder: str) -> list[str]:
        names = sorted(self._now.keys() | self._on_disk.keys())
        return [name for name in names if str(PurePosixPath(name).parent) == folder]

    def _settle(self, name: str) -> None:
        if name in self._now:
            self._on_disk[name] = self._now[name]
        else:
            self._on_disk.pop(name, None)
