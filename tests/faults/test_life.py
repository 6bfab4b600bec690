"""The whole exchange over a long random life on a real Kafka: members, secretariat and faults in any order."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Final

import pytest
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.faults.life import FANOUTS, LIFE_S, PUBLISHERS, READERS, SHORT_LIFE_S, TLPS, Life
from tests.load import LONG
from tocsin.schemas.names import AlertTopic, AlertType, Tlp

STEPS_A_LIFE: Final = 210 if LONG else 130
# the first life is always the simplest: it only publishes
LIVES: Final = 24 if LONG else 2
# each has an exchange of its own, so that they can be lived at the same time
SEEDS: Final = (1, 2, 3, 4) if LONG else (1,)
STEPS_MIN: Final = 5_000 if LONG else 250
PLACES: Final = st.builds(
    lambda place, tlp: AlertTopic(place, AlertType.SITE_TAKEN_DOWN, Tlp(tlp)).name,
    st.sampled_from([name[-2:] for name in PUBLISHERS]),
    st.sampled_from(TLPS),
)
READER, FANOUT, TLP, AT = st.sampled_from(READERS), st.sampled_from(FANOUTS), st.sampled_from(TLPS), st.integers(0, 999)
PAUSE_S: Final = 0.05
# an action: how often in 100 steps, and what it is done with. Not rules of the machine, of which it leaves out some in
# each life; here every life has them all.
ACTIONS: Final[dict[str, tuple[int, tuple[st.SearchStrategy[object], ...]]]] = {
    "publish": (32, (st.sampled_from(PUBLISHERS), TLP, st.sampled_from([LIFE_S, LIFE_S, LIFE_S, SHORT_LIFE_S]))),
    "revise": (18, (AT, st.sampled_from(["CORRECTED", "DISPUTED"]), TLP)),
    "retract": (10, (AT,)),
    "grant_or_revoke": (18, (READER, PLACES)),
    "ask": (8, (READER, st.sampled_from([None, *TLPS]))),
    "suspend_or_not": (4, (READER,)),
    "kill": (4, (FANOUT,)),
    "stop": (3, (FANOUT,)),
    "wake": (3, (FANOUT,)),
}


class Machine(RuleBasedStateMachine):
    """One exchange serves all lives: what was told in one is still there in the next."""

    life: ClassVar[Life]
    done: ClassVar[Counter[str]]

    @rule(action=st.sampled_from([name for name, (often, _) in ACTIONS.items() for _ in range(often)]), data=st.data())
    def do(self, action: str, data: st.DataObject) -> None:
        """One step. The pause lets what came before be under way, and not be over."""
        time.sleep(PAUSE_S)
        self.done[action] += 1
        getattr(self.life, action)(*(data.draw(one) for one in ACTIONS[action][1]))

    def teardown(self) -> None:
        """Wait for the end, and check all of it."""
        self.life.rest()


@pytest.mark.timeout(2 * 3600 if LONG else 500)
@pytest.mark.parametrize("number", SEEDS)
def test_a_long_life_keeps_every_promise(tmp_path: Path, number: int) -> None:
    """At rest every inbox has what its member may see and asked for; nothing happened that never should have."""
    Machine.life, Machine.done = Life(tmp_path / "home"), Counter()
    try:
        Machine.life.begin()
        run_state_machine_as_test(
            seed(number)(Machine),
            settings=settings(
                max_examples=LIVES,
                stateful_step_count=STEPS_A_LIFE,
                deadline=None,
                database=None,
                phases=[Phase.generate],
            ),
        )
    finally:
        Machine.life.close()
    assert Machine.done.total() >= STEPS_MIN
    # in a short life on a busy machine nobody may have slept when it was drawn
    assert set(ACTIONS) - set(Machine.done) <= (set() if LONG else {"wake"})


GREEN: Final = "alerts.se.site-taken-down.green"
only_long: Final = pytest.mark.skipif(not LONG, reason="a variant without a safeguard takes half a minute: make faults")


@only_long
def test_a_fan_out_that_forgets_whom_it_told_is_found_out(tmp_path: Path) -> None:
    """It leaves what was retracted where it is."""
    with closing(Life(tmp_path / "home", "tests.faults.forgetful")) as life:
        life.begin()
        life.publish("hotline-se", "GREEN", LIFE_S)
        life.rest()
        life.retract(0)
        with pytest.raises(AssertionError, match="ended, and still there"):
            life.rest(settle_s=5)


@only_long
def test_a_fan_out_that_goes_by_old_rights_is_found_out(tmp_path: Path) -> None:
    """It delivers more than 5 s after sight has ended."""
    with closing(Life(tmp_path / "home", "tests.faults.late")) as life:
        life.begin()
        life.publish("hotline-se", "GREEN", LIFE_S)
        life.rest(settle_s=20)
        life.grant_or_revoke(READERS[0], GREEN)
        time.sleep(6)
        life.publish("hotline-se", "GREEN", LIFE_S)
        with pytest.raises(AssertionError, match="without sight"):
            life.rest(settle_s=5)
