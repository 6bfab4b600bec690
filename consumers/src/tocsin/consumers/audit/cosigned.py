"""What a witness hands out: a head as its log signed it, and the witness's own signature under it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tocsin.consumers.audit.note import Checkpoint, KeyKind, Note, Signature, Verifier
from tocsin.consumers.audit.shown import opened
from tocsin.consumers.audit.witness import Quorum
from tocsin.consumers.errors import NoteInvalid


def witness_name(coalition: str, member: str) -> str:
    """The name of a member's key as a witness."""
    return f"{coalition}.tocsin/witness/{member}"


@dataclass(frozen=True, slots=True)
class Cosigned:
    """`key` of `member` made `signature` over the text of `checkpoint`. That the log signed it, too, is not said."""

    member: str
    checkpoint: bytes
    key: Verifier
    signature: Signature

    @classmethod
    def checked(cls, member: str, checkpoint: bytes, key: str, line: str) -> Cosigned:
        """A member's word, from its parts as they travel.

        Raises:
            NoteInvalid: the key is not named as that member's witness of this exchange, or has not signed this.
        """
        text, verifier = Note.parse(checkpoint).text, Verifier.parse(key)
        exchange, _, _ = Checkpoint.parse(text).origin.rpartition("/")
        if verifier.kind is not KeyKind.COSIGNATURE or verifier.name != f"{exchange}/witness/{member}":
            raise NoteInvalid(f"not a key of the witness {exchange}/witness/{member}")
        note = Note.parse(f"{text}\n{line}".encode())
        note.verified([verifier])
        if len(note.signatures) != 1:
            raise NoteInvalid("more than one signature")
        return cls(member, checkpoint, verifier, note.signatures[0])

    @property
    def head(self) -> Checkpoint:
        """The head that was cosigned."""
        return Checkpoint.parse(Note.parse(self.checkpoint).text)

    @property
    def topic(self) -> str:
        """The topic whose log it is."""
        return self.head.origin.rpartition("/")[2]

    def note(self) -> bytes:
        """The head with the log's signatures and the witness's."""
        return _with(self.checkpoint, [self.signature])


def _with(checkpoint: bytes, signatures: Iterable[Signature]) -> bytes:
    note = Note.parse(checkpoint)
    return Note(note.text, (*note.signatures, *signatures)).encode()


def newest_believed(
    found: Iterable[Cosigned],
    keys: Sequence[Verifier],
    witnesses: frozenset[Verifier],
    needed: int,
    sizes: range,
) -> tuple[bytes, Quorum] | None:
    """The newest head of one of these sizes, signed by one of the log's `keys` and `needed` of the witnesses; or None.

    It comes with their signatures under it, and with the quorum that believes it.

    Raises:
        ValueError: as Quorum says.
    """
    by_text: defaultdict[str, dict[Verifier, Cosigned]] = defaultdict(dict)
    for one in found:
        if one.key in witnesses:
            by_text[Note.parse(one.checkpoint).text][one.key] = one
    for text, signed in sorted(by_text.items(), key=lambda each: Checkpoint.parse(each[0]).size, reverse=True):
        if Checkpoint.parse(text).size not in sizes:
            continue
        for one in signed.values():
            # a member may have handed out a head that no sealer signed
            with suppress(NoteInvalid):
                head = opened(one.checkpoint, keys)
                quorum = Quorum(head.log, witnesses, needed)
                note = _with(head.note, (each.signature for each in signed.values()))
                quorum.believed(note)
                return note, quorum
    return None
