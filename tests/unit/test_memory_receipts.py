"""Receipts on the exchange in memory: what members tell by themselves, and what it is compared with."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.world import revised, takedown
from tocsin.consumers.audit.given import Decisions
from tocsin.consumers.audit.receipts import Coverage, Finding, Found, compare
from tocsin.consumers.inbox import Inbox
from tocsin.consumers.memory import MemoryExchange
from tocsin.consumers.outbox_records import Outboxes
from tocsin.consumers.receipts import Copied, Erased, Receipt
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import AlertTopic, AlertType, Tlp, inbox_topic, outbox_topic
from tocsin.schemas.records import Decision
from tocsin.schemas.signing import sign_headers
from tocsin.schemas.uuid7 import uuid7
from tocsin.schemas.verify import Verifier

GREEN = AlertTopic("se", AlertType.SITE_TAKEN_DOWN, Tlp.GREEN).name
INBOX = inbox_topic("isp-se")


class Stage:
    """A hotline that publishes, and an ISP that may see it all. The time is the stage's own."""

    def __init__(self, home: Path) -> None:
        self.ahead_ms = 0
        self.exchange = MemoryExchange(home)
        kinds = (AlertType.SITE_TAKEN_DOWN,)
        self.hotline = self.exchange.add_member("hotline-se", role="hotline", jurisdiction="se", publishes=kinds)
        self.isp = self.exchange.add_member("isp-se", role="isp", jurisdiction="se")
        self.exchange.grant("isp-se", GREEN)
        self._made = 0

    def publish(self, *alerts: SiteTakenDown) -> None:
        """Signed, decided and delivered."""
        writer = self.exchange.writer("hotline-se")
        for alert in alerts:
            value = alert.to_avro()
            headers = sign_headers(self.hotline.signing_key(), "test", schema(alert.subject.value), value)
            writer.send(alert.topic.name, alert.header.lineage_id.encode(), value, headers, lambda _: None)
        self.exchange.run()

    def alerts(self, count: int) -> list[SiteTakenDown]:
        """New ones, published."""
        self._made += count
        made = [takedown(self.hotline, self._made - number) for number in range(count)]
        self.publish(*made)
        return made

    def inbox(self, **options: Any) -> Inbox:
        """The ISP's."""
        return self.exchange.inbox(self.isp, **options)

    def read(self, **options: Any) -> int:
        """Read the inbox to its end. Returns how many records were handed out."""
        with self.inbox(**options) as inbox:
            return len(list(inbox))

    def receipts(self) -> list[Receipt]:
        """All that stand, in order."""
        return sorted(self.exchange.receipts(), key=lambda one: (one.series, one.first_offset))

    def compared(self) -> tuple[list[Found], dict[str, Coverage]]:
        """What is found, and the coverage by member."""
        decisions = Decisions()
        for decision in self.exchange.decisions():
            decisions.add(cast("Decision", decision))
        found, coverage = compare(decisions, self.exchange.receipts())
        return found, {one.member: one for one in coverage}

    def copies(self) -> tuple[BusRecord, ...]:
        """What lies in the ISP's inbox."""
        return self.exchange.bus.records(INBOX)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An exchange of its own for each test."""
    return Stage(tmp_path)


def retracted(alert: SiteTakenDown) -> SiteTakenDown:
    """The last revision of `alert`."""
    told = {"alert_id": str(uuid7()), "revision": 2, "status": "RETRACTED", "status_reason": "FALSE_POSITIVE"}
    return SiteTakenDown(header=alert.header.model_copy(update=told), details=None)


def test_a_reader_tells_by_itself_what_came(stage: Stage) -> None:
    """Copies and erasures, by source, hash and rule; notices and tests of the line do not count."""
    first, second = stage.alerts(2)
    stage.publish(retracted(first))
    stage.exchange.test_line("isp-se")
    stage.read()
    [receipt] = stage.receipts()
    copies = stage.copies()
    assert (receipt.first_offset, receipt.last_offset) == (0, copies[-1].offset)
    assert [type(item) for item in receipt.items] == [Copied, Copied, Erased]
    assert receipt.items[1][1:3] == (GREEN, 1)
    assert receipt.items[2] == (2, f"hotline-se/{first.header.lineage_id}")
    assert second.to_avro() == copies[1].value
    assert stage.compared() == ([], {"isp-se": Coverage("isp-se", 2, 2, 0, 1, receipt.at_ms)})


def test_ranges_follow_each_other_without_a_gap(stage: Stage) -> None:
    """Over restarts, crashes before a receipt was sent, and an outbox that could not be written."""
    stage.alerts(2)
    stage.read()
    stage.alerts(2)
    # its place is kept, and it dies before it has told: so does one that does not tell
    stage.read(receipts=False)
    stage.alerts(1)
    with _refused(stage):
        stage.read()
    stage.alerts(1)
    stage.read()
    [receipt] = stage.receipts()
    assert [item.offset for item in receipt.items] == [0, 1, 2, 3, 4, 5]
    assert stage.compared()[0] == []


def test_a_long_range_is_split_at_500(stage: Stage) -> None:
    """A follower sends as soon as a receipt is full, and only the last one is replaced by longer ones."""
    stage.alerts(1_100)
    with stage.inbox() as inbox:
        for number, _ in enumerate(inbox):
            if number in (500, 1_000):
                assert len(stage.receipts()) == number // 500
    assert [len(one.items) for one in stage.receipts()] == [500, 500, 100]
    assert [one.first_offset for one in stage.receipts()] == [0, 500, 1_000]
    stage.alerts(1)
    stage.read()
    assert [len(one.items) for one in stage.receipts()] == [500, 500, 101]
    assert stage.compared()[0] == []


def test_no_receipts_if_switched_off(stage: Stage) -> None:
    """Then nothing can be said about that inbox, and the comparison says so."""
    stage.alerts(1)
    stage.read(receipts=False)
    assert stage.receipts() == []
    assert stage.compared() == ([], {"isp-se": Coverage("isp-se", 1, 0, 0, 0, None)})


def test_two_readers_tell_each_their_own(stage: Stage) -> None:
    """And what both tell of is found once."""
    stage.alerts(1)
    stage.exchange.bus.append(INBOX, b"k/l", b"leak", [])
    stage.read()
    stage.read(group="other")
    assert len(stage.receipts()) == 2
    [found] = stage.compared()[0]
    assert (found.finding, found.inbox_offset) == (Finding.UNDECIDED, 1)


def test_an_inbox_made_anew_begins_a_series(stage: Stage) -> None:
    """Its offsets begin again, copies come again, and nothing is found."""
    stage.alerts(3)
    stage.read()
    stage.exchange.bus.delete_topic(INBOX)
    stage.exchange.bus.create_topic(INBOX)
    stage.alerts(1)
    stage.exchange.run()
    stage.read()
    first, second = stage.receipts()
    assert first.series != second.series
    assert len(second.items) == 4
    assert stage.compared()[0] == []


def test_a_group_that_goes_back_tells_nothing_twice(stage: Stage) -> None:
    """Its place is set back; what it reads again is told already."""
    stage.alerts(3)
    stage.read()
    stage.exchange.bus.keep("isp-se.inbox", INBOX, 0)
    stage.alerts(1)
    assert stage.read() == 4
    [receipt] = stage.receipts()
    assert [item.offset for item in receipt.items] == [0, 1, 2, 3]
    assert stage.compared()[0] == []


def test_what_is_replaced_before_it_is_read_is_no_finding(stage: Stage) -> None:
    """A compacted inbox has the newest revision only."""
    first, *_ = stage.alerts(3)
    stage.publish(revised(first, 2))
    stage.alerts(1)
    stage.exchange.bus.compact(INBOX)
    stage.read()
    found, coverage = stage.compared()
    assert found == []
    assert coverage["isp-se"].came == 4


def test_an_outbox_that_refuses_holds_nothing_up(stage: Stage) -> None:
    """All is handed out and the place is kept; what could not be told is told by the next reader."""
    stage.alerts(600)
    with _refused(stage):
        assert stage.read() == 600
        assert stage.receipts() == []
    assert stage.exchange.bus.place("isp-se.inbox", INBOX) == 600
    stage.alerts(1)
    assert stage.read() == 1
    assert sum(len(one.items) for one in stage.receipts()) == 601
    assert stage.compared()[0] == []


@contextmanager
def _refused(stage: Stage) -> Generator[None]:
    stage.exchange.deny("isp-se", outbox_topic("isp-se"))
    acls = {row for row in stage.exchange.acls if row.name == outbox_topic("isp-se") and row.operation == "WRITE"}
    stage.exchange.acls -= acls
    yield
    stage.exchange.acls |= acls
    stage.exchange.revoke("isp-se", outbox_topic("isp-se"))


def test_only_its_member_can_tell_of_an_inbox(stage: Stage) -> None:
    """Another's key, another key in the outbox and another's inbox are refused; a revoked key counts no more."""
    stage.alerts(1)
    stage.read()
    exchange = stage.exchange
    [good] = [one for one in exchange.bus.records(outbox_topic("isp-se")) if (one.key or b"").startswith(b"receipt/")]
    verifier = Verifier("test", exchange.directory)
    for member, record, reason in (
        ("hotline-se", replace(good, topic="outbox.hotline-se"), Reason.WRONG_PUBLISHER),
        ("isp-se", replace(good, key=b"receipt/other/0"), Reason.WRONG_KEY),
        ("isp-se", replace(good, headers=()), Reason.UNSIGNED),
    ):
        outboxes = Outboxes(receipts=True)
        with pytest.raises(Rejection) as refused:
            outboxes.apply(member, record, verifier)
        assert refused.value.reason is reason
    outboxes, unread = Outboxes(receipts=True), Outboxes()
    outboxes.apply("isp-se", good, verifier)
    unread.apply("isp-se", replace(good, headers=()), verifier)
    assert len(outboxes.receipts(exchange.directory)) == 1
    keys = {name: replace(key, revoked=True) for name, key in exchange.directory.keys.items()}
    assert outboxes.receipts(replace(exchange.directory, keys=keys)) == ()
