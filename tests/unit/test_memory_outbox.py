"""The outbox on the exchange in memory: what members set counts, what others write there changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.world import takedown
from tocsin.consumers import Outbox, OutboxError, Subscription, SubscriptionInvalid
from tocsin.consumers.memory import MemoryExchange
from tocsin.consumers.outbox_records import RECORDS_MAX, SUBSCRIPTION, Outboxes, subscription_record
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import AlertTopic, AlertType, Tlp, inbox_topic, outbox_topic
from tocsin.schemas.signing import sign_headers
from tocsin.schemas.verify import Verifier

GREEN = AlertTopic("se", AlertType.SITE_TAKEN_DOWN, Tlp.GREEN).name


class Stage:
    """A hotline that publishes, an ISP that may see it all, and a stranger."""

    def __init__(self, home: Path) -> None:
        self.exchange = MemoryExchange(home)
        kinds = (AlertType.SITE_TAKEN_DOWN,)
        self.hotline = self.exchange.add_member("hotline-se", role="hotline", jurisdiction="se", publishes=kinds)
        self.isp = self.exchange.add_member("isp-se", role="isp", jurisdiction="se")
        self.stranger = self.exchange.add_member("isp-fr", role="isp", jurisdiction="fr")
        self.exchange.grant("isp-se", GREEN)

    def outbox(self) -> Outbox:
        """The ISP's."""
        return self.exchange.outbox(self.isp)

    def publish(self, *numbers: int) -> list[bytes]:
        """One alert a number, decided and delivered."""
        alerts = [takedown(self.hotline, number) for number in numbers]
        writer = self.exchange.writer("hotline-se")
        for alert in alerts:
            value = alert.to_avro()
            headers = sign_headers(self.hotline.signing_key(), "test", schema(alert.subject.value), value)
            writer.send(alert.topic.name, alert.header.lineage_id.encode(), value, headers, lambda _: None)
        self.exchange.run()
        return [alert.to_avro() for alert in alerts]

    def copies(self, member: str = "isp-se") -> list[bytes | None]:
        """What an inbox holds."""
        return [record.value for record in self.exchange.bus.records(inbox_topic(member))]

    def verifier(self) -> Verifier:
        """By the directory in force."""
        return Verifier("test", self.exchange.directory)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An exchange of its own for each test."""
    return Stage(tmp_path)


def watching(bundle: Bundle, name: str, *numbers: int, **parts: Any) -> Subscription:
    """A watch-list of the sites of these alerts."""
    key = bundle.token_keys()[0]
    tokens = frozenset(key.token("url", f"site-{number}.example/x") for number in numbers)
    return Subscription(bundle.member, everything=False, tokens=tokens, subscription_id=name, **parts)


def test_what_a_member_sets_is_all_that_it_is_given(stage: Stage) -> None:
    """Several add up; the ones before are replaced; with none left the exchange's own default counts again."""
    with stage.outbox() as outbox:
        outbox.subscribe(watching(stage.isp, "first", 1))
        outbox.subscribe(watching(stage.isp, "second", 2))
        one, two, three = stage.publish(1, 2, 3)
        assert stage.copies() == [one, two]
        assert [wish.subscription_id for wish in outbox.subscriptions()] == ["first", "second"]
        outbox.unsubscribe("second")
        stage.publish(2)
        assert stage.copies() == [one, two]
        outbox.unsubscribe("first")
        stage.exchange.run()
        assert three in stage.copies()


def test_a_subscription_brings_the_live_alerts_once(stage: Stage) -> None:
    """Those that match, by decisions of kind GAINED, and no others."""
    with stage.outbox() as outbox:
        outbox.subscribe(watching(stage.isp, "mine", 9))
        _, two, _ = stage.publish(1, 2, 3)
        assert stage.copies() == []
        outbox.subscribe(watching(stage.isp, "mine", 2, 9))
        assert stage.exchange.run() == 1
        assert stage.exchange.run() == 0
        outbox.subscribe(watching(stage.isp, "again", 2))
        assert stage.exchange.run() == 0
    assert stage.copies() == [two]
    assert [one["kind"] for one in stage.exchange.decisions()] == ["ALERT"] * 3 + ["GAINED"]


def test_an_explicit_wish_without_sight_is_refused_where_it_matches(stage: Stage) -> None:
    """On the record, for the alert that matched only."""
    with stage.exchange.outbox(stage.stranger) as outbox:
        outbox.subscribe(watching(stage.stranger, "mine", 2))
    stage.publish(1, 2)
    refused = [one["refused"] for one in stage.exchange.decisions()]
    assert refused == [[], [{"member": "isp-fr", "reason": "no-sight"}]]


def test_a_process_that_starts_again_knows_what_was_set(stage: Stage) -> None:
    """The outbox holds it."""
    with stage.outbox() as outbox:
        outbox.subscribe(watching(stage.isp, "mine", 2))
    stage.publish(1)
    stage.exchange.restart()
    assert stage.exchange.run() == 0
    assert stage.copies() == []


# -- foul play --------------------------------------------------------------------------------------------------------


def _record(stage: Stage, signer: Bundle, *, key: bytes = b"subscription/mine", **change: Any) -> BusRecord:
    content = {**subscription_record(Subscription("isp-se", subscription_id="mine"), 1), **change}
    form = schema("subscription")
    value = encode(form, content)
    headers = tuple(sign_headers(signer.signing_key(), "test", form, value))
    return BusRecord(outbox_topic("isp-se"), 0, key, value, headers, stage.exchange.directory.issued_at)


