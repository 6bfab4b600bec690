"""A log's hashes and entries as files of 256 (https://c2sp.org/tlog-tiles): their names, content and growth. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from tocsin.consumers.audit.merkle import HASH_BYTES, Edge, Node, ReadHashes, leaf_hash, root_of
from tocsin.consumers.errors import LogInvalid

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
ENTRY_BYTES_MAX: Final = 65_535

_RESTORE: Final = "restore it from a copy of this log"

Fetch: TypeAlias = Callable[[str], bytes]
"""Hands out a file of the log by its name, `tile/0/x001/234`. What it raises is passed on."""


def tile_name(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """`tile/<level>/<index>`, and `.p/<width>` where it is partial: `tile/0/x001/234.p/7`."""
    return f"tile/{level}/{_numbered(index, width)}"


def bundle_name(index: int, width: int = TILE_WIDTH) -> str:
    """`tile/entries/<index>`, and `.p/<width>` where it is partial."""
    return f"tile/entries/{_numbered(index, width)}"


def _numbered(index: int, width: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups)) + ("" if width == TILE_WIDTH else f".p/{width}")


def width_at(level: int, index: int, size: int) -> int:
    """How wide a tile of a log of `size` is: 256, less at the right edge, 0 where there is none."""
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - index * TILE_WIDTH))


# -- entries ---------------------------------------------------------------------------------------------------------


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """The file of up to 256 entries, each after its length (2 bytes, big-endian).

    Raises:
        ValueError: an entry is longer than ENTRY_BYTES_MAX.
    """
    found = bytearray()
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise ValueError(f"an entry of {len(entry)} bytes; {ENTRY_BYTES_MAX} is the most that a log holds")
        found += struct.pack(">H", len(entry)) + entry
    return bytes(found)


def read_bundle(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """The entries of a bundle of a log of `size`, none where there is none. They are not compared with the tree.

    Raises:
        LogInvalid: it holds fewer entries or more, or part of one.
    """
    width = width_at(0, index, size)
    if width == 0:
        return []
    name = bundle_name(index, width)
    content = fetch(name)
    found, at = list[bytes](), 0
    while at + 2 <= len(content):
        (length,) = struct.unpack_from(">H", content, at)
        found.append(content[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(content) or len(found) != width:
        raise LogInvalid(f"{name}: not {width} whole entries; {_RESTORE}")
    return found


# -- hashes ----------------------------------------------------------------------------------------------------------


def read_tile(level: int, index: int, size: int, fetch: Fetch) -> list[bytes]:
    """The hashes of a tile of a log of `size`, none where there is none.

    Raises:
        LogInvalid: it holds fewer or more than it must.
    """
    width = width_at(level, index, size)
    if width == 0:
        return []
    name = tile_name(level, index, width)
    content = fetch(name)
    if len(content) != width * HASH_BYTES:
        raise LogInvalid(f"{name}: {len(content)} bytes, not {width * HASH_BYTES}; {_RESTORE}")
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


class Growing:
    """A log that grows: its right edge, and the tiles of each level and the bundle there, which are not full."""

    def __init__(self, edge: Edge, tiles: Iterable[Sequence[bytes]] = (), bundle: Iterable[bytes] = ()) -> None:
        self.edge = edge
        self.bundle = [*bundle]
        self._tiles = [[*tile] for tile in tiles]

    def append(self, entry: bytes) -> dict[str, bytes]:
        """Take in an entry. Gives the files that are full with it."""
        index = self.edge.size
        full: dict[str, bytes] = {}
        self.bundle.append(entry)
        if len(self.bundle) == TILE_WIDTH:
            full[bundle_name(index // TILE_WIDTH)] = encode_bundle(self.bundle)
            self.bundle = []
        for level, completed in enumerate(self.edge.append(leaf_hash(entry))[::TILE_HEIGHT]):
            if level == len(self._tiles):
                self._tiles.append([])
            tile = self._tiles[level]
            tile.append(completed)
            if len(tile) == TILE_WIDTH:
                full[tile_name(level, next_tile(level, index))] = b"".join(tile)
                tile.clear()
        return full

    def partial(self) -> dict[str, bytes]:
        """The files of the right edge."""
        size = self.edge.size
        found: dict[str, bytes] = {}
        if self.bundle:
            found[bundle_name(size // TILE_WIDTH, len(self.bundle))] = encode_bundle(self.bundle)
        for level, tile in enumerate(self._tiles):
            if tile:
                found[tile_name(level, next_tile(level, size), len(tile))] = b"".join(tile)
        return found


def next_tile(level: int, size: int) -> int:
    """The tile that the next hash of a level belongs to: its partial tile, if there is one."""
    return size >> TILE_HEIGHT * (level + 1)


def hashes_of(size: int, fetch: Fetch) -> ReadHashes:
    """Reads nodes of a log of `size` from its tiles, each once for all that are asked for together.

    The hashes are as trustworthy as the tiles: verify a proof that is made of them before it is believed.

    Raises (when asked):
        LogInvalid: a tile has a wrong length.
        ValueError: a node is not complete at this size.
    """

    def read(nodes: Sequence[Node]) -> list[bytes]:
        tiles: dict[tuple[int, int], list[bytes]] = {}
        found: list[bytes] = []
        for node in nodes:
            if (node.number + 1) << node.level > size:
                raise ValueError(f"{node} is not complete in a log of {size}")
            tile, height = divmod(node.level, TILE_HEIGHT)
            first = node.number << height
            at = tile, first >> TILE_HEIGHT
            if at not in tiles:
                tiles[at] = read_tile(*at, size, fetch)
            first %= TILE_WIDTH
            found.append(root_of(tiles[at][first : first + (1 << height)]))
        return found

    return read
