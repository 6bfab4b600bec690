"""A witness signs what continues what it has seen, and nothing else; a quorum believes what enough of them signed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.unit.consumers.audit.trees import Tree
from tocsin.consumers.audit.note import Cosigner, Note, Signature, Signer, Verifier, open_checkpoint
from tocsin.consumers.audit.witness import Quorum, Witness
from tocsin.consumers.errors import LogForked, LogInvalid, NoteInvalid
from tocsin.schemas.signing import SigningKey

LOG = Signer("exchange.example/audit/se", SigningKey.generate("log"))
COSIGNERS = [Cosigner(f"witness.example/w{number}", SigningKey.generate("w")) for number in range(3)]
AT_S = 1_800_000_000
SEED = 20_260_904


def _witness(folder: Path, cosigner: Cosigner = COSIGNERS[0]) -> Witness:
    return Witness(folder / "seen.json", cosigner, [LOG.verifier])


def _cosigned(note: bytes, *cosigners: Cosigner) -> bytes:
    found = Note.parse(note)
    return Note(found.text, (*found.signatures, *(each.sign(found.text, AT_S) for each in cosigners))).encode()


# -- witnesses -------------------------------------------------------------------------------------------------------


def test_each_head_that_continues_the_last_is_signed(tmp_path: Path) -> None:
    """Also when it is offered again, and by a witness that was started anew."""
    tree = Tree.of(400)
    for old, size in ((0, 1), (1, 1), (1, 2), (2, 200), (200, 256), (256, 400)):
        note = tree.signed(LOG, size)
        made = _witness(tmp_path).cosign(note, tree.consistency(old, size), AT_S)
        signed = Note(Note.parse(note).text, (*Note.parse(note).signatures, made))
        assert signed.verified([COSIGNERS[0].verifier]) == {COSIGNERS[0].verifier}
        assert _witness(tmp_path).seen(LOG.name) == note


@pytest.mark.parametrize("run", range(100))
def test_every_fork_is_refused_with_both_heads_as_evidence(tmp_path: Path, run: int) -> None:
    """A history that differs in one entry or more, with its own proof; what was seen stays what it was."""
    rng = random.Random(SEED + run)
    seen, size = rng.randint(1, 300), rng.randint(1, 600)
    true, false = Tree.of(600), Tree.of(600, altered=rng.randrange(min(seen, size)))
    witness = _witness(tmp_path)
    witness.cosign(true.signed(LOG, seen), [], AT_S)
    offered = false.signed(LOG, size)
    with pytest.raises(LogForked, match=r"keep both notes and tell them") as caught:
        witness.cosign(offered, false.consistency(seen, size) if seen <= size else [], AT_S)
    assert (caught.value.seen, caught.value.offered) == (true.signed(LOG, seen), offered)
    assert witness.seen(LOG.name) == _witness(tmp_path).seen(LOG.name) == true.signed(LOG, seen)
    witness.cosign(true.signed(LOG, 600), true.consistency(seen, 600), AT_S)


def test_a_log_that_shrinks_is_refused(tmp_path: Path) -> None:
    """Even to a head that it once had: it would grow again, into another history."""
    tree, witness = Tree.of(9), _witness(tmp_path)
    witness.cosign(tree.signed(LOG, 9), [], AT_S)
    for proof in ([], tree.consistency(5, 9)):
        with pytest.raises(LogForked, match="5 entries is not shown to continue the one of 9"):
            witness.cosign(tree.signed(LOG, 5), proof, AT_S)


def test_a_head_without_its_proof_is_refused(tmp_path: Path) -> None:
    """None, one from another head, or one of more hashes than any tree needs; and a first head needs none."""
    tree, witness = Tree.of(100), _witness(tmp_path)
    with pytest.raises(NoteInvalid, match="no head was seen yet"):
        witness.cosign(tree.signed(LOG, 50), tree.consistency(20, 50), AT_S)
    witness.cosign(tree.signed(LOG, 50), [], AT_S)
    for proof in ([], tree.consistency(20, 100), [bytes(32)] * 64):
        with pytest.raises(LogForked):
            witness.cosign(tree.signed(LOG, 100), proof, AT_S)


def test_a_head_that_the_log_did_not_sign_is_refused(tmp_path: Path) -> None:
    """Of a log that is not known, or by another key under its name."""
    tree, witness = Tree.of(5), _witness(tmp_path)
    with pytest.raises(NoteInvalid, match=r"other\.example: no key of this log is known here"):
        witness.cosign(tree.signed(Signer("other.example", LOG.key), 5), [], AT_S)
    with pytest.raises(NoteInvalid, match="not signed by any key"):
        witness.cosign(tree.signed(Signer(LOG.name, SigningKey.generate("x")), 5), [], AT_S)
    assert witness.seen(LOG.name) is None


def test_nothing_is_signed_that_cannot_be_remembered(tmp_path: Path) -> None:
    """The file is written first."""
    tree, witness = Tree.of(5), _witness(tmp_path)
    (tmp_path / "seen.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        witness.cosign(tree.signed(LOG, 5), [], AT_S)
    assert witness.seen(LOG.name) is None


def test_logs_are_told_apart(tmp_path: Path) -> None:
    """Each has its own newest head in the one file."""
    tree, other = Tree.of(5), Signer("exchange.example/audit/fr", SigningKey.generate("fr"))
    witness = Witness(tmp_path / "seen.json", COSIGNERS[0], [LOG.verifier, other.verifier])
    witness.cosign(tree.signed(LOG, 5), [], AT_S)
    witness.cosign(tree.signed(other, 3), [], AT_S)
    assert _witness(tmp_path).seen(LOG.name) == tree.signed(LOG, 5)
    assert _witness(tmp_path).seen(other.name) == tree.signed(other, 3)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_damaged_memory_is_not_taken_for_an_empty_one(tmp_path: Path, content: bytes) -> None:
    """A witness that forgot would sign another history."""
    (tmp_path / "seen.json").write_bytes(content)
    with pytest.raises(LogInvalid, match=r"seen\.json: damaged; restore it, or give this witness another name"):
        _witness(tmp_path)


def test_what_it_remembers_can_be_read_by_people(tmp_path: Path) -> None:
    """The signed notes themselves, by origin."""
    note = Tree.of(5).signed(LOG, 5)
    _witness(tmp_path).cosign(note, [], AT_S)
    assert json.loads((tmp_path / "seen.json").read_text()) == {LOG.name: note.decode()}


# -- quorums ---------------------------------------------------------------------------------------------------------

NOTE = Tree.of(5).signed(LOG, 5)
WITNESSES = frozenset(each.verifier for each in COSIGNERS)


@pytest.mark.parametrize("needed", range(4))
@pytest.mark.parametrize("signed", range(4))
def test_a_checkpoint_is_believed_that_enough_have_signed(needed: int, signed: int) -> None:
    """Any of them."""
    quorum = Quorum(LOG.verifier, WITNESSES, needed)
    note = _cosigned(NOTE, *random.Random(SEED).sample(COSIGNERS, signed))
    if signed >= needed:
        assert quorum.believed(note) == open_checkpoint(NOTE, LOG.verifier)
    else:
        with pytest.raises(NoteInvalid, match=f"cosigned by {signed} of its witnesses; {needed} are needed"):
            quorum.believed(note)


def test_a_witness_counts_once_and_a_stranger_not_at_all() -> None:
    """However often it signs."""
    stranger = Cosigner("stranger.example", SigningKey.generate("x"))
    with pytest.raises(NoteInvalid, match="cosigned by 1 of"):
        Quorum(LOG.verifier, WITNESSES, 2).believed(_cosigned(NOTE, COSIGNERS[0], COSIGNERS[0], stranger))


def test_witnesses_do_not_stand_in_for_the_log() -> None:
    """A checkpoint that all of them signed, and the log did not."""
    note = Note(Note.parse(NOTE).text, tuple(each.sign(Note.parse(NOTE).text, AT_S) for each in COSIGNERS))
    with pytest.raises(NoteInvalid, match="not signed by any key"):
        Quorum(LOG.verifier, WITNESSES, 2).believed(note.encode())


def test_a_false_cosignature_refuses_the_note() -> None:
    """It says that it is by a witness and is not."""
    found = Note.parse(_cosigned(NOTE, *COSIGNERS))
    *others, last = found.signatures
    false = Note(
        found.text, (*others, Signature(last.name, last.key_id, last.value[:-1] + bytes([last.value[-1] ^ 1])))
    )
    with pytest.raises(NoteInvalid, match="not theirs over this text"):
        Quorum(LOG.verifier, WITNESSES, 1).believed(false.encode())


@pytest.mark.parametrize(
    ("log", "witnesses", "needed"),
    [
        (LOG.verifier, WITNESSES, 4),
        (LOG.verifier, WITNESSES, -1),
        (LOG.verifier, frozenset({LOG.verifier}), 1),
        (COSIGNERS[0].verifier, frozenset[Verifier](), 0),
        (LOG.verifier, frozenset({Cosigner("w", LOG.key).verifier}), 1),
        (LOG.verifier, WITNESSES | {Cosigner("again.example", COSIGNERS[0].key).verifier}, 2),
    ],
)
def test_a_quorum_that_counts_wrong_is_refused(log: Verifier, witnesses: frozenset[Verifier], needed: int) -> None:
    """More than there are, keys of another kind, or one key twice under two names."""
    with pytest.raises(ValueError, match=r"witness"):
        Quorum(log, witnesses, needed)
