"""The lane of one jurisdiction as a state machine without I/O: what transactions hold, and what their commit changes.

A transaction pays debts of decisions committed earlier and takes new decisions; the copies of a new decision wait for
the next transaction. So a decision is durable before the first byte of its copy, even for a client that reads
uncommitted data. Nothing of a transaction is known to the lane before `commit`: an abort needs no undoing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

from tocsin.consumers.decide import NO_SIGHT, Audience, audience, check_lineage
from tocsin.consumers.ledger import (
    MARK_KEY,
    Entry,
    Given,
    Headers,
    Ledger,
    Mark,
    Position,
    encode_entry,
    encode_mark,
    encode_position,
    position_key,
)
from tocsin.consumers.sight import Sight
from tocsin.consumers.subscriptions import Subscriptions
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode, encode
from tocsin.schemas.directory import Directory
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import AlertTopic, inbox_topic
from tocsin.schemas.verify import Verified

SIGHT_LOST = "sight-lost"
SUPERSEDED = "superseded"
SOURCE_HEADER = "tocsin-source"
RULE_HEADER = "tocsin-rule"

_DECISION = schema("decision")

Notary = Callable[[Mapping[str, Any]], tuple[bytes, Headers]]


class Source(NamedTuple):
    """Where a record was read."""

    topic: str
    topic_id: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Copy(NamedTuple):
    """One record for one inbox."""

    member: str
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Context:
    """What a transaction is decided on, each piece read once at its beginning.

    `unavailable` are members whose inbox is known not to take copies now. `notary` turns a notice into signed bytes.
    """

    sight: Sight
    directory: Directory
    subscriptions: Subscriptions
    unavailable: frozenset[str]
    now_ms: int
    worker: str
    notary: Notary


@dataclass(slots=True)
class Transaction:
    """What to write, and what the lane becomes once that is committed."""

    copies: list[Copy] = field(default_factory=list[Copy])
    decisions: list[bytes] = field(default_factory=list[bytes])
    entries: dict[str, Entry | None] = field(default_factory=dict[str, Entry | None])
    positions: dict[str, Position] = field(default_factory=dict[str, Position])
    due: dict[str, int] = field(default_factory=dict[str, int])
    settled: list[str] = field(default_factory=list[str])
    caught_up: list[str] = field(default_factory=list[str])
    postponed: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    cleared: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    mark: Mark = field(default_factory=Mark)
    mark_before: Mark = field(default_factory=Mark)
    seq: int = 0
    owed: int = 0

    def ledger_records(self) -> Iterable[tuple[bytes, bytes | None]]:
        """Key and value of each ledger record."""
        for key, entry in self.entries.items():
            yield key.encode(), None if entry is None else encode_entry(entry)
        for position in self.positions.values():
            yield position_key(position), encode_position(position)
        if self.mark != self.mark_before:
            yield MARK_KEY, encode_mark(self.mark)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (self.decisions or self.entries or self.positions or self.mark != self.mark_before)


class Lane:
    """The state of a lane that has been taken over, and the making of its transactions."""

    def __init__(self, jurisdiction: str, ledger: Ledger, *, copies_max: int = 20_000) -> None:
        self.jurisdiction = jurisdiction
        self.ledger = ledger
        self.copies_max = copies_max
        self.due: dict[str, int] = {}
        self.behind: dict[str, dict[str, int]] = {member: {} for member in ledger.mark.behind}
        self.catching_up: dict[str, None] = {}
        self._live: dict[str, dict[str, None]] = {}
        self._audiences: dict[str, Audience] = {}
        self._audiences_of: tuple[object, ...] = ()
        # held, so that its id is not another's while it is compared
        self._subscriptions = Subscriptions()
        self._topics: dict[str, AlertTopic] = {}
        self._rebuild()

    def _rebuild(self) -> None:
        for seq, key, member in sorted(self.ledger.unpaid()):
            if seq > self.ledger.mark.paid:
                self.due[key] = seq
            else:
                self.behind[member][key] = seq
        for key, entry in self.ledger.entries.items():
            self._index(key, entry)
        self.catching_up = {key: None for keys in self._live.values() for key in keys}

    def _index(self, key: str, entry: Entry | None) -> None:
        before = self.ledger.entries.get(key)
        if before is not None and (entry is None or before.topic != entry.topic):
            self._live.get(before.topic, {}).pop(key, None)
        if entry is not None and entry.kind == "ALERT":
            self._live.setdefault(entry.topic, {})[key] = None

    # -- what the context says ---------------------------------------------------------------------------------------

    def observe(self, context: Context) -> None:
        """Take in a change of sight, subscriptions or directory: what somebody gained is to be caught up."""
        state = (context.sight.state, context.directory.version, id(context.subscriptions))
        if state == self._audiences_of:
            return
        before, self._audiences, self._audiences_of = self._audiences, {}, state
        changed = context.subscriptions.changed_since(self._subscriptions)
        self._subscriptions = context.subscriptions
        for topic, keys in self._live.items():
            now, known = self.audience(topic, context), before.get(topic)
            if known is None or now.gains(known, changed):
                self.catching_up.update(keys)

    def alert_topic(self, topic: str) -> AlertTopic:
        """The parsed name of `topic`, parsed once."""
        parsed = self._topics.get(topic)
        if parsed is None:
            parsed = self._topics[topic] = AlertTopic.parse(topic)
        return parsed

    def audience(self, topic: str, context: Context) -> Audience:
        """Who is given the alerts of `topic`; worked out once per change of sight, subscriptions or directory."""
        known = self._audiences.get(topic)
        if known is None:
            readers = context.sight.readers(topic, context.directory)
            known = audience(self.alert_topic(topic), readers, context.subscriptions, context.directory.is_active)
            self._audiences[topic] = known
        return known

    def has_work(self, context: Context) -> bool:
        """Whether a transaction is worth beginning though nothing new was read."""
        self.observe(context)
        return bool(self.due or self.catching_up)

    # -- making a transaction ----------------------------------------------------------------------------------------

    def begin(self, context: Context) -> Transaction:
        """A transaction that pays what is due, as far as the bound on its size allows."""
        self.observe(context)
        tx = Transaction(mark=self.ledger.mark, mark_before=self.ledger.mark, seq=self.ledger.seq)
        behind = dict(tx.mark.behind)
        for key, seq in self.due.items():
            if len(tx.copies) >= self.copies_max:
                break
            self._pay(tx, context, key, seq, behind)
            tx.settled.append(key)
            tx.mark = Mark(seq, behind)
        return tx

    def _pay(self, tx: Transaction, context: Context, key: str, seq: int, behind: dict[str, int]) -> None:
        entry = self._entry(tx, key)
        if entry is None:
            return
        given = next(given for given in entry.given if given.seq == seq)
        payable: list[int] = []
        for at, member in enumerate(given.members):
            if member in behind or member in context.unavailable:
                behind.setdefault(member, tx.mark.paid)
                tx.postponed.append((member, key, seq))
            else:
                payable.append(at)
        if payable:
            self._write(tx, context, entry, given, payable)

    def _write(self, tx: Transaction, context: Context, entry: Entry, given: Given, payable: Iterable[int]) -> None:
        """Copies of `entry` for the members of `given` at the places `payable` who may still see it."""
        base = [*entry.headers, (SOURCE_HEADER, f"{entry.topic}/{entry.partition}/{entry.offset}".encode())]
        key = entry.inbox_key.encode()
        lost: list[str] = []
        notice = entry.kind == "NOTICE"
        readers = {} if notice else context.sight.readers(entry.topic, context.directory)
        for at in payable:
            member = given.members[at]
            if notice:
                tx.copies.append(Copy(member, inbox_topic(member), key, entry.value, base))
            elif member in readers:
                headers = [*base, (RULE_HEADER, given.rules[at].encode())]
                tx.copies.append(Copy(member, inbox_topic(member), key, entry.value, headers))
            else:
                lost.append(member)
        if lost:
            self._withhold(tx, context, entry, given.seq, lost, SIGHT_LOST)
        elif notice:
            tx.entries[entry.key] = None

    def _withhold(
        self, tx: Transaction, context: Context, entry: Entry, seq: int, members: list[str], reason: str
    ) -> None:
        """Put on record that `members` are not given what decision `seq` gave them."""
        tx.entries[entry.key] = entry.without(seq, frozenset(members))
        refused = [{"member": member, "reason": reason} for member in members]
        self._record(tx, context, "WITHHELD", entry, [], refused)

    def _entry(self, tx: Transaction, key: str) -> Entry | None:
        return tx.entries[key] if key in tx.entries else self.ledger.entries.get(key)

    def must_wait(self, tx: Transaction, outcome: Verified | Rejection) -> bool:
        """Whether a record must wait for the next transaction: this one is full, or an earlier revision is unpaid.

        Were a second revision decided before the first is paid, the ledger would no longer hold the first one's bytes.
        """
        if tx.owed >= self.copies_max:
            return True
        return isinstance(outcome, Verified) and self._unpaid(tx, lineage_key(outcome))

    def _unpaid(self, tx: Transaction, key: str) -> bool:
        return key in tx.due or (key in self.due and key not in tx.settled)

    def decide(
        self, tx: Transaction, context: Context, source: Source, outcome: Verified | Rejection, sha256: bytes
    ) -> None:
        """Decide one record and move the position past it."""
        if isinstance(outcome, Verified):
            try:
                key = lineage_key(outcome)
                check_lineage(self._entry(tx, key), outcome.header["revision"], sha256)
            except Rejection as refusal:
                refusal.signer = outcome.member
                self._reject(tx, context, source, refusal, sha256, outcome)
            else:
                self._accept(tx, context, source, outcome, key)
        else:
            self._reject(tx, context, source, outcome, sha256, None)
        tx.positions[source.topic] = Position(source.topic_id, source.topic, source.offset + 1)

    def _accept(self, tx: Transaction, context: Context, source: Source, alert: Verified, key: str) -> None:
        header = alert.header
        who = self.audience(source.topic, context)
        members, rules = who.for_alert(header["publisher"], alert.record)
        tx.seq += 1
        given = (Given(tx.seq, header["revision"], members, rules),) if members else ()
        entry = Entry(
            key=key,
            kind="ALERT",
            inbox_key=key,
            revision=header["revision"],
            status=header["status"],
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
            sha256=alert.sha256,
            expires_at=header["expires_at"],
            signer=alert.key_id,
            test=header["test"],
            value=alert.value,
            headers=alert.headers,
            given=(*self._history(tx, context, key), *given),
        )
        tx.entries[key] = entry
        if members:
            tx.due[key] = tx.seq
            tx.owed += len(members)
        unseen = who.refused_for(header["publisher"], alert.record)
        refused = [{"member": member, "reason": NO_SIGHT} for member in unseen]
        pairs = [{"member": m, "rule": r} for m, r in zip(members, rules, strict=True)]
        self._record(tx, context, "ALERT", entry, pairs, refused, alert_id=header["alert_id"], topic_id=source.topic_id)

    def _history(self, tx: Transaction, context: Context, key: str) -> tuple[Given, ...]:
        """What was given of earlier revisions, as one group; what a refusing inbox still owes of them is superseded."""
        entry = self._entry(tx, key)
        if entry is None or not entry.given:
            return ()
        for seq, member in [(g.seq, m) for g in entry.given for m in g.members if tx.mark.owes(m, g.seq)]:
            tx.cleared.append((member, key))
            self._withhold(tx, context, entry, seq, [member], SUPERSEDED)
            entry = self._entry(tx, key) or entry
        tx.postponed = [debt for debt in tx.postponed if debt[1] != key]
        held = {m: r for given in entry.given for m, r in zip(given.members, given.rules, strict=True)}
        if not held:
            return ()
        # the lowest number: above no member's own mark, so that nothing paid looks owed again
        seq = min(given.seq for given in entry.given)
        return (Given(seq, max(given.revision for given in entry.given), tuple(held), tuple(held.values())),)

    def _reject(
        self,
        tx: Transaction,
        context: Context,
        source: Source,
        refusal: Rejection,
        sha256: bytes,
        alert: Verified | None,
    ) -> None:
        duplicate = refusal.reason is Reason.REPLAYED
        tx.seq += 1
        header: Mapping[str, Any] = alert.header if alert else {}
        tx.decisions.append(
            encode(
                _DECISION,
                {
                    **_stamp(tx, context),
                    "kind": "ALERT",
                    "outcome": "DUPLICATE" if duplicate else "REJECTED",
                    "reason": refusal.reason.value,
                    "detail": refusal.detail or None,
                    **source._asdict(),
                    "sha256": sha256,
                    "key_id": alert.key_id if alert else None,
                    "publisher": refusal.signer,
                    "lineage_id": header.get("lineage_id"),
                    "alert_id": header.get("alert_id"),
                    "revision": header.get("revision"),
                    "given": [],
                    "refused": [],
                },
            )
        )
        if refusal.signer is not None and not duplicate and context.directory.is_active(refusal.signer):
            self._notify(tx, context, source, refusal, sha256, refusal.signer)

    def _notify(
        self, tx: Transaction, context: Context, source: Source, refusal: Rejection, sha256: bytes, member: str
    ) -> None:
        """Owe the publisher a signed notice of the rejection."""
        value, headers = context.notary(
            {
                "kind": "REJECTED",
                "member": member,
                "jurisdiction": self.jurisdiction,
                "issued_at": context.now_ms,
                "topic": source.topic,
                "offset": source.offset,
                "sha256": sha256,
                "lineage_id": None,
                "publisher": None,
                "reason": refusal.reason.value,
                "detail": refusal.detail or None,
            }
        )
        key = f"notice/{member}/{source.topic}/{source.offset}"
        tx.entries[key] = Entry(
            key=key,
            kind="NOTICE",
            inbox_key=f"notice/{source.topic}/{source.offset}",
            revision=0,
            status="ACTIVE",
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
            sha256=sha256,
            expires_at=0,
            signer="",
            test=False,
            value=value,
            headers=headers,
            given=(Given(tx.seq, 0, (member,), ("",)),),
        )
        tx.due[key] = tx.seq
        tx.owed += 1

    def catch_up(self, tx: Transaction, context: Context, lineages_max: int) -> None:
        """Decide on live alerts that members have gained since: a grant, a subscription or a member is new."""
        for key in islice(self.catching_up, lineages_max):
            if tx.owed >= self.copies_max:
                return
            if self._unpaid(tx, key):
                continue
            tx.caught_up.append(key)
            entry = self._entry(tx, key)
            if entry is not None and entry.live(context.now_ms):
                self._give_to_gainers(tx, context, entry)

    def _give_to_gainers(self, tx: Transaction, context: Context, entry: Entry) -> None:
        publisher = entry.key.partition("/")[0]
        who = self.audience(entry.topic, context)
        # an alert is decoded again only where somebody looks into it
        members, rules = who.for_alert(publisher, decode(entry.value)[1] if who.some else {})
        holders = entry.holds_current()
        gained = {m: r for m, r in zip(members, rules, strict=True) if m not in holders}
        if not gained:
            return
        tx.seq += 1
        given = Given(tx.seq, entry.revision, tuple(gained), tuple(gained.values()))
        tx.entries[entry.key] = replace(entry, given=(*entry.given, given))
        tx.due[entry.key] = tx.seq
        tx.owed += len(gained)
        self._record(tx, context, "GAINED", entry, [{"member": m, "rule": r} for m, r in gained.items()], [])

    def _record(
        self,
        tx: Transaction,
        context: Context,
        kind: str,
        entry: Entry,
        given: list[dict[str, str]],
        refused: list[dict[str, str]],
        *,
        alert_id: str | None = None,
        topic_id: str = "",
    ) -> None:
        publisher, _, lineage_id = entry.key.partition("/")
        tx.decisions.append(
            encode(
                _DECISION,
                {
                    **_stamp(tx, context),
                    "kind": kind,
                    "outcome": "ACCEPTED",
                    "reason": None,
                    "detail": None,
                    "topic": entry.topic,
                    "topic_id": topic_id,
                    "partition": entry.partition,
                    "offset": entry.offset,
                    "sha256": entry.sha256,
                    "key_id": entry.signer,
                    "publisher": publisher,
                    "lineage_id": lineage_id,
                    "alert_id": alert_id,
                    "revision": entry.revision,
                    "given": given,
                    "refused": refused,
                },
            )
        )

    # -- members whose inbox refuses ---------------------------------------------------------------------------------

    def begin_behind(self, context: Context, member: str) -> Transaction:
        """A transaction of its own for the debts to `member`, so that they never abort the others' batch."""
        tx = Transaction(mark=self.ledger.mark, mark_before=self.ledger.mark, seq=self.ledger.seq)
        behind = dict(tx.mark.behind)
        for key, seq in islice(self.behind[member].items(), self.copies_max):
            entry = self._entry(tx, key)
            if entry is not None:
                given = next(given for given in entry.given if given.seq == seq)
                self._write(tx, context, entry, given, [given.members.index(member)])
            tx.cleared.append((member, key))
            behind[member] = seq
        if len(tx.cleared) == len(self.behind[member]):
            del behind[member]
        tx.mark = Mark(tx.mark.paid, behind)
        return tx

    def set_behind(self, members: Iterable[str]) -> None:
        """Count `members` among those whose debts are paid apart, from the next transaction on."""
        behind = {**self.ledger.mark.behind}
        for member in members:
            behind.setdefault(member, self.ledger.mark.paid)
            self.behind.setdefault(member, {})
        self.ledger.mark = Mark(self.ledger.mark.paid, behind)

    # -- after the commit --------------------------------------------------------------------------------------------

    def commit(self, tx: Transaction) -> None:
        """Take in what was committed."""
        for key in tx.settled:
            del self.due[key]
        for key in tx.caught_up:
            self.catching_up.pop(key, None)
        for member, key in tx.cleared:
            self.behind.get(member, {}).pop(key, None)
        for member, key, seq in tx.postponed:
            self.behind.setdefault(member, {})[key] = seq
        for key, entry in tx.entries.items():
            self._index(key, entry)
            if entry is None:
                self.ledger.entries.pop(key, None)
            else:
                self.ledger.entries[key] = entry
        self.due.update(tx.due)
        self.ledger.positions.update(tx.positions)
        self.ledger.mark = tx.mark
        self.ledger.seq = tx.seq
        for member in [member for member in self.behind if member not in tx.mark.behind]:
            del self.behind[member]


def lineage_key(alert: Verified) -> str:
    """`publisher/lineage_id`: the lineage's name in the ledger and in every inbox."""
    return f"{alert.header['publisher']}/{alert.header['lineage_id']}"


def _stamp(tx: Transaction, context: Context) -> dict[str, Any]:
    return {
        "seq": tx.seq,
        "decided_at": context.now_ms,
        "acl_digest": context.sight.latest.digest,
        "acl_read_at": context.sight.latest.read_at_ms,
        "directory_version": context.directory.version,
        "worker": context.worker,
    }
