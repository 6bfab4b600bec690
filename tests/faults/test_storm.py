"""Kill -9 of publisher, fan-out and broker, and SIGSTOP past the session time-out, change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.storm import Storm
from tests.load import LONG


@pytest.mark.timeout(3_600 if LONG else 600)
def test_storm_changes_nothing(tmp_path: Path) -> None:
    """Written = decided, and every inbox holds exactly what its ACLs allow, once, in order per lineage."""
    alerts, each = (10_000, 10) if LONG else (1_000, 1)
    assert Storm(tmp_path / "home", alerts=alerts, each=each).run() == []


# a kill must hit the moment in which the safeguard is missing
STORMS_MAX = 3


VARIANTS = {
    "no-spool": ("tocsin.deploy.cli", "tests.faults.no_spool", ("publisher",), 3),
    "no-transaction": ("tests.faults.no_transaction", "tests.faults.publish", ("fanout",), 6),
    "no-fencing": ("tests.faults.no_fencing", "tests.faults.publish", ("stop",), 2),
}


@pytest.mark.skipif(not LONG, reason="a storm takes a minute, and each variant may need three: make faults")
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("variant", VARIANTS)
def test_storm_finds_a_missing_safeguard_out(tmp_path: Path, variant: str) -> None:
    """The same storm, on a variant without one safeguard, finds something wrong; on a slow machine perhaps the next."""
    fanout, publisher, faults, each = VARIANTS[variant]
    for number in range(STORMS_MAX):
        home = tmp_path / str(number)
        storm = Storm(home, alerts=1_000, each=each, fanout=fanout, publisher=publisher, faults=faults)
        if storm.run(settle_s=30) != []:
            return
    pytest.fail(f"{STORMS_MAX} storms found nothing")
