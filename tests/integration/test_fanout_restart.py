"""A fan-out that is killed at the worst moment and started again at once under its name."""

from __future__ import annotations

import signal

from tests.world import World, wait_until

NAME = "twin"


def test_one_killed_while_it_gives_a_lane_away_leaves_none_with_nobody(world: World) -> None:
    """The group shares lanes out in two rounds, and here the lane that changes hands is nobody's between them.

    As a static member (`group.instance.id`) it was given what it had in the first round, without a second one.
    """

    def taken() -> list[tuple[str, str]]:
        return [(one["lane"], one["worker"]) for one in world.events("lane_taken")]

    world.stop_fanouts()
    before = len(taken())
    try:
        slow = world.start_fanout("tests.faults.lingering", NAME)
        wait_until(lambda: len(taken()) == before + 2, 40, "both lanes for the one")
        world.start_fanout(name="other")
        wait_until(lambda: bool(world.events("lane_lingers")), 40, "a lane to be asked for")
        world.stop_fanout(slow, signal.SIGKILL)
        before = len(taken())
        world.start_fanout(name=NAME)
        wait_until(lambda: {lane for lane, _ in taken()[before:]} == {"se", "de"}, 40, "both lanes to be taken again")
    finally:
        world.stop_fanouts()
        world.start_fanout()
