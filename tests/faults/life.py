"""An exchange over a long random life on a real Kafka: what was done to it, and what must be so whenever it rests.

Everything is looked at from outside, by plain consumers: what lies in alert topics, audit and inboxes.
Times are the brokers' and this machine's, in milliseconds since 1970, which are one clock here.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from confluent_kafka import Message

from tests.load import source
from tests.world import World, takedown
from tocsin.consumers import Outbox, Subscription
from tocsin.consumers.acl import AclRow
from tocsin.deploy.policy.acls import create_acls, delete_acls
from tocsin.deploy.policy.directory import newest, publish, read_published
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.secrets import SecretStore
from tocsin.producers.publisher import Publisher
from tocsin.schemas.codec import decode
from tocsin.schemas.models import SiteTakenDown, SiteTakenDownDetails
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic
from tocsin.schemas.uuid7 import uuid7

PUBLISHERS: Final = ("hotline-se", "hotline-de")
READERS: Final = ("reader-00", "reader-01", "reader-02")
TLPS: Final = ("GREEN", "AMBER")
FANOUTS: Final = ("worker-0", "worker-1")
LIFE_S: Final = 400 * 86_400 // 2
SHORT_LIFE_S: Final = 12
# past the group's session time-out, so that another process has taken the lanes over
STOPPED_S: Final = 8.0
# within which a right that was taken away ends deliveries, and the same for what a member asks for
BOUND_MS: Final = 5_000
REST_S: Final = 90.0


def policy() -> dict[str, Any]:
    """Two hotlines and some readers; sight is given and taken by hand."""
    members: dict[str, Any] = {
        name: {"role": "hotline", "jurisdiction": name[-2:], "publishes": ["site-taken-down"]} for name in PUBLISHERS
    }
    for name in READERS:
        members[name] = {"role": "isp", "jurisdiction": "se", "subscription": {"everything": True}}
    return {"coalition": "test", "roots": 1, "roots_threshold": 1, "members": members, "agreements": []}


@dataclass(slots=True)
class Lineage:
    """The newest revision of one matter, as its publisher knows it."""

    newest: SiteTakenDown
    values: list[bytes] = field(default_factory=list[bytes])

    @property
    def key(self) -> bytes:
        """Its key in every inbox."""
        return f"{self.newest.header.publisher}/{self.newest.header.lineage_id}".encode()

    @property
    def topic(self) -> str:
        """Where its newest revision was published."""
        return self.newest.topic.name

    @property
    def retracted(self) -> bool:
        """Whether its newest revision is the last."""
        return self.newest.header.status == "RETRACTED"

    @property
    def expires_ms(self) -> int:
        """When it ends by itself."""
        return round(self.newest.header.expires_at.timestamp() * 1_000)


@dataclass(slots=True)
class _Right:
    """When a member could be given what lies in a topic; the last span may be open."""

    spans: list[tuple[int, int | None]] = field(default_factory=list[tuple[int, int | None]])

    def begin(self) -> None:
        if not self.spans or self.spans[-1][1] is not None:
            self.spans.append((_now_ms(), None))

    def end(self) -> None:
        if self.spans and self.spans[-1][1] is None:
            self.spans[-1] = (self.spans[-1][0], _now_ms())

    @property
    def now(self) -> bool:
        return bool(self.spans) and self.spans[-1][1] is None

    def within(self, first_ms: int, last_ms: int) -> bool:
        """Whether it was there at any moment of a time."""
        return any(begin <= last_ms and (end is None or end >= first_ms) for begin, end in self.spans)


class Life:
    """The exchange in `home`. `fanout` is the module under test. Close it."""

    def __init__(self, home: Path, fanout: str = "tocsin.deploy.cli") -> None:
        self._fanout = fanout
        self.world = World(home, policy())
        self.lineages: list[Lineage] = []
        self._rights: dict[tuple[str, str], _Right] = defaultdict(_Right)
        self._wishes: dict[str, str | None] = dict.fromkeys(map(str, READERS))
        self._suspended: set[str] = set()
        self._stopped: dict[str, float] = {}
        self._fanouts: dict[str, subprocess.Popen[bytes]] = {}
        self._publishers: dict[str, Publisher] = {}
        self._outboxes: dict[str, Outbox] = {}

    def begin(self) -> None:
        """Start everything."""
        self.world.up()
        for name in FANOUTS:
            self._fanouts[name] = self.world.start_fanout(self._fanout, name=name)
        self._publishers = {name: Publisher(self.world.member(name)) for name in PUBLISHERS}
        self._outboxes = {name: Outbox(self.world.member(name)) for name in READERS}
        for reader in READERS:
            self.grant_or_revoke(reader, AlertTopic.parse("alerts.se.site-taken-down.green").name)
        self.world.wait_lanes(len(PUBLISHERS))

    def close(self) -> None:
        """Stop everything."""
        for publisher in self._publishers.values():
            publisher.close()
        for outbox in self._outboxes.values():
            outbox.close()
        self.world.down()

    # -- what members do ---------------------------------------------------------------------------------------------

    def publish(self, publisher: str, tlp: str, life_s: int) -> None:
        """A new matter."""
        ends = datetime.now(UTC) + timedelta(seconds=life_s)
        made = takedown(self.world.member(publisher), len(self.lineages), tlp=tlp, expires_at=ends)
        self.lineages.append(Lineage(made))
        self._send(self.lineages[-1])

    def revise(self, at: int, status: str, tlp: str) -> None:
        """A later revision of one that is not retracted; it may move to another label."""
        lineage = self._open(at)
        if lineage is None:
            return
        self._revise(lineage, lineage.newest.details, status=status, tlp=tlp)

    def retract(self, at: int) -> None:
        """The last revision of one that is not retracted."""
        lineage = self._open(at)
        if lineage is not None:
            # as `Publisher.retract` does it: on a slow machine it may be read after the original has expired
            self._revise(lineage, None, status="RETRACTED", expires_at=datetime.now(UTC) + timedelta(seconds=LIFE_S))

    def _revise(self, lineage: Lineage, details: SiteTakenDownDetails | None, **told: Any) -> None:
        header = lineage.newest.header
        number = {"alert_id": str(uuid7()), "revision": header.revision + 2, "status_reason": "ERROR"}
        lineage.newest = SiteTakenDown(header=header.model_copy(update={**number, **told}), details=details)
        self._send(lineage)

    def _open(self, at: int) -> Lineage | None:
        """One that can be revised, and will not expire on the way."""
        late_ms = _now_ms() + BOUND_MS
        found = [one for one in self.lineages if not one.retracted and one.expires_ms > late_ms]
        return found[at % len(found)] if found else None

    def _send(self, lineage: Lineage) -> None:
        lineage.values.append(lineage.newest.to_avro())
        self._publishers[lineage.newest.header.publisher].publish(lineage.newest)

    def ask(self, reader: str, tlp: str | None) -> None:
        """Ask for one label only, or for everything again."""
        if tlp is None:
            self._outboxes[reader].unsubscribe("life")
        else:
            wish = Subscription(reader, everything=False, tlps=frozenset({tlp}), subscription_id="life")
            self._outboxes[reader].subscribe(wish)
        self._wishes[reader] = tlp

    # -- what the secretariat does -----------------------------------------------------------------------------------

    def grant_or_revoke(self, reader: str, topic: str) -> None:
        """One ACL appears or goes."""
        row = AclRow("TOPIC", topic, "LITERAL", f"User:{reader}", DELIVERY_HOST, "READ", "ALLOW")
        right = self._rights[reader, topic]
        if right.now:
            delete_acls(self.world.admin(), [row])
            right.end()
        else:
            right.begin()
            create_acls(self.world.admin(), [row])

    def suspend_or_not(self, reader: str) -> None:
        """A directory in which a member's standing has changed."""
        self._suspended ^= {reader}
        status = "SUSPENDED" if reader in self._suspended else "ACTIVE"
        rules = Policy.model_validate(yaml.safe_load(self.world.policy_file.read_text()))
        roots = SecretStore(self.world.home).roots(rules.roots)
        admin = self.world.cluster.admin()
        current = newest(read_published(admin), rules, roots)
        assert current is not None
        before = current.directory
        members = {**before.members, reader: replace(before.members[reader], status=status)}
        publish(admin, replace(before, version=before.version + 1, members=members), roots)

    # -- what happens to the fan-out ---------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """Kill -9, and start again."""
        self.wake(name)
        self.world.stop_fanout(self._fanouts[name], signal.SIGKILL)
        self._fanouts[name] = self.world.start_fanout(self._fanout, name=name)

    def stop(self, name: str) -> None:
        """SIGSTOP, wherever it is; only one of them at a time, so that there is one to take over."""
        if not self._stopped:
            self._fanouts[name].send_signal(signal.SIGSTOP)
            self._stopped[name] = time.monotonic()

    def wake(self, name: str) -> None:
        """SIGCONT, once another process has had the time to take over."""
        since = self._stopped.pop(name, None)
        if since is not None:
            time.sleep(max(0.0, since + STOPPED_S - time.monotonic()))
            self._fanouts[name].send_signal(signal.SIGCONT)

    # -- at rest -----------------------------------------------------------------------------------------------------

    def rest(self, settle_s: float = REST_S) -> None:
        """Everything works and nothing is done any more: wait until it has settled, and check all of it."""
        for name in FANOUTS:
            self.wake(name)
        for publisher in self._publishers.values():
            assert publisher.flush(60) == 0
        last = max((one.expires_ms for one in self.lineages if one.expires_ms < _now_ms() + LIFE_S * 500), default=0)
        time.sleep(max(0.0, (last - _now_ms()) / 1_000))
        deadline = time.monotonic() + settle_s
        while [*self._unsettled()] and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(1)
        found = [*self._unsettled(), *self._wrong()]
        assert not found, "\n".join(found)

    def _inboxes(self) -> dict[str, list[Message]]:
        return {reader: self.world.inbox(reader) for reader in READERS}

    def _unsettled(self) -> Iterator[str]:
        """What is not as it will be."""
        written = len(self.world.read(self.world.topics("alerts.")))
        decided = sum(one["kind"] == "ALERT" for one in self.world.decisions())
        if written != decided:
            yield f"{written} written, {decided} decided"
        for reader, records in self._inboxes().items():
            content = {record.key(): record.value() for record in records}
            told = {record.key() for record in records}
            for one in self.lineages:
                yield from self._unsettled_lineage(reader, one, content.get(one.key), told)

    def _unsettled_lineage(self, reader: str, one: Lineage, held: bytes | None, told: set[Any]) -> Iterator[str]:
        where, value = f"{reader} {one.key.decode()}", one.values[-1]
        if one.retracted or one.expires_ms <= _now_ms():
            if held is not None:
                yield f"{where}: ended, and still there"
            if one.retracted and one.key in told and b"withdrawn/" + one.key not in told:
                yield f"{where}: never told that it is withdrawn"
        elif held is not None and held != value:
            yield f"{where}: an old revision"
        elif held is None and self._may_have(reader, one):
            yield f"{where}: missing"

    def _may_have(self, reader: str, one: Lineage) -> bool:
        wish = self._wishes[reader]
        asks = wish is None or wish == one.newest.header.tlp
        return asks and reader not in self._suspended and self._rights[reader, one.topic].now

    def _wrong(self) -> Iterator[str]:
        """What must never have happened."""
        decisions = self.world.decisions()
        decided = Counter((one["topic"], one["offset"]) for one in decisions if one["kind"] == "ALERT")
        yield from (f"{place}: decided {times} times" for place, times in decided.items() if times != 1)
        numbers: dict[str, list[int]] = defaultdict(list)
        for one in decisions:
            numbers[one["topic"].split(".")[1]].append(one["seq"])
        for lane, seqs in numbers.items():
            if seqs != [*range(1, len(seqs) + 1)]:
                yield f"{lane}: decisions are not numbered one by one"
        for one in decisions:
            for given in one["given"]:
                # two snapshots, read every half a second, each at most 1.5 s old
                if not self._rights[given["member"], one["topic"]].within(one["decided_at"] - 2_500, one["decided_at"]):
                    yield f"{one['topic']}/{one['offset']}: given to {given['member']} without sight"
        for reader, records in self._inboxes().items():
            yield from self._wrong_copies(reader, records)

    def _wrong_copies(self, reader: str, records: list[Message]) -> Iterator[str]:
        copies = [record for record in records if record.value() and _is_alert(record)]
        twice = [place for place, times in Counter(map(source, copies)).items() if times > 1]
        yield from (f"{reader}: {place} came {twice.count(place)} times" for place in twice)
        for record in copies:
            at_ms, topic = record.timestamp()[1], source(record)[0]
            if not self._rights[reader, topic].within(at_ms - BOUND_MS, at_ms):
                yield f"{reader}: {source(record)} was appended more than 5 s after sight had ended"
        revisions: dict[Any, list[int]] = defaultdict(list)
        for record in copies:
            revisions[record.key()].append(decode(record.value() or b"")[1]["header"]["revision"])
        yield from (f"{reader}: {key}: {seen}" for key, seen in revisions.items() if seen != sorted(seen))


def _is_alert(record: Message) -> bool:
    return not (record.key() or b"").startswith((b"notice/", b"withdrawn/"))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
