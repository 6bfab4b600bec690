"""Whether a lane's record is whole: every decision there once, every alert decided, every recipient allowed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from tocsin.consumers.acl import AclSet
from tocsin.consumers.audit.findings import Finding, FirstFault, Place, unchecked
from tocsin.consumers.errors import SnapshotUnknown
from tocsin.consumers.sight import PRINCIPAL_PREFIX
from tocsin.consumers.snapshots import Snapshots
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic, is_valid
from tocsin.schemas.records import Decision

NUMBERS: Final = "numbers"
ALERTS: Final = "alerts"
RULES: Final = "rules"
SETS_MAX: Final = 32
"""How many sets of ACLs are kept at a time: decisions name them in the order in which they changed."""


class AlertEnds(NamedTuple):
    """An alert topic: its id, its first record, and the offset after its last one, at the time of the export."""

    topic_id: str
    first: int
    end: int


class Grants:
    """What the ACLs that decisions name say about who may be given what."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._sets: dict[bytes, AclSet | str] = {}
        self._rules: dict[tuple[bytes, str], dict[str, str | None]] = {}

    def fault(self, decision: Decision) -> str | None:
        """What is wrong with whom a decision gives its alert, and with the ACLs that it names."""
        digest, topic = decision["acl_digest"], decision["topic"]
        rules = self._rules.get((digest, topic))
        if rules is None:
            found = self._acls(digest)
            if isinstance(found, str):
                return found
            rules = self._rules[digest, topic] = {}
        for given in decision["given"]:
            member = given["member"]
            if member not in rules:
                rules[member] = self._rule(digest, topic, member)
            if rules[member] != given["rule"]:
                return self._why(topic, member, rules[member])
        return None

    def _acls(self, digest: bytes) -> AclSet | str:
        """The ACLs, or why they are not known."""
        if digest not in self._sets:
            if len(self._sets) == SETS_MAX:
                oldest = next(iter(self._sets))
                del self._sets[oldest]
                self._rules = {key: rules for key, rules in self._rules.items() if key[0] != oldest}
            try:
                self._sets[digest] = AclSet(self._snapshots.rows(digest))
            except SnapshotUnknown as error:
                self._sets[digest] = str(error)
        return self._sets[digest]

    def _rule(self, digest: bytes, topic: str, member: str) -> str | None:
        acls = self._acls(digest)
        if isinstance(acls, str):
            return None
        try:
            verdict = acls.decide(f"{PRINCIPAL_PREFIX}{member}", DELIVERY_HOST, "READ", "TOPIC", topic)
        except ValueError:
            # a row that no broker can have
            return None
        return verdict.rule.text() if verdict.allowed and verdict.rule else None

    @staticmethod
    def _why(topic: str, member: str, rule: str | None) -> str:
        if rule is None:
            return f"{member} was given an alert of {topic}, and the ACLs on record do not allow it"
        return f"{member} was given an alert of {topic} by another rule than the ACLs on record have: {rule}"


class LaneRecord:
    """The record of one lane, taken in decision by decision.

    `alerts` are the alert topics as they were; `from_later` takes it that the first records are gone with their time.
    """

    def __init__(
        self, lane: str, topic: str, alerts: Mapping[str, AlertEnds], grants: Grants, *, from_later: bool
    ) -> None:
        self._lane = lane
        self._topic = topic
        self._alerts = {name: ends for name, ends in alerts.items() if AlertTopic.parse(name).jurisdiction == lane}
        self._grants = grants
        self._from_later = from_later
        self._first_seq = 1
        self._seq = 0
        self._count = 0
        self._next: dict[str, int] = {}
        self._unknown: set[str] = set()
        self._numbers = FirstFault(NUMBERS, topic)
        self._decided = FirstFault(ALERTS, topic)
        self._allowed = FirstFault(RULES, topic)

    def take(self, decision: Decision | None, place: Place) -> None:
        """Take in the next record; None is one that is no decision."""
        if decision is None:
            self._numbers.note("not a decision", place)
            return
        self._count += 1
        self._number(decision["seq"], place)
        if decision["kind"] == "ALERT":
            self._alert(decision, place)
        fault = self._grants.fault(decision)
        if fault is not None:
            self._allowed.note(fault, place)

    def _number(self, seq: int, place: Place) -> None:
        if self._count == 1:
            self._first_seq = seq
            if seq != 1 and not self._from_later:
                self._numbers.note(f"the record begins with decision {seq}: those before it are not here", place)
        elif seq != self._seq + 1:
            self._numbers.note(f"decision {seq} after {self._seq}", place)
        self._seq = seq

    def _alert(self, decision: Decision, place: Place) -> None:
        topic, offset = decision["topic"], decision["offset"]
        expected = self._next.get(topic)
        if expected is None:
            fault = self._stranger(topic)
            # a lane begins with an alert topic's first record
            expected = 0 if self._first_seq == 1 else offset
        else:
            fault = None
        ends = self._alerts.get(topic)
        if ends is not None and decision["topic_id"] != ends.topic_id:
            fault = f"{topic}: decided of a topic with the id {decision['topic_id']}, and its id is {ends.topic_id}"
        if decision["partition"] != 0:
            fault = f"{topic}: of partition {decision['partition']}, and an alert topic has one"
        if offset > expected:
            fault = f"{topic}: offset {offset} is decided, and offset {expected} is not"
        elif offset < expected:
            fault = f"{topic}: offset {offset} is decided again, or too late"
        if fault is not None:
            self._decided.note(fault, place)
        self._next[topic] = max(offset + 1, expected)

    def _stranger(self, topic: str) -> str | None:
        if not is_valid(AlertTopic.parse, topic) or AlertTopic.parse(topic).jurisdiction != self._lane:
            return f"{topic}: decided in the lane of {self._lane}"
        if topic not in self._alerts:
            self._unknown.add(topic)
        return None

    def findings(self, alerts_file: str) -> Iterator[Finding]:
        """What was found, once all is taken in."""
        for topic, ends in sorted(self._alerts.items()):
            decided = self._next.get(topic, ends.first if self._from_later else 0)
            if decided < ends.end:
                self._decided.note(
                    f"{topic}: offsets {decided} to {ends.end - 1} were there at the time of the export, and no"
                    " decision on them is",
                    Place(alerts_file),
                )
        begins = "" if self._first_seq == 1 else f" The ones before {self._first_seq} are gone with their time."
        last = f"decisions {self._first_seq} to {self._seq}, each once.{begins}" if self._count else "no decision yet"
        yield self._numbers.finding(last)
        records = sum(self._next.values())
        yield self._decided.finding(f"{len(self._next)} alert topics, {records} records, each decided once, in order")
        yield self._allowed.finding(f"{self._count} decisions: every recipient was allowed by ACLs that are on record")
        if self._unknown:
            why = f"{', '.join(sorted(self._unknown))}: not there any more, so nobody knows how many alerts it had"
            yield unchecked(ALERTS, self._topic, why)
