"""The storm: publishers, fan-outs and the broker are killed and stopped while alerts flow; then everything is counted.

The same storm runs against variants without a safeguard (variants.py), and must find each of them out.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.world import World, small_policy, wait_until
from tocsin.schemas.codec import decode

PUBLISHERS = ("hotline-se", "hotline-de")
REAL = "tocsin.deploy.cli"
STOPPED_S = 8.0  # past the group's session time-out of 6 s


@dataclass(slots=True)
class Storm:
    """`alerts` in all, `each` of every fault. `fanout` and `publisher` are the modules under test."""

    home: Path
    alerts: int = 2_000
    each: int = 3
    members: int = 18
    fanout: str = REAL
    publisher: str = "tests.faults.publish"
    seed: int = 1
    faults: tuple[str, ...] = ("publisher", "fanout", "broker", "stop")
    world: World = field(init=False)
    _fanouts: list[subprocess.Popen[bytes]] = field(init=False, default_factory=list[subprocess.Popen[bytes]])
    _publishers: dict[str, subprocess.Popen[bytes]] = field(
        init=False, default_factory=dict[str, subprocess.Popen[bytes]]
    )

    def run(self, settle_s: float = 400.0) -> list[str]:
        """Blow, settle, count. Returns what is wrong, a line each; empty when all promises held."""
        self.world = World(self.home, small_policy(self.members))
        self.world.up()
        try:
            self._fanouts = [self._start_fanout(n) for n in range(2)]
            self._publishers = {name: self._start_publisher(name) for name in PUBLISHERS}
            self._blow()
            self._finish_publishing()
            self._settle(settle_s)
            return self.count()
        finally:
            for process in self._publishers.values():
                process.kill()
                process.wait()
            self.world.down()

    def _start_fanout(self, number: int) -> subprocess.Popen[bytes]:
        return self.world.start_fanout(self.fanout, name=f"worker-{number}")

    def _start_publisher(self, name: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", self.publisher, str(self.home), name, str(self.alerts // len(PUBLISHERS))]
        with (self.home / "publisher.log").open("ab") as log:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=Path(__file__).parents[2]
            )

    # -- faults ------------------------------------------------------------------------------------------------------

    def _blow(self) -> None:
        rng = random.Random(self.seed)
        doing: dict[str, Callable[[random.Random], None]] = {
            "publisher": self._kill_publisher,
            "fanout": self._kill_fanout,
            "broker": self._kill_broker,
            "stop": self._stop_fanout,
        }
        plan = [kind for kind in self.faults for _ in range(self.each)]
        rng.shuffle(plan)
        time.sleep(4)
        for kind in plan:
            doing[kind](rng)
            time.sleep(rng.uniform(0.2, 1.5))

    def _kill_publisher(self, rng: random.Random) -> None:
        name = rng.choice(PUBLISHERS)
        self._publishers[name].kill()
        self._publishers[name].wait()
        self._publishers[name] = self._start_publisher(name)

    def _kill_fanout(self, rng: random.Random) -> None:
        number = rng.randrange(len(self._fanouts))
        self.world.stop_fanout(self._fanouts[number], signal.SIGKILL)
        self._fanouts[number] = self._start_fanout(number)

    def _kill_broker(self, _rng: random.Random) -> None:
        self.world.cluster.kill(1, signal.SIGKILL)
        wait_until(lambda: self.world.cluster.pid(1) is None, 10, "the broker to die")
        self.world.cluster.up(1)

    def _stop_fanout(self, rng: random.Random) -> None:
        process = rng.choice(self._fanouts)
        process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        process.send_signal(signal.SIGCONT)

    def _finish_publishing(self) -> None:
        for name in PUBLISHERS:
            while self._publishers[name].wait(240) != 0:
                self._publishers[name] = self._start_publisher(name)

    def _settle(self, timeout_s: float) -> None:
        """Wait until everything written is decided, nothing has come for a while, and nothing is wrong; or long enough.

        An inbox that refused once is tried again after up to a minute.
        """
        deadline = time.monotonic() + timeout_s
        before = (-1, -1)
        while time.monotonic() < deadline:
            written = len(self.world.read(self.world.topics("alerts.")))
            decided = sum(one["kind"] == "ALERT" for one in self.world.decisions())
            copies = len(self.world.read(self.world.topics("inbox.")))
            if decided >= written and (decided, copies) == before and not self.count():
                return
            before = (decided, copies)
            time.sleep(2)

    # -- counting ----------------------------------------------------------------------------------------------------

    def count(self) -> list[str]:
        """Compare what was written, what was decided and what the inboxes hold, by a plain consumer."""
        written = self.world.read(self.world.topics("alerts."))
        decisions = self.world.decisions()
        wrong: list[str] = []
        expected = {f"{name}/n-{n}" for name in PUBLISHERS for n in range(self.alerts // len(PUBLISHERS))}
        values = {message.value() for message in written}
        if len(values) != len(expected):
            wrong.append(f"published {len(expected)} alerts, the topics hold {len(values)} different ones")
        decided = Counter((one["topic"], one["offset"]) for one in decisions if one["kind"] == "ALERT")
        places = {(message.topic(), message.offset()) for message in written}
        wrong += [f"{place}: decided {decided[place]} times" for place in places if decided[place] != 1]
        wrong += [f"{place}: decided and never written" for place in decided if place not in places]
        accepted = {one["sha256"] for one in decisions if one["outcome"] == "ACCEPTED"}
        if len(accepted) != len(values):
            wrong.append(f"{len(values)} different alerts, {len(accepted)} accepted")
        for member in self.world.topics("inbox."):
            wrong += self._inbox_faults(member.removeprefix("inbox."), values)
        return wrong

    def _inbox_faults(self, member: str, values: set[bytes | None]) -> list[str]:
        sees = {"reader-02": {"hotline-se"}, "reader-03": set[str]()}.get(member, set(PUBLISHERS))
        if member in PUBLISHERS:
            sees = set()
        want = {value for value in values if decode(value or b"")[1]["header"]["publisher"] in sees}
        copies = [message.value() for message in self.world.inbox(member)]
        wrong: list[str] = []
        twice = [value for value, times in Counter(copies).items() if times > 1]
        if twice:
            wrong.append(f"inbox.{member}: {len(twice)} copies came twice")
        if set(copies) - want:
            wrong.append(f"inbox.{member}: {len(set(copies) - want)} copies that its ACLs do not allow")
        if want - set(copies):
            wrong.append(f"inbox.{member}: {len(want - set(copies))} of {len(want)} copies are missing")
        revisions: dict[str, list[int]] = defaultdict(list)
        for value in copies:
            header = decode(value or b"")[1]["header"]
            revisions[header["lineage_id"]].append(header["revision"])
        if any(seen != sorted(seen) for seen in revisions.values()):
            wrong.append(f"inbox.{member}: revisions out of order")
        return wrong
