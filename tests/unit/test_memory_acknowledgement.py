"""Withdrawals are acknowledged, on the exchange in memory: by whom, when, and what an outage leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.world import takedown
from tocsin.consumers import Inbox, Notice, OutboxError
from tocsin.consumers.memory import MemoryExchange
from tocsin.consumers.outbox_records import ACKNOWLEDGEMENT, RECORDS_MAX, Outboxes, acknowledgement_record
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import AlertTopic, AlertType, Tlp, outbox_topic
from tocsin.schemas.signing import sign_headers
from tocsin.schemas.uuid7 import uuid7
from tocsin.schemas.verify import Verifier

GREEN = AlertTopic("se", AlertType.SITE_TAKEN_DOWN, Tlp.GREEN).name
OUTBOX = outbox_topic("isp-se")


class Stage:
    """A hotline that publishes, an ISP that may see it all, and a stranger."""

    def __init__(self, home: Path) -> None:
        self.exchange = MemoryExchange(home)
        kinds = (AlertType.SITE_TAKEN_DOWN,)
        self.hotline = self.exchange.add_member("hotline-se", role="hotline", jurisdiction="se", publishes=kinds)
        self.isp = self.exchange.add_member("isp-se", role="isp", jurisdiction="se")
        self.stranger = self.exchange.add_member("isp-fr", role="isp", jurisdiction="fr")
        self.exchange.grant("isp-se", GREEN)

    def publish(self, *alerts: SiteTakenDown) -> None:
        """Signed, decided and delivered."""
        writer = self.exchange.writer("hotline-se")
        for alert in alerts:
            value = alert.to_avro()
            headers = sign_headers(self.hotline.signing_key(), "test", schema(alert.subject.value), value)
            writer.send(alert.topic.name, alert.header.lineage_id.encode(), value, headers, lambda _: None)
        self.exchange.run()

    def withdrawn(self, number: int) -> str:
        """`publisher/lineage_id` of an alert that was published and retracted."""
        alert = takedown(self.hotline, number)
        told = {"alert_id": str(uuid7()), "revision": 2, "status": "RETRACTED", "status_reason": "FALSE_POSITIVE"}
        self.publish(alert)
        self.publish(SiteTakenDown(header=alert.header.model_copy(update=told), details=None))
        return f"hotline-se/{alert.header.lineage_id}"

    def inbox(self, **options: Any) -> Inbox:
        """The ISP's."""
        return self.exchange.inbox(self.isp, **options)

    def said(self) -> list[str]:
        """The keys in the ISP's outbox, but those of receipts."""
        keys = [(record.key or b"").decode() for record in self.exchange.bus.records(OUTBOX)]
        return [key for key in keys if not key.startswith("receipt/")]

    def place(self) -> int | None:
        """The ISP's place in its inbox."""
        return self.exchange.bus.place("isp-se.inbox", "inbox.isp-se")

    def verifier(self) -> Verifier:
        """By the directory in force."""
        return Verifier("test", self.exchange.directory)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An exchange of its own for each test."""
    return Stage(tmp_path)


# -- the inbox --------------------------------------------------------------------------------------------------------


def test_a_withdrawal_is_acknowledged_once_the_body_is_done_with_it(stage: Stage) -> None:
    """Not before, once, and as the exchange takes it; alerts are not."""
    key = stage.withdrawn(1)
    with stage.inbox() as inbox:
        records = iter(inbox)
        next(records)
        received = next(record for record in records if record.notice)
        assert stage.said() == []
        inbox.ack(received)
        assert list(records) == []
    assert stage.said() == [f"acknowledgement/{key}"]
    outboxes = Outboxes(acknowledgements=True)
    for record in stage.exchange.bus.records(OUTBOX):
        outboxes.apply("isp-se", record, stage.verifier())
    [(member, acknowledged)] = outboxes.acknowledged(stage.exchange.directory, key).items()
    assert received.notice is not None
    assert (member, str(acknowledged.notice_id)) == ("isp-se", received.notice["notice_id"])
    assert outboxes.acknowledged(stage.exchange.directory, "hotline-se/other") == {}


def test_a_body_that_is_not_done_acknowledges_nothing(stage: Stage) -> None:
    """The notice comes again."""
    key = stage.withdrawn(1)
    with stage.inbox() as inbox:
        for received in inbox:
            if received.notice:
                break
    assert stage.said() == []
    with stage.inbox() as inbox:
        assert [received.key for received in inbox] == [f"withdrawn/{key}"]
    assert stage.said() == [f"acknowledgement/{key}"]


def test_it_can_be_switched_off(stage: Stage) -> None:
    """For a reader that does not act on alerts."""
    stage.withdrawn(1)
    with stage.inbox(acknowledge=False) as inbox:
        assert len(list(inbox)) == 2
    assert stage.said() == []


def test_while_nobody_answers_the_place_waits_before_the_notice(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on; with the next record it is tried again, and then everything is done."""
    first, second = stage.withdrawn(1), stage.withdrawn(2)
    outbox = stage.exchange.outbox(stage.isp)
    down, real = [True, True], outbox.acknowledge

    def acknowledge(notice: Notice) -> None:
        if down:
            down.pop()
            raise OutboxError("no broker answers", passing=True)
        real(notice)

    monkeypatch.setattr(outbox, "acknowledge", acknowledge)
    places: list[int | None] = []
    with stage.inbox(outbox=outbox, include_erasures=True) as inbox:
        for received in inbox:
            places.append(stage.place())
            assert received.offset + 1 == len(places)
    assert stage.said() == [f"acknowledgement/{first}", f"acknowledgement/{second}"]
    assert places == [None, 1, 2, 2, 2, 5]  # the first notice is at 2, the second at 5
    assert stage.place() == len(places)


