"""Every rule has a fault that `make observe` causes for it, and every query that needs one has it too."""

from __future__ import annotations

from tests.observe.faults import FAULTS
from tests.observe.queries import asked, rules
from tests.observe.runbook import sections

CAUSED = [alert for fault in FAULTS for alert in fault.alerts]


def test_every_rule_is_caused_once() -> None:
    """And nothing that is no rule is waited for."""
    assert sorted(CAUSED) == sorted(rule["alert"] for rule in rules())


def test_what_needs_a_fault_gets_it() -> None:
    """A panel that is empty in health names the alert whose fault fills it."""
    assert {one.when for one in asked()} - {""} <= {*CAUSED}


def test_what_a_section_leaves_open_is_put_in() -> None:
    """A command has no placeholder that nobody replaces."""
    written = sections()
    for fault in FAULTS:
        known = {"WITNESS", "PLACE", *(name for name, _ in fault.words)}
        for alert in fault.alerts:
            words = [word for part in written[alert].command for word in part.split(".")]
            assert {word for word in words if word.isupper()} <= known, alert
