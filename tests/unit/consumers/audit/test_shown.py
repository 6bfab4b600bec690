"""Heads of one log are compared in the order in which they were shown, each with as few proofs as that takes."""

from __future__ import annotations

import pytest

from tests.unit.consumers.audit.trees import Tree
from tocsin.consumers.audit.note import Checkpoint, Note, Signer
from tocsin.consumers.audit.shown import Shown, compare, opened
from tocsin.consumers.audit.witness import Quorum
from tocsin.consumers.errors import LogInvalid, NoteInvalid
from tocsin.schemas.signing import SigningKey

LOG = Signer("test.tocsin/audit.se", SigningKey.generate("sealer"))
LATER = Signer(LOG.name, SigningKey.generate("sealer"))
TRUE, FALSE = Tree.of(40), Tree.of(40, altered=0)


def _shown(size: int, tree: Tree = TRUE) -> Shown:
    return opened(tree.signed(LOG, size), [LOG.verifier])


class Proofs:
    """Answers as a log would that has the true history, and notes what it was asked."""

    def __init__(self, *missing: int) -> None:
        self.asked: list[tuple[int, int]] = []
        self._missing = missing
        self._true = {_shown(size).head for size in range(1, 41)}

    def __call__(self, old: Checkpoint, new: Checkpoint) -> bool:
        """Whether both are of the true history."""
        self.asked.append((old.size, new.size))
        if new.size in self._missing:
            raise LogInvalid("not there")
        return {old, new} <= self._true


@pytest.mark.parametrize(
    ("seen", "sizes", "asked", "newest"),
    [
        (None, [], [], None),
        (None, [5], [], 5),
        (None, [5, 6, 9], [(5, 6), (6, 9)], 9),
        (5, [5, 5], [], 5),
        (5, [5, 7, 7, 5, 7, 8], [(5, 7), (7, 8)], 8),
        (5, [9, 3, 4, 3], [(5, 9), (3, 9), (4, 9)], 9),
    ],
)
def test_which_proofs_are_asked_for(
    seen: int | None, sizes: list[int], asked: list[tuple[int, int]], newest: int | None
) -> None:
    """None for what was compared already; a smaller head is compared with the newest."""
    proofs = Proofs()
    found = compare(None if seen is None else _shown(seen), map(_shown, sizes), proofs)
    assert proofs.asked == asked
    assert (found.newest and found.newest.head.size, found.forks, found.unproved) == (newest, [], [])


def test_every_head_is_compared_and_not_only_the_newest() -> None:
    """Same size with another root, larger, and smaller; what is true goes on beside them."""
    offered = [_shown(9), _shown(9, FALSE), _shown(20, FALSE), _shown(12), _shown(3, FALSE), _shown(9, FALSE)]
    found = compare(_shown(5), offered, Proofs())
    assert found.newest == _shown(12)
    assert [(fork.seen.head.size, fork.offered) for fork in found.forks] == [
        (9, _shown(9, FALSE)),
        (9, _shown(20, FALSE)),
        (12, _shown(3, FALSE)),
    ]


def test_what_cannot_be_compared_is_no_fork_and_holds_up_nothing() -> None:
    """It is said with its reason, and others are compared with each other."""
    found = compare(_shown(5), map(_shown, [8, 30, 9]), Proofs(30))
    assert found.newest == _shown(9)
    assert [(one.offered, one.why) for one in found.unproved] == [(_shown(30), "not there")]


def test_a_head_by_any_key_of_the_sealer_is_opened_without_what_others_put_under_it() -> None:
    """By no other key."""
    keys = [LATER.verifier, LOG.verifier]
    note = Note.parse(TRUE.signed(LOG, 7))
    other = Signer("somebody.example", SigningKey.generate("x"))
    added = Note(note.text, (other.sign(note.text), *note.signatures)).encode()
    assert opened(added, keys) == opened(note.encode(), keys) == _shown(7)
    assert opened(TRUE.signed(LATER, 7), keys).log == LATER.verifier
    assert Quorum(LOG.verifier).believed(opened(added, keys).note).size == 7
    with pytest.raises(NoteInvalid, match="no key of the sealer"):
        opened(TRUE.signed(LOG, 7), [LATER.verifier])
    with pytest.raises(NoteInvalid, match="not theirs"):
        opened(note.encode().replace(b"\n7\n", b"\n8\n"), keys)
