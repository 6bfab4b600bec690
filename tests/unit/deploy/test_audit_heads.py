"""What `tocsin audit heads` says of the heads that were kept, against the topic and against another member's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.consumers.audit.trees import Tree
from tocsin.consumers.audit.heads_kept import HEADS, HeadsKept, encode_heads
from tocsin.consumers.audit.note import Cosigner, Note, Signer
from tocsin.consumers.audit.shown import opened
from tocsin.consumers.errors import NoteInvalid
from tocsin.deploy.audit.heads_command import Comparing, heads_of, mailed_heads
from tocsin.schemas.directory import Directory, DirectoryKey
from tocsin.schemas.signing import SigningKey

TOPIC = "audit.se"
KEY = SigningKey.generate("sealer")
LOG = Signer(f"test.tocsin/{TOPIC}", KEY)
DIRECTORY = Directory("test", 1, 0, 10**15, {}, {KEY.key_id: DirectoryKey(KEY.key_id, "sealer", KEY.public, 0, 10**15)})
HONEST, OTHER = Tree.of(20), Tree.of(20, altered=3)


def _kept(folder: Path, *sizes: int, tree: Tree = HONEST) -> HeadsKept:
    kept = HeadsKept(folder / HEADS)
    for at, size in enumerate(sizes):
        kept.take(TOPIC, opened(tree.signed(LOG, size), [LOG.verifier]), at)
    return kept


def _comparing(kept: HeadsKept) -> Comparing:
    return Comparing(kept, kept.read(), DIRECTORY)


def _topic(*sizes: int, tree: Tree = HONEST, log: Signer = LOG) -> list[bytes]:
    return [tree.signed(log, size) for size in sizes]


def test_all_that_was_shown_must_be_in_the_topic(tmp_path: Path) -> None:
    """What is missing there, or differs, is said of each head; strangers' signatures and other sizes say nothing."""
    comparing = _comparing(_kept(tmp_path, 5, 9))
    stranger = Signer(LOG.name, SigningKey.generate("sealer"))
    noise = [b"no note", *_topic(9, tree=OTHER, log=stranger), *_topic(7, tree=OTHER)]
    for notes, expected in (
        (_topic(5, 7, 9), [("same", 9)]),
        (_topic(5), [("missing", 9)]),
        ([*_topic(5), *_topic(9, tree=OTHER)], [("forked", 9)]),
        ([*_topic(5, 9), *_topic(9, tree=OTHER)], [("forked", 9)]),
        ([], [("missing", 5), ("missing", 9)]),
    ):
        assert [(row["outcome"], row["entries"]) for row in comparing.with_topic([*noise, *notes])] == expected
    assert len([*(tmp_path / "forks").glob("*")]) == 1


def test_another_members_file_is_compared_size_by_size(tmp_path: Path) -> None:
    """Or the head that a witness has cosigned; where nothing can be compared, that is said."""
    comparing, mailed = _comparing(_kept(tmp_path / "ours", 5, 9)), tmp_path / "mailed"
    for sizes, tree, outcomes in (
        ((5, 12), HONEST, ["same"]),
        ((5,), OTHER, ["forked"]),
        ((3, 5), OTHER, ["forked"]),
        ((12,), OTHER, ["nothing in common"]),
    ):
        theirs = _kept(tmp_path / f"{sizes}{tree is OTHER}", *sizes, tree=tree)
        mailed.write_bytes(mailed_heads(theirs))
        rows = [*comparing.with_file("mailed", heads_of(mailed, DIRECTORY))]
        assert [row["outcome"] for row in rows] == outcomes
    note = Note.parse(OTHER.signed(LOG, 9))
    witness = Cosigner("test.tocsin/witness/bank-de", SigningKey.generate("bank-de"))
    mailed.write_bytes(Note(note.text, (*note.signatures, witness.sign(note.text, 1))).encode())
    assert [row["outcome"] for row in comparing.with_file("mailed", heads_of(mailed, DIRECTORY))] == ["forked"]


def test_a_file_that_the_sealer_has_not_signed_is_refused(tmp_path: Path) -> None:
    """It would accuse the exchange of what somebody else made up. So is one that holds no heads, or no longer any."""
    mailed = tmp_path / "mailed"
    stranger = Signer(LOG.name, SigningKey.generate("sealer"))
    forged = opened(OTHER.signed(stranger, 9), [stranger.verifier])
    kept = _kept(tmp_path, 5)
    kept.take(TOPIC, forged, 2)
    mailed.write_bytes(encode_heads(kept.read()))
    with pytest.raises(NoteInvalid, match="1 heads that no key of the sealer has signed"):
        heads_of(mailed, DIRECTORY)
    mailed.write_bytes(b"Dear colleague")
    with pytest.raises(NoteInvalid, match="not a file of heads"):
        heads_of(mailed, DIRECTORY)
    with pytest.raises(NoteInvalid, match="read your inbox with `tocsin inbox`"):
        mailed_heads(HeadsKept(tmp_path / "nothing" / HEADS))
