"""The trees of RFC 6962: against its own definitions, written out, and against published roots."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.consumers.audit.merkle import (
    EMPTY_ROOT,
    Edge,
    Node,
    ReadHashes,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    read_edge,
    root_of,
    verify_consistency,
    verify_inclusion,
)

ALL = 70
LEAVES = [leaf_hash(number.to_bytes(2, "big")) for number in range(300)]

# the inputs and roots that Certificate Transparency's implementations share
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def _split(count: int) -> int:
    """The largest power of two less than `count`."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def _tree(leaves: Sequence[bytes]) -> bytes:
    """MTH of the RFC, word by word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    k = _split(len(leaves))
    return node_hash(_tree(leaves[:k]), _tree(leaves[k:]))


def _path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of the RFC, word by word."""
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if m < k:
        return [*_path(m, leaves[:k]), _tree(leaves[k:])]
    return [*_path(m - k, leaves[k:]), _tree(leaves[:k])]


def _subproof(m: int, leaves: Sequence[bytes], *, known: bool) -> list[bytes]:
    """SUBPROOF of the RFC, word by word."""
    if m == len(leaves):
        return [] if known else [_tree(leaves)]
    k = _split(len(leaves))
    if m <= k:
        return [*_subproof(m, leaves[:k], known=known), _tree(leaves[k:])]
    return [*_subproof(m - k, leaves[k:], known=False), _tree(leaves[:k])]


def _reader(leaves: Sequence[bytes]) -> ReadHashes:
    def read(nodes: Sequence[Node]) -> list[bytes]:
        parts = [leaves[node.number << node.level : (node.number + 1) << node.level] for node in nodes]
        assert all(len(part) == 1 << node.level for part, node in zip(parts, nodes, strict=True)), "not complete"
        return [_tree(part) for part in parts]

    return read


READ = _reader(LEAVES)


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_are_those_that_others_publish(size: int) -> None:
    """By the root over leaves and by the edge."""
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in INPUTS[:size]]
    edge = Edge()
    for leaf in leaves:
        edge.append(leaf)
    assert root_of(leaves).hex() == edge.root().hex() == ROOTS[size]


def test_the_edge_gives_every_root_and_is_read_back_from_the_tree() -> None:
    """At each size: appended to, or read, it is the same."""
    grown = Edge()
    for size in range(len(LEAVES)):
        assert grown.root() == root_of(LEAVES[:size]) == read_edge(size, READ).root()
        completed = grown.append(LEAVES[size])
        assert completed == READ([Node(level, size >> level) for level in range(len(completed))])


def test_an_edge_of_too_few_hashes_is_refused() -> None:
    """A tree of six leaves has two complete subtrees."""
    with pytest.raises(ValueError, match="2 complete subtrees"):
        Edge(6, LEAVES[:1])


def test_all_inclusion_proofs_are_those_of_the_rfc_and_verify() -> None:
    """Every leaf of every tree up to 70."""
    for size in range(1, ALL + 1):
        root = root_of(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, READ)
            assert proof == _path(index, LEAVES[:size])
            assert verify_inclusion(LEAVES[index], index, size, proof, root)


def test_all_consistency_proofs_are_those_of_the_rfc_and_verify() -> None:
    """Every pair of trees up to 70."""
    for size in range(1, ALL + 1):
        for old in range(1, size + 1):
            proof = consistency_proof(old, size, READ)
            assert proof == _subproof(old, LEAVES[:size], known=True)
            assert verify_consistency(old, size, root_of(LEAVES[:old]), root_of(LEAVES[:size]), proof)


def _spoilt(rng: random.Random, proof: list[bytes]) -> list[bytes]:
    """Another proof: a hash changed, taken away, added or moved."""
    at = rng.randrange(len(proof) + 1)
    changes = [[*proof[:at], rng.randbytes(32), *proof[at:]]]
    if proof:
        at %= len(proof)
        changes += [[*proof[:at], *proof[at + 1 :]], [*proof[:at], rng.randbytes(32), *proof[at + 1 :]]]
        changes += [proof[::-1]] if proof[::-1] != proof else []
    return rng.choice(changes)


@given(st.integers(1, 300), st.randoms(use_true_random=False))
def test_a_wrong_inclusion_proof_is_refused(size: int, rng: random.Random) -> None:
    """Another hash, leaf, index, root or size."""
    index, root = rng.randrange(size), root_of(LEAVES[:size])
    proof = inclusion_proof(index, size, READ)
    assert verify_inclusion(LEAVES[index], index, size, proof, root)
    assert not verify_inclusion(LEAVES[index], index, size, _spoilt(rng, proof), root)
    assert not verify_inclusion(leaf_hash(b"another"), index, size, proof, root)
    assert not verify_inclusion(LEAVES[index], index, size, proof, root_of(LEAVES[: size - 1]))
    other = rng.choice([-1, size, *(each for each in range(size) if each != index)])
    assert not verify_inclusion(LEAVES[index], other, size, proof, root)


@given(st.integers(1, 300), st.randoms(use_true_random=False))
def test_a_wrong_consistency_proof_is_refused(size: int, rng: random.Random) -> None:
    """Another hash or another of the two roots; and a smaller tree continues nothing."""
    old = rng.randint(1, size)
    roots = root_of(LEAVES[:old]), root_of(LEAVES[:size])
    proof = consistency_proof(old, size, READ)
    assert verify_consistency(old, size, *roots, proof)
    assert not verify_consistency(old, size, *roots, _spoilt(rng, proof))
    assert not verify_consistency(old, size, leaf_hash(b"another"), roots[1], proof)
    assert not verify_consistency(old, size, roots[0], leaf_hash(b"another"), proof)
    assert not verify_consistency(size + 1, size, *roots, proof)


def test_the_empty_tree_is_continued_by_any_without_a_proof() -> None:
    """RFC 9162 leaves this open; witnesses ask for it so."""
    root = root_of(LEAVES[:5])
    assert consistency_proof(0, 5, READ) == []
    assert verify_consistency(0, 5, EMPTY_ROOT, root, [])
    assert not verify_consistency(0, 5, EMPTY_ROOT, root, LEAVES[:1])
    assert not verify_consistency(0, 5, root, root, [])
    assert not verify_consistency(0, 0, EMPTY_ROOT, root, [])


def test_proofs_of_what_is_not_there_cannot_be_asked_for() -> None:
    """Neither a leaf past the end, nor a tree that shrinks."""
    with pytest.raises(ValueError, match="no leaf 5 in a tree of 5"):
        inclusion_proof(5, 5, READ)
    with pytest.raises(ValueError, match="cannot continue one of 6"):
        consistency_proof(6, 5, READ)
