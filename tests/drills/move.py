"""A drill of the whole cluster: the exchange is moved to another one, with other topic ids, under load."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from tests.drills.evidence import Evidence
from tests.drills.frame import KEPT, READER, DrillFailed, Exchange, Step, drill_policy
from tests.drills.load import Reader
from tests.world import World, tocsin, wait_until
from tocsin.consumers.topics_reader import topic_ids
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import CA, CLIENT_PROPERTIES, CONFIG, PASSWORD, Bundle

BOTH_S: Final = 5.0
UNDECIDED_S: Final = 2.0
WITHDRAWN: Final = 5
PUBLISHER: Final = "hotline-se"


def move(exchange: Exchange) -> Evidence:
    """The exchange goes on on another cluster; what was told before is withdrawn from there."""
    old = exchange.world
    try:
        with exchange.load():
            time.sleep(BOTH_S)
            _move(exchange, old)
        old.cluster.down()
        found = exchange.count()
        _withdraw(exchange)
        _verify(exchange)
    finally:
        old.down(purge=False)
    return found


def _move(exchange: Exchange, old: World) -> None:
    """What the operator does, step by step, while members publish on."""
    before = _ids(old)
    home = exchange.home / "elsewhere"
    left = ("cluster", "admin", "policy", "drift", "fanout.log", "elsewhere")
    shutil.copytree(old.home, home, ignore=shutil.ignore_patterns(*left))
    new = World(home, drill_policy(), brokers=3)
    try:
        new.cluster.up(3)
        fault = time.monotonic()
        exchange.stop_fanouts()
        time.sleep(UNDECIDED_S)  # what is published now is decided on the other cluster
        exchange.earlier = old.decisions()
        shutil.copytree(_sealed(old), home / "sealer", dirs_exist_ok=True)
        began = time.monotonic()
        moved = tocsin("move", "--from", str(old.home / "services" / "admin"), "--home", str(home))
        written = sum(row["written"] for row in moved)
        exchange.steps.append(Step(f"`tocsin move`, {written} records", time.monotonic() - began))
        new.apply()
        new.set_topics([*new.topics("inbox."), *new.topics("ledger.")], KEPT)
    except BaseException:
        new.down(purge=False)
        raise
    exchange.world = new
    exchange.start_fanouts()
    _send_bundles(exchange, old, new)
    exchange.recovered("moved", fault)
    if before.items() & _ids(new).items():
        raise DrillFailed("a topic has the id that it had")


def _ids(world: World) -> dict[str, str]:
    """The ids of the topics that ledgers name."""
    return topic_ids(world.admin(), [*world.topics("alerts."), *world.topics("inbox.")])


def _sealed(world: World) -> Path:
    """The sealer's folder, once all is sealed."""
    rows = tocsin("audit", "seal", "--once", "--home", str(world.home))
    if not all(row["sealed"] for row in rows):
        raise DrillFailed("not all is sealed")
    return world.home / "sealer"


def _send_bundles(exchange: Exchange, old: World, new: World) -> None:
    """Members get what has changed of their bundles, and start again with the spools and places that they have."""
    for member in exchange.members:
        member.abandon()
    exchange.reader.stop()
    for who in (*(member.name for member in exchange.members), READER):
        for name in (CONFIG, CA, PASSWORD, CLIENT_PROPERTIES):
            shutil.copy(new.home / "members" / who / name, old.home / "members" / who / name)
    for member in exchange.members:
        member.start()
    came, exchange.reader = exchange.reader.came, Reader(new, READER)
    exchange.reader.came = came
    exchange.reader.start()


def _withdraw(exchange: Exchange) -> None:
    """Retract alerts that were given before the move: everybody who was given one loses it, and is told."""
    given = {
        one["lineage_id"]: {to["member"] for to in one["given"]}
        for one in exchange.earlier
        if one["publisher"] == PUBLISHER and one["given"]
    }
    some = [*given][:WITHDRAWN]
    [member] = [member for member in exchange.members if member.name == PUBLISHER]
    begun = time.monotonic()
    with Publisher(Bundle.load(member.folder)) as publisher:
        for lineage in some:
            publisher.retract(lineage, "ERROR")
        if publisher.flush(30):
            raise DrillFailed("the retractions are not in their topic")

    def all_told() -> bool:
        for name in {name for lineage in some for name in given[lineage]}:
            records = [((one.key() or b"").decode(), one.value()) for one in exchange.world.inbox(name)]
            for lineage in [lineage for lineage in some if name in given[lineage]]:
                key = f"{PUBLISHER}/{lineage}"
                notices = sum(one == f"withdrawn/{key}" for one, _ in records)
                if notices != 1 or (key, None) not in records:
                    return False
        return True

    wait_until(all_told, 60, f"notices of {some}")
    exchange.steps.append(Step(f"{len(some)} alerts of before retracted, everybody told", time.monotonic() - begun))


def _verify(exchange: Exchange) -> None:
    """The sealer goes on in its logs, and a stranger finds nothing wrong with the record."""
    home = exchange.world.home
    rows = tocsin("audit", "seal", "--once", "--moved", "--home", str(home))
    if not all(row["sealed"] for row in rows):
        raise DrillFailed(f"the sealer does not go on: {rows}")
    tocsin("audit", "export", str(home / "export"), "--home", str(home))
    words = ["--bundle", str(home / "members" / READER), "--first-records-expired"]
    found = tocsin("audit", "verify", str(home / "export"), *words)
    exchange.steps.append(Step(f"record sealed on and verified, {len(found)} findings", 0.0))
