"""The exchange in memory: an Inbox on it keeps to the contract, and it decides as the real one does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.contract.inbox import InboxContract, RecordHeaders
from tests.world import revised, takedown
from tocsin.consumers import Inbox, InboxError
from tocsin.consumers.audit.heads_kept import HEADS, HeadsKept
from tocsin.consumers.audit.note import Checkpoint, Note
from tocsin.consumers.memory import MemoryExchange
from tocsin.consumers.receipts import Receipt
from tocsin.consumers.subscriptions import Subscription
from tocsin.schemas.bundle import SIGNING_KEY, Bundle
from tocsin.schemas.bus import BusRecord, Headers
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.directory import DirectoryKey
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import AlertTopic, AlertType, Tlp, inbox_topic
from tocsin.schemas.signing import SigningKey, sign_headers

GREEN = AlertTopic("se", AlertType.SITE_TAKEN_DOWN, Tlp.GREEN).name


class MemoryStage:
    """A `MemoryExchange` as a stage."""

    quiet_s = 0.3

    def __init__(self, home: Path) -> None:
        self.exchange = MemoryExchange(home)
        kinds = (AlertType.SITE_TAKEN_DOWN,)
        self._members = {
            "hotline-se": self.exchange.add_member("hotline-se", role="hotline", jurisdiction="se", publishes=kinds),
            "hotline-de": self.exchange.add_member("hotline-de", role="hotline", jurisdiction="de", publishes=kinds),
            "reader-00": self.exchange.add_member("reader-00", role="isp", jurisdiction="se"),
            "reader-03": self.exchange.add_member("reader-03", role="isp", jurisdiction="se"),
        }
        self.exchange.grant("reader-00", GREEN)

    def member(self, name: str) -> Bundle:
        """A member's bundle."""
        return self._members[name]

    def publish(self, bundle: Bundle, *alerts: SiteTakenDown) -> None:
        """Sign, write, decide, deliver."""
        writer = self.exchange.writer(bundle.member)
        for alert in alerts:
            value = alert.to_avro()
            headers = sign_headers(bundle.signing_key(), bundle.coalition, schema(alert.subject.value), value)
            writer.send(alert.topic.name, alert.header.lineage_id.encode(), value, headers, _must_arrive)
        writer.flush(0)
        self.exchange.run()

    def inbox(self, bundle: Bundle, **options: Any) -> Inbox:
        """An Inbox."""
        return self.exchange.inbox(bundle, **options)

    def copies(self, member: str) -> Sequence[BusRecord]:
        """Everything in an inbox."""
        return self.exchange.bus.records(inbox_topic(member))

    def place(self, member: str, group: str) -> int | None:
        """A group's place."""
        return self.exchange.bus.place(f"{member}.{group}", inbox_topic(member))

    def receipts(self) -> Sequence[Receipt]:
        """All of them."""
        return self.exchange.receipts()

    def test_line(self, member: str, checkpoint: str | None) -> None:
        """As the exchange does."""
        self.exchange.test_line(member, checkpoint=checkpoint)

    def sealer(self) -> SigningKey:
        """The exchange's own."""
        return self.exchange.sealer_key

    def plant(self, member: str, key: bytes, value: bytes | None, headers: RecordHeaders) -> None:
        """Append to an inbox."""
        self.exchange.bus.append(inbox_topic(member), key, value, cast("Headers", list(headers)))

    @contextmanager
    def forbidden(self, member: str) -> Generator[None]:
        """A DENY for a while."""
        self.exchange.deny(member, inbox_topic(member))
        yield
        self.exchange.revoke(member, inbox_topic(member))


def _must_arrive(failure: object) -> None:
    assert failure is None


@pytest.fixture
def stage(tmp_path: Path) -> MemoryStage:
    """An exchange of its own for each test."""
    return MemoryStage(tmp_path)


@pytest.fixture
def exchange(stage: MemoryStage) -> MemoryExchange:
    """The stage's exchange."""
    return stage.exchange


class TestMemoryInbox(InboxContract):
    """The contract, on memory."""


