"""What can be asked of the index of the record, and the answers. Times are milliseconds since 1970."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from tocsin.consumers.audit.life import (
    ACCEPTED,
    ALERT,
    EXPIRED,
    WITHHELD,
    Copies,
    Copy,
    Decided,
    copies_of,
)
from tocsin.consumers.errors import NotOnRecord
from tocsin.consumers.lineage import RETRACTED
from tocsin.consumers.outbox_records import ACKNOWLEDGEMENT
from tocsin.consumers.withdrawals import NOTICE_EARLY_MS
from tocsin.schemas.names import AlertTopic, is_valid

FOREVER: Final = 1 << 62
ROSTERS_KNOWN_MAX: Final = 20_000
WORDS_KNOWN_MAX: Final = 200_000

_COLUMNS: Final = """
d.decision, d.lane, d.entry, d.seq, d.kind, d.outcome, d.reason, d.detail, d.decided_at, d.topic, d.place,
d.appended_at, d.sha256, d.key_id, d.publisher, lineages.lineage_id, d.alert_id, d.revision, d.status,
d.acl_digest, d.acl_read_at, d.directory_version
"""
_WORDS: Final = (1, 6, 9, 13, 14, 18, 19)
"""Which of these columns are numbers of words."""
_WHOLE: Final = f"""
SELECT {_COLUMNS}, d.given, d.refused, d.erased FROM decisions AS d LEFT JOIN lineages ON lineages.lineage = d.lineage
"""  # noqa: S608  # made of the constant above
_ABOUT: Final = f"""
SELECT d.lineage, {_COLUMNS}, given.member, given.word, refused.member, refused.word, erased.member
FROM (
    SELECT DISTINCT lineage FROM named JOIN decisions ON decisions.given = named.roster
    WHERE named.member = :member AND decided_at >= :begin AND decided_at < :end AND lineage IS NOT NULL
) AS mine
JOIN decisions AS d ON d.lineage = mine.lineage
JOIN lineages ON lineages.lineage = d.lineage
LEFT JOIN named AS given ON given.roster = d.given AND given.member = :member
LEFT JOIN named AS refused ON refused.roster = d.refused AND refused.member = :member
LEFT JOIN named AS erased ON erased.roster = d.erased AND erased.member = :member
WHERE coalesce(given.member, refused.member, erased.member) IS NOT NULL
ORDER BY d.lineage, d.decision
"""  # noqa: S608  # made of the constant above


@dataclass(frozen=True, slots=True)
class Why:
    """Why an ACL was there: the reasons that were on record, since when and by whom."""

    reasons: tuple[str, ...]
    at_ms: int
    by: str


@dataclass(frozen=True, slots=True)
class Event:
    """One line of what happened to a lineage. `member` is whom it happened to, or who said it."""

    at_ms: int
    what: str
    lane: str | None = None
    seq: int | None = None
    revision: int | None = None
    member: str | None = None
    reason: str | None = None
    rule: str | None = None
    why: Why | None = None
    note: str | None = None
    alert_id: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What the record says of one lineage, or of one record that belongs to none; oldest first."""

    lineage: str | None
    decisions: tuple[Decided, ...]
    events: tuple[Event, ...]
    copies: tuple[Copy, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """One copy that a member was given, and why it might be."""

    lineage: str
    copy: Copy
    why: Why | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was not given: a record that was rejected (`member` signed it, if that is known), or one member's copy."""

    decided: Decided
    what: str
    member: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """That a member was told of a withdrawal by a decision, and how it has answered. `left`: it is no member now."""

    decided: Decided
    lineage: str
    member: str
    acknowledged_ms: int | None
    left: bool


class Questions:
    """Asks the index behind `database`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._word = lru_cache(WORDS_KNOWN_MAX)(self._read_word)
        self._roster = lru_cache(ROSTERS_KNOWN_MAX)(self._read_roster)
        self._causes = lru_cache(ROSTERS_KNOWN_MAX)(self._read_causes)

    # -- one lineage -------------------------------------------------------------------------------------------------

    def trace(self, alert: str) -> Trace:
        """All that the record says of an alert: its alert_id, publisher/lineage_id, lineage_id or topic/offset.

        Raises:
            NotOnRecord: nothing, or of more than one.
        """
        lineage, decisions = self._find(alert)
        if lineage is None:
            return Trace(None, tuple(decisions), tuple(self._events(decisions)), ())
        name = next(one.lineage for one in decisions if one.lineage is not None)
        accepted = [one for one in decisions if one.outcome == ACCEPTED]
        copies = Copies()
        for one in accepted:
            copies.take(one)
        every = sorted([*decisions, *self._of_others(lineage)], key=lambda one: one.number)
        events = _in_time(self._events(every), self._said(lineage, accepted))
        return Trace(name, tuple(every), tuple(events), tuple(copies.all))

    def who_saw(self, alert: str) -> list[Seen]:
        """Every copy of it that was given, the oldest first; withheld ones are not among them.

        Raises:
            NotOnRecord: as for `trace`.
        """
        found = self.trace(alert)
        return [self._seen(copy) for copy in found.copies if copy.withheld is None]

    def _seen(self, copy: Copy) -> Seen:
        return Seen(copy.by.lineage or "", copy, self.why(copy.rule, copy.by.acl_read_at))

    def _find(self, alert: str) -> tuple[int | None, list[Decided]]:
        topic, _, offset = alert.rpartition("/")
        if offset.isascii() and offset.isdigit() and is_valid(AlertTopic.parse, topic.removesuffix("/0")):
            found = self._at(topic.removesuffix("/0"), int(offset))
        else:
            found = self._named(alert)
        if not found:
            raise NotOnRecord(
                f"{alert}: not on record here. Give an alert_id, publisher/lineage_id, lineage_id or topic/offset; it "
                "may be of a lane that this login may not read, older than the record is kept, or not decided yet"
            )
        if None in found:
            return None, found[None]
        if len(found) > 1:
            names = ", ".join(str(decisions[0].lineage) for decisions in found.values())
            raise NotOnRecord(f"{alert}: of more than one publisher; ask for one of {names}")
        [(lineage, decisions)] = found.items()
        return lineage, decisions

    def _at(self, topic: str, offset: int) -> dict[int | None, list[Decided]]:
        rows = self._database.execute(
            "SELECT decision, lineage FROM decisions WHERE topic = (SELECT word FROM words WHERE text = ?)"
            " AND place = ? ORDER BY decision",
            (topic, offset),
        ).fetchall()
        lineages = {lineage for _, lineage in rows if lineage is not None}
        if lineages:
            return {lineage: self._of_lineage(lineage) for lineage in lineages}
        where = "WHERE d.topic = (SELECT word FROM words WHERE text = ?) AND d.place = ? ORDER BY d.decision"
        return {None: self._decisions(where, (topic, offset))} if rows else {}

    def _named(self, alert: str) -> dict[int | None, list[Decided]]:
        publisher, _, lineage_id = alert.rpartition("/")
        if publisher:
            asked = (lineage_id, publisher)
            rows = self._database.execute(
                "SELECT lineage FROM lineages WHERE lineage_id = ?"
                " AND publisher = (SELECT word FROM words WHERE text = ?)",
                asked,
            ).fetchall()
        else:
            rows = self._database.execute(
                "SELECT lineage FROM lineages WHERE lineage_id = ?"
                " UNION SELECT lineage FROM decisions WHERE alert_id = ? AND alert_id IS NOT NULL"
                " AND lineage IS NOT NULL",
                (alert, alert),
            ).fetchall()
        found = {lineage: self._of_lineage(lineage) for (lineage,) in rows}
        decided = {lineage: decisions for lineage, decisions in found.items() if decisions}
        # what was only ever rejected, under somebody else's lineage_id, is not what is meant
        accepted = {k: of for k, of in decided.items() if any(one.outcome == ACCEPTED for one in of)}
        return {**(accepted or decided)}

    def _of_lineage(self, lineage: int) -> list[Decided]:
        return self._decisions("WHERE d.lineage = ? ORDER BY d.decision", (lineage,))

    def _of_others(self, lineage: int) -> list[Decided]:
        """Records of the same lineage_id that somebody else signed and that were rejected: the secretariat, say."""
        return self._decisions(
            "WHERE d.lineage IN (SELECT other.lineage FROM lineages AS own JOIN lineages AS other"
            " ON other.lineage_id = own.lineage_id AND other.lineage <> own.lineage WHERE own.lineage = ?)"
            " AND NOT EXISTS (SELECT 1 FROM decisions WHERE lineage = d.lineage AND outcome = 'ACCEPTED')",
            (lineage,),
        )

    def _events(self, decisions: Sequence[Decided]) -> Iterator[Event]:
        for one in decisions:
            base = Event(one.decided_at, one.kind, one.lane, one.seq, one.revision, place=one.place)
            if one.appended_at is not None:
                told = replace(base, at_ms=one.appended_at, what="PUBLISHED", member=one.publisher)
                yield replace(told, alert_id=one.alert_id, note=one.key_id and f"signed by {one.key_id}")
            verdict = one.outcome if one.kind == ALERT else one.kind
            yield replace(base, what=verdict, reason=one.reason, note=_note(one))
            for member, rule in one.given.items():
                yield replace(base, what="GIVEN", member=member, rule=rule, why=self.why(rule, one.acl_read_at))
            for member, reason in one.refused.items():
                yield replace(
                    base, what="NOT GIVEN" if one.kind == WITHHELD else "REFUSED", member=member, reason=reason
                )
            for member in one.erased:
                note = "and told that it is withdrawn" if one.withdraws else None
                yield replace(base, what="ERASED", member=member, note=note)

    def _said(self, lineage: int, decisions: Sequence[Decided]) -> Iterator[Event]:
        """What members said of it in their outboxes."""
        rows = self._database.execute(
            "SELECT told.kind, words.text, told.at, told.word, told.notice_at, told.counts FROM told"
            " JOIN words ON words.word = told.member WHERE told.lineage = ? ORDER BY told.at",
            (lineage,),
        )
        for kind, member, at_ms, word, notice_at, counts in rows:
            if kind == ACKNOWLEDGEMENT:
                last = max((one.decided_at for one in decisions if one.withdraws and member in one.erased), default=0)
                note = None if answers(notice_at, last) else "of an earlier notice"
                event = Event(at_ms, "ACKNOWLEDGED", member=member, note=note)
            else:
                event = Event(at_ms, "DISPUTES", member=member, reason=word)
            yield event if counts else replace(event, note="does not count: its key was revoked or is not valid")

    # -- why ---------------------------------------------------------------------------------------------------------

    def why(self, rule: str, at_ms: int) -> Why | None:
        """Why the ACL `rule` was there at that time, by the journal of the policy.

        None: that is not on record here; the journal may not be read, or somebody made the ACL by hand.
        """
        causes, removals = self._causes(rule)
        place = bisect_right(causes, at_ms, key=lambda one: one[1].at_ms)
        if place == 0:
            return None
        change, found = causes[place - 1]
        return None if any(change < removed and at <= at_ms for removed, at in removals) else found

    def _read_causes(self, rule: str) -> tuple[list[tuple[int, Why]], list[tuple[int, int]]]:
        rows = self._database.execute(
            "SELECT causes.change, words.text, changes.at, changes.by FROM causes JOIN changes USING (change)"
            " LEFT JOIN words ON words.word = causes.reasons"
            " WHERE causes.rule = (SELECT word FROM words WHERE text = ?) ORDER BY causes.change",
            (rule,),
        )
        causes = [(change, Why(tuple((reasons or "").splitlines()), at, by)) for change, reasons, at, by in rows]
        removals = self._database.execute(
            "SELECT done.change, done.at FROM removals JOIN changes AS begun USING (change) JOIN changes AS done"
            " ON done.change_id = begun.change_id AND done.kind = 'DONE'"
            " WHERE removals.rule = (SELECT word FROM words WHERE text = ?)",
            (rule,),
        ).fetchall()
        return causes, removals

    # -- many lineages -----------------------------------------------------------------------------------------------

    def seen_by(self, member: str, from_ms: int = 0, to_ms: int = FOREVER) -> list[Seen]:
        """Every copy that `member` was given by a decision from then until before then; the oldest first."""
        found: list[Copy] = []
        for _, about in groupby(self._about(member, from_ms, to_ms), key=itemgetter(0)):
            found += copies_of(one for _, one in about)
        shown = [copy for copy in found if copy.withheld is None and from_ms <= copy.by.decided_at < to_ms]
        return [self._seen(copy) for copy in sorted(shown, key=lambda copy: copy.by.number)]

    def _about(self, member: str, begin: int, end: int) -> Iterator[tuple[int, Decided]]:
        """The decisions on lineages that `member` was given in that time, with nobody else in them."""
        number = self._database.execute("SELECT word FROM words WHERE text = ?", (member,)).fetchone()
        asked = {"member": number[0] if number else None, "begin": begin, "end": end}
        for lineage, *columns, given, rule, refused, reason, erased in self._database.execute(_ABOUT, asked):
            named = (
                {} if given is None else {member: self._word(rule)},
                {} if refused is None else {member: self._word(reason)},
                () if erased is None else (member,),
            )
            yield lineage, self._decided([*columns, *named])

    def refusals(
        self, from_ms: int = 0, to_ms: int = FOREVER, lane: str | None = None, member: str | None = None
    ) -> Iterator[Refusal]:
        """What was rejected, refused or withheld in that time; of `lane`, of `member`, or all. The oldest first."""
        decisions = self._each(
            "WHERE (d.outcome <> 'ACCEPTED' OR d.refused IS NOT NULL) AND d.decided_at >= ? AND d.decided_at < ?"
            " AND (? IS NULL OR d.lane = (SELECT word FROM words WHERE text = ?)) ORDER BY d.decided_at, d.decision",
            (from_ms, to_ms, lane, lane),
        )
        for one in decisions:
            if one.outcome != ACCEPTED and member in (None, one.publisher):
                yield Refusal(one, one.outcome, one.publisher, one.reason)
            for refused, reason in one.refused.items():
                if member in (None, refused):
                    yield Refusal(one, "WITHHELD" if one.kind == WITHHELD else "REFUSED", refused, reason)

    def withdrawn(self, lane: str | None = None) -> Iterator[Withdrawn]:
        """Each member and the last withdrawal of a lineage that it was told of, if it was not given it again since.

        The longest ago first.
        """
        rows = self._database.execute(
            "SELECT max(d.decision), d.lineage, n.member FROM decisions AS d JOIN named AS n ON n.roster = d.erased"
            " JOIN words AS lanes ON lanes.word = d.lane"
            " WHERE d.erased IS NOT NULL AND d.kind <> ? AND (? IS NULL OR lanes.text = ?)"
            " GROUP BY d.lineage, n.member ORDER BY 1",
            (EXPIRED, lane, lane),
        ).fetchall()
        last = lru_cache(1)(lambda number: self._decisions("WHERE d.decision = ?", (number,))[0])
        for number, lineage, member in rows:
            if not self._given_since(number, lineage, member):
                yield self._answer(last(number), lineage, member)

    def _given_since(self, number: int, lineage: int, member: int) -> bool:
        """Whether it was given the lineage again, and that was not withheld."""
        found = self._database.execute(
            "SELECT 1 FROM decisions AS g JOIN named AS n ON n.roster = g.given AND n.member = ?"
            " WHERE g.lineage = ? AND g.decision > ? AND NOT EXISTS (SELECT 1 FROM decisions AS w"
            " JOIN named AS m ON m.roster = w.refused AND m.member = n.member WHERE w.lineage = g.lineage"
            " AND w.decision > g.decision AND w.kind = ? AND w.revision = g.revision) LIMIT 1",
            (member, lineage, number, WITHHELD),
        )
        return found.fetchone() is not None

    def _answer(self, one: Decided, lineage: int, member: int) -> Withdrawn:
        [name, left] = self._database.execute(
            "SELECT text, (SELECT count(*) = 0 FROM members WHERE members.member = words.word) FROM words"
            " WHERE word = ?",
            (member,),
        ).fetchone()
        word = self._database.execute(
            "SELECT at, notice_at FROM told WHERE lineage = ? AND member = ? AND kind = ? AND counts",
            (lineage, member, ACKNOWLEDGEMENT),
        ).fetchone()
        acknowledged = word[0] if word and answers(word[1], one.decided_at) else None
        return Withdrawn(one, one.lineage or "", name, acknowledged, bool(left))

    # -- reading -----------------------------------------------------------------------------------------------------

    def _decisions(self, where: str, values: tuple[Any, ...]) -> list[Decided]:
        return [*self._each(where, values)]

    def _each(self, where: str, values: tuple[Any, ...]) -> Iterator[Decided]:
        """Decisions with everybody in them. `where` is ours, what is asked for is in `values`."""
        for *columns, given, refused, erased in self._database.execute(f"{_WHOLE} {where}", values):
            rosters = (self._roster(given), self._roster(refused), tuple(self._roster(erased)))
            yield self._decided([*columns, *rosters])

    def _decided(self, columns: list[Any]) -> Decided:
        """A row of the index, whose columns are in the order of the fields, some as numbers of words."""
        for at in _WORDS:
            columns[at] = self._word(columns[at])
        return Decided(*columns)

    def _read_word(self, number: int | None) -> str | None:
        row = self._database.execute("SELECT text FROM words WHERE word = ?", (number,)).fetchone()
        return row[0] if row else None

    def _read_roster(self, number: int | None) -> dict[str, str]:
        if number is None:
            return {}
        rows = self._database.execute(
            "SELECT members.text, beside.text FROM named JOIN words AS members ON members.word = named.member"
            " LEFT JOIN words AS beside ON beside.word = named.word WHERE named.roster = ? ORDER BY 1",
            (number,),
        )
        return {member: word or "" for member, word in rows}

    def retractions(self, from_ms: int, to_ms: int) -> list[Decided]:
        """The retractions that were accepted in that time."""
        return self._decisions(
            "WHERE d.decided_at >= ? AND d.decided_at < ? AND d.kind = ? AND d.outcome = ?"
            " AND d.status = (SELECT word FROM words WHERE text = ?) ORDER BY d.decided_at, d.decision",
            (from_ms, to_ms, ALERT, ACCEPTED, RETRACTED),
        )

    def answered(self, one: Decided) -> list[int]:
        """When those whose copies it erased acknowledged that, milliseconds after it was decided."""
        rows = self._database.execute(
            "SELECT told.at, told.notice_at FROM decisions AS d JOIN named ON named.roster = d.erased JOIN told"
            " ON told.lineage = d.lineage AND told.member = named.member AND told.kind = ? AND told.counts"
            " WHERE d.decision = ?",
            (ACKNOWLEDGEMENT, one.number),
        )
        return [max(0, at - one.decided_at) for at, notice_at in rows if answers(notice_at, one.decided_at)]


def answers(notice_at_ms: int | None, withdrawn_ms: int) -> bool:
    """Whether the notice that a member acknowledged was of this withdrawal: that of an earlier one is older."""
    return notice_at_ms is not None and notice_at_ms >= withdrawn_ms - NOTICE_EARLY_MS


def _in_time(decided: Iterable[Event], said: Iterable[Event]) -> list[Event]:
    """What members said, between what was decided: which keeps its order, whatever clocks did."""
    found = [*decided]
    for event in said:
        place = next((n for n in range(len(found), 0, -1) if found[n - 1].at_ms <= event.at_ms), 0)
        found.insert(place, event)
    return found


def _note(one: Decided) -> str | None:
    """What a decision is, in words."""
    if one.kind == "DISPUTED":
        return one.detail or ("refused: it was never given it" if one.refused else "passed on to the publisher")
    if (one.kind, one.outcome) != (ALERT, ACCEPTED):
        return one.detail
    says = () if one.status in (None, "ACTIVE") else (one.status.lower(),)
    nobody = one.status != RETRACTED and not (one.given or one.refused)
    return ", ".join((*says, *(("nobody was given it, nobody was refused it",) if nobody else ()))) or None
