"""Of the heads that members have cosigned, a proof takes the newest that enough of its witnesses have signed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.consumers.audit.trees import Tree
from tocsin.consumers.audit.cosigned import Cosigned, newest_believed, witness_name
from tocsin.consumers.audit.note import Cosigner, Note, Signer
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.signing import SigningKey

LOG = Signer("test.tocsin/audit.se", SigningKey.generate("sealer"))
KEYS = [Signer(LOG.name, SigningKey.generate("sealer")).verifier, LOG.verifier]
MEMBERS = ("bank-fr", "isp-se", "hotline-de")
WITNESSES = {member: Cosigner(witness_name("test", member), SigningKey.generate(member)) for member in MEMBERS}
TREE = Tree.of(60)


def _by(member: str, size: int, log: Signer = LOG) -> Cosigned:
    note, witness = TREE.signed(log, size), WITNESSES[member]
    return Cosigned(member, note, witness.verifier, witness.sign(Note.parse(note).text, size))


SIGNED = [
    *(_by("bank-fr", size) for size in (10, 30, 50)),
    *(_by("isp-se", size) for size in (10, 30, 40)),
    *(_by("hotline-de", size) for size in (10, 60)),
]


@pytest.mark.parametrize(
    ("members", "needed", "index", "newest"),
    [
        (MEMBERS, 1, 0, 60),
        (MEMBERS, 2, 0, 30),
        (MEMBERS, 3, 0, 10),
        (MEMBERS, 3, 9, 10),
        (MEMBERS, 3, 10, None),
        (("bank-fr", "isp-se"), 1, 45, 50),
        (("bank-fr", "isp-se"), 2, 30, None),
        (("hotline-de",), 1, 59, 60),
        (("hotline-de",), 1, 60, None),
    ],
)
def test_the_newest_that_enough_have_signed(
    members: tuple[str, ...], needed: int, index: int, newest: int | None
) -> None:
    """Among those with the entry; the word of others counts for nothing."""
    witnesses = frozenset(WITNESSES[member].verifier for member in members)
    found = newest_believed(SIGNED, KEYS, witnesses, needed, range(index + 1, 61))
    if newest is None:
        assert found is None
        return
    assert found is not None
    note, quorum = found
    assert quorum.believed(note).size == newest
    assert (quorum.log, quorum.needed) == (LOG.verifier, needed)


def test_a_head_that_no_sealer_signed_is_passed_over() -> None:
    """Nor one that the log's own files do not reach; and one who signed again is one."""
    forged = _by("bank-fr", 55, Signer(LOG.name, SigningKey.generate("x")))
    witnesses = frozenset(one.verifier for one in WITNESSES.values())
    found = newest_believed([*SIGNED, forged, _by("bank-fr", 40), _by("bank-fr", 40)], KEYS, witnesses, 1, range(1, 60))
    assert found is not None
    assert found[1].believed(found[0]).size == 50
    assert newest_believed([SIGNED[0], SIGNED[0]], KEYS, witnesses, 2, range(1, 60)) is None
    good = replace(forged, checkpoint=TREE.signed(LOG, 55))
    found = newest_believed([forged, good], KEYS, witnesses, 1, range(1, 60))
    assert found is not None
    assert found[1].believed(found[0]).size == 55


def test_parts_as_they_travel_are_checked() -> None:
    """The key must be that member's, and have signed this."""
    one = _by("isp-se", 30)
    line = one.signature.line()
    assert Cosigned.checked("isp-se", one.checkpoint, one.key.text(), line) == one
    for member, note in (("bank-fr", one.checkpoint), ("isp-se", TREE.signed(LOG, 31))):
        with pytest.raises(NoteInvalid):
            Cosigned.checked(member, note, one.key.text(), line)
