"""The frame of every drill: an exchange on three brokers under load, its clock, and the count at the end."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaException, Message

from tests.drills.clock import BEFORE_S, Trip, going_on, pace, recovery
from tests.drills.evidence import Copy, Evidence, Sees, Written, faults, planted
from tests.drills.load import Member, Reader
from tests.load import source
from tests.world import World, is_copy, small_policy, tocsin, wait_until
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.schemas.codec import decode

RATE: Final = 100.0
WARM_UP_MAX_S: Final = 25.0
QUICK_S: Final = 1.0
GOING_ON_MAX_S: Final = 180.0
RECOVERED_MAX_S: Final = 240.0
UNSTEADY_S: Final = 15.0
SETTLED_MAX_S: Final = 180.0
FAULTS_MAX: Final = 20
READER: Final = "reader-00"
HOSTS: Final = ("host-1", "host-2")
HERE: Final = Path(__file__).parents[2]
REAL: Final = "tocsin.deploy.cli"
BOTH: Final = frozenset({"se", "de"})
SEES: Final[Sees] = MappingProxyType(
    {READER: BOTH, "reader-01": BOTH, "reader-02": frozenset({"se"}), "reader-03": frozenset[str]()}
)
# what is counted at the end is not to be compacted away before
KEPT: Final = {"max.compaction.lag.ms": str(2**63 - 1), "min.compaction.lag.ms": str(2**62)}


SECRETARIAT: Final = "secretariat-eu"
THIEF: Final = "hotline-de"


def drill_policy(**other: Any) -> dict[str, Any]:
    """Two publishers, four readers, one who withdraws for others; two of three roots sign. And what `other` says."""
    policy = small_policy()
    policy["members"][SECRETARIAT] = {"role": "secretariat", "jurisdiction": "se"}
    return {**policy, "roots": 3, "roots_threshold": 2, **other}


class Step(NamedTuple):
    """One figure of a drill: what was done, and seconds until it was as before (or until what the step says)."""

    what: str
    seconds: float
    worst_s: float | None = None


class DrillFailed(AssertionError):
    """A promise was not kept, or the exchange did not recover."""


@dataclass(slots=True)
class Exchange:
    """Three brokers, two fan-outs, two publishers and a reader with a clock, in the folder `home`.

    `earlier` are decisions on the record of a cluster that was left.
    """

    home: Path
    rate: float = RATE
    fanout: str = REAL
    sees: dict[str, frozenset[str] | None] = field(default_factory=lambda: dict(SEES))
    others: set[bytes] = field(default_factory=set[bytes])
    earlier: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    steps: list[Step] = field(default_factory=list[Step])
    world: World = field(init=False)
    fanouts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])
    codes: dict[str, Path] = field(default_factory=dict[str, Path])
    members: list[Member] = field(init=False)
    reader: Reader = field(init=False)
    loaded: tuple[float, float] = (0.0, 0.0)
    before: float = 0.0

    def __post_init__(self) -> None:
        self.world = World(self.home, drill_policy(), brokers=3)
        self.members = [Member(self.world, f"hotline-{lane}", self.rate / 2) for lane in sorted(BOTH)]
        self.reader = Reader(self.world, READER)

    def up(self) -> None:
        """Start everything but the load."""
        self.world.up()
        self.world.set_topics([*self.world.topics("inbox."), *self.world.topics("ledger.")], KEPT)
        self.start_fanouts()
        wait_until(self.shared, 180, lambda: f"a lane for each host:\n{self.world.log()[-3000:]}")

    def stop(self) -> None:
        """Stop everything that runs, whatever state it is in; the cluster's files stay."""
        for member in self.members:
            member.abandon()
        self.reader.stop()
        self.world.down(purge=False)

    # -- commands ----------------------------------------------------------------------------------------------------

    @property
    def words(self) -> list[str]:
        """Which policy and which home a command is about."""
        return ["--policy", str(self.world.policy_file), "--home", str(self.home)]

    def apply(self) -> None:
        """`tocsin policy apply` of the policy file as it is."""
        tocsin("policy", "apply", str(self.world.policy_file), "--home", str(self.home))

    # -- fan-out hosts -----------------------------------------------------------------------------------------------

    def start_fanout(self, name: str) -> None:
        """Start the fan-out of one host."""
        self.fanouts[name] = self.world.start_fanout(self.fanout, name=name, code=self.codes.get(name, HERE))

    def start_fanouts(self) -> None:
        """Start the fan-out of every host."""
        for name in HOSTS:
            self.start_fanout(name)

    def stop_fanouts(self) -> None:
        """Stop all of them in good order."""
        self.world.stop_fanouts()
        self.fanouts.clear()

    def owners(self) -> dict[str, str]:
        """Which host took each lane last."""
        return {one["lane"]: one["worker"] for one in self.world.events("lane_taken")}

    def shared(self) -> bool:
        """Whether each host has a lane."""
        return len(set(self.owners().values())) == len(self.fanouts)

    def restart_fanouts(self) -> None:
        """Each host's fan-out, one after the other, in good order; the next once the one before has a lane again."""
        for name in [*self.fanouts]:
            self.restart_fanout(name)

    def restart_fanout(self, name: str) -> None:
        """Stop one host's fan-out in good order and start it again, with the code that it is to have now."""
        self.world.stop_fanout(self.fanouts.pop(name))
        before = len(self.world.events("lane_taken"))
        self.start_fanout(name)

        def has_one() -> bool:
            return any(one["worker"] == name for one in self.world.events("lane_taken")[before:])

        wait_until(has_one, 180, f"a lane for {name}")

    def restart_clients(self) -> None:
        """Everybody but the brokers, one after another."""
        self.restart_fanouts()
        for member in self.members:
            member.abandon()
            member.start()
        self.reader.stop()
        self.reader.start()

    # -- load and clock ----------------------------------------------------------------------------------------------

    @contextmanager
    def load(self) -> Generator[None]:
        """Alerts from two publishers all the while; the first seconds, when connections are opened, do not count."""
        self.reader.start()
        for member in self.members:
            member.start()
        began = time.monotonic()
        self._warm_up()
        yield
        self.loaded = (began, time.monotonic())
        for member in self.members:
            member.stop()

    def _warm_up(self) -> None:
        """Wait until alerts come quickly; on a busy machine they may never, and then that is what `before` means."""
        until = time.monotonic() + WARM_UP_MAX_S
        time.sleep(BEFORE_S)
        while (before := pace(self.trips(), time.monotonic())) > QUICK_S and time.monotonic() < until:
            time.sleep(1)
        self.before = before
        self.steps.append(Step("before: 95 in 100 alerts come within", before))

    def trips(self) -> list[Trip]:
        """Every alert published so far, in order, and how long it took to the reader.

        A first revision that is still owed when its second one is decided never comes: that one is waited for.
        """
        came = self.reader.came

        def arrived(member: Member, value: bytes) -> float:
            second = member.second.get(value)
            return min(came.get(value, inf), came.get(second, inf) if second else inf)

        return sorted(
            Trip(at, arrived(member, value) - at) for member in self.members for value, at in dict(member.sent).items()
        )

    def recovered(self, what: str, fault: float) -> None:
        """Wait until alerts come again after `fault`, and come as quickly as before it; note how long either took.

        Where it was not quick before, on a busy machine, only that they come again is insisted upon.

        Raises:
            DrillFailed: it has not come to that in time.
        """
        while (again := going_on(self.trips(), fault)) is None:
            self._go_on(what, fault, GOING_ON_MAX_S)
        self.steps.append(Step(f"{what}: first alert published since", again))
        while (found := recovery(self.trips(), fault, time.monotonic())) is None:
            if self.before > QUICK_S and time.monotonic() - fault > again + UNSTEADY_S:
                return
            self._go_on(what, fault, RECOVERED_MAX_S)
        self.steps.append(Step(f"{what}: again within {found.limit_s:.1f} s", found.after_s, found.worst_s))

    def _go_on(self, what: str, fault: float, max_s: float) -> None:
        if time.monotonic() - fault > max_s:
            trips, now = self.trips(), time.monotonic()
            late = [round(now - trip.at, 1) for trip in trips if trip.took == inf]
            wrong = "\n".join(faults(self.evidence(), self.sees)[:FAULTS_MAX])
            raise DrillFailed(
                f"{what}: not as before after {max_s:.0f} s; 95 in 100 take {pace(trips, now):.1f} s, {len(late)} have"
                f" not come, waiting for {late[:FAULTS_MAX]} s\n{self.world.log()[-3000:]}\n{wrong}"
            )
        time.sleep(1)

    def endured(self, what: str, begun: float) -> None:
        """Note how long something took that alerts were to go on through, and the longest that one of them took.

        Raises:
            DrillFailed: one of them has not come in time.
        """
        over = time.monotonic()

        def took() -> list[float]:
            return [trip.took for trip in self.trips() if begun <= trip.at < over]

        while inf in took():
            self._go_on(what, over, RECOVERED_MAX_S)
        self.steps.append(Step(what, over - begun, max(took())))

    def timed(self, what: str, holds: Callable[[], bool], since: float, timeout_s: float = GOING_ON_MAX_S) -> float:
        """Wait until `holds`, and note how long after `since` that was."""
        wait_until(holds, timeout_s, what)
        self.steps.append(Step(what, time.monotonic() - since))
        return self.steps[-1].seconds

    # -- brokers -----------------------------------------------------------------------------------------------------

    def kill_broker(self, node: int) -> None:
        """Kill -9."""
        assert self.world.cluster.pid(node) is not None, f"broker {node} does not run"
        self.world.cluster.kill(node, signal.SIGKILL)
        wait_until(lambda: self.world.cluster.pid(node) is None, 10, f"broker {node} to die")

    def roll_brokers(self, cluster: LocalCluster | None = None) -> None:
        """Each broker stopped in good order and started again, by `cluster` if it is to be another one from now on."""
        cluster = cluster or self.world.cluster
        for node in cluster.nodes:
            self.world.cluster.stop_broker(node)
            cluster.start_broker(node)
            wait_until(self.in_sync, 180, f"three copies in sync after broker {node}")
        self.world.cluster = cluster

    def leader(self, topic: str) -> int:
        """The broker that leads `topic`."""
        found: list[int] = []

        def known() -> bool:
            found[:] = [
                one.leader for one in self.world.admin().list_topics(topic, 10).topics[topic].partitions.values()
            ]
            return found[0] > 0

        wait_until(known, 60, f"a leader of {topic}")
        return found[0]

    def in_sync(self) -> bool:
        """Whether every partition has three copies in sync."""
        try:
            topics = self.world.admin().list_topics(timeout=5).topics.values()
        except KafkaException:
            return False
        return all(len(one.isrs) == 3 for topic in topics for one in topic.partitions.values())

    def set_apart(self, digests: Collection[bytes]) -> None:
        """Let what has these digests count as written besides: the exchange was not to accept it."""
        for member in self.members:
            for value in [value for value in member.sent if hashlib.sha256(value).digest() in digests]:
                del member.sent[value]
                self.others.add(value)

    def copies(self, member: str) -> list[Copy]:
        """The copies in a member's inbox, in order."""
        return [*_copies(self.world.inbox(member))]

    # -- counting ----------------------------------------------------------------------------------------------------

    def evidence(self) -> Evidence:
        """Everything, read by a plain client from its beginning."""
        written = self.world.read(self.world.topics("alerts."))
        inboxes = {name: self.copies(name) for name in self.sees}
        return Evidence(
            sent={member.lane: [*member.sent] for member in self.members},
            written=[Written(one.topic() or "", one.offset() or 0, one.value() or b"") for one in written],
            decisions=[*self.earlier, *self.world.decisions()],
            inboxes=inboxes,
            others=frozenset(self.others),
        )

    def count(self, timeout_s: float = SETTLED_MAX_S) -> Evidence:
        """Wait until nothing is wrong any more, and see that the count finds what is planted.

        Raises:
            DrillFailed: something is still wrong, or a planted fault was not found.
        """
        deadline = time.monotonic() + timeout_s
        while wrong := faults(found := self.evidence(), self.sees):
            if time.monotonic() > deadline:
                raise DrillFailed("\n".join(wrong[:FAULTS_MAX]))
            time.sleep(1)
        for what, false in planted(found, READER):
            if not faults(false, self.sees):
                raise DrillFailed(f"the count does not see that {what}")
        return found


def _copies(records: Iterable[Message]) -> Iterable[Copy]:
    for record in records:
        value, key = record.value(), (record.key() or b"").decode()
        if value is None or key.startswith(("notice/", "withdrawn/")) or not is_copy(record):
            continue
        yield Copy(key, decode(value)[1]["header"]["revision"], *source(record), value)
