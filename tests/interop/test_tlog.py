"""Our logs, proofs and notes before Go's sumdb, the reference formats and Tessera's fsck; and theirs before us."""

from __future__ import annotations

import base64
import json
import random
import subprocess
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.interop.go import built, needs_go
from tocsin.consumers.audit.merkle import (
    Node,
    ReadHashes,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    read_edge,
)
from tocsin.consumers.audit.note import Cosigner, Note, Signer, Verifier
from tocsin.consumers.audit.proof import LogProof, prove
from tocsin.consumers.audit.sealed_log import CHECKPOINT, Folder, SealedLog
from tocsin.consumers.audit.witness import Quorum, Witness
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.signing import SigningKey

HERE: Final = Path(__file__).with_name("tlog")
pytestmark = needs_go

SIZE: Final = 100_000
RANDOM_PROOFS: Final = 10_000
ALL_UP_TO: Final = 70
SEED: Final = 20_260_904
AT_S: Final = 1_800_000_000

LOG: Final = Signer("exchange.example/audit/se", SigningKey.generate("log"))
WITNESSES: Final = [Cosigner(f"witness.example/w{number}", SigningKey.generate("w")) for number in range(3)]
QUORUM: Final = Quorum(LOG.verifier, frozenset(each.verifier for each in WITNESSES), 3)

Question = Mapping[str, Any]