def _refusal(stage: Stage, record: BusRecord) -> Reason:
    outboxes = Outboxes()
    outboxes.apply("isp-se", _record(stage, stage.isp), stage.verifier())
    before = list(outboxes.own(stage.exchange.directory))
    with pytest.raises(Rejection) as refusal:
        outboxes.apply("isp-se", record, stage.verifier())
    assert list(outboxes.own(stage.exchange.directory)) == before == [Subscription("isp-se", subscription_id="mine")]
    assert outboxes.changes == 1
    return refusal.value.reason


def test_forged_and_broken_records_change_nothing(stage: Stage) -> None:
    """The last good one under the key stays, and each has its reason."""
    good = _record(stage, stage.isp)
    value = good.value or b""
    alert: SiteTakenDown = takedown(stage.isp, 1)
    signed_alert = tuple(sign_headers(stage.isp.signing_key(), "test", schema("site-taken-down"), alert.to_avro()))

    def changed(**what: Any) -> BusRecord:
        return BusRecord(**{name: what.get(name, getattr(good, name)) for name in BusRecord.__slots__})

    cases = [
        (_record(stage, stage.stranger), Reason.WRONG_PUBLISHER),
        (_record(stage, stage.isp, member="isp-fr"), Reason.WRONG_PUBLISHER),
        (_record(stage, stage.isp, subscription_id="other"), Reason.WRONG_KEY),
        (_record(stage, stage.isp, key=b"subscription/A b", subscription_id="A b"), Reason.WRONG_KEY),
        (changed(headers=()), Reason.UNSIGNED),
        (changed(value=value[:-1] + b"\x01"), Reason.BAD_SIGNATURE),
        (changed(value=value + bytes(70_000)), Reason.TOO_LARGE),
        (changed(value=alert.to_avro(), headers=signed_alert), Reason.WRONG_SCHEMA),
    ]
    for record, reason in cases:
        assert _refusal(stage, record) is reason


def test_unknown_kinds_are_left_alone_and_a_member_has_no_end_of_subscriptions(stage: Stage) -> None:
    """A later release may write them; and memory is bounded."""
    outboxes = Outboxes()
    outboxes.apply("isp-se", _record(stage, stage.stranger, key=b"rumour/1"), stage.verifier())
    assert outboxes.changes == 0
    for number in range(RECORDS_MAX[SUBSCRIPTION]):
        name = f"n{number}"
        record = _record(stage, stage.isp, key=f"subscription/{name}".encode(), subscription_id=name)
        outboxes.apply("isp-se", record, stage.verifier())
    with pytest.raises(Rejection, match="more than 1000 subscriptions"):
        outboxes.apply("isp-se", _record(stage, stage.isp), stage.verifier())
    outboxes.forget("isp-se")
    assert list(outboxes.own(stage.exchange.directory)) == []


def test_what_a_revoked_key_signed_no_longer_counts(stage: Stage) -> None:
    """Though it verified when it came."""
    outboxes = Outboxes()
    outboxes.apply("isp-se", _record(stage, stage.isp), stage.verifier())
    document = stage.exchange.directory
    key_id = stage.isp.signing_key().key_id
    keys = {name: key for name, key in document.keys.items() if name != key_id}
    without = type(document)(
        document.coalition, document.version + 1, document.issued_at, document.expires_at, document.members, keys
    )
    assert list(outboxes.own(without)) == []
    defaults = {"isp-se": Subscription("isp-se", own=True)}
    assert dict(outboxes.subscriptions(without, defaults)) == {"isp-se": (defaults["isp-se"],)}


# -- what a member cannot write ---------------------------------------------------------------------------------------

BAD: list[dict[str, Any]] = [
    {"types": frozenset({"takedown"})},
    {"jurisdictions": frozenset({"SE"})},
    {"tlps": frozenset({"RED"})},
    {"reasons": frozenset({"13"})},
    {"countries": frozenset({"Sweden"})},
    {"rails": frozenset({"CASH"})},
    {"mccs": frozenset({"59"})},
    {"tokens": frozenset({"ACME SHOP"})},
    {"host_asns": frozenset({0})},
    {"tlds": frozenset({".com"})},
    {"everything": True, "tlds": frozenset({"com"})},
    {"subscription_id": "Not An Id"},
]


@pytest.mark.parametrize("parts", BAD)
def test_what_cannot_be_meant_is_refused_before_it_is_written(stage: Stage, parts: dict[str, Any]) -> None:
    """With the part's name and form; nothing goes out."""
    all_parts: dict[str, Any] = {"member": "isp-se", "everything": False, "subscription_id": "mine", **parts}
    wish = Subscription(**all_parts)
    with stage.outbox() as outbox, pytest.raises(SubscriptionInvalid, match=next(reversed(parts))):
        outbox.subscribe(wish)
    assert stage.exchange.bus.records(outbox_topic("isp-se")) == ()


def test_too_long_a_watch_list_says_what_to_do(stage: Stage) -> None:
    """A value is 64 KiB at most."""
    with stage.outbox() as outbox, pytest.raises(SubscriptionInvalid, match="share it out over several ids"):
        outbox.subscribe(watching(stage.isp, "mine", *range(1_000)))


def test_a_broker_that_refuses_or_is_away_is_an_error(stage: Stage) -> None:
    """With what to do about it."""
    with stage.outbox() as outbox:
        stage.exchange.deny("isp-se", outbox_topic("isp-se"))
        stage.exchange.acls = {row for row in stage.exchange.acls if row.operation != "WRITE"}
        with pytest.raises(OutboxError, match="ask the secretariat"):
            outbox.subscribe(watching(stage.isp, "mine", 1))
        stage.exchange.bus.up = False
        with pytest.raises(OutboxError, match="no broker answers"):
            outbox.unsubscribe("mine")
