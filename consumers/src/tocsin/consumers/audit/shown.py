"""Compares the heads of one log that somebody was shown: each with the newest that continues all before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from tocsin.consumers.audit.merkle import consistency_proof, read_edge, verify_consistency
from tocsin.consumers.audit.note import Checkpoint, Note, Verifier, open_checkpoint
from tocsin.consumers.audit.tiles import Fetch, hashes_of
from tocsin.consumers.errors import LogInvalid, NoteInvalid

Continues: TypeAlias = Callable[[Checkpoint, Checkpoint], bool]
"""Whether a log's head is shown to continue another, which is smaller.

Raises:
    LogInvalid: what would show it is missing or damaged.
"""


class Shown(NamedTuple):
    """A head that was shown: the signed note, what it says, and the key of the log that signed it."""

    note: bytes
    head: Checkpoint
    log: Verifier


class Fork(NamedTuple):
    """Two heads of a log of which neither is shown to continue the other."""

    seen: Shown
    offered: Shown


class Unproved(NamedTuple):
    """A head that cannot be compared now, and why."""

    offered: Shown
    why: str


@dataclass(slots=True)
class Compared:
    """`newest` continues all heads that were compared with it but those in `forks`, and those that are `unproved`."""

    newest: Shown | None
    forks: list[Fork] = field(default_factory=list[Fork])
    unproved: list[Unproved] = field(default_factory=list[Unproved])


def opened(note: bytes, keys: Sequence[Verifier]) -> Shown:
    """A head that one of a log's keys has signed.

    Raises:
        NoteInvalid: none has.
    """
    for key in keys:
        text = Note.parse(note)
        if any(key.made(signature) for signature in text.signatures):
            # what others have put under it is not for us to hand on
            own = Note(text.text, tuple(filter(key.made, text.signatures))).encode()
            return Shown(own, open_checkpoint(own, key), key)
    raise NoteInvalid("a head that no key of the sealer in the directory has signed")


def compare(seen: Shown | None, offered: Iterable[Shown], continues: Continues) -> Compared:
    """Compare heads in the order in which they were shown; the first that ever was is taken as it is.

    A smaller one must be continued by the newest, as that must continue all. What was compared is not compared again.
    """
    found = Compared(seen)
    done: set[Checkpoint] = set() if seen is None else {seen.head}
    for one in offered:
        if one.head in done:
            continue
        done.add(one.head)
        if found.newest is None:
            found.newest = one
            continue
        old, new = sorted((found.newest, one), key=lambda each: each.head.size)
        try:
            fits = old.head.size != new.head.size and continues(old.head, new.head)
        except LogInvalid as failure:
            found.unproved.append(Unproved(one, str(failure)))
            continue
        if not fits:
            found.forks.append(Fork(found.newest, one))
        elif new is one:
            found.newest = one
    return found


def continues_by(fetch: Fetch) -> Continues:
    """Asks a log's tiles, which need not be trusted, for a proof and verifies it."""

    def continues(old: Checkpoint, new: Checkpoint) -> bool:
        read = hashes_of(new.size, fetch)
        if verify_consistency(old.size, new.size, old.root, new.root, consistency_proof(old.size, new.size, read)):
            return True
        # a proof from tiles that are of neither says nothing of the two
        if all(read_edge(head.size, read).root() != head.root for head in (old, new)):
            raise LogInvalid(f"{new.origin}: these tiles are of neither head; name those of this log, undamaged")
        return False

    return continues
