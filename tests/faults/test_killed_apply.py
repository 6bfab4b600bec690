"""A policy that is being applied may be killed at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.killed_apply import KilledApplies
from tests.load import LONG


@pytest.mark.timeout(1_800 if LONG else 300)
def test_a_killed_application_shows_nobody_too_much_and_is_taken_up_again(tmp_path: Path) -> None:
    """Nobody sees more than old and new policy give, who is in both sees all the while, and the end is the same."""
    harness = KilledApplies(tmp_path / "home")
    assert harness.run(30 if LONG else 5) == []
    assert harness.cut_short > 0, "nothing was killed on the way"


@pytest.mark.skipif(not LONG, reason="variants without a safeguard take a minute: make faults")
@pytest.mark.timeout(300)
def test_careless_applications_are_found_out(tmp_path: Path) -> None:
    """One that replaces a row too late, and one that shows everything for a moment."""
    late, wide = KilledApplies(tmp_path / "home").careless("late", "wide")
    assert any("lost sight in between" in one for one in late)
    assert any("saw more than" in one for one in wide)
