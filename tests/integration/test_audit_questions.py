"""Questions to the record of a real exchange: by the auditor, who may read all of it, and by officers of one lane."""

from __future__ import annotations

import csv
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.attempts import ANSWER_S, Attempts
from tests.load import publish
from tests.world import World, agreement, running, small_policy, takedown, tocsin, wait_until
from tocsin.consumers.audit.record_reader import RecordReader, Updated
from tocsin.consumers.inbox import Inbox
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.models import SiteTakenDown

TOPIC = "alerts.se.site-taken-down.green"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coalition with an officer in each of its jurisdictions."""
    policy = small_policy()
    policy["members"]["reader-00"]["logins"] = {"law": "audit"}
    policy["members"]["hotline-de"]["logins"] = {"law": "audit"}
    with running(tmp_path_factory.mktemp("audit") / "home", policy) as made:
        yield made


def _officer(world: World, login: str) -> Bundle:
    return Bundle.load(world.home / "members" / login)


def _ask(world: World, *words: str, code: int = 0) -> list[dict[str, Any]]:
    return tocsin("audit", *words, "--home", str(world.home), code=code)


def _acknowledge(world: World, *members: str) -> None:
    for member in members:
        with Inbox(world.member(member), follow=False) as inbox:
            for _ in inbox:
                pass


def _fetched(attempts: Attempts, topics: set[str], expected: set[str]) -> set[str]:
    """The topics of which something came, or an empty end, until some time after all that is expected has."""
    found: set[str] = set()
    settings = {"group.id": attempts.group, "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**attempts.config, **settings})
    try:
        consumer.assign([TopicPartition(topic, 0, 0) for topic in topics])
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            for message in consumer.consume(1_000, 0.1):
                error = message.error()
                if error is None or error.code() == KafkaError._PARTITION_EOF:
                    found.add(message.topic() or "?")
            if found >= expected:
                deadline = min(deadline, time.monotonic() + 3)
                expected = topics
    finally:
        consumer.close()
    return found


def _wait_erased(world: World, member: str, key: str) -> None:
    wait_until(
        lambda: any((m.key(), m.value()) == (key.encode(), None) for m in world.inbox(member)), 20, f"{key}: {member}"
    )


def _published(world: World) -> SiteTakenDown:
    """An alert that three are given at once, `reader-03` is refused and gains, and that is then retracted."""
    bundle = world.member("hotline-se")
    alert = takedown(bundle, 1)
    publish(bundle, alert)
    world.wait_inbox("reader-02", 1)
    policy: dict[str, Any] = yaml.safe_load(world.policy_file.read_text())
    policy["agreements"].append(agreement("third", ["se"], ["reader-03"]))
    world.policy_file.write_text(yaml.safe_dump(policy))
    world.apply()
    world.wait_inbox("reader-03", 1)
    with Publisher(bundle) as publisher:
        publisher.retract(alert.header.lineage_id, "ERROR", topic=alert.topic)
        assert publisher.flush(30) == 0
    _wait_erased(world, "reader-03", f"hotline-se/{alert.header.lineage_id}")
    return alert


def test_a_court_is_answered_from_the_record(world: World, tmp_path: Path) -> None:
    """One alert's life: refused, given, gained, retracted and acknowledged by some; every question says so."""
    alert = _published(world)
    lineage = f"hotline-se/{alert.header.lineage_id}"
    _acknowledge(world, "reader-00", "reader-01")
    traced = _ask(world, "trace", lineage)
    for other in (alert.header.alert_id, alert.header.lineage_id, f"{TOPIC}/0", f"{TOPIC}/0/0"):
        assert _ask(world, "trace", other) == traced
    events = [(row["what"], row["member"], row["reason"]) for row in traced]
    assert events[:6] == [
        ("PUBLISHED", "hotline-se", None),
        ("ACCEPTED", None, None),
        ("GIVEN", "reader-00", None),
        ("GIVEN", "reader-01", None),
        ("GIVEN", "reader-02", None),
        ("REFUSED", "reader-03", "no-sight"),
    ]
    assert events[6:8] == [("GAINED", None, None), ("GIVEN", "reader-03", None)]
    assert [event[:2] for event in events[8:14]] == [
        ("PUBLISHED", "hotline-se"),
        ("ACCEPTED", None),
        *(("ERASED", f"reader-0{n}") for n in range(4)),
    ]
    assert {event[:2] for event in events[14:]} == {("ACKNOWLEDGED", "reader-00"), ("ACKNOWLEDGED", "reader-01")}
    assert "retracted" in traced[9]["note"]
    assert traced == sorted(traced, key=lambda row: row["at"])
    by_member = {row["member"]: row for row in _ask(world, "who-saw", lineage)}
    assert by_member.keys() == {f"reader-0{n}" for n in range(4)}
    assert {row["state"] for row in by_member.values()} == {"erased"}
    assert by_member["reader-00"]["why"] == ["agreement both"]
    assert by_member["reader-02"]["why"] == ["agreement sweden"]
    assert by_member["reader-03"]["why"] == ["agreement third"]
    assert (by_member["reader-03"]["kind"], by_member["reader-00"]["kind"]) == ("GAINED", "ALERT")
    assert by_member["reader-01"]["rule"] == f"ALLOW READ User:reader-01 192.0.2.1 LITERAL {TOPIC}"
    today = datetime.now(UTC).date().isoformat()
    assert [row["lineage"] for row in _ask(world, "seen-by", "reader-03", "--from", today)] == [lineage]
    assert _ask(world, "seen-by", "reader-03", "--to", "2020-01-01") == []
    assert [row["reason"] for row in _ask(world, "refusals", "--member", "reader-03")] == ["no-sight"]
    assert {row["member"] for row in _ask(world, "overdue", "--hours", "0", code=3)} == {"reader-02", "reader-03"}
    assert _ask(world, "overdue") == []
    _check_report(world, today[:7], lineage, tmp_path)
    _acknowledge(world, "reader-02", "reader-03")
    assert _ask(world, "overdue", "--hours", "0") == []


