"""The whole exchange over a long random life on a real Kafka: members, secretariat and faults in any order."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.faults.life import FANOUTS, PUBLISHERS, READERS, TLPS, Life
from tests.load import LONG
from tocsin.schemas.names import AlertTopic, AlertType, Tlp

STEPS_A_LIFE: Final = 210
LIVES: Final = 96 if LONG else 1
PLACES: Final = st.builds(
    lambda place, tlp: AlertTopic(place, AlertType.SITE_TAKEN_DOWN, Tlp(tlp)).name,
    st.sampled_from([name[-2:] for name in PUBLISHERS]),
    st.sampled_from(TLPS),
)


class Machine(RuleBasedStateMachine):
    """One exchange serves all lives: what was told in one is still there in the next.

    Every rule is a step; what takes seconds is done at one step in some.
    """

    life: ClassVar[Life]

    @invariant()
    def count(self) -> None:
        """Another step."""
        self.life.steps += 1

    @rule(publisher=st.sampled_from(PUBLISHERS), tlp=st.sampled_from(TLPS), short=st.booleans())
    def publish(self, publisher: str, tlp: str, *, short: bool) -> None:
        """Tell of a new matter."""
        self.life.publish(publisher, tlp, short=short)

    @rule(at=st.integers(0, 1_000), status=st.sampled_from(["CORRECTED", "DISPUTED"]), tlp=st.sampled_from(TLPS))
    def revise(self, at: int, status: str, tlp: str) -> None:
        """Correct or dispute one."""
        self.life.revise(at, status, tlp)

    @rule(at=st.integers(0, 1_000))
    def retract(self, at: int) -> None:
        """Take one back."""
        self.life.revise(at, "RETRACTED", "")

    @rule(reader=st.sampled_from(READERS), topic=PLACES)
    def grant_or_revoke(self, reader: str, topic: str) -> None:
        """Change a right."""
        self.life.grant_or_revoke(reader, topic)

    @rule(reader=st.sampled_from(READERS), tlp=st.sampled_from([None, *TLPS]))
    def ask(self, reader: str, tlp: str | None) -> None:
        """Change a wish."""
        self.life.ask(reader, tlp)

    @precondition(lambda self: self.life.steps % 5 == 0)
    @rule(reader=st.sampled_from(READERS))
    def suspend_or_not(self, reader: str) -> None:
        """Change a standing."""
        self.life.suspend_or_not(reader)

    @precondition(lambda self: self.life.steps % 7 == 0)
    @rule(name=st.sampled_from(FANOUTS))
    def kill(self, name: str) -> None:
        """Kill a fan-out."""
        self.life.kill(name)

    @precondition(lambda self: self.life.steps % 6 == 0)
    @rule(name=st.sampled_from(FANOUTS))
    def stop(self, name: str) -> None:
        """Stop a fan-out."""
        self.life.stop(name)

    @precondition(lambda self: self.life.steps % 6 == 3)  # now and then
    @rule(name=st.sampled_from(FANOUTS))
    def wake(self, name: str) -> None:
        """Let a stopped one go on."""
        self.life.wake(name)

    def teardown(self) -> None:
        """Wait for the end, and check all of it."""
        self.life.rest()


@pytest.mark.timeout(5 * 3600 if LONG else 500)
def test_a_long_life_keeps_every_promise(tmp_path: Path) -> None:
    """At rest every inbox has what its member may see and asked for; nothing happened that never should have."""
    Machine.life = Life(tmp_path / "home")
    try:
        Machine.life.begin()
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=LIVES,
                stateful_step_count=STEPS_A_LIFE,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
            ),
        )
        assert Machine.life.steps >= (20_000 if LONG else 200)
    finally:
        Machine.life.close()
