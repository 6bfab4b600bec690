"""The proof of one delivery, for a court: what was decided, what of that is about one member, and no more. Pure.

A proof is a few files, of text, that anybody can check without our code: `check.sh` does, with openssl and base64.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from tocsin.consumers.audit.facts import entry_of, fact_about, fact_hash, facts_of, seal_of
from tocsin.consumers.audit.merkle import HASH_BYTES, ReadHashes
from tocsin.consumers.audit.note import Checkpoint, decode_base64
from tocsin.consumers.audit.proof import LogProof, prove
from tocsin.consumers.audit.witness import Quorum
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.bus import BusRecord

DECISION: Final = "decision.json"
DELIVERY: Final = "delivery.json"
FACTS: Final = "facts.txt"
ENTRY: Final = "entry.txt"
PROOF: Final = "proof.txt"
KEY: Final = "log-key.txt"
WITNESSES: Final = "witness-keys.txt"
"""Only where witnesses were asked for. Who checks believes keys that were told otherwise, not those in a file."""
MANUAL: Final = ("README.md", "check.sh")
ALL: Final = (DECISION, DELIVERY, FACTS, ENTRY, PROOF, KEY, *MANUAL)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a proof shows: the decision, what it says of one member, and the head of the log that seals it."""

    decision: Mapping[str, Any]
    delivery: Mapping[str, Any]
    checkpoint: Checkpoint


def prove_delivery(
    record: BusRecord, member: str, index: int, signed: bytes, read: ReadHashes, quorum: Quorum
) -> dict[str, bytes]:
    """The files of the proof that `record`, entry `index` of the log of the checkpoint `signed`, is about `member`.

    With witnesses, their keys are in one of the files.

    Raises:
        ValueError: it says nothing of that member.
        NoteInvalid: the log does not have this record there.
    """
    facts = facts_of(record)
    about = fact_about(facts, member)
    if about is None:
        raise ValueError(f"{record.topic}/{record.offset} says nothing of {member}")
    found = {
        DECISION: facts[0].encode(),
        DELIVERY: about.encode(),
        FACTS: "".join(f"{base64.b64encode(fact_hash(fact)).decode()}\n" for fact in facts).encode(),
        ENTRY: seal_of(record),
        PROOF: prove(index, signed, read).encode(),
        KEY: f"{quorum.log.text()}\n".encode(),
        **{name: (files("tocsin.consumers.audit") / "manual" / name).read_bytes() for name in MANUAL},
    }
    if quorum.witnesses:
        found[WITNESSES] = "".join(sorted(f"{witness.text()}\n" for witness in quorum.witnesses)).encode()
    check_delivery(found, quorum)
    return found


def check_delivery(proof: Mapping[str, bytes], quorum: Quorum) -> Delivery:
    """What the files of a proof show.

    Raises:
        NoteInvalid: they show nothing: one is missing, or does not fit the others, or the log is not that of `quorum`.
    """
    missing = [name for name in (DECISION, DELIVERY, FACTS, ENTRY, PROOF) if name not in proof]
    if missing:
        raise NoteInvalid(f"{missing[0]}: missing; the proof is all of its files")
    hashes = _hashes(proof[FACTS])
    for name, places in ((DECISION, hashes[:1]), (DELIVERY, hashes[1:])):
        if fact_hash(_text(name, proof[name])) not in places:
            raise NoteInvalid(f"{name}: its hash is not in {FACTS}")
    decision, delivery = (json.loads(proof[name]) for name in (DECISION, DELIVERY))
    if proof[ENTRY] != entry_of(decision["offset"], hashes):
        raise NoteInvalid(f"{ENTRY}: not the offset of {DECISION} and the hash over {FACTS}")
    checkpoint = LogProof.parse(proof[PROOF]).verify(proof[ENTRY], quorum)
    return Delivery(decision, delivery, checkpoint)


def _hashes(lines: bytes) -> list[bytes]:
    text = _text(FACTS, lines)
    if not text.endswith("\n"):
        raise NoteInvalid(f"{FACTS}: its last line does not end")
    return [decode_base64(line, HASH_BYTES) for line in text.removesuffix("\n").split("\n")]


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise NoteInvalid(f"{name}: not ASCII") from error
