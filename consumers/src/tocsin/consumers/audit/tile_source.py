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
from tocsin.consumers.audit.tiles import TILE_WIDTH, Fetch
from tocsin.consumers.errors import LogInvalid, TilesUnreadable

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


def tiles_of(topic: str, source: Source) -> Fetch:
    """The tiles of one log. Each is fetched once, so make another for another look.

    A sealer removes partial tiles once they are full. So where one is missing, it is cut from the full one.

    Raises (when asked):
        LogInvalid: there is no such tile.
        TilesUnreadable: nobody answers.
    """
    known: dict[str, bytes] = {}

    def fetch(name: str) -> bytes:
        full, partial, width = name.partition(_PARTIAL)
        if full not in known and name not in known:
            try:
                known[name] = source(f"{topic}/{name}")
            except FileNotFoundError as error:
                if not partial:
                    raise LogInvalid(f"{topic}/{name}: not there") from error
                fetch(full)
        return known[name] if name in known else known[full][: int(width) * HASH_BYTES]

    return fetch
