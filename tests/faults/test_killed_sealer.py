"""The sealer may be killed at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.killed_sealer import KilledSealer
from tests.load import LONG


@pytest.mark.timeout(1_800 if LONG else 300)
def test_a_killed_sealer_never_hands_out_heads_that_differ(tmp_path: Path) -> None:
    """Every head is that of the record up to its size, and in the end all is sealed."""
    assert KilledSealer(tmp_path / "home").run(100 if LONG else 4) == []


@pytest.mark.skipif(not LONG, reason="variants without a safeguard take a minute: make faults")
@pytest.mark.timeout(300)
def test_a_sealer_that_forgets_where_it_was_is_found_out(tmp_path: Path) -> None:
    """It seals records twice."""
    assert KilledSealer(tmp_path / "home", "tests.faults.forgetful_sealer").run(3)
