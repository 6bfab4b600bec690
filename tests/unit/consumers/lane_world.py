"""A lane with everything around it in memory, and a model beside it that checks each transaction as it is committed.

What is written survives a take-over, and nothing else does. The model knows no marks and no debts by sequence number:
it knows which record was decided for whom, what lies in which inbox, and what every member may see and asks for.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.consumers.disputes import Disputed
from tocsin.consumers.entry import Headers
from tocsin.consumers.holds import HoldKind, Holds
from tocsin.consumers.lane import Lane
from tocsin.consumers.lane_transaction import RULE_HEADER, SOURCE_HEADER, Context, Copy, Source, Transaction
from tocsin.consumers.ledger import Ledger
from tocsin.consumers.sight import Sight, Snapshot
from tocsin.consumers.subscriptions import Subscription, Subscriptions
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode, encode
from tocsin.schemas.directory import Directory, DirectoryMember
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic, inbox_topic
from tocsin.schemas.verify import Verified

LANE: Final = "de"
GREEN, AMBER, MERCHANT = (
    f"alerts.{LANE}.{name}" for name in ("site-taken-down.green", "site-taken-down.amber", "merchant-terminated.green")
)
TOPICS: Final = (GREEN, AMBER, MERCHANT)
PUBLISHERS: Final = ("acquirer-de", "hotline-de")
READERS: Final = ("bank-de", "bank-fr", "isp-de", "police-de")
MEMBERS: Final = (*PUBLISHERS, *READERS)
EVERYTHING: Final = {member: Subscription(member) for member in MEMBERS}
LIFE_MS: Final = 1_000


def rule_of(member: str, topic: str) -> AclRow:
    """The grant of sight."""
    return AclRow("TOPIC", topic, "LITERAL", f"User:{member}", DELIVERY_HOST, "READ", "ALLOW")


def snapshot(grants: Iterable[tuple[str, str]], at_ms: int = NOW_MS) -> Snapshot:
    """What DescribeAcls would answer."""
    acls = AclSet(rule_of(member, topic) for member, topic in sorted(grants))
    return Snapshot(acls, acls.digest(), 0.0, at_ms)


def alert(
    lineage: str,
    revision: int = 1,
    *,
    publisher: str = PUBLISHERS[0],
    status: str = "ACTIVE",
    content: str = "",
    expires_at: int = NOW_MS + LIFE_MS,
) -> Verified:
    """An alert that has passed verification."""
    value = f"{publisher}/{lineage}/{revision}/{status}/{content}/{expires_at}".encode()
    header = {
        "alert_id": f"{lineage}-{revision}",
        "lineage_id": lineage,
        "revision": revision,
        "publisher": publisher,
        "status": status,
        "published_at": NOW_MS,
        "expires_at": expires_at,
        "test": False,
    }
    sha256 = hashlib.sha256(value).digest()
    headers = (("dsse-sig", b"signature"),)
    kind = schema("site-taken-down")
    return Verified(kind, {"header": header}, header, value, sha256, headers, f"{publisher}.key", publisher)


class Written(NamedTuple):
    """A record of an alert topic."""

    source: Source
    outcome: Verified | Rejection
    sha256: bytes


@dataclass
class _Lineage:
    """What the model knows of one lineage: its newest accepted revision."""

    revision: int
    sha256: bytes
    alert: Verified
    source: Source


@dataclass
class Model:
    """What must be so, worked out the slow way."""

    decided: list[str] = field(default_factory=list[str])
    owed: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    delivered: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    withheld: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    lineages: dict[str, _Lineage] = field(default_factory=dict[str, _Lineage])
    newest: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    holds: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    erasing: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])
    ever: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    told: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    expired: set[str] = field(default_factory=set[str])


class LaneWorld:
    """`grants` are the live ACLs, `denied` the inboxes that refuse, `gone` those whose topic does not exist."""

    def __init__(
        self,
        grants: Iterable[tuple[str, str]] = (),
        *,
        copies_max: int = 20_000,
        asking: Mapping[str, Subscription] = {},
    ) -> None:
        self.grants = set(grants)
        self.denied: set[str] = set()
        self.gone: set[str] = set()
        self.disputes: tuple[Disputed, ...] = ()
        self.holds = Holds()
        self.gains_max = 1_000
        self.released: dict[str, int] = {}
        self.made: dict[str, int] = dict.fromkeys(map(str, MEMBERS), 0)
        self.subscriptions: Mapping[str, Subscription] = {**EVERYTHING, **asking}
        self.now_ms = NOW_MS
        self.copies_max = copies_max
        self.topics: dict[str, list[Written]] = {topic: [] for topic in TOPICS}
        self.ledger: list[tuple[bytes, bytes | None]] = []
        self.audit: list[Mapping[str, Any]] = []
        self.inboxes: dict[str, list[Copy]] = {member: [] for member in MEMBERS}
        self.model = Model()
        self.pending: deque[Written] = deque()
        self._refusing: set[str] = set()
        self._seen: dict[str, int] = dict.fromkeys(TOPICS, 0)
        members = {member: DirectoryMember(member, "bank", LANE, "ACTIVE") for member in MEMBERS}
        self.directory = Directory("test", 1, NOW_MS, NOW_MS + 10**9, members, {})
        first = snapshot(self.grants)
        self._looks = [set(self.grants), set(self.grants)]
        self.sight = Sight(first, first)
        self.lane = Lane(LANE, Ledger(), copies_max=copies_max)

    # -- what members and operators do -------------------------------------------------------------------------------

    def publish(self, topic: str, outcome: Verified | Rejection) -> str:
        """Append a record. Returns its place."""
        records = self.topics[topic]
        sha256 = outcome.sha256 if isinstance(outcome, Verified) else hashlib.sha256(str(outcome).encode()).digest()
        written = Written(Source(topic, f"id-of-{topic}", 0, len(records), self.now_ms), outcome, sha256)
        records.append(written)
        return str(written.source)

    def look(self) -> None:
        """Read the ACLs once more."""
        self._looks = [self._looks[1], set(self.grants)]
        self.sight = self.sight.then(snapshot(self.grants, self.now_ms))

    def settle(self) -> None:
        """Read the ACLs until two readings agree."""
        self.look()
        self.look()

    def standing(self, member: str, status: str) -> None:
        """Publish a directory in which `member` has `status`."""
        members = {**self.directory.members, member: replace(self.directory.members[member], status=status)}
        self.directory = replace(self.directory, version=self.directory.version + 1, members=members)

    def ask(self, subscription: Subscription) -> None:
        """Change a member's subscription."""
        self.subscriptions = {**self.subscriptions, subscription.member: subscription}

    def remake(self, member: str) -> None:
        """Delete an inbox and make it again: what it held is gone."""
        self.made[member] += 1
        self.inboxes[member] = []
        model = self.model
        model.delivered = {place: count for place, count in model.delivered.items() if place[0] != member}
        model.newest = {place: revision for place, revision in model.newest.items() if place[0] != member}

    # -- what the lane's process does --------------------------------------------------------------------------------

    def context(self) -> Context:
        """What a transaction begins with."""
        return Context(
            sight=self.sight,
            directory=self.directory,
            subscriptions=Subscriptions(self.subscriptions.values()),
            disputes=self.disputes,
            holds=self.holds,
            inboxes={m: f"{m}-{self.made[m]}" for m in MEMBERS if m not in self.gone},
            gains_max=lambda member: self.released.get(member, self.gains_max),
            now_ms=self.now_ms,
            worker="w",
            notary=_notary,
            secret=b"secret",
        )

    def read(self, topics: Collection[str] = TOPICS, most: int = 1_000) -> None:
        """Fetch what is new."""
        for topic in topics:
            new = self.topics[topic][self._seen[topic] : self._seen[topic] + most]
            self._seen[topic] += len(new)
            self.pending.extend(new)

    def make(self, decide_max: int = 1_000, lineages_max: int = 1_000) -> tuple[Context, Transaction]:
        """The next transaction, made as the worker makes it."""
        context = self.context()
        tx = self.lane.begin(context)
        while self.pending and decide_max and not self.lane.must_wait(tx, self.pending[0].outcome):
            one = self.pending.popleft()
            self.lane.decide(tx, context, one.source, one.outcome, one.sha256)
            decide_max -= 1
        self.lane.take_changes(tx, context, lineages_max)
        return context, tx

    def step(self, decide_max: int = 1_000, lineages_max: int = 1_000) -> bool:
        """Make a transaction and write it. Returns whether it was not aborted."""
        return self._write(*self.make(decide_max, lineages_max))

    def pay_refusing(self) -> None:
        """Try every member that is behind, in a transaction of its own."""
        for member in list(self.lane.behind):
            context = self.context()
            if member not in context.inboxes:
                continue
            tx = self.lane.begin_behind(context, member)
            assert {copy.member for copy in tx.copies} <= {member}
            if not self._write(context, tx):
                return
            self._refusing.discard(member)

    def _write(self, context: Context, tx: Transaction) -> bool:
        refused = {copy.member for copy in tx.copies} & self.denied
        assert not {copy.member for copy in tx.copies} & self.gone, "a copy for an inbox that is known to be gone"
        if refused:
            self._refusing |= refused
            self.take_over()
            return False
        self.append(context, tx)
        self.lane.commit(tx)
        return True

    def append(self, context: Context, tx: Transaction) -> None:
        """Commit to the topics; the lane does not hear of it yet."""
        assert not (tx.empty and tx.copies)
        decisions = [decode(decision)[1] for decision in tx.decisions]
        self._check_held(tx, decisions)
        first = self.audit[-1]["seq"] + 1 if self.audit else 1
        assert [one["seq"] for one in decisions] == [*range(first, first + len(decisions))]
        assert not tx.due.keys() & (self.lane.due.keys() - set(tx.settled)), "a debt would take another's place"
        for copy in tx.copies:
            self._check_copy(copy)
            self.inboxes[copy.member].append(copy)
        for decision in decisions:
            self._check_decision(decision, context)
        self.audit += decisions
        self.ledger += tx.ledger_records()

    def take_over(self, compacted: int = 0) -> None:
        """Another process goes on, from a ledger whose first `compacted` records have been compacted."""
        head = {key: place for place, (key, _) in enumerate(self.ledger[:compacted])}
        kept = sorted(head.values())
        ledger = Ledger()
        for key, value in [self.ledger[place] for place in kept] + self.ledger[compacted:]:
            ledger.apply(key, value)
        self.lane = Lane(LANE, ledger, copies_max=self.copies_max)
        self.lane.set_behind(self._refusing)
        self.pending.clear()
        for topic in TOPICS:
            position = ledger.positions.get(topic)
            self._seen[topic] = position.next_offset if position else 0

    def check_take_over(self) -> None:
        """Whoever would take over now would know all that the owner knows, and owe the same."""
        owner, pending, seen = self.lane, list(self.pending), dict(self._seen)
        self.take_over()
        heir, self.lane, self._seen = self.lane, owner, seen
        self.pending.extend(pending)
        assert heir.ledger.entries == owner.ledger.entries
        assert heir.ledger.positions == owner.ledger.positions
        assert heir.ledger.inboxes == owner.ledger.inboxes
        assert heir.ledger.disputes == owner.ledger.disputes
        assert heir.ledger.held == owner.ledger.held
        assert heir.ledger.mark.paid == owner.ledger.mark.paid
        assert heir.due == owner.due

    def rest(self) -> None:
        """Everything works again: go on until nothing is left to do."""
        self.denied.clear()
        self.gone.clear()
        self.settle()
        for _ in range(400):
            self.read()
            self.step()
            self.pay_refusing()
            if not (self.pending or self.lane.behind or self.lane.has_work(self.context())):
                return
        raise AssertionError("the lane does not come to rest")

    # -- the model ---------------------------------------------------------------------------------------------------

    def sees(self, member: str, topic: str) -> bool:
        """Whether both readings of the ACLs, and the directory, let it have the alerts of `topic`."""
        return all((member, topic) in look for look in self._looks) and self.directory.is_active(member)

    def asks(self, member: str, publisher: str, topic: str) -> bool:
        """Whether it wants an alert of `publisher` in `topic`."""
        wish, place = self.subscriptions[member], AlertTopic.parse(topic)
        wanted = wish.everything or (
            (not wish.types or place.type.value in wish.types)
            and (not wish.jurisdictions or place.jurisdiction in wish.jurisdictions)
            and (not wish.tlps or place.tlp.value in wish.tlps)
        )
        return wanted and (member != publisher or wish.own) and self.directory.is_active(member)

    def audience(self, publisher: str, topic: str) -> tuple[set[str], set[str]]:
        """Who is given, and who is refused, an alert of `publisher` in `topic`."""
        asking = {member for member in MEMBERS if self.asks(member, publisher, topic)}
        given = {member for member in asking if self.sees(member, topic)}
        return given, {member for member in asking - given if not self.subscriptions[member].everything}

    def stopped(self, key: str, source: Source) -> bool:
        """Whether a quarantine is on it."""
        publisher, _, lineage = key.partition("/")
        return any(
            not hold.lifted
            and (hold.kind, hold.publisher) == (HoldKind.QUARANTINE, publisher)
            and hold.lineage_id in (None, lineage)
            and source.offset >= hold.since.get(source.topic, 0)
            for hold in self.holds.all
        )

    def _check_held(self, tx: Transaction, decisions: Iterable[Mapping[str, Any]]) -> None:
        """What leaves the ledger is kept under each legal hold on it, and nothing else is."""
        leaving: dict[str, bytes] = {}
        for key, entry in tx.entries.items():
            before = self.lane.ledger.entries.get(key)
            if before is None or before.kind != "ALERT":
                had: list[tuple[int, bytes, str, int]] = []
            else:
                had = [(before.revision, before.value, before.topic, before.offset)]
            # a revision that nobody is given can be decided and superseded in one transaction
            for revision, value, topic, offset in (*had, *self._accepted(key, decisions)):
                if value and (entry is None or (entry.revision, entry.value) != (revision, value)):
                    publisher, _, lineage = key.partition("/")
                    leaving |= {
                        f"{hold.name}/{key}/{revision}": value
                        for hold in self.holds.all
                        if (hold.kind, hold.publisher, hold.lifted) == (HoldKind.LEGAL, publisher, False)
                        and hold.lineage_id in (None, lineage)
                        and offset >= hold.since.get(topic, 0)
                    }
        assert {name: entry.value for name, entry in tx.held.items() if entry is not None} == leaving

    def _accepted(self, key: str, decisions: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, bytes, str, int]]:
        for one in decisions:
            if one["kind"] == "ALERT" and one["outcome"] == "ACCEPTED":
                written = self.topics[one["topic"]][one["offset"]].outcome
                assert isinstance(written, Verified)
                if f"{one['publisher']}/{one['lineage_id']}" == key and written.header["status"] != "RETRACTED":
                    yield one["revision"], written.value, one["topic"], one["offset"]

    def _check_copy(self, copy: Copy) -> None:
        """It was decided before, under this rule; the member may see it now; it is new, and newer."""
        if copy.key.startswith(b"disputed/"):
            assert copy.member == copy.key.split(b"/")[1].decode()
            return
        if copy.value is None or copy.key.startswith(b"withdrawn/"):
            self._check_erasure(copy)
            return
        headers = dict(copy.headers)
        source = headers[SOURCE_HEADER].decode()
        assert copy.topic == inbox_topic(copy.member)
        rule = self.model.owed.pop((copy.member, source))
        self.model.delivered[copy.member, source] = self.model.delivered.get((copy.member, source), 0) + 1
        topic, _, offset = source.split("/")
        written = self.topics[topic][int(offset)].outcome
        if isinstance(written, Rejection) or rule == "":
            assert copy.key == f"notice/{topic}/{offset}".encode()
            assert copy.value is not None
            assert decode(copy.value)[1]["member"] == copy.member
            return
        assert (copy.value, headers[RULE_HEADER].decode()) == (written.value, rule)
        assert self.sees(copy.member, topic), f"{copy.member} may not see {topic}"
        key = f"{written.header['publisher']}/{written.header['lineage_id']}"
        assert copy.key == key.encode()
        assert self.model.newest.get((copy.member, key), 0) < written.header["revision"], "out of order"
        self.model.ever.add((copy.member, key))
        self.model.newest[copy.member, key] = self.model.holds[copy.member, key] = written.header["revision"]

    def _check_erasure(self, copy: Copy) -> None:
        """It was decided before; the copy goes first, then its member is told so, unless it only expired."""
        key = copy.key.decode().removeprefix("withdrawn/")
        step = self.model.erasing[copy.member, key].pop(0)
        assert step == ("erase" if copy.value is None else "tell")
        if copy.value is None:
            assert copy.headers == []
            self.model.holds.pop((copy.member, key), None)
        else:
            notice = decode(copy.value)[1]
            publisher, _, lineage = key.partition("/")
            assert (notice["kind"], notice["member"]) == ("WITHDRAWN", copy.member)
            assert (notice["publisher"], notice["lineage_id"]) == (publisher, lineage)
            assert not any(notice[name] for name in ("topic", "offset", "sha256", "reason", "detail"))
            self.model.told.add((copy.member, key))
        if not self.model.erasing[copy.member, key]:
            del self.model.erasing[copy.member, key]

    def _check_decision(self, decision: Mapping[str, Any], context: Context) -> None:
        source = f"{decision['topic']}/{decision['partition']}/{decision['offset']}"
        assert decision["acl_digest"] == context.sight.latest.digest
        assert decision["directory_version"] == context.directory.version
        if decision["kind"] in ("HELD", "LIFTED"):
            return
        if decision["kind"] == "DISPUTED":
            known = self.model.lineages[f"{decision['publisher']}/{decision['lineage_id']}"]
            assert str(known.source) == source
            return
        for one in decision["refused"] if decision["kind"] == "WITHHELD" else ():
            del self.model.owed[one["member"], source]
            self.model.withheld.append((one["member"], source, one["reason"]))
        if decision["kind"] == "ALERT":
            self._check_verdict(decision, source)
        elif decision["kind"] == "GAINED":
            self._check_gained(decision, source)
        elif decision["kind"] == "EXPIRED":
            self._check_expired(decision, source)
        else:
            holding = {one["member"] for one in decision["refused"] if one["reason"] == "sight-lost"}
            key = f"{decision['publisher']}/{decision['lineage_id']}"
            assert set(decision["erased"]) == {member for member in holding if (member, key) in self.model.holds}
            self._to_erase(decision, ["erase", "tell"])

    def _to_erase(self, decision: Mapping[str, Any], steps: list[str]) -> None:
        key = f"{decision['publisher']}/{decision['lineage_id']}"
        self.model.erasing |= {(member, key): list(steps) for member in decision["erased"]}

    def _check_expired(self, decision: Mapping[str, Any], source: str) -> None:
        """Its time has come; the copies of all who hold it are erased, and nobody is owed it any more."""
        key = f"{decision['publisher']}/{decision['lineage_id']}"
        known = self.model.lineages[key]
        assert str(known.source) == source
        assert known.alert.header["expires_at"] <= self.now_ms
        assert key not in self.model.expired
        self.model.expired.add(key)
        self._check_erased(decision, key, {member for member, of in self.model.holds if of == key}, ["erase"])

    def _check_erased(self, decision: Mapping[str, Any], key: str, members: set[str], steps: list[str]) -> None:
        """An erasure that was still owed is taken up in the newer one."""
        assert set(decision["erased"]) == members
        assert len(decision["erased"]) == len(members)
        self.model.erasing = {place: left for place, left in self.model.erasing.items() if place[1] != key}
        self._to_erase(decision, steps)

    def _check_verdict(self, decision: Mapping[str, Any], source: str) -> None:
        """Every record is decided once, each topic in its order."""
        model, written = self.model, self.topics[decision["topic"]][decision["offset"]]
        before = sum(place.startswith(f"{decision['topic']}/") for place in model.decided)
        assert decision["offset"] == before, "skipped or decided twice"
        model.decided.append(source)
        outcome, reason = self._verdict(written)
        assert (decision["outcome"], decision["reason"]) == (outcome, reason)
        assert decision["sha256"] == written.sha256
        if outcome != "ACCEPTED":
            signer = written.outcome.signer if isinstance(written.outcome, Rejection) else written.outcome.member
            if signer and outcome == "REJECTED" and self.directory.is_active(signer):
                model.owed[signer, source] = ""
            return
        assert isinstance(written.outcome, Verified)
        publisher = written.outcome.header["publisher"]
        header = written.outcome.header
        key = f"{publisher}/{header['lineage_id']}"
        given, refused = self.audience(publisher, decision["topic"])
        holding = {member for member, of in model.holds if of == key}
        quarantined: set[str] = set()
        if self.stopped(key, written.source):
            given, quarantined = set(), given - {member for member, of in model.ever if of == key}
        given |= {member for member in holding if self.sees(member, decision["topic"])}
        erased = holding - given
        if header["status"] == "RETRACTED":
            given, refused, quarantined, erased = (
                set(),
                set(),
                set(),
                {member for member, of in model.ever if of == key},
            )
        self._check_erased(decision, key, erased, ["erase", "tell"])
        model.expired.discard(key)
        assert {one["member"] for one in decision["given"]} == given
        assert {(one["member"], one["reason"]) for one in decision["refused"]} == {
            *((member, "no-sight") for member in refused),
            *((member, "quarantined") for member in quarantined),
        }
        model.lineages[key] = _Lineage(header["revision"], written.sha256, written.outcome, written.source)
        self._owe(decision, source)

    def _owe(self, decision: Mapping[str, Any], source: str) -> None:
        for one in decision["given"]:
            place = (one["member"], source)
            assert place not in self.model.owed
            assert place not in self.model.delivered
            assert one["rule"] == rule_of(one["member"], decision["topic"]).text()
            self.model.owed[place] = one["rule"]

    def _check_gained(self, decision: Mapping[str, Any], source: str) -> None:
        """Only of a lineage's newest revision, while it is live, and to whom may see it and asks for it."""
        known = self.model.lineages[f"{decision['publisher']}/{decision['lineage_id']}"]
        assert str(known.source) == source
        assert known.alert.header["status"] != "RETRACTED"
        assert known.alert.header["expires_at"] > self.now_ms
        given = {one["member"] for one in decision["given"]}
        assert given
        assert given <= self.audience(decision["publisher"], decision["topic"])[0]
        assert not self.stopped(f"{decision['publisher']}/{decision['lineage_id']}", known.source)
        key = f"{decision['publisher']}/{decision['lineage_id']}"
        for member in given:
            self.model.erasing.pop((member, key), None)
        self._owe(decision, source)

    def _verdict(self, written: Written) -> tuple[str, str | None]:
        outcome = written.outcome
        if isinstance(outcome, Rejection):
            return "REJECTED", outcome.reason.value
        known = self.model.lineages.get(f"{outcome.header['publisher']}/{outcome.header['lineage_id']}")
        if known is None:
            return "ACCEPTED", None
        if outcome.header["revision"] > known.revision:
            is_final = known.alert.header["status"] == "RETRACTED"
            return ("REJECTED", Reason.TRANSITION.value) if is_final else ("ACCEPTED", None)
        if outcome.header["revision"] < known.revision:
            return "REJECTED", Reason.STALE.value
        if written.sha256 == known.sha256:
            return "DUPLICATE", Reason.REPLAYED.value
        return "REJECTED", Reason.CONFLICT.value

    def check_rest(self) -> None:
        """Nothing is owed, all is decided, and every inbox has the live alerts that its member may see and wants.

        What has ended is in no inbox, and everyone ever given what was retracted has been told.
        """
        model = self.model
        assert model.owed == {}
        assert model.erasing == {}
        assert len(model.decided) == sum(len(records) for records in self.topics.values())
        assert all(count == 1 for count in model.delivered.values())
        for (member, key), revision in model.holds.items():
            assert revision == model.lineages[key].revision, f"{member} holds an old revision of {key}"
        for key, known in model.lineages.items():
            header = known.alert.header
            retracted = header["status"] == "RETRACTED"
            if retracted or header["expires_at"] <= self.now_ms:
                assert not any(of == key for _, of in model.holds)
                ever = {member for member, of in model.ever if of == key}
                assert not retracted or ever == {member for member, of in model.told if of == key and member in ever}
                assert retracted or key in model.expired
                continue
            if self.stopped(key, known.source):
                continue
            given, _ = self.audience(header["publisher"], known.source.topic)
            missing = {member for member in given if (member, str(known.source)) not in model.delivered}
            assert not missing, f"{key} never came to {missing}"


def _notary(subject: str, record: Mapping[str, Any]) -> tuple[bytes, Headers]:
    return encode(schema(subject), {"notice_id": "n", **record}), (("dsse-sig", b"exchange"),)
