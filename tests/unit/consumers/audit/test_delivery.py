"""The proof of one delivery: it holds for us and for a script with public tools, and shows nothing of anybody else."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.unit.consumers.audit.test_facts import DECISION
from tests.unit.consumers.audit.trees import Tree
from tocsin.consumers.audit.delivery import ALL, MANUAL, check_delivery, prove_delivery
from tocsin.consumers.audit.delivery import DECISION as DECISION_FILE
from tocsin.consumers.audit.facts import facts_of, seal_of
from tocsin.consumers.audit.merkle import leaf_hash
from tocsin.consumers.audit.note import Signer
from tocsin.consumers.audit.witness import Quorum
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.signing import SigningKey

LOG: Final = Signer("test.tocsin/audit.de", SigningKey.generate("sealer"))
QUORUM: Final = Quorum(LOG.verifier)
MEMBERS: Final = [f"member-{number:02}" for number in range(12)]


def _record(number: int, rng: random.Random) -> BusRecord:
    members = rng.sample(MEMBERS, rng.randint(1, len(MEMBERS)))
    about = {
        "given": [{"member": member, "rule": f"ALLOW READ User:{member}"} for member in members],
        "lineage_id": f"lineage-{number}",
        "salt": rng.randbytes(16),
    }
    return BusRecord("audit.de", 2 * number, None, encode(schema("decision"), DECISION | about), (), number)


def _proof(count: int, index: int) -> tuple[dict[str, bytes], str, BusRecord]:
    rng = random.Random(f"{count}/{index}")
    records = [_record(number, rng) for number in range(count)]
    tree = Tree([leaf_hash(seal_of(record)) for record in records])
    member = json.loads(_facts_about(records[index]))["given"]
    signed = tree.signed(LOG, count)
    return prove_delivery(records[index], member, index, signed, tree.read, QUORUM), member, records[index]


def _facts_about(record: BusRecord) -> str:
    return next(fact for fact in facts_of(record)[1:] if "given" in fact)


def _script(folder: Path, proof: Mapping[str, bytes]) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    for name, content in proof.items():
        (folder / name).write_bytes(content)
    return subprocess.run(["sh", str(folder / "check.sh")], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("count", "index"), [(1, 0), (2, 0), (2, 1), (7, 6), (8, 3), (100, 41), (300, 299)])
def test_it_holds_for_us_and_for_openssl(tmp_path: Path, count: int, index: int) -> None:
    """Whatever the place in the log."""
    proof, member, record = _proof(count, index)
    assert proof.keys() == {*ALL}
    shown = check_delivery(proof, QUORUM)
    assert shown.delivery["given"] == member
    assert shown.decision["decision"]["lineage_id"] == f"lineage-{index}"
    assert (shown.decision["topic"], shown.decision["offset"]) == (record.topic, record.offset)
    done = _script(tmp_path / "proof", proof)
    assert (done.returncode, done.stderr) == (0, "")
    assert LOG.verifier.text() in done.stdout
    assert member in done.stdout


def test_it_names_no_other_member() -> None:
    """In no file, however it is written."""
    proof, member, _ = _proof(20, 5)
    everything = b"\n".join(proof.values()).decode()
    assert [other for other in MEMBERS if other in everything] == [member]


@pytest.mark.parametrize("name", [name for name in ALL if name not in MANUAL])
def test_a_changed_byte_is_found_by_both(tmp_path: Path, name: str) -> None:
    """In every file, at places all over it; a key that was changed is another log's."""
    proof, _, _ = _proof(20, 5)
    rng = random.Random(name)
    content = proof[name]
    for turn in range(12):
        at = rng.randrange(len(content) - 1)
        changed = {**proof, name: content[:at] + bytes([content[at] ^ (1 << rng.randrange(7))]) + content[at + 1 :]}
        if name != "log-key.txt":
            with pytest.raises(NoteInvalid):
                check_delivery(changed, QUORUM)
        assert _script(tmp_path / str(turn), changed).returncode != 0, (at, changed[name])


def test_a_missing_file_is_named() -> None:
    """The proof is all of its files."""
    proof, _, _ = _proof(3, 1)
    with pytest.raises(NoteInvalid, match=r"decision\.json: missing"):
        check_delivery({name: content for name, content in proof.items() if name != DECISION_FILE}, QUORUM)


def test_another_log_is_not_believed() -> None:
    """It holds for the key that it was checked with, and no other."""
    proof, _, _ = _proof(3, 1)
    with pytest.raises(NoteInvalid):
        check_delivery(proof, Quorum(Signer(LOG.name, SigningKey.generate("sealer")).verifier))


def test_of_a_member_that_is_not_concerned_there_is_no_proof() -> None:
    """That somebody was not given it cannot be shown so."""
    record = _record(0, random.Random(1))
    tree = Tree([leaf_hash(seal_of(record))])
    with pytest.raises(ValueError, match="says nothing of nobody"):
        prove_delivery(record, "nobody", 0, tree.signed(LOG, 1), tree.read, QUORUM)