def test_every_record_is_decided_and_refusals_are_on_the_record(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """Given, refused by name, rejected and repeated records each have their decision, and the publisher its notice."""
    exchange.subscriptions["reader-03"] = Subscription("reader-03", everything=False)
    bundle = stage.member("hotline-se")
    alert = takedown(bundle, 1)
    stage.publish(bundle, alert, alert, revised(alert, 2), takedown(bundle, 2, publisher="reader-00"))
    decisions = exchange.decisions()
    assert [(one["outcome"], one["reason"]) for one in decisions] == [
        ("ACCEPTED", None),
        ("DUPLICATE", "replayed"),
        ("ACCEPTED", None),
        ("REJECTED", "wrong-publisher"),
    ]
    assert [one["member"] for one in decisions[0]["given"]] == ["reader-00"]
    assert decisions[0]["refused"] == [{"member": "reader-03", "reason": "no-sight"}]
    assert len(stage.copies("reader-00")) == 2
    with exchange.inbox(bundle) as inbox:
        [received] = inbox
    assert received.notice is not None
    assert (received.notice["kind"], received.notice["reason"]) == ("REJECTED", "wrong-publisher")


def test_sight_gained_brings_what_is_missing_and_sight_lost_ends_it(
    stage: MemoryStage, exchange: MemoryExchange
) -> None:
    """The missing live alerts follow a grant, once; after a DENY nothing comes, after its removal what was missed."""
    bundle = stage.member("hotline-se")
    first, second, third = (takedown(bundle, number) for number in range(3))
    stage.publish(bundle, first)
    exchange.grant("reader-03", GREEN)
    assert (exchange.run(), exchange.run()) == (1, 0)
    exchange.deny("reader-03", GREEN)
    stage.publish(bundle, second)
    exchange.revoke("reader-03", GREEN)
    exchange.grant("reader-03", GREEN)
    stage.publish(bundle, third)
    with exchange.inbox(stage.member("reader-03")) as inbox:
        alerts = [received.alert for received in inbox]
    assert alerts[0] == first
    assert {alert.header.alert_id for alert in alerts if alert} == {
        one.header.alert_id for one in (second, third, first)
    }


def test_a_subscription_that_changes_brings_what_is_missing(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """Set in `subscriptions` between two runs."""
    exchange.subscriptions["reader-00"] = Subscription("reader-00", everything=False, jurisdictions=frozenset({"fr"}))
    stage.publish(stage.member("hotline-se"), takedown(stage.member("hotline-se"), 1))
    assert len(stage.copies("reader-00")) == 0
    exchange.subscriptions["reader-00"] = Subscription("reader-00")
    exchange.run()
    assert len(stage.copies("reader-00")) == 1


def test_an_exchange_that_starts_again_delivers_nothing_twice(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """The ledger's records alone say what was decided, given and owed."""
    bundle = stage.member("hotline-se")
    stage.publish(bundle, takedown(bundle, 1))
    exchange.restart()
    assert exchange.run() == 0
    stage.publish(bundle, takedown(bundle, 2))
    assert len(stage.copies("reader-00")) == 2


def test_an_inbox_that_is_gone_is_paid_when_it_is_back(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """What is decided meanwhile is owed, and written once the topic is there again."""
    bundle, topic = stage.member("hotline-se"), inbox_topic("reader-00")
    exchange.bus.delete_topic(topic)
    alert = takedown(bundle, 1)
    stage.publish(bundle, alert)
    exchange.bus.create_topic(topic)
    assert exchange.run() == 1
    with exchange.inbox(stage.member("reader-00")) as inbox:
        assert [received.alert for received in inbox] == [alert]


def test_a_line_test_is_a_sign_of_life(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """It is skipped by default, counted, and handed out on request as a notice that is a test."""
    exchange.test_line("reader-00")
    with exchange.inbox(stage.member("reader-00")) as inbox:
        assert list(inbox) == []
        assert (inbox.counts.tests, inbox.counts.notices) == (1, 0)
        assert inbox.last_sign_of_life is not None
    with exchange.inbox(stage.member("reader-00"), group="again", include_tests=True) as inbox:
        [received] = inbox
    assert received.test
    assert received.notice is not None


def test_a_line_test_carries_the_head_of_the_record(
    stage: MemoryStage, exchange: MemoryExchange, tmp_path: Path
) -> None:
    """None before the record is sealed; then all members get the same, and it grows with the decisions."""
    exchange.test_line("reader-00")
    for number in range(2):
        stage.publish(stage.member("hotline-se"), takedown(stage.member("hotline-se"), number))
        exchange.seal()
        for member in ("reader-00", "reader-03"):
            exchange.test_line(member)
    for member in ("reader-00", "reader-03"):
        with exchange.inbox(stage.member(member), state=tmp_path / member / "version", include_tests=True) as inbox:
            shown = [received.notice["checkpoint"] for received in inbox if received.notice is not None]
            assert inbox.counts.heads == {"new": 2}
        notes = [note for note in shown if note is not None]
        assert len(shown) - len(notes) == (member == "reader-00")
        assert [Checkpoint.parse(Note.parse(note.encode()).text).size for note in notes] == [1, 2]
    reader, other = (HeadsKept(tmp_path / member / HEADS).read() for member in ("reader-00", "reader-03"))
    assert [one.note for one in reader["audit.se"]] == [one.note for one in other["audit.se"]]


def test_what_cannot_be_kept_stops_no_reader(stage: MemoryStage, exchange: MemoryExchange, tmp_path: Path) -> None:
    """A damaged file is counted and left as it is."""
    exchange.seal()
    exchange.test_line("reader-00")
    alert = takedown(stage.member("hotline-se"), 1)
    stage.publish(stage.member("hotline-se"), alert)
    (tmp_path / HEADS).write_text("damaged")
    with exchange.inbox(stage.member("reader-00"), state=tmp_path / "version") as inbox:
        assert [received.alert for received in inbox] == [alert]
        assert inbox.counts.heads == {"not-kept": 1}
    assert (tmp_path / HEADS).read_text() == "damaged"


def test_a_notice_to_somebody_else_is_not_handed_out(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """A notice names its member; copied into another inbox it is refused."""
    exchange.test_line("reader-00")
    [record] = stage.copies("reader-00")
    stage.plant("reader-03", record.key or b"", record.value, record.headers)
    with exchange.inbox(stage.member("reader-03"), include_tests=True) as inbox:
        assert list(inbox) == []
        assert inbox.unverified == {"wrong-topic": 1}


def test_a_key_that_is_new_is_found_by_reading_the_directory_again(
    stage: MemoryStage, exchange: MemoryExchange
) -> None:
    """A reader that has the directory open learns of a key when it first meets it."""
    with exchange.inbox(stage.member("reader-00")) as inbox:
        assert list(inbox) == []
        bundle = stage.member("hotline-se")
        fresh = SigningKey.generate("hotline-se")
        fresh.save(bundle.path / SIGNING_KEY)
        exchange.publish_directory(_with_key(exchange, fresh))
        alert = takedown(bundle, 1)
        stage.publish(bundle, alert)
        assert [received.alert for received in inbox] == [alert]
        assert inbox.unverified == {}


def _with_key(exchange: MemoryExchange, key: SigningKey) -> Any:
    document = exchange.directory
    added = DirectoryKey(key.key_id, key.member, key.public, document.issued_at - 60_000, document.expires_at)
    return replace(document, version=document.version + 1, keys={**document.keys, key.key_id: added})


def test_a_revoked_key_counts_up_to_its_last_trusted_offset(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """After a revocation, copies of records beyond the trusted offset of their topic are refused."""
    bundle = stage.member("hotline-se")
    alerts = [takedown(bundle, number) for number in range(3)]
    stage.publish(bundle, *alerts)
    _revoke(exchange, bundle, {GREEN: 1})
    with exchange.inbox(stage.member("reader-00")) as inbox:
        assert [received.alert for received in inbox] == alerts[:2]
        assert inbox.unverified == {"key-not-valid": 1}


def _revoke(exchange: MemoryExchange, bundle: Bundle, trusted: dict[str, int]) -> None:
    document = exchange.directory
    key_id = bundle.signing_key().key_id
    revoked = replace(document.keys[key_id], revoked=True, trusted=trusted)
    exchange.publish_directory(replace(document, version=document.version + 1, keys={**document.keys, key_id: revoked}))


def test_an_older_directory_brings_no_revoked_key_back(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """A replay of a properly signed older document is not taken, after a restart of the reader either."""
    bundle = stage.member("hotline-se")
    stage.publish(bundle, takedown(bundle, 1))
    before = exchange.bus.records("directory")[-1]
    _revoke(exchange, bundle, {})
    with exchange.inbox(stage.member("reader-00"), group="first") as inbox:
        list(inbox)
    exchange.bus.append("directory", before.key, before.value, cast("Headers", list(before.headers)))
    with exchange.inbox(stage.member("reader-00"), group="second") as inbox:
        assert list(inbox) == []
        assert inbox.unverified == {"key-not-valid": 1}


def test_a_directory_that_no_pinned_root_signed_is_none(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """WRITE on the topic is not enough; without any valid document nothing is handed out."""
    record = exchange.bus.records("directory")[-1]
    exchange.bus.delete_topic("directory")
    exchange.bus.create_topic("directory")
    exchange.bus.append("directory", record.key, record.value, [("dsse-sig", b"0" * 64)])
    with (
        exchange.inbox(stage.member("reader-00")) as inbox,
        pytest.raises(InboxError, match=r"signed by 0 pinned root keys, 1 are needed.*ask the secretariat"),
    ):
        list(inbox)


def test_an_expired_directory_is_not_used(tmp_path: Path) -> None:
    """A reader whose directory has run out stops, until a new one is published."""
    now = [1_800_000_000_000]
    exchange = MemoryExchange(tmp_path, now_ms=lambda: now[0])
    bundle = exchange.add_member("bank-fr", role="bank", jurisdiction="fr")
    with exchange.inbox(bundle) as inbox:
        assert list(inbox) == []
        now[0] = exchange.directory.expires_at
        with pytest.raises(InboxError, match="no directory is in force"):
            list(inbox)
        exchange.publish_directory(
            replace(exchange.directory, version=exchange.directory.version + 1, expires_at=now[0] + 1)
        )
        assert list(inbox) == []


def test_a_late_copy_of_an_ended_key_still_counts(tmp_path: Path) -> None:
    """Sight gained after the publisher's key ended: the alert was published within its time, so it is received."""
    now = [time.time_ns() // 1_000_000]
    exchange = MemoryExchange(tmp_path, now_ms=lambda: now[0])
    publisher = exchange.add_member(
        "hotline-se", role="hotline", jurisdiction="se", publishes=(AlertType.SITE_TAKEN_DOWN,)
    )
    reader = exchange.add_member("reader-00", role="isp", jurisdiction="se")
    key_id = publisher.signing_key().key_id
    ends = replace(exchange.directory.keys[key_id], valid_to=now[0] + 60_000)
    exchange.publish_directory(
        replace(
            exchange.directory,
            version=exchange.directory.version + 1,
            keys={**exchange.directory.keys, key_id: ends},
        )
    )
    alert = takedown(publisher, 1)
    value = alert.to_avro()
    headers = sign_headers(publisher.signing_key(), publisher.coalition, schema("site-taken-down"), value)
    exchange.bus.append(GREEN, alert.header.lineage_id.encode(), value, headers)
    exchange.run()
    now[0] += 3_600_000
    exchange.grant("reader-00", GREEN)
    assert exchange.run() == 1
    with exchange.inbox(reader) as inbox:
        assert [received.alert for received in inbox] == [alert]
        assert inbox.unverified == {}


def test_what_was_told_by_a_member_that_left_stays_told(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """A publisher that is withdrawn after the decision does not take its alerts with it."""
    bundle = stage.member("hotline-se")
    alert = takedown(bundle, 1)
    stage.publish(bundle, alert)
    document = exchange.directory
    gone = replace(document.members["hotline-se"], status="WITHDRAWN")
    exchange.publish_directory(
        replace(document, version=document.version + 1, members={**document.members, "hotline-se": gone})
    )
    with exchange.inbox(stage.member("reader-00")) as inbox:
        assert [received.alert for received in inbox] == [alert]


def test_a_bus_that_is_down_is_trouble_and_not_the_end(stage: MemoryStage, exchange: MemoryExchange) -> None:
    """A follower waits and says what is wrong; a reader that does not follow must not take it for the end."""
    bundle = stage.member("hotline-se")
    with exchange.inbox(stage.member("reader-00"), follow=True, timeout_s=0.3) as inbox:
        assert list(inbox) == []
        exchange.bus.take_down()
        assert list(inbox) == []
        assert inbox.trouble
        exchange.bus.bring_up()
        alert = takedown(bundle, secrets.randbelow(10**9))
        stage.publish(bundle, alert)
        assert [received.alert for received in inbox] == [alert]
        assert inbox.trouble is None


def test_a_second_reader_of_a_group_is_not_told_that_the_inbox_is_empty(
    stage: MemoryStage, exchange: MemoryExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the first to leave, and after a while says who is in the way."""
    monkeypatch.setattr("tocsin.consumers.inbox.READY_S_MAX", 0.3)
    with exchange.inbox(stage.member("reader-00")) as first:
        list(first)
        with (
            exchange.inbox(stage.member("reader-00")) as second,
            pytest.raises(InboxError, match=r"another reader of group reader-00\.inbox has it"),
        ):
            list(second)


@pytest.mark.parametrize("millis", [2**62, -(2**62)])
def test_what_no_model_can_hold_is_refused_and_not_met_again(
    stage: MemoryStage, exchange: MemoryExchange, millis: int
) -> None:
    """A signed time beyond the calendar stops no reader for good: it is counted, and reading goes on behind it."""
    bundle, kind = stage.member("hotline-se"), schema("site-taken-down")
    alert = takedown(bundle, 1)
    record = alert.model_dump()
    record["header"]["observed_at"] = millis
    value = encode(kind, record)
    headers = [
        *sign_headers(bundle.signing_key(), bundle.coalition, kind, value),
        ("tocsin-source", f"{GREEN}/0/0".encode()),
    ]
    stage.plant("reader-00", f"hotline-se/{alert.header.lineage_id}".encode(), value, headers)
    stage.publish(bundle, alert)
    with exchange.inbox(stage.member("reader-00")) as inbox:
        assert [received.alert for received in inbox] == [alert]
        assert inbox.unverified == {"invalid": 1}