def _check_report(world: World, month: str, lineage: str, folder: Path) -> None:
    rows = _ask(world, "report", "--month", month)
    [retraction] = [row for row in rows if row["table"] == "retractions" and row["lineage"] == lineage]
    assert (retraction["told"], retraction["acknowledged"]) == (4, 2)
    [latency] = [row for row in rows if row["table"] == "latencies" and row["lane"] == "se"]
    assert 0 <= latency["p50"] <= latency["max"]
    page = folder / "report.html"
    assert _ask(world, "report", "--month", month, "--html", str(page), "--csv", str(folder / "csv")) == []
    assert lineage in page.read_text()
    with (folder / "csv" / "decisions.csv").open(newline="") as file:
        assert ["se", "GAINED", "ACCEPTED", "1"] in [*csv.reader(file)]


def test_the_index_is_gone_on_with_or_made_anew(world: World) -> None:
    """Again changes nothing; a damaged one is made anew; without one and without an update there is no answer."""
    first = _ask(world, "index")
    assert {row["topic"] for row in first} > {"audit.se", "audit.de", "audit.policy", "outbox.reader-00"}
    assert all(row["passed over"] == 0 for row in first)
    path = world.home / "audit" / "index.sqlite"
    assert path.stat().st_mode & 0o777 == 0o600
    before, known = _dump(path), _known(path)
    assert all(known[:-1])  # nothing was taken away from anybody
    assert _ask(world, "index") == first
    assert _dump(path) == before
    path.write_bytes(b"not SQLite" * 1_000)
    assert _ask(world, "index") == first
    assert _known(path) == known
    path.unlink()
    assert _ask(world, "refusals", "--no-update", code=1) == []


def _dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [line for line in database.iterdump() if "left out" not in line]


# what an index knows, whatever the numbers of its rows: these go by the order in which topics were read
_KNOWN = (
    "SELECT text FROM words",
    "SELECT lineage_id, text FROM lineages JOIN words ON word = publisher",
    """SELECT text, seq, kind, outcome, decided_at, place, hex(sha256), alert_id, revision, hex(acl_digest)
       FROM decisions JOIN words ON word = lane""",
    """SELECT hex(digest), member.text, why.text FROM named JOIN rosters USING (roster)
       JOIN words member ON member.word = named.member LEFT JOIN words why ON why.word = named.word""",
    """SELECT rule.text, change, why.text FROM causes
       JOIN words rule ON rule.word = rule LEFT JOIN words why ON why.word = reasons""",
    """SELECT lineage_id, member.text, kind, at, told.word, notice_at, key_id, place, counts FROM told
       JOIN lineages USING (lineage) JOIN words member ON member.word = told.member""",
    "SELECT rule.text, change FROM removals JOIN words rule ON rule.word = rule",
)


