"""Merkle trees of RFC 6962 with SHA-256: hashes, roots, and proofs and their verification. Pure.

Proofs are made from hashes that a `ReadHashes` hands out, so no more of a tree is read than the proof needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Final, NamedTuple, TypeAlias

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


class Node(NamedTuple):
    """The complete subtree over the leaves from `number * 2**level` to before `(number + 1) * 2**level`."""

    level: int
    number: int


_Leaves: TypeAlias = tuple[int, int]
"""A subtree, complete or not, by its first leaf and the one after its last."""

ReadHashes: TypeAlias = Callable[[Sequence[Node]], Sequence[bytes]]
"""Hands out the hashes of nodes, in their order. It is asked once for each proof, for all nodes together."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry of the log (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, or over the hashes of equal complete subtrees; EMPTY_ROOT over none."""
    if not leaves:
        return EMPTY_ROOT
    row = list(leaves)
    while len(row) > 1:
        # what is left over at the end goes up unchanged, as RFC 6962's uneven trees have it
        above = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=False)]
        row = above + row[len(above) * 2 :]
    return row[0]


# -- the right edge --------------------------------------------------------------------------------------------------


class Edge:
    """The right edge of a tree: the hashes of its complete subtrees, largest first. All that appending needs."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self._hashes = [*hashes]
        if len(self._hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} complete subtrees at its edge")

    def append(self, leaf: bytes) -> list[bytes]:
        """Take in a leaf's hash. Gives the hashes of the complete subtrees that end with it, by their level."""
        completed = [leaf]
        for _ in range((~self.size & (self.size + 1)).bit_length() - 1):
            completed.append(node_hash(self._hashes.pop(), completed[-1]))
        self._hashes.append(completed[-1])
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        return _fold(self._hashes) if self._hashes else EMPTY_ROOT


def read_edge(size: int, read: ReadHashes) -> Edge:
    """The right edge of the tree's first `size` leaves."""
    return Edge(size, read(_nodes(0, size)))


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The hash over neighbouring complete subtrees, of which each is larger than the next."""
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


# -- making proofs ---------------------------------------------------------------------------------------------------


def inclusion_proof(index: int, size: int, read: ReadHashes) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962, section 2.1.1: from the leaf's sibling up to the root's child.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    return _hashes([beside for _, beside in _descent(index, size)][::-1], read)


def consistency_proof(old: int, size: int, read: ReadHashes) -> list[bytes]:
    """PROOF(old, D[size]) of RFC 6962, section 2.1.2. Empty from nothing and to the same size.

    Raises:
        ValueError: `old` is more than `size`, or negative.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} cannot continue one of {old}")
    if old == 0:
        return []
    subtree, others = (0, size), list[_Leaves]()
    for below, beside in _descent(old - 1, size):
        if subtree[1] == old:
            break
        subtree = below
        others.append(beside)
    # where the old tree is itself a left subtree of the new one, its root is known to whoever verifies
    return _hashes([*([subtree] if subtree[0] else []), *others[::-1]], read)


def _descent(leaf: int, size: int) -> Iterator[tuple[_Leaves, _Leaves]]:
    """From the whole tree down to a leaf: each smaller subtree that has it, and the one beside that."""
    start, end = 0, size
    while end - start > 1:
        # after the largest power of two that is less than all of them
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if leaf < middle:
            beside, end = (middle, end), middle
        else:
            beside, start = (start, middle), middle
        yield (start, end), beside


def _nodes(start: int, end: int) -> list[Node]:
    """The complete subtrees that make up the leaves of one subtree, left to right."""
    found: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append(Node(level, start >> level))
        start += 1 << level
    return found


def _hashes(subtrees: Sequence[_Leaves], read: ReadHashes) -> list[bytes]:
    """The hash of each subtree, which need not be complete."""
    nodes = [_nodes(start, end) for start, end in subtrees]
    hashes = iter(read([node for group in nodes for node in group]))
    return [_fold([next(hashes) for _ in group]) for group in nodes]


# -- verifying proofs ------------------------------------------------------------------------------------------------


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf`, a hash, is the one at `index` of the tree (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for beside in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(beside, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, beside)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of `size` starts with all leaves of the one of `old` (RFC 9162, section 2.1.4.2)."""
    if not 0 <= old <= size:
        return False
    if old in (0, size):
        return not proof and old_root == (root if old == size else EMPTY_ROOT)
    path = [*proof] if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_found = found = path[0]
    for beside in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old_found, found = node_hash(beside, old_found), node_hash(beside, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, beside)
        at, last = at >> 1, last >> 1
    return last == 0 and old_found == old_root and found == root
