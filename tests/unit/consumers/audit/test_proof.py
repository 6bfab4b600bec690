"""Proofs as one text: read back, verified offline, and refused in any other form or for any other entry."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.consumers.audit.trees import Tree
from tocsin.consumers.audit.note import Cosigner, Note, Signer, open_checkpoint
from tocsin.consumers.audit.proof import EXTRA_BYTES_MAX, PROOF_BYTES_MAX, LogProof, prove
from tocsin.consumers.audit.witness import Quorum
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.signing import SigningKey

LOG = Signer("exchange.example/audit/se", SigningKey.generate("log"))
WITNESS = Cosigner("witness.example/w1", SigningKey.generate("witness"))
QUORUM = Quorum(LOG.verifier, frozenset({WITNESS.verifier}), 1)
TREE = Tree.of(300)


def _entry(index: int) -> bytes:
    return index.to_bytes(4, "big")


def _cosigned(size: int) -> bytes:
    note = Note.parse(TREE.signed(LOG, size))
    return Note(note.text, (*note.signatures, WITNESS.sign(note.text, 1_800_000_000))).encode()


PROOF = prove(5, _cosigned(7), TREE.read, b"extra")
TEXT = PROOF.encode()
LINES = TEXT.split(b"\n")


@given(st.integers(1, 300), st.data(), st.binary(max_size=80))
def test_a_proof_is_read_back_and_verifies(size: int, data: st.DataObject, extra: bytes) -> None:
    """Of any entry of any tree, with and without extra data."""
    index = data.draw(st.integers(0, size - 1))
    proof = prove(index, _cosigned(size), TREE.read, extra)
    assert LogProof.parse(proof.encode()) == proof
    assert proof.verify(_entry(index), QUORUM) == open_checkpoint(TREE.signed(LOG, size), LOG.verifier)


def test_the_text_is_that_of_the_specification() -> None:
    """Header, extra data, index, hashes, an empty line, and the checkpoint as it is."""
    hashes = [base64.b64encode(each) for each in PROOF.hashes]
    assert len(hashes) == 3
    head = [b"c2sp.org/tlog-proof@v1", b"extra " + base64.b64encode(b"extra"), b"index 5", *hashes, b"", b""]
    assert b"\n".join(head) + _cosigned(7) == TEXT
    assert b"extra" not in replace(PROOF, extra=b"").encode()


def test_a_proof_of_anything_else_is_refused() -> None:
    """Another entry, place, hash or tree."""
    assert PROOF.verify(_entry(5), QUORUM)
    for wrong, entry in [
        (PROOF, _entry(4)),
        (replace(PROOF, index=4), _entry(5)),
        (replace(PROOF, index=300), _entry(5)),
        (replace(PROOF, hashes=PROOF.hashes[:-1]), _entry(5)),
        (replace(PROOF, hashes=(bytes(32), *PROOF.hashes[1:])), _entry(5)),
        (replace(PROOF, checkpoint=_cosigned(6)), _entry(5)),
    ]:
        with pytest.raises(NoteInvalid, match=r"this is not entry \d+ of \d"):
            wrong.verify(entry, QUORUM)


def test_a_proof_is_no_better_than_its_checkpoint() -> None:
    """It must be signed by the log and by enough witnesses."""
    with pytest.raises(NoteInvalid, match="cosigned by 0"):
        replace(PROOF, checkpoint=TREE.signed(LOG, 7)).verify(_entry(5), QUORUM)
    other = Signer(LOG.name, SigningKey.generate("x"))
    with pytest.raises(NoteInvalid, match="not signed by any key"):
        replace(PROOF, checkpoint=TREE.signed(other, 7)).verify(_entry(5), Quorum(LOG.verifier))


def _with(at: int, *lines: bytes) -> bytes:
    return b"\n".join([*LINES[:at], *lines, *LINES[at + 1 :]])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        TEXT[:-1],
        b"\n" + TEXT,
        TEXT + b"\n",
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.partition(b"\n\n")[0],
        TEXT.partition(b"\n\n")[2],
        _with(0, b"c2sp.org/tlog-proof@v2"),
        _with(1, LINES[1], LINES[1]),
        _with(1, b"extra "),
        _with(1, b"extra ?"),
        _with(1, b"extra " + base64.b64encode(bytes(EXTRA_BYTES_MAX + 1))),
        _with(1, b"other data", b"extra YQ=="),
        _with(2),
        _with(2, b"index"),
        _with(2, b"index 05"),
        _with(2, b"index -5"),
        _with(2, LINES[2], b"index 5"),
        _with(3, b"AAAA"),
        _with(3, LINES[3][:-1]),
        _with(3, b"\xe2\x80\x94"),
        _with(3, *[LINES[3]] * 62),
        TEXT + bytes(PROOF_BYTES_MAX),
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    """Each line has one place and one form."""
    with pytest.raises(NoteInvalid):
        LogProof.parse(data)


def test_a_proof_of_what_is_not_there_is_not_made() -> None:
    """Nor one that nobody would read, or of a checkpoint that is none."""
    with pytest.raises(ValueError, match="no leaf 7 in a tree of 7"):
        prove(7, _cosigned(7), TREE.read)
    with pytest.raises(ValueError, match="65536 is the most"):
        prove(5, _cosigned(7), TREE.read, bytes(EXTRA_BYTES_MAX + 1))
    with pytest.raises(NoteInvalid):
        prove(5, b"7", TREE.read)