@pytest.fixture(scope="module")
def tlog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of tests/interop/tlog."""
    return built(HERE, tmp_path_factory.mktemp("go"))


def _answers(tlog: Path, questions: Iterable[Question]) -> list[str]:
    lines = "\n".join(json.dumps(question) for question in questions)
    judged = subprocess.run([tlog, "judge"], input=lines, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr
    return judged.stdout.splitlines()


def _accepted(tlog: Path, questions: Sequence[Question]) -> None:
    answers = _answers(tlog, questions)
    assert len(answers) == len(questions)
    wrong = [(question, answer) for question, answer in zip(questions, answers, strict=True) if answer != "ok"]
    assert not wrong, f"{len(wrong)} of {len(questions)} are refused, first: {wrong[0]}"


def _refused(tlog: Path, questions: Sequence[Question]) -> None:
    answers = _answers(tlog, questions)
    assert len(answers) == len(questions)
    wrong = [question for question, answer in zip(questions, answers, strict=True) if answer == "ok"]
    assert not wrong, f"{len(wrong)} of {len(questions)} are accepted, first: {wrong[0]}"


# -- a large log -----------------------------------------------------------------------------------------------------


class Large(NamedTuple):
    """A log on disk, its entries, and what reads its nodes, each from its tile once."""

    folder: Path
    entries: list[bytes]
    read: ReadHashes


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    """100,000 random entries, sealed after batches of many sizes, by several openings of the folder."""
    rng = random.Random(SEED)
    entries = [rng.randbytes(rng.randint(0, 64)) for _ in range(SIZE)]
    folder = tmp_path_factory.mktemp("log")
    size = 0
    while size < SIZE:
        with Folder(folder) as files:
            log = SealedLog(files, LOG.verifier)
            for _ in range(10):
                log.append(entries[size : size + rng.choice([1, 7, 256, rng.randint(1, 3_000)])])
                size = log.size
                log.seal(LOG.sign)
    with Folder(folder) as files:
        hashes = SealedLog(files, LOG.verifier).hashes()

        @cache
        def node(each: Node) -> bytes:
            return hashes([each])[0]

        yield Large(folder, entries, lambda nodes: [node(each) for each in nodes])


def _text(each: bytes) -> str:
    return base64.b64encode(each).decode()


def _record(large: Large, index: int, size: int) -> Question:
    return {
        "kind": "record",
        "size": size,
        "root": _text(read_edge(size, large.read).root()),
        "index": index,
        "leaf": _text(leaf_hash(large.entries[index])),
        "proof": [_text(each) for each in inclusion_proof(index, size, large.read)],
    }


def _tree(large: Large, old: int, size: int) -> Question:
    return {
        "kind": "tree",
        "size": size,
        "root": _text(read_edge(size, large.read).root()),
        "oldSize": old,
        "oldRoot": _text(read_edge(old, large.read).root()),
        "proof": [_text(each) for each in consistency_proof(old, size, large.read)],
    }


def _spoilt(rng: random.Random, question: Question) -> Question:
    """The question with one hash changed, of the proof or beside it, or with a proof one hash longer or shorter."""
    proof, places = [*question["proof"]], [name for name in ("root", "leaf", "oldRoot") if name in question]
    at, other = rng.randrange(len(proof) + 1), _text(rng.randbytes(32))
    changed = [{**question, place: other} for place in places]
    changed.append({**question, "proof": [*proof[:at], other, *proof[at:]]})
    if at < len(proof):
        changed.append({**question, "proof": [*proof[:at], other, *proof[at + 1 :]]})
        changed.append({**question, "proof": [*proof[:at], *proof[at + 1 :]]})
    return rng.choice(changed)


def test_go_accepts_all_small_proofs_and_none_that_is_spoilt(tlog: Path, large: Large) -> None:
    """Every leaf of every tree, and every pair of trees, up to 70."""
    sizes = range(1, ALL_UP_TO + 1)
    questions = [_record(large, index, size) for size in sizes for index in range(size)]
    questions += [_tree(large, old, size) for size in sizes for old in range(1, size + 1)]
    assert len(questions) == 2 * 2_485
    _accepted(tlog, questions)
    rng = random.Random(SEED)
    _refused(tlog, [_spoilt(rng, question) for question in questions])


def test_go_accepts_random_proofs_of_a_large_log_and_none_that_is_spoilt(tlog: Path, large: Large) -> None:
    """10,000 of each kind, of trees up to 100,000."""
    rng = random.Random(SEED)
    sizes = [rng.randint(1, SIZE) for _ in range(RANDOM_PROOFS)]
    questions = [_record(large, rng.randrange(size), size) for size in sizes]
    questions += [_tree(large, rng.randint(1, size), size) for size in sizes]
    _accepted(tlog, questions)
    _refused(tlog, [_spoilt(rng, question) for question in rng.sample(questions, 2_000)])


# -- Tessera's fsck --------------------------------------------------------------------------------------------------


def _fsck(tlog: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    arguments: list[str | Path] = [tlog, "fsck", folder, LOG.verifier.text()]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def _one_bit_flipped(file: Path, at: int) -> Generator[None]:
    content = file.read_bytes()
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    yield
    file.write_bytes(content)


def test_tessera_finds_the_log_in_order(tlog: Path, large: Large) -> None:
    """It derives all tiles and the root from the entries."""
    checked = _fsck(tlog, large.folder)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    "name",
    [
        "tile/0/000",
        "tile/0/390.p/160",
        "tile/1/000",
        "tile/1/001.p/134",
        "tile/2/000.p/1",
        "tile/entries/200",
        "tile/entries/390.p/160",
        CHECKPOINT,
    ],
)
def test_tessera_finds_one_flipped_bit(tlog: Path, large: Large, name: str) -> None:
    """In the first and last files of each kind and level."""
    file = large.folder / name
    with _one_bit_flipped(file, random.Random(SEED).randrange(file.stat().st_size)):
        assert _fsck(tlog, large.folder).returncode == 1
    assert _fsck(tlog, large.folder).returncode == 0


# -- notes and proofs ------------------------------------------------------------------------------------------------


def _cosigned(folder: Path, signed: bytes) -> bytes:
    note = Note.parse(signed)
    paths = [folder / f"{number}.json" for number in range(len(WITNESSES))]
    pairs = zip(paths, WITNESSES, strict=True)
    made = [Witness(path, each, [LOG.verifier]).cosign(signed, [], AT_S) for path, each in pairs]
    return Note(note.text, (*note.signatures, *made)).encode()


def _keys(*verifiers: Verifier) -> list[str]:
    return [verifier.text() for verifier in verifiers]


ALL_KEYS: Final = _keys(LOG.verifier, *(each.verifier for each in WITNESSES))


def test_go_opens_our_checkpoints_cosigned_or_not(tlog: Path, large: Large, tmp_path: Path) -> None:
    """With Go's note package, and the reference for cosignatures."""
    signed = (large.folder / CHECKPOINT).read_bytes()
    cosigned = _cosigned(tmp_path, signed).decode()
    stranger = Signer(LOG.name, SigningKey.generate("x")).verifier
    _accepted(
        tlog,
        [
            {"kind": "note", "text": signed.decode(), "keys": _keys(LOG.verifier)},
            {"kind": "note", "text": cosigned, "keys": ALL_KEYS},
        ],
    )
    _refused(
        tlog,
        [
            {"kind": "note", "text": signed.decode(), "keys": ALL_KEYS},
            {"kind": "note", "text": signed.decode(), "keys": _keys(stranger)},
            {"kind": "note", "text": cosigned.replace(f"\n{SIZE}\n", f"\n{SIZE - 1}\n"), "keys": ALL_KEYS},
            *({"kind": "note", "text": text, "keys": ALL_KEYS} for text in _other_signatures(cosigned)),
        ],
    )


