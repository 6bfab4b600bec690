"""Take-overs under load lose nothing of who was told: each retraction reaches every holder, once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.takeovers import Takeovers
from tests.load import LONG


@pytest.mark.timeout(7_200 if LONG else 300)
def test_who_was_told_is_known_after_every_take_over(tmp_path: Path) -> None:
    """Each copy is followed by one erasure and one notice, none comes twice, and the ledger knows every holder."""
    takeovers = Takeovers(tmp_path / "home", times=200 if LONG else 3)
    assert takeovers.run(settle_s=600 if LONG else 60) == []


@pytest.mark.skipif(not LONG, reason="a variant without a safeguard takes a minute: make faults")
@pytest.mark.timeout(300)
def test_take_overs_without_fencing_are_found_out(tmp_path: Path) -> None:
    """A process that wakes up and goes on beside its successor tells its readers twice."""
    wrong = Takeovers(tmp_path / "home", times=3, fanout="tests.faults.no_fencing").run(settle_s=30)
    assert any(re.fullmatch(r"inbox\S+: .* came \d+ times", fault) for fault in wrong), wrong
