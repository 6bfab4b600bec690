"""The lane of one jurisdiction as a state machine without I/O: what transactions hold, and what their commit changes.

A transaction pays debts of decisions committed earlier and takes new decisions; the copies of a new decision wait for
the next transaction. So a decision is durable before the first byte of its copy, even for a client that reads
uncommitted data. Nothing of a transaction is known to the lane before `commit`: an abort needs no undoing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final

from tocsin.consumers.decide import NO_SIGHT, Audience, audience
from tocsin.consumers.disputes import Disputed
from tocsin.consumers.entry import ERASED, Entry, Given, Inbox, Standing
from tocsin.consumers.expiries import Expiries
from tocsin.consumers.gains import Gains
from tocsin.consumers.holds import Holds, Published
from tocsin.consumers.lane_holds import erase_lifted, keep
from tocsin.consumers.lane_records import (
    dispute_notice,
    line_test,
    record_decision,
    record_rejection,
    rejection_notice,
    withdrawal,
)
from tocsin.consumers.lane_sight import tell_sight
from tocsin.consumers.lane_transaction import RULE_HEADER, SOURCE_HEADER, Context, Copy, Source, Transaction
from tocsin.consumers.ledger import Ledger, Mark, Position
from tocsin.consumers.lineage import EXPIRED, RETRACTED, check_revision
from tocsin.consumers.subscriptions import Subscriptions
from tocsin.consumers.tally import Paid
from tocsin.schemas.codec import decode
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import AlertTopic, inbox_topic
from tocsin.schemas.verify import Verified

SIGHT_LOST: Final = "sight-lost"
SUPERSEDED: Final = "superseded"
NEVER_GIVEN: Final = "never-given"
QUARANTINED: Final = "quarantined"
REMEMBERED_MS: Final = 366 * 86_400_000
"""How long a lineage is remembered, without its content, after the last of its revisions has expired."""


class Lane:
    """The state of a lane that has been taken over, and the making of its transactions."""

    def __init__(self, jurisdiction: str, ledger: Ledger, *, copies_max: int = 20_000) -> None:
        self.jurisdiction = jurisdiction
        self.ledger = ledger
        self.copies_max = copies_max
        self.due: dict[str, int] = {}
        self.behind: dict[str, dict[str, int]] = {member: {} for member in ledger.mark.behind}
        # topics of which somebody may have gained alerts, and of one of them the lineages still to be looked at
        self.catching_up: dict[str, None] = {}
        self._to_look_at: list[str] = []
        self.gains = Gains()
        self._live: dict[str, dict[str, None]] = {}
        self._audiences: dict[str, Audience] = {}
        self._audiences_of: tuple[object, ...] = ()
        # held, so that its id is not another's while it is compared
        self._subscriptions = Subscriptions()
        # the inboxes in which nothing was new
        self._inboxes: Mapping[str, str] = {}
        self._disputes: tuple[Disputed, ...] = ()
        self._holds = Holds()
        # the holds of which nothing lifted is kept any more
        self._lifted = Holds()
        # by what everybody has been told of its sight
        self._told_of: tuple[object, ...] = ()
        self._topics: dict[str, AlertTopic] = {}
        self._expiries = Expiries(ledger.entries)
        self._rebuild()

    def _rebuild(self) -> None:
        for seq, key, member in sorted(self.ledger.unpaid()):
            if seq > self.ledger.mark.paid:
                self.due[key] = seq
            else:
                self._note_debt(member, key, seq)
        for one in self.ledger.entries.outlines():
            if one.kind == "ALERT":
                self._expiries.note(one.key, one.ends_at)
                if not one.ended:
                    self._live.setdefault(one.topic, {})[one.key] = None
        self.catching_up = dict.fromkeys(self._live)

    def _index(self, key: str, before: Entry | None, entry: Entry | None) -> None:
        if before is not None and (entry is None or entry.ended or before.topic != entry.topic):
            self._live.get(before.topic, {}).pop(key, None)
        if entry is not None and entry.kind == "ALERT" and not entry.ended:
            self._live.setdefault(entry.topic, {})[key] = None

    # -- what the context says ---------------------------------------------------------------------------------------

    def observe(self, context: Context) -> None:
        """Take in a change of sight, subscriptions, directory or holds: what somebody gained is to be caught up."""
        if context.holds is not self._holds:
            self._holds = context.holds
            self.catching_up = dict.fromkeys(self._live)
        state = (context.sight.state, context.directory.version)
        if state == self._audiences_of and context.subscriptions is self._subscriptions:
            return
        changed = context.subscriptions.changed_since(self._subscriptions)
        self._subscriptions = context.subscriptions
        if state == self._audiences_of and not changed:
            return
        before, self._audiences, self._audiences_of = self._audiences, {}, state
        for head in filter(None, map(self.ledger.entries.head, self.gains.take_all())):
            self.catching_up[head.topic] = None
        for topic in self._live:
            now, known = self.audience(topic, context), before.get(topic)
            if known is None or now.gains(known, changed):
                self.catching_up[topic] = None

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
        if self.due or self.catching_up or self._to_look_at or self.gains.any_ready(context.gains_max):
            return True
        return self._expiries.any_due(context.now_ms)

    def expiring(self, now_ms: int) -> int:
        """About how many lineages end by themselves within a day."""
        return self._expiries.within_hours(now_ms, 24)

    # -- making a transaction ----------------------------------------------------------------------------------------

    def begin(self, context: Context) -> Transaction:
        """A transaction that pays what is due, as far as the bound on its size allows."""
        self.observe(context)
        tx = Transaction(mark=self.ledger.mark, mark_before=self.ledger.mark, seq=self.ledger.mark.seq)
        self._note_inboxes(tx, context)
        behind = dict(tx.mark.behind)
        for key, seq in self.due.items():
            if len(tx.copies) >= self.copies_max:
                break
            self._pay(tx, context, key, seq, behind)
            tx.settled.append(key)
            tx.mark = replace(tx.mark, paid=seq, behind=behind)
        return tx

    def _note_inboxes(self, tx: Transaction, context: Context) -> None:
        """An inbox that was deleted and made again has been given nothing: it is caught up after this transaction."""
        if context.inboxes is self._inboxes:
            return
        for member, topic_id in context.inboxes.items():
            known = self.ledger.inboxes.get(member)
            if known is None:
                tx.inboxes[member] = Inbox(topic_id)
            elif known.topic_id != topic_id:
                tx.inboxes[member] = Inbox(topic_id, tx.mark.behind.get(member, tx.mark.paid))
        if not tx.inboxes:
            self._inboxes = context.inboxes

    def _pay(self, tx: Transaction, context: Context, key: str, seq: int, behind: dict[str, int]) -> None:
        entry = self._entry(tx, key)
        if entry is None:
            return
        given = _given_by(entry, seq)
        payable: list[int] = []
        for at, member in enumerate(given.members):
            if member in behind or member not in context.inboxes:
                behind.setdefault(member, tx.mark.paid)
                tx.postponed.append((member, key, seq))
            else:
                payable.append(at)
        before = len(tx.copies)
        if payable:
            self._write(tx, context, entry, given, payable)
        if entry.kind == "ALERT":
            tx.tally.paid.append(Paid(key, entry.topic, len(tx.copies) - before))

    def _write(self, tx: Transaction, context: Context, entry: Entry, given: Given, payable: Iterable[int]) -> None:
        """What decision `given` owes to its members at the places `payable`: copies, erasures, or a notice."""
        base = [*entry.headers, (SOURCE_HEADER, f"{entry.topic}/{entry.partition}/{entry.offset}".encode())]
        key = entry.inbox_key.encode()
        if entry.kind == "NOTICE":
            tx.copies += [Copy(one, inbox_topic(one), key, entry.value, base) for one in given.members]
            tx.entries[entry.key] = None
            return
        lost: list[str] = []
        readers = context.sight.readers(entry.topic, context.directory)
        for at in payable:
            member, rule = given.members[at], given.rules[at]
            if rule == ERASED:
                self._erase(tx, context, entry, member)
            elif member in readers:
                headers = [*base, (RULE_HEADER, rule.encode())]
                tx.copies.append(Copy(member, inbox_topic(member), key, entry.value, headers))
            else:
                lost.append(member)
        if lost:
            self._withhold(tx, context, entry, lost)

    def _erase(self, tx: Transaction, context: Context, entry: Entry, member: str) -> None:
        """The copy goes from the inbox; unless time alone did it, its member is told that it is withdrawn."""
        tx.copies.append(Copy(member, inbox_topic(member), entry.inbox_key.encode(), None, []))
        if entry.status != EXPIRED:
            tx.copies.append(withdrawal(self.jurisdiction, context, entry, member))

    def _withhold(self, tx: Transaction, context: Context, entry: Entry, members: list[str]) -> None:
        """Put on record that `members` lost sight before they were written what they are owed of `entry`.

        Who holds an earlier revision is not told the newer one, but that the earlier one is withdrawn.
        """
        entry, _ = _less_owed(entry, tx.mark, frozenset(members))
        held = entry.standing()
        told = tuple(member for member in members if member in held and held[member].rule != ERASED)
        tx.seq += 1
        self._owe(tx, entry, Given(tx.seq, entry.revision, told, (ERASED,) * len(told)))
        record_decision(tx, context, "WITHHELD", entry, refused=dict.fromkeys(members, SIGHT_LOST), erased=told)

    def _owe(self, tx: Transaction, entry: Entry, given: Given) -> None:
        """Keep `entry` with the debts of a new decision."""
        tx.entries[entry.key] = replace(entry, given=(*entry.given, given)) if given.members else entry
        if given.members:
            tx.due[entry.key] = given.seq
            tx.owed += len(given.members)

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
                check_revision(self._entry(tx, key), outcome.header, sha256)
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
        before = self._supersede(tx, context, key)
        held = before.standing() if before else {}
        given, refused = self._recipients(context, source, alert, key, held)
        # a retraction is told to everyone ever given any revision, a correction to those who may no longer see it
        erased = tuple(
            member
            for member, last in held.items()
            if member not in given and (header["status"] == RETRACTED or last.rule != ERASED)
        )
        tx.seq += 1
        entry = self._entry_of(alert, source, key, before)
        rules = (*given.values(), *((ERASED,) * len(erased)))
        tx.tally.skew_ms[alert.member] = source.appended_at - header["published_at"]
        if rules:
            tx.tally.arrived[key] = source.appended_at
        self._owe(tx, entry, Given(tx.seq, entry.revision, (*given, *erased), rules))
        record_decision(
            tx,
            context,
            "ALERT",
            entry,
            given=given.items(),
            refused=refused,
            erased=erased,
            alert_id=header["alert_id"],
            source=source,
        )

    def _recipients(
        self, context: Context, source: Source, alert: Verified, key: str, held: Mapping[str, Standing]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Who is given a revision, member -> rule, and who is refused it, member -> reason.

        Who holds an earlier one is given it whatever it asks for now; nobody is given a retraction.
        """
        if alert.header["status"] == RETRACTED:
            return {}, {}
        publisher, who = alert.header["publisher"], self.audience(source.topic, context)
        members, rules = who.for_alert(publisher, alert.record)
        given = dict(zip(members, rules, strict=True))
        refused = dict.fromkeys(who.refused_for(publisher, alert.record), NO_SIGHT)
        if context.holds.stop(Published(key, source.topic, source.offset, source.appended_at)):
            refused |= dict.fromkeys(given.keys() - held.keys(), QUARANTINED)
            given = {}
        if held:
            readers = context.sight.readers(source.topic, context.directory)
            given |= {m: readers[m] for m, last in held.items() if last.rule != ERASED and m in readers}
        return given, refused

    def _entry_of(self, alert: Verified, source: Source, key: str, before: Entry | None) -> Entry:
        header, ended = alert.header, alert.header["status"] == RETRACTED
        return Entry(
            key=key,
            kind="ALERT",
            inbox_key=key,
            revision=header["revision"],
            status=header["status"],
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
            appended_at=source.appended_at,
            sha256=alert.sha256,
            expires_at=header["expires_at"],
            # until none of its revisions can be replayed, and late retractions have had their time
            forget_at=max(header["expires_at"] + REMEMBERED_MS, before.forget_at if before else 0),
            signer=alert.key_id,
            test=header["test"],
            value=b"" if ended else alert.value,
            headers=() if ended else alert.headers,
            given=before.given if before else (),
        )

    def _supersede(self, tx: Transaction, context: Context, key: str) -> Entry | None:
        """The lineage as it was before: all that was given as one group, less what refusing inboxes are owed of it."""
        entry = self._entry(tx, key)
        if entry is None:
            return None
        entry, owed = _less_owed(entry, tx.mark, frozenset(entry.standing()))
        keep(tx, context, entry)
        tx.cleared += [(member, key) for member, _ in owed]
        withheld = [member for member, rule in owed if rule != ERASED]
        if withheld:
            tx.seq += 1
            record_decision(tx, context, "WITHHELD", entry, refused=dict.fromkeys(withheld, SUPERSEDED))
        tx.postponed = [debt for debt in tx.postponed if debt[1] != key]
        held = entry.standing()
        if not held:
            return replace(entry, given=())
        # the lowest number: above no member's own mark, so that nothing paid looks owed again
        seq, rules = min(given.seq for given in entry.given), tuple(last.rule for last in held.values())
        return replace(entry, given=(Given(seq, entry.revision, tuple(held), rules),))

    def _reject(
        self,
        tx: Transaction,
        context: Context,
        source: Source,
        refusal: Rejection,
        sha256: bytes,
        alert: Verified | None,
    ) -> None:
        tx.seq += 1
        record_rejection(tx, context, source, refusal, sha256, alert)
        member = refusal.signer
        if member is not None and refusal.reason is not Reason.REPLAYED and context.directory.is_active(member):
            notice = rejection_notice(self.jurisdiction, context, source, refusal, sha256, member, tx.seq)
            tx.entries[notice.key] = notice
            tx.due[notice.key] = tx.seq
            tx.owed += 1

    # -- what time and change bring ----------------------------------------------------------------------------------

    def take_changes(self, tx: Transaction, context: Context, lineages_max: int) -> None:
        """Decide on what came by no record: gains, expiries, disputes, lifted holds; about `lineages_max` of each."""
        self._catch_up(tx, context, lineages_max)
        self._expire(tx, context, lineages_max)
        self._take_disputes(tx, context)
        self._take_lifted(tx, context, lineages_max)

    def _catch_up(self, tx: Transaction, context: Context, lineages_max: int) -> None:
        """Decide on live alerts that members have gained since: a grant, a subscription or a member is new.

        All of them are counted first; who has gained more than its bound is given none.
        """
        if self.catching_up and not self._to_look_at:
            topic = next(iter(self.catching_up))
            del self.catching_up[topic]
            self._to_look_at = [*self._live.get(topic, ())]
        for key in self._to_look_at[-lineages_max:]:
            tx.looked_at += 1
            gained = self._gained(tx, context, key)
            if gained:
                tx.found.append((key, frozenset(gained)))
        if self.catching_up or self._to_look_at:
            return
        for key, members in islice(self.gains.ready(context.gains_max), lineages_max):
            if tx.owed >= self.copies_max:
                return
            if not self._unpaid(tx, key):
                self._give_to_gainers(tx, context, key, members)

    def _gained(self, tx: Transaction, context: Context, key: str) -> dict[str, str]:
        """Who may have a live lineage, asks for it and does not hold it: member -> rule."""
        entry = tx.entries[key] if key in tx.entries else self.ledger.entries.head(key)
        if entry is None or not entry.live(context.now_ms):
            return {}
        if context.holds.stop(Published(key, entry.topic, entry.offset, entry.appended_at)):
            return {}
        who = self.audience(entry.topic, context)
        # an alert is read and decoded again only where somebody looks into it
        content = self._entry(tx, key) if who.some else None
        members, rules = who.for_alert(key.partition("/")[0], decode(content.value)[1] if content else {})
        holders = entry.holds_current({**self.ledger.inboxes, **tx.inboxes} if tx.inboxes else self.ledger.inboxes)
        return {m: r for m, r in zip(members, rules, strict=True) if m not in holders}

    def _give_to_gainers(self, tx: Transaction, context: Context, key: str, members: frozenset[str]) -> None:
        tx.settled_gains.append((key, members))
        gained = {member: rule for member, rule in self._gained(tx, context, key).items() if member in members}
        entry = self._entry(tx, key)
        if entry is None or not gained:
            return
        tx.seq += 1
        self._owe(tx, entry, Given(tx.seq, entry.revision, tuple(gained), tuple(gained.values())))
        record_decision(tx, context, "GAINED", entry, given=gained.items())

    def _take_disputes(self, tx: Transaction, context: Context) -> None:
        """Pass on to publishers, once, what those to whom they told something say is wrong with it."""
        if context.disputes is self._disputes:
            return
        for disputed in context.disputes:
            name, entry = f"{disputed.member}/{disputed.lineage}", self._entry(tx, disputed.lineage)
            if entry is None or self.ledger.disputes.get(name) == disputed.dispute_id:
                continue
            if tx.owed >= self.copies_max:
                return
            self._pass_on(tx, context, disputed, entry)
            tx.disputes[name] = disputed.dispute_id
        if not tx.disputes:
            self._disputes = context.disputes

    def _pass_on(self, tx: Transaction, context: Context, disputed: Disputed, entry: Entry) -> None:
        tx.seq += 1
        if disputed.member not in entry.standing():
            record_decision(tx, context, "DISPUTED", entry, refused={disputed.member: NEVER_GIVEN})
            return
        notice = dispute_notice(self.jurisdiction, context, disputed, entry, tx.seq)
        tx.entries[notice.key] = notice
        tx.due[notice.key] = tx.seq
        tx.owed += 1
        record_decision(tx, context, "DISPUTED", entry)

    def _take_lifted(self, tx: Transaction, context: Context, revisions_max: int) -> None:
        """Erase what was kept under legal holds that have been lifted."""
        if context.holds is self._lifted:
            return
        before = len(tx.decisions)
        erase_lifted(tx, context, self.ledger.held, revisions_max)
        if len(tx.decisions) == before:
            self._lifted = context.holds

    def _expire(self, tx: Transaction, context: Context, lineages_max: int) -> None:
        """End what has expired: its content goes from ledger and inboxes. Forget what ended long ago."""
        for entry in islice(self._expiries.due(context.now_ms), lineages_max):
            if tx.owed >= self.copies_max:
                return
            if self._unpaid(tx, entry.key) or entry.key in tx.entries:
                continue
            if entry.ended:
                tx.entries[entry.key] = None
            else:
                self._end(tx, context, entry)

    def _end(self, tx: Transaction, context: Context, entry: Entry) -> None:
        entry = self._supersede(tx, context, entry.key) or entry
        erased = tuple(member for member, last in entry.standing().items() if last.rule != ERASED)
        entry = replace(entry, status=EXPIRED, value=b"", headers=())
        tx.seq += 1
        self._owe(tx, entry, Given(tx.seq, entry.revision, erased, (ERASED,) * len(erased)))
        record_decision(tx, context, "EXPIRED", entry, erased=erased)

    def test_line(self, tx: Transaction, context: Context, every_ms: int) -> None:
        """Tell the members of this jurisdiction, every `every_ms` milliseconds, that their line is alive.

        The record that each inbox and the ledger get by that also lets Kafka erase what was withdrawn: it compacts a
        log only when something is appended. A test is never owed: an inbox that does not take it misses it.
        """
        if not self._test_due(context, every_ms):
            return
        tx.mark = replace(tx.mark, tested_at=context.now_ms)
        for name, member in context.directory.members.items():
            if member.jurisdiction != self.jurisdiction:
                continue
            takes = name in context.inboxes and name not in tx.mark.behind
            if takes:
                tx.copies.append(line_test(self.jurisdiction, context, name))
            if context.directory.is_active(name):
                tx.lines[name] = takes

    def tell_sight(self, tx: Transaction, context: Context) -> None:
        """Tell members what they may be given of this jurisdiction, where they were told something else, or nothing."""
        if not self._sight_to_tell(context):
            return
        tell_sight(tx, context, self.jurisdiction, self.ledger.sights, self.copies_max)
        if not tx.sights:
            self._told_of = self._telling_of(context)

    def has_to_tell(self, context: Context, test_every_ms: int) -> bool:
        """Whether a test of the line is due, or somebody's sight may be other than what it was told."""
        return self._test_due(context, test_every_ms) or self._sight_to_tell(context)

    def _test_due(self, context: Context, every_ms: int) -> bool:
        return context.now_ms - self.ledger.mark.tested_at >= every_ms

    def _sight_to_tell(self, context: Context) -> bool:
        return self._told_of != self._telling_of(context)

    def _telling_of(self, context: Context) -> tuple[object, ...]:
        behind = frozenset(self.ledger.mark.behind)
        return (context.sight.state, context.directory.version, context.inboxes, behind)

    # -- members whose inbox refuses ---------------------------------------------------------------------------------

    def begin_behind(self, context: Context, member: str) -> Transaction:
        """A transaction of its own for the debts to `member`, so that they never abort the others' batch."""
        tx = Transaction(mark=self.ledger.mark, mark_before=self.ledger.mark, seq=self.ledger.mark.seq)
        self._note_inboxes(tx, context)
        behind = dict(tx.mark.behind)
        for key, seq in islice(self.behind[member].items(), self.copies_max):
            if key in self.due:
                # one debt of a lineage at a time: what is withheld here could be a second one
                break
            entry = self._entry(tx, key)
            if entry is not None:
                given = _given_by(entry, seq)
                self._write(tx, context, entry, given, [given.members.index(member)])
            tx.cleared.append((member, key))
            behind[member] = seq
        if len(tx.cleared) == len(self.behind[member]):
            del behind[member]
        tx.mark = replace(tx.mark, behind=behind)
        return tx

    def set_behind(self, members: Iterable[str]) -> None:
        """Count `members` among those whose debts are paid apart, from the next transaction on."""
        behind = {**self.ledger.mark.behind}
        for member in members:
            behind.setdefault(member, self.ledger.mark.paid)
            self.behind.setdefault(member, {})
        self.ledger.mark = replace(self.ledger.mark, behind=behind)

    # -- after the commit --------------------------------------------------------------------------------------------

    def commit(self, tx: Transaction) -> None:
        """Take in what was committed."""
        for key in tx.settled:
            del self.due[key]
        self._commit_gains(tx)
        for member, key in tx.cleared:
            self.behind.get(member, {}).pop(key, None)
        for member, key, seq in tx.postponed:
            self._note_debt(member, key, seq)
        self.due.update(tx.due)
        self._commit_entries(tx)
        self.ledger.positions.update(tx.positions)
        if any(inbox.since for inbox in tx.inboxes.values()):
            self.catching_up = dict.fromkeys(self._live)
        self.ledger.inboxes.update(tx.inboxes)
        self.ledger.disputes.update(tx.disputes)
        for name, held in tx.held.items():
            self.ledger.hold(name, held)
        self.ledger.sights.update(tx.sights)
        self.ledger.mark = tx.mark_after
        for member in [member for member in self.behind if member not in tx.mark.behind]:
            del self.behind[member]

    def _note_debt(self, member: str, key: str, seq: int) -> None:
        """Owe a member whose inbox refuses. Its debts stay in the order of their numbers: its mark only rises."""
        debts = self.behind.setdefault(member, {})
        debts.pop(key, None)
        debts[key] = seq

    def _commit_entries(self, tx: Transaction) -> None:
        for key, entry in tx.entries.items():
            self._index(key, self.ledger.entries.head(key), entry)
            if entry is None:
                self.ledger.entries.pop(key, None)
            else:
                self.ledger.entries[key] = entry
                if entry.kind == "ALERT":
                    self._expiries.note(key, entry.ends_at)
        for key in (*tx.settled, *tx.entries):
            if key not in self.due:
                self.ledger.entries.pack(key)

    def _commit_gains(self, tx: Transaction) -> None:
        del self._to_look_at[len(self._to_look_at) - tx.looked_at :]
        for key, members in tx.found:
            self.gains.found(key, members)
        for key, members in tx.settled_gains:
            self.gains.settled(key, members)


def lineage_key(alert: Verified) -> str:
    """`publisher/lineage_id`: the lineage's name in the ledger and in every inbox."""
    return f"{alert.header['publisher']}/{alert.header['lineage_id']}"


def _given_by(entry: Entry, seq: int) -> Given:
    return next(given for given in entry.given if given.seq == seq)


def _less_owed(entry: Entry, mark: Mark, members: frozenset[str]) -> tuple[Entry, list[tuple[str, str]]]:
    """`entry` without what it still owes to `members`, and that as (member, rule): what is left has been written."""
    owed: list[tuple[str, str]] = []
    for given in entry.given:
        pairs = zip(given.members, given.rules, strict=True)
        unwritten = [(m, rule) for m, rule in pairs if m in members and mark.owes(m, given.seq)]
        owed += unwritten
        if unwritten:
            entry = entry.without(given.seq, frozenset(member for member, _ in unwritten))
    return entry, owed
