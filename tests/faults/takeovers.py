"""Take-overs under load: a lane's process is stopped, and wakes up beside its successor, again and again.

Then everything is retracted, and every inbox, the audit and the ledger are compared.
The same harness runs against a fan-out without fencing (variants.py), and must find it out.
"""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confluent_kafka import Message

from tests.load import TOPIC, load, source
from tests.world import World, is_copy, small_policy, wait_until
from tocsin.consumers.ledger import Ledger
from tocsin.producers.publisher import Publisher
from tocsin.schemas.names import ledger_topic

REAL: Final = "tocsin.deploy.cli"
LANE: Final = "se"
WORKERS: Final = ("worker-0", "worker-1")
PAUSE_S: Final = 0.05
RETRACTING_S: Final = 8.0
# a session ends after 6 s, and a lane that cannot be taken over is a failure
TAKEN_S: Final = 60.0
# what is compared at the end is not to be compacted away before
KEPT: Final = {"max.compaction.lag.ms": str(2**63 - 1), "min.compaction.lag.ms": str(2**62)}


@dataclass(slots=True)
class Takeovers:
    """`times` take-overs of one lane while alerts are published, and one more while they are retracted."""

    home: Path
    times: int
    fanout: str = REAL
    seed: int = 1
    world: World = field(init=False)
    _fanouts: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict[str, subprocess.Popen[bytes]])
    _rng: random.Random = field(init=False)

    def run(self, settle_s: float = 60.0) -> list[str]:
        """Take over, retract, settle, compare. Returns what is wrong, a line each."""
        self._rng = random.Random(self.seed)
        self.world = World(self.home, small_policy())
        try:
            self.world.up()
            self.world.set_topics([*self.world.topics("inbox."), *self.world.topics("ledger.")], KEPT)
            self._fanouts = {name: self.world.start_fanout(self.fanout, name=name) for name in WORKERS}
            self._wait_shared()
            with load(self.world, PAUSE_S) as lineages:
                for _ in range(self.times):
                    self._take_over()
            retracting = threading.Thread(target=self._retract, args=(lineages,))
            retracting.start()
            try:
                self._take_over()
            finally:
                retracting.join()
            self._settle(len(lineages), settle_s)
            return self.compare(lineages)
        finally:
            self.world.down()

    # -- taking over -------------------------------------------------------------------------------------------------

    def _taken(self) -> list[tuple[str, str]]:
        """Every lane that was taken, and by whom, in order."""
        return [(one["lane"], one["worker"]) for one in self.world.events("lane_taken")]

    def _shared(self) -> bool:
        return len(set(dict(self._taken()).values())) == len(WORKERS)

    def _wait_shared(self) -> None:
        """Each worker has a lane: the group is at rest, and the next to take the lane over is the other one."""
        wait_until(self._shared, TAKEN_S, lambda: f"a lane for each worker:\n{self.world.log()[-4000:]}")

    def _take_over(self) -> None:
        """Stop the process that works the lane, at any moment; wake it up as soon as another has taken the lane."""
        time.sleep(self._rng.uniform(0.2, 1.5))
        self._wait_shared()
        before = self._taken()
        owner = dict(before)[LANE]
        self._fanouts[owner].send_signal(signal.SIGSTOP)
        try:
            wait_until(
                lambda: any(lane == LANE and worker != owner for lane, worker in self._taken()[len(before) :]),
                TAKEN_S,
                f"{LANE} taken over from {owner}:\n{self.world.log()[-2000:]}",
            )
        finally:
            self._fanouts[owner].send_signal(signal.SIGCONT)

    def _retract(self, lineages: Collection[str]) -> None:
        """Retract all, slowly enough that a process is stopped in the middle of it."""
        with Publisher(self.world.member("hotline-se")) as publisher:
            for lineage in lineages:
                publisher.retract(lineage, "ERROR")
                time.sleep(RETRACTING_S / len(lineages))
            assert publisher.flush(120) == 0

    def _settle(self, count: int, timeout_s: float) -> None:
        """Wait until everything is decided and nothing has been written to an inbox for a while."""
        deadline = time.monotonic() + timeout_s
        before = (-1, -1)
        while time.monotonic() < deadline:
            decided = sum(one["kind"] == "ALERT" for one in self.world.decisions())
            now = decided, len(self.world.read(self.world.topics("inbox.")))
            if decided >= 2 * count and now == before:
                return
            before = now
            time.sleep(2)

    # -- comparing ---------------------------------------------------------------------------------------------------

    def compare(self, lineages: list[str]) -> list[str]:
        """What is wrong with inboxes and ledger, by the decisions on record."""
        told = self._told()
        wrong = [f"{lineage}: decided for nobody" for lineage in lineages if not told[f"hotline-se/{lineage}"]]
        written = {(TOPIC, message.offset()) for message in self.world.read([TOPIC])}
        decided = Counter((one["topic"], one["offset"]) for one in self.world.decisions() if one["kind"] == "ALERT")
        wrong += [f"{place}: decided {decided[place]} times" for place in written if decided[place] != 1]
        for topic in self.world.topics("inbox."):
            member = topic.removeprefix("inbox.")
            keys = {key for key, members in told.items() if member in members}
            wrong += [f"{topic}: {fault}" for fault in inbox_faults(self.world.inbox(member), keys)]
        return wrong + self._ledger_faults(told)

    def _told(self) -> Mapping[str, set[str]]:
        """Who was told of each lineage: given by an ALERT or GAINED decision, and not WITHHELD."""
        told: dict[str, set[str]] = defaultdict(set)
        for one in self.world.decisions():
            key = f"{one['publisher']}/{one['lineage_id']}"
            if one["kind"] in ("ALERT", "GAINED"):
                told[key] |= {to["member"] for to in one["given"]}
            elif one["kind"] == "WITHHELD":
                told[key] -= {to["member"] for to in one["refused"]}
        return told

    def _ledger_faults(self, told: Mapping[str, set[str]]) -> list[str]:
        ledger = Ledger()
        for record in self.world.read([ledger_topic(LANE)]):
            ledger.apply(record.key() or b"", record.value())
        wrong: list[str] = []
        for key, members in told.items():
            entry = ledger.entries.get(key)
            standing = entry.standing() if entry else {}
            if entry is None or not entry.ended:
                wrong.append(f"ledger: {key} has not ended")
            if not members <= standing.keys():
                wrong.append(f"ledger: {key} forgot {sorted(members - standing.keys())}")
        return wrong


def inbox_faults(records: Iterable[Message], keys: set[str]) -> list[str]:
    """What is wrong with an inbox whose member was told of the lineages `keys`, all retracted since.

    Each has one copy, then one erasure, then one notice that it is withdrawn; and nothing else is there.
    """
    story: dict[str, list[str]] = defaultdict(list)
    sources: Counter[tuple[str, int]] = Counter()
    for record in filter(is_copy, records):
        key = (record.key() or b"").decode()
        if key.startswith("withdrawn/"):
            story[key.removeprefix("withdrawn/")].append("notice")
        elif record.value() is None:
            story[key].append("erasure")
        else:
            story[key].append("copy")
            sources[source(record)] += 1
    wrong = [f"{place} came {times} times" for place, times in sources.items() if times > 1]
    wrong += [f"{key} was told, and nothing came" for key in keys - story.keys()]
    wrong += [f"{key} came, and was not told" for key in story.keys() - keys]
    return wrong + [f"{key}: {told}" for key, told in story.items() if told != ["copy", "erasure", "notice"]]
