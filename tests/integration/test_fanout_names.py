"""Two fan-outs of one name: the group takes the newer one for its member."""

from __future__ import annotations

from tests.world import World, wait_until

NAME = "twin"


def test_the_older_of_two_fan_outs_of_one_name_ends_itself(world: World) -> None:
    """It would be given no lane any more, and says so and what to look for; the newer one has its lane."""

    def taken() -> int:
        return sum(one["worker"] == NAME for one in world.events("lane_taken"))

    older = world.start_fanout(name=NAME)
    wait_until(lambda: taken() == 1, 40, "a lane for the older one")
    newer = world.start_fanout(name=NAME)
    try:
        wait_until(lambda: older.poll() is not None, 40, "the older one to end")
        assert older.returncode == 1
        assert "tocsin: group fanout.lanes no longer takes this process for its member" in world.log()
        wait_until(lambda: taken() == 2, 40, "a lane for the newer one")
    finally:
        world.stop_fanout(older)
        world.stop_fanout(newer)