def _known(path: Path) -> list[list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        counts = [(name, *database.execute(f"SELECT count(*) FROM {name}").fetchone()) for name in tables]  # noqa: S608
        return [counts, *(sorted(database.execute(query).fetchall(), key=repr) for query in _KNOWN)]


def test_a_topic_that_was_made_anew_makes_the_index_anew(world: World, tmp_path: Path) -> None:
    """And says so; what is read then is what there is then."""
    path = tmp_path / "index.sqlite"
    assert _update(world, path).rebuilt is None
    admin = world.admin()
    for future in admin.delete_topics(["outbox.hotline-de"]).values():
        future.result(ANSWER_S)
    wait_until(lambda: "outbox.hotline-de" not in world.topics("outbox."), ANSWER_S, "it is gone")
    assert _update(world, path).rebuilt is None
    world.apply()
    updated = _update(world, path)
    assert updated.rebuilt == "outbox.hotline-de was deleted and made anew"
    assert updated.records > 0
    again = _update(world, path)
    assert (again.rebuilt, again.records, again.left_out) == (None, 0, ())


def _update(world: World, path: Path) -> Updated:
    with RecordReader(world.service("auditor")) as reader:
        index, updated = reader.update(path, lambda _done, _total: None)
    index.close()
    return updated


def test_what_is_not_on_record_is_said(world: World) -> None:
    """An unknown alert is an error, and so is what is no member, time or month."""
    assert _ask(world, "trace", "hotline-se/nothing", code=1) == []
    assert _ask(world, "who-saw", f"{TOPIC}/4711", code=1) == []
    assert _ask(world, "seen-by", "No Member", code=2) == []
    assert _ask(world, "refusals", "--from", "yesterday", code=2) == []
    assert _ask(world, "report", "--month", "2026-13", code=2) == []


def test_an_officer_sees_its_own_lane_and_no_other(world: World) -> None:
    """What its login may not read is left out; acknowledgements it cannot know of, and says so."""
    swedish, german = takedown(world.member("hotline-se"), 7), takedown(world.member("hotline-de"), 8)
    publish(world.member("hotline-se"), swedish)
    publish(world.member("hotline-de"), german)
    names = [f"{alert.header.publisher}/{alert.header.lineage_id}" for alert in (swedish, german)]
    wait_until(lambda: {one["alert_id"] for one in world.decisions()} >= {
        swedish.header.alert_id, german.header.alert_id}, 20, "both decisions")  # fmt: skip
    for login, mine, others in (("reader-00.law", *names), ("hotline-de.law", *names[::-1])):
        words = ["--bundle", str(_officer(world, login).path)]
        rows = _ask(world, "index", *words)
        assert len(rows) == 1
        found = _ask(world, "who-saw", mine, *words)
        assert "reader-00" in {row["member"] for row in found}
        assert {row["why"] for row in found} == {None}
        assert _ask(world, "who-saw", others, *words, code=1) == []
        assert _ask(world, "overdue", "--hours", "0", *words, code=1) == []
    officer = Attempts(_officer(world, "reader-00.law").kafka_config(), "reader-00.law.none")
    topics = set(world.topics(""))
    reads = {"audit.se", "audit.acls", "audit.checkpoints", "directory"}
    assert officer.told(topics) == {topic: {"DESCRIBE", "READ"} for topic in reads}
    assert _fetched(officer, topics, reads) == reads
    assert officer.written(topics) == set()


def test_the_auditor_reads_the_record_and_nothing_else(world: World) -> None:
    """No alerts, inboxes or ledgers; it writes nothing, and uses no others' groups and no transactions."""
    auditor = Attempts(world.service("auditor").kafka_config(), "auditor.none")
    topics = set(world.topics("")) - {"__consumer_offsets"}
    reads = {topic for topic in topics if topic.startswith(("audit.", "outbox.")) or topic == "directory"}
    told = auditor.told(topics)
    assert {topic for topic, operations in told.items() if "READ" in operations} == reads
    assert {topic for topic in told if topic not in reads} == {topic for topic in topics if topic.startswith("alerts.")}
    assert _fetched(auditor, topics, reads) == reads
    assert auditor.written(topics) == set()
    assert auditor.groups(["auditor.none", "fanout.lanes", "x"], "directory") == {"auditor.none"}
    assert not auditor.begins("auditor.0")
