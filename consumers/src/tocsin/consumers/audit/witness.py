"""Witnesses of logs: each signs a log's heads for as long as every one continues the one before.

The protocol's checks are those of https://c2sp.org/tlog-witness; how a checkpoint comes and goes is not said here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tocsin.consumers.audit.merkle import verify_consistency
from tocsin.consumers.audit.note import Checkpoint, Cosigner, KeyKind, Note, Signature, Verifier, open_checkpoint
from tocsin.consumers.errors import LogForked, LogInvalid, NoteInvalid
from tocsin.schemas.files import sync_folder, write_file

PROOF_HASHES_MAX: Final = 63


def follow(seen: bytes | None, offered: bytes, proof: Sequence[bytes], log: Verifier) -> Checkpoint:
    """The checkpoint in the note `offered`, shown by `proof` to continue that in `seen`, which was verified then. Pure.

    Raises:
        NoteInvalid: `offered` is not signed by the log; or nothing was seen before, and there is a proof.
        LogForked: it is smaller, of the same size with another root, or the proof does not show that it continues.
    """
    new = open_checkpoint(offered, log)
    if seen is None:
        if proof:
            raise NoteInvalid(f"{log.name}: a proof of continuing, though no head was seen yet; send none")
        return new
    old = Checkpoint.parse(Note.parse(seen).text)
    if len(proof) > PROOF_HASHES_MAX or not verify_consistency(old.size, new.size, old.root, new.root, proof):
        raise LogForked(
            f"{log.name}: the head of {new.size} entries is not shown to continue the one of {old.size}. If the log "
            "has no proof that it does, it told different things to different people: keep both notes and tell them",
            seen=seen,
            offered=offered,
        )
    return new


class Witness:
    """Remembers the newest head of each log in the file `path`, and signs what continues it. One process per file.

    Raises:
        LogInvalid: the file is damaged. Without it, a witness can be told a history of which it has signed another.
    """

    def __init__(self, path: Path, cosigner: Cosigner, logs: Iterable[Verifier]) -> None:
        self._path = path
        self._cosigner = cosigner
        self._logs = {log.name: log for log in logs}
        self._seen = _read(path)

    @property
    def origins(self) -> tuple[str, ...]:
        """The logs of which a head was cosigned here."""
        return tuple(self._seen)

    def seen(self, origin: str) -> bytes | None:
        """The newest signed note of a log that was cosigned here. The next proof must start from it."""
        return self._seen.get(origin)

    def cosign(self, offered: bytes, proof: Sequence[bytes], at_s: int) -> Signature:
        """The cosignature of a log's signed note, made once it is remembered. `at_s` is the POSIX time in seconds.

        Raises:
            NoteInvalid: it is of no log that is known here, or as `follow` says.
            LogForked: as `follow` says; nothing is signed or remembered.
            OSError: the file cannot be written; nothing is signed.
        """
        note = Note.parse(offered)
        origin = Checkpoint.parse(note.text).origin
        if origin not in self._logs:
            raise NoteInvalid(f"{origin}: no key of this log is known here")
        follow(self.seen(origin), offered, proof, self._logs[origin])
        seen = self._seen | {origin: offered}
        _write(self._path, seen)
        self._seen = seen
        return self._cosigner.sign(note.text, at_s)


def _read(path: Path) -> dict[str, bytes]:
    try:
        document = json.loads(path.read_bytes())
        return {origin: note.encode() for origin, note in document.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise LogInvalid(f"{path}: damaged; restore it, or give this witness another name and key") from error


def _write(path: Path, seen: dict[str, bytes]) -> None:
    document = {origin: note.decode() for origin, note in sorted(seen.items())}
    write_file(path, json.dumps(document, ensure_ascii=False, indent=1).encode())
    sync_folder(path.parent)


@dataclass(frozen=True, slots=True)
class Quorum:
    """Who must have signed a checkpoint of `log` for it to be believed: the log, and `needed` of the `witnesses`.

    Raises:
        ValueError: fewer witnesses than needed, one that is none, or one public key for two.
    """

    log: Verifier
    witnesses: frozenset[Verifier] = frozenset()
    needed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.needed <= len(self.witnesses):
            raise ValueError(f"{self.needed} of {len(self.witnesses)} witnesses cannot be needed")
        if self.log.kind is not KeyKind.NOTE or any(key.kind is not KeyKind.COSIGNATURE for key in self.witnesses):
            raise ValueError("a log signs with a key of kind 1, a witness with one of kind 4")
        # a cosignature does not say by which name it was made, so one key could count twice
        if len({key.public for key in (self.log, *self.witnesses)}) <= len(self.witnesses):
            raise ValueError("the log and each of its witnesses need a public key of their own")

    def believed(self, signed: bytes) -> Checkpoint:
        """The checkpoint in a signed note.

        Raises:
            NoteInvalid: too few have signed it, or somebody's signature is not theirs.
        """
        found = open_checkpoint(signed, self.log)
        signers = Note.parse(signed).verified([self.log, *self.witnesses])
        cosigned = len(signers) - 1
        if cosigned < self.needed:
            raise NoteInvalid(f"{found.origin}: cosigned by {cosigned} of its witnesses; {self.needed} are needed")
        return found
