"""Kill -9 of publisher, fan-out and broker, and SIGSTOP past the session time-out, change nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.storm import Storm

LONG = os.environ.get("TOCSIN_FAULTS") == "long"


@pytest.mark.timeout(1800 if LONG else 420)
def test_storm_changes_nothing(tmp_path: Path) -> None:
    """Written = decided, and every inbox holds exactly what its ACLs allow, once, in order per lineage."""
    alerts, each = (10_000, 10) if LONG else (2_000, 3)
    assert Storm(tmp_path / "home", alerts=alerts, each=each).run() == []
