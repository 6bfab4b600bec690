"""The files of a log: names, widths, entries and hashes as tlog-tiles has them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.consumers.audit.merkle import Node, leaf_hash, read_edge, root_of
from tocsin.consumers.audit.tiles import (
    ENTRY_BYTES_MAX,
    bundle_name,
    encode_bundle,
    hashes_of,
    read_bundle,
    read_tile,
    tile_name,
    width_at,
)
from tocsin.consumers.errors import LogInvalid

SIZE = 70_000


def _tiles(leaves: list[bytes]) -> dict[str, bytes]:
    """The tiles of a log, made from the definition."""
    found: dict[str, bytes] = {}
    level, row = 0, leaves
    while row:
        for index in range(-(-len(row) // 256)):
            part = row[index * 256 : (index + 1) * 256]
            found[tile_name(level, index, len(part))] = b"".join(part)
        row = [root_of(row[at : at + 256]) for at in range(0, len(row) // 256 * 256, 256)]
        level += 1
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (tile_name(0, 1_234_067), "tile/0/x001/x234/067"),
        (tile_name(63, 5, 7), "tile/63/005.p/7"),
        (tile_name(1, 1_000), "tile/1/x001/000"),
        (tile_name(0, 999), "tile/0/999"),
        (bundle_name(0), "tile/entries/000"),
        (bundle_name(1_234_067, 255), "tile/entries/x001/x234/067.p/255"),
    ],
)
def test_names_are_those_of_the_specification(name: str, expected: str) -> None:
    """Index 1234067 is its own example."""
    assert name == expected


def test_a_log_of_70_000_has_the_tiles_of_the_specification() -> None:
    """273 full ones and one of 112; one full and one of 17; one of 1."""
    assert [width_at(0, index, SIZE) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [width_at(1, index, SIZE) for index in (0, 1, 2)] == [256, 17, 0]
    assert [width_at(level, 0, SIZE) for level in (2, 3)] == [1, 0]
    assert (width_at(0, 0, 256), width_at(1, 0, 256)) == (256, 1)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_entries_are_read_back(entries: list[bytes]) -> None:
    """However long they are, and however many."""
    files = {bundle_name(0, len(entries)): encode_bundle(entries)}
    assert read_bundle(0, len(entries), files.__getitem__) == entries


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\1a", b"\0\1a\0\1b\0\1c", b"\0\1a\0\2b", b"\0\1a\0\1b\0"])
def test_a_bundle_of_other_than_its_entries_is_refused(content: bytes) -> None:
    """Two are expected: one is missing, too many, or torn."""
    with pytest.raises(LogInvalid, match=r"tile/entries/000\.p/2: not 2 whole entries"):
        read_bundle(0, 2, lambda _: content)


def test_an_entry_is_no_longer_than_its_length_can_say() -> None:
    """65,535 bytes fit."""
    assert len(encode_bundle([bytes(ENTRY_BYTES_MAX)])) == 2 + ENTRY_BYTES_MAX
    with pytest.raises(ValueError, match="65535 is the most"):
        encode_bundle([bytes(ENTRY_BYTES_MAX + 1)])


def test_a_tile_of_another_length_is_refused() -> None:
    """It names the file."""
    with pytest.raises(LogInvalid, match=r"tile/0/273\.p/112: 3583 bytes, not 3584; restore"):
        read_tile(0, 273, SIZE, lambda _: bytes(3583))


def test_every_node_is_read_from_the_tiles() -> None:
    """Random nodes of all levels of 70,000 leaves, and the right edge; each tile once for all of them."""
    rng = random.Random(6962)
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(SIZE)]
    files, fetched = _tiles(leaves), list[str]()

    def fetch(name: str) -> bytes:
        fetched.append(name)
        return files[name]

    read = hashes_of(SIZE, fetch)
    nodes = [Node(level, rng.randrange(SIZE >> level)) for level in range(17) for _ in range(20)]
    for node, found in zip(nodes, read(nodes), strict=True):
        assert found == root_of(leaves[node.number << node.level : (node.number + 1) << node.level]), node
    assert len(fetched) == len(set(fetched))
    assert read_edge(SIZE, read).root() == root_of(leaves)


def test_a_node_that_is_not_complete_is_not_read() -> None:
    """Its hash is of no use to any proof."""
    with pytest.raises(ValueError, match="not complete in a log of 300"):
        hashes_of(300, lambda _: b"")([Node(8, 1)])