def _other_signatures(cosigned: str) -> list[str]:
    """The note with one signature after another changed in its last bytes, cosignatures also in their time."""
    note = Note.parse(cosigned.encode())
    changed = [
        (at, each._replace(value=value))
        for at, each in enumerate(note.signatures)
        for value in (each.value[:-1] + bytes([each.value[-1] ^ 1]), bytes([each.value[0] ^ 1]) + each.value[1:])
    ]
    return [
        Note(note.text, (*note.signatures[:at], other, *note.signatures[at + 1 :])).encode().decode()
        for at, other in changed
    ]


def test_go_accepts_our_proofs_as_one_text(tlog: Path, large: Large, tmp_path: Path) -> None:
    """With and without extra data; of the first, the last and random entries. It would write the same bytes."""
    cosigned = _cosigned(tmp_path, (large.folder / CHECKPOINT).read_bytes())
    rng = random.Random(SEED)
    indexes = [0, SIZE - 1, *(rng.randrange(SIZE) for _ in range(200))]
    proofs = [prove(index, cosigned, large.read, rng.choice([b"", rng.randbytes(40)])) for index in indexes]
    for proof in proofs:
        proof.verify(large.entries[proof.index], QUORUM)
    _accepted(tlog, [_proof(proof, large.entries[proof.index]) for proof in proofs])
    _refused(tlog, [_proof(proof, b"other") for proof in proofs])
    spoilt = [replace(proof, hashes=(rng.randbytes(32), *proof.hashes[1:])) for proof in proofs]
    _refused(tlog, [_proof(proof, large.entries[proof.index]) for proof in spoilt])


def _proof(proof: LogProof, entry: bytes) -> Question:
    return {"kind": "proof", "text": proof.encode().decode(), "entry": _text(entry), "keys": ALL_KEYS}


def test_we_accept_what_go_makes(tlog: Path) -> None:
    """A cosigned checkpoint and a proof, read, verified and written again as they were."""
    made = json.loads(subprocess.run([tlog, "make"], capture_output=True, text=True, check=True).stdout)
    quorum = Quorum(Verifier.parse(made["log"]), frozenset({Verifier.parse(made["witness"])}), 1)
    proof = LogProof.parse(made["proof"].encode())
    assert proof.encode() == made["proof"].encode()
    head = proof.verify(made["entry"].encode(), quorum)
    assert (head.origin, head.size, proof.extra) == ("go.example/log", 11, b"extra")
    with pytest.raises(NoteInvalid):
        proof.verify(b"other", quorum)
