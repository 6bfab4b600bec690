"""Drills in which a machine is lost: a broker, a fan-out host, two brokers of three."""

from __future__ import annotations

import signal
import time
from typing import Final

from tests.drills.frame import Exchange, Step
from tests.load import TOPIC
from tests.world import wait_until

WITHOUT_QUORUM_S: Final = 20.0


def lose_a_broker(exchange: Exchange) -> None:
    """Kill -9 of the broker that leads an alert topic; it comes back once all is as before."""
    with exchange.load():
        node = exchange.leader(TOPIC)
        fault = time.monotonic()
        exchange.kill_broker(node)
        exchange.recovered("one of three brokers killed", fault)
        # one that still counts as alive would take up its partitions before its old session ends
        wait_until(lambda: not exchange.in_sync(), 60, "the cluster to miss the broker")
        back = time.monotonic()
        exchange.world.cluster.up(3)
        exchange.timed("started again: three copies in sync", exchange.in_sync, back)
        exchange.recovered("started again", back)


def lose_a_fanout(exchange: Exchange) -> None:
    """Kill -9 of one of two hosts, with its lane; the other takes it over. Then it comes back."""
    with exchange.load():
        name = exchange.owners()["se"]
        fault = time.monotonic()
        exchange.world.stop_fanout(exchange.fanouts.pop(name), signal.SIGKILL)
        exchange.recovered("one of two fan-out hosts killed", fault)
        back = time.monotonic()
        exchange.start_fanout(name)
        wait_until(exchange.shared, 180, "a lane for each host")
        exchange.recovered("started again", back)


def lose_the_quorum(exchange: Exchange) -> None:
    """Kill -9 of two brokers; twenty seconds later both are started again."""
    with exchange.load():
        fault = time.monotonic()
        for node in (1, 2):
            exchange.kill_broker(node)
        time.sleep(WITHOUT_QUORUM_S)
        back = time.monotonic()
        exchange.world.cluster.up(3)
        exchange.recovered("two of three brokers killed, 20 s, both started again", fault)
        exchange.steps.append(Step("of which they were not there", back - fault))
        exchange.timed("three copies in sync", exchange.in_sync, back)
