"""A proof that an entry is in a log, in one text that is verified offline (https://c2sp.org/tlog-proof). Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from tocsin.consumers.audit.merkle import HASH_BYTES, ReadHashes, inclusion_proof, leaf_hash, verify_inclusion
from tocsin.consumers.audit.note import NOTE_BYTES_MAX, Checkpoint, Note, decode_base64, parse_number
from tocsin.consumers.audit.witness import PROOF_HASHES_MAX, Quorum
from tocsin.consumers.errors import NoteInvalid

HEADER: Final = "c2sp.org/tlog-proof@v1"
EXTRA_BYTES_MAX: Final = 65_536
PROOF_BYTES_MAX: Final = 2 * NOTE_BYTES_MAX

_EXTRA: Final = "extra "
_INDEX: Final = "index "


@dataclass(frozen=True, slots=True)
class LogProof:
    """The entry at `index` is in the log of `checkpoint`, a signed note. Nothing signs `extra`."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> LogProof:
        """The proof that `data` is. Believe nothing of it before `verify`.

        Raises:
            NoteInvalid: it is none, or too large.
        """
        if len(data) > PROOF_BYTES_MAX:
            raise NoteInvalid(f"a proof of {len(data)} bytes; {PROOF_BYTES_MAX} is the most that is read")
        head, blank, checkpoint = data.partition(b"\n\n")
        try:
            header, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise NoteInvalid("a proof that is not ASCII before its checkpoint") from error
        if header != HEADER or not blank:
            raise NoteInvalid(f"not a proof: its first line is {HEADER}, and an empty line is before its checkpoint")
        extra = decode_base64(lines.pop(0).removeprefix(_EXTRA)) if lines and lines[0].startswith(_EXTRA) else None
        if not lines or not lines[0].startswith(_INDEX) or len(lines) > 1 + PROOF_HASHES_MAX:
            raise NoteInvalid(f"a proof without its index, or of more than {PROOF_HASHES_MAX} hashes")
        if extra is not None and not 0 < len(extra) <= EXTRA_BYTES_MAX:
            raise NoteInvalid(f"a proof with {len(extra)} bytes of extra data; 1 to {EXTRA_BYTES_MAX} are read")
        Note.parse(checkpoint)
        index = parse_number(lines[0].removeprefix(_INDEX))
        return cls(index, tuple(decode_base64(line, HASH_BYTES) for line in lines[1:]), checkpoint, extra or b"")

    def encode(self) -> bytes:
        """The proof's text, as `parse` reads it."""
        extra = [_EXTRA + base64.b64encode(self.extra).decode()] if self.extra else []
        hashes = [base64.b64encode(each).decode() for each in self.hashes]
        return "\n".join([HEADER, *extra, f"{_INDEX}{self.index}", *hashes, "", ""]).encode() + self.checkpoint

    def verify(self, entry: bytes, quorum: Quorum) -> Checkpoint:
        """The checkpoint that `quorum` believes, in whose log `entry` is at `index`.

        Raises:
            NoteInvalid: the checkpoint is not to be believed, or `entry` is not there.
        """
        found = quorum.believed(self.checkpoint)
        if not verify_inclusion(leaf_hash(entry), self.index, found.size, self.hashes, found.root):
            raise NoteInvalid(f"{found.origin}: this is not entry {self.index} of {found.size}")
        return found


def prove(index: int, signed: bytes, read: ReadHashes, extra: bytes = b"") -> LogProof:
    """The proof that the entry at `index` is in the log whose checkpoint is `signed`, from the log's own hashes.

    It is as right as the hashes are: verify it before handing it out.

    Raises:
        ValueError: there is no such entry, or more than EXTRA_BYTES_MAX.
        NoteInvalid: `signed` is no signed note of a checkpoint. Its signatures are not verified here.
    """
    if len(extra) > EXTRA_BYTES_MAX:
        raise ValueError(f"{len(extra)} bytes of extra data; {EXTRA_BYTES_MAX} is the most that is read")
    size = Checkpoint.parse(Note.parse(signed).text).size
    return LogProof(index, tuple(inclusion_proof(index, size, read)), signed, extra)
