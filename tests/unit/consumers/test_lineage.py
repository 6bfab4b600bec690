"""The life of a lineage: which revision counts, and what may follow what."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.consumers.test_ledger import entry
from tocsin.consumers.lineage import EXPIRED, FOLLOWS, NEW, RETRACTED, check_revision, diagram
from tocsin.schemas.errors import Reason, Rejection

KNOWN = entry("p/1", revision=3, sha256=b"s" * 32)
STATED = ("ACTIVE", "CORRECTED", "DISPUTED", RETRACTED)


def _header(revision: int, status: str = "ACTIVE") -> dict[str, object]:
    return {"revision": revision, "status": status}


def test_a_first_and_a_newer_revision_count() -> None:
    """Gaps are allowed."""
    check_revision(None, _header(1), b"")
    check_revision(KNOWN, _header(4), b"s" * 32)
    check_revision(KNOWN, _header(9), b"x")


@pytest.mark.parametrize(
    ("revision", "sha256", "reason"),
    [(2, b"s" * 32, Reason.STALE), (3, b"s" * 32, Reason.REPLAYED), (3, b"x" * 32, Reason.CONFLICT)],
)
def test_a_revision_that_is_not_newer(revision: int, sha256: bytes, reason: Reason) -> None:
    """Older, the same bytes again, or the same number with other content; also of what has ended."""
    for status in (*STATED, EXPIRED):
        known = entry("p/1", revision=3, sha256=b"s" * 32, status=status)
        with pytest.raises(Rejection, match=r"^[a-z]+: header\.revision: ") as refusal:
            check_revision(known, _header(revision), sha256)
        assert refusal.value.reason is reason


@pytest.mark.parametrize("status", STATED)
def test_what_is_retracted_stays_retracted(status: str) -> None:
    """Everything else can be followed by anything that a member may state."""
    for before in ("ACTIVE", "CORRECTED", "DISPUTED", EXPIRED):
        check_revision(entry("p/1", status=before), _header(2, status), b"")
    check_revision(None, _header(2, status), b"")
    with pytest.raises(Rejection, match="new lineage") as refusal:
        check_revision(entry("p/1", status=RETRACTED), _header(2, status), b"")
    assert refusal.value.reason is Reason.TRANSITION


def test_the_manual_shows_the_table() -> None:
    """The diagram of the manual is the one that the table makes, with every status that a lineage can have."""
    manual = (Path(__file__).parents[3] / "docs" / "withdrawal.md").read_text()
    assert f"```mermaid\n{diagram()}```" in manual
    assert {*STATED, EXPIRED, NEW} == set(FOLLOWS) == {NEW, *(one for after in FOLLOWS.values() for one in after)}
