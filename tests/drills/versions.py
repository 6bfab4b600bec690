"""A drill of the whole cluster: its data is lost, and put back from a copy."""

from __future__ import annotations

import shutil
import time
from typing import Final

from tests.drills.frame import Exchange, Step

BOTH_S: Final = 5.0


def restore(exchange: Exchange) -> None:
    """All brokers' data is lost and put back from a copy that was made while they were stopped; all goes on.

    Topic ids and offsets are those of before. For what has others see `move`.
    """
    world, copy = exchange.world, exchange.home / "copy"
    with exchange.load():
        exchange.run(BOTH_S)
    exchange.count()
    world.stop_fanouts()
    exchange.fanouts.clear()
    world.cluster.down()
    for node in world.cluster.nodes:
        shutil.copytree(world.cluster.folder / f"broker-{node}" / "data", copy / f"broker-{node}")
    begun = time.monotonic()
    for node in world.cluster.nodes:
        shutil.rmtree(world.cluster.folder / f"broker-{node}" / "data")
        shutil.copytree(copy / f"broker-{node}", world.cluster.folder / f"broker-{node}" / "data")
    world.cluster.up(3)
    for name in ("host-1", "host-2"):
        exchange.start_fanout(name)
    exchange.steps.append(Step("data put back, brokers up", time.monotonic() - begun))
    with exchange.load():
        exchange.run(BOTH_S)
