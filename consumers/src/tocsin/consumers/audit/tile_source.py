"""Fetches the hashes of sealed logs from a folder, or from wherever that is served over HTTP. They need not be trusted.

What is made of them is verified against signed heads. So all that is guarded here is time and memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Final, TypeAlias
from urllib.error import HTTPError
from urllib.request import urlopen

from tocsin.consumers.audit.merkle import HASH_BYTES
from tocsin.consumers.audit.note import Checkpoint, Note
from tocsin.consumers.audit.sealed_log import CHECKPOINT
from tocsin.consumers.audit.tiles import TILE_WIDTH, tile_name, width_at
from tocsin.consumers.errors import LogInvalid, NoteInvalid, TilesUnreadable

TILE_BYTES_MAX: Final = TILE_WIDTH * HASH_BYTES
FETCH_S_MAX: Final = 10.0
_WEB: Final = ("https://", "http://")
_GONE: Final = (404, 410)
_PARTIAL: Final = ".p/"

Source: TypeAlias = Callable[[str], bytes]
"""Hands out a file by its path below the folder of all logs, at most a byte more than a tile.

Raises:
    FileNotFoundError: there is none.
    TilesUnreadable: nobody answers, or no file can be read there.
"""


def source_of(place: str) -> Source:
    """Files below `place`: a folder, or an http or https address of one."""
    return _web(place.rstrip("/")) if place.startswith(_WEB) else _folder(Path(place))


def _folder(folder: Path) -> Source:
    def read(name: str) -> bytes:
        if not folder.is_dir():
            raise TilesUnreadable(f"{folder}: no folder; name that of the sealer's logs, or a copy, with --tiles")
        try:
            with (folder / name).open("rb") as file:
                return file.read(TILE_BYTES_MAX + 1)
        except FileNotFoundError:
            raise
        except OSError as failure:
            raise TilesUnreadable(f"{folder / name}: {failure.strerror}") from failure

    return read


def _web(base: str) -> Source:
    def read(name: str) -> bytes:
        url = f"{base}/{name}"
        try:
            return _get(url)
        except HTTPError as failure:
            failure.close()
            if failure.code in _GONE:
                raise FileNotFoundError(url) from failure
            raise TilesUnreadable(f"{url}: HTTP status {failure.code}") from failure
        except (OSError, HTTPException) as failure:
            raise TilesUnreadable(f"{url}: {failure}") from failure

    return read


def _get(url: str) -> bytes:
    deadline = time.monotonic() + FETCH_S_MAX
    found = bytearray()
    with urlopen(url, timeout=FETCH_S_MAX / 2) as response:  # noqa: S310  # http and https only, see `source_of`
        # a time-out is for each wait; who sends a byte at a time would hold us for hours
        while len(found) <= TILE_BYTES_MAX and (part := response.read1(TILE_BYTES_MAX + 1)):
            found += part
            if time.monotonic() > deadline:
                raise TimeoutError(f"not read in {FETCH_S_MAX:.0f} s")
    return bytes(found[: TILE_BYTES_MAX + 1])


class Tiles:
    """The tiles of one log, by their names. Each is asked for once, so make another for another look.

    A sealer keeps partial tiles of the sizes that it has sealed, until they are full. Any other is cut from a wider
    one: so a head of a size that the log never had is compared, too.
    """

    def __init__(self, topic: str, source: Source) -> None:
        self._topic = topic
        self._source = source
        self._known: dict[str, bytes | None] = {}

    def __call__(self, name: str) -> bytes:
        """A tile.

        Raises:
            LogInvalid: there is none of that name, and no wider one.
            TilesUnreadable: nobody answers.
        """
        full, _, width = name.partition(_PARTIAL)
        found = self._known.get(full) or self._read(name)
        if found is None and width:
            found = self._read(full) or self._read(self._widest(full))
        if found is None:
            raise LogInvalid(f"{self._topic}/{name}: not there")
        return found[: int(width) * HASH_BYTES] if width else found

    def _read(self, name: str) -> bytes | None:
        if name not in self._known:
            try:
                self._known[name] = self._source(f"{self._topic}/{name}")
            except FileNotFoundError:
                self._known[name] = None
        return self._known[name]

    def _widest(self, full: str) -> str:
        """The name of a tile as the log has it now, as far as its own word goes."""
        _, level, *groups = full.split("/")
        index = int("".join(groups).replace("x", ""))
        try:
            size = Checkpoint.parse(Note.parse(self._read(CHECKPOINT) or b"").text).size
        except NoteInvalid:
            return full
        return tile_name(int(level), index, width_at(int(level), index, size) or TILE_WIDTH)