def test_a_broker_that_refuses_holds_nothing_up(stage: Stage) -> None:
    """It is logged, and the place moves on."""
    stage.withdrawn(1)
    stage.exchange.acls = {row for row in stage.exchange.acls if row.operation != "WRITE"}
    with stage.inbox() as inbox:
        *_, received = inbox
    assert stage.said() == []
    assert stage.place() == received.offset + 1


# -- foul play --------------------------------------------------------------------------------------------------------

NOTICE = Notice(
    notice_id=str(uuid7()),
    kind="WITHDRAWN",
    member="isp-se",
    jurisdiction="se",
    issued_at=1,
    topic=None,
    offset=None,
    sha256=None,
    lineage_id="a",
    publisher="hotline-se",
    reason=None,
    detail=None,
    checkpoint=None,
)


def _record(stage: Stage, signer: Bundle, *, key: bytes = b"acknowledgement/hotline-se/a", **change: Any) -> BusRecord:
    content = {**acknowledgement_record("isp-se", NOTICE, 1), **change}
    form = schema("acknowledgement")
    value = encode(form, content)
    headers = tuple(sign_headers(signer.signing_key(), "test", form, value))
    return BusRecord(OUTBOX, 0, key, value, headers, stage.exchange.directory.issued_at)


def test_forged_and_broken_records_acknowledge_nothing(stage: Stage) -> None:
    """Each has its reason; the last good one stays until it is removed."""
    good = _record(stage, stage.isp)
    cases = [
        (_record(stage, stage.stranger), Reason.WRONG_PUBLISHER),
        (_record(stage, stage.isp, member="isp-fr"), Reason.WRONG_PUBLISHER),
        (_record(stage, stage.isp, lineage_id="b"), Reason.WRONG_KEY),
        (_record(stage, stage.isp, publisher="hotline-de"), Reason.WRONG_KEY),
        (_record(stage, stage.isp, notice_id="one"), Reason.INVALID),
        (BusRecord(OUTBOX, 0, good.key, good.value, (), good.appended_ms), Reason.UNSIGNED),
    ]
    outboxes, directory = Outboxes(acknowledgements=True), stage.exchange.directory
    for record, reason in cases:
        with pytest.raises(Rejection) as refusal:
            outboxes.apply("isp-se", record, stage.verifier())
        assert refusal.value.reason is reason
    assert outboxes.acknowledged(directory, "hotline-se/a") == {}
    outboxes.apply("isp-se", good, stage.verifier())
    assert list(outboxes.acknowledged(directory, "hotline-se/a")) == ["isp-se"]
    outboxes.apply("isp-se", BusRecord(OUTBOX, 1, good.key, None, (), 1), stage.verifier())
    assert outboxes.acknowledged(directory, "hotline-se/a") == {}


def test_acknowledgements_are_kept_where_they_are_asked_for_and_have_an_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fan-out keeps none; and memory is bounded."""
    assert RECORDS_MAX[ACKNOWLEDGEMENT] == 1_000_000
    monkeypatch.setitem(RECORDS_MAX, ACKNOWLEDGEMENT, 1)
    directory = stage.exchange.directory
    none, one = Outboxes(), Outboxes(acknowledgements=True)
    for outboxes in (none, one):
        outboxes.apply("isp-se", _record(stage, stage.isp), stage.verifier())
    assert none.acknowledged(directory, "hotline-se/a") == {}
    with pytest.raises(Rejection, match="more than 1 acknowledgements"):
        one.apply(
            "isp-se", _record(stage, stage.isp, key=b"acknowledgement/hotline-se/b", lineage_id="b"), stage.verifier()
        )
    one.forget("isp-se")
    assert one.acknowledged(directory, "hotline-se/a") == {}


def test_only_a_withdrawal_is_acknowledged(stage: Stage) -> None:
    """Nothing else is asked about."""
    with stage.exchange.outbox(stage.isp) as outbox, pytest.raises(ValueError, match="LINE_TEST"):
        outbox.acknowledge({**NOTICE, "kind": "LINE_TEST"})
