"""The secretariat's words, on the exchange in memory: holds and releases, and who may not say them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.test_memory_acknowledgement import Stage
from tests.world import takedown
from tocsin.consumers.errors import HoldInvalid, NotSecretariat
from tocsin.consumers.gains import Release
from tocsin.consumers.holds import Hold, HoldKind
from tocsin.consumers.outbox_records import Outboxes, hold_record, release_record
from tocsin.consumers.withdrawals import Held
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import ledger_topic, outbox_topic
from tocsin.schemas.signing import sign_headers

HOLD = Hold("", "case", HoldKind.LEGAL, "hotline-se", reference="A 1/26")
RELEASE = Release("isp-se", "se", 50_000, 2_000_000_000_000)
HOLD_CONTENT = hold_record(replace(HOLD, member="sec-eu"), 1)
RELEASE_CONTENT = release_record("sec-eu", RELEASE, 1)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An exchange."""
    return Stage(tmp_path)


@pytest.fixture
def secretariat(stage: Stage) -> Bundle:
    """The secretariat's bundle."""
    return stage.exchange.add_member("sec-eu", role="secretariat", jurisdiction="eu")


def _kept(stage: Stage) -> dict[str, bytes]:
    held = Held()
    for record in stage.exchange.bus.records(ledger_topic("se")):
        held.apply(record)
    return {name: entry.value for name, entry in held.revisions.items()}


def test_what_is_retracted_is_kept_until_the_hold_is_lifted(stage: Stage, secretariat: Bundle) -> None:
    """By the word in the outbox alone; it can be listed."""
    alert = takedown(stage.hotline, 1)
    stage.publish(alert)
    with stage.exchange.outbox(secretariat) as outbox:
        outbox.hold(HOLD)
        stage.withdrawn(2)
        [name] = _kept(stage)
        assert name.startswith("sec-eu/case/hotline-se/")
        outbox.hold(replace(HOLD, lifted=True))
        stage.exchange.run()
        assert _kept(stage) == {}
        assert outbox.holds() == (replace(HOLD, member="sec-eu", lifted=True),)


def test_what_a_member_was_given_in_a_period_is_kept(stage: Stage, secretariat: Bundle) -> None:
    """Each part of the signed word is read back; what others were given is not kept."""
    hold = Hold("sec-eu", "case", HoldKind.LEGAL, reference="A 1/26", recipient="isp-se", published_from=1)
    with stage.exchange.outbox(secretariat) as outbox:
        outbox.hold(hold)
        outbox.hold(replace(hold, hold_id="other", recipient="bank-se"))
        outbox.hold(replace(hold, hold_id="early", published_to=2))
        assert {one.hold_id: one for one in outbox.holds()}["case"] == hold
        stage.publish(takedown(stage.hotline, 1))
        stage.withdrawn(2)
        [name] = _kept(stage)
        assert name.startswith("sec-eu/case/hotline-se/")


def test_in_quarantine_nobody_is_given_it(stage: Stage, secretariat: Bundle) -> None:
    """Lifted, everybody who may have it is."""
    with stage.exchange.outbox(secretariat) as outbox:
        outbox.hold(replace(HOLD, kind=HoldKind.QUARANTINE))
        alert = takedown(stage.hotline, 1)
        stage.publish(alert)
        with stage.inbox() as inbox:
            assert list(inbox) == []
        outbox.hold(replace(HOLD, kind=HoldKind.QUARANTINE, lifted=True))
        stage.exchange.run()
    with stage.inbox() as inbox:
        assert [received.value for received in inbox] == [alert.to_avro()]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hold_id": "Case 1"}, "hold_id"),
        ({"reference": ""}, "reference"),
        ({"reference": "x" * 281}, "reference"),
        ({"publisher": None}, "publisher"),
        ({"recipient": "isp-se", "kind": HoldKind.QUARANTINE}, "recipient"),
    ],
)
def test_a_hold_that_means_nothing_is_not_written(
    stage: Stage, secretariat: Bundle, changes: dict[str, str | None], word: str
) -> None:
    """The error names the part."""
    with stage.exchange.outbox(secretariat) as outbox, pytest.raises(HoldInvalid, match=word):
        outbox.hold(replace(HOLD, **changes))  # type: ignore[arg-type]


def test_only_a_secretariat_holds_and_releases(stage: Stage, secretariat: Bundle) -> None:
    """Neither a member's library nor, should it get round that, the exchange lets another do so."""
    with stage.exchange.outbox(stage.isp) as outbox:
        with pytest.raises(NotSecretariat):
            outbox.hold(HOLD)
        with pytest.raises(NotSecretariat):
            outbox.release(RELEASE)
    for subject, key, content in (
        ("hold", "hold/case", {**HOLD_CONTENT, "member": "isp-se"}),
        ("release", "release/se/isp-se", {**RELEASE_CONTENT, "member": "isp-se"}),
    ):
        assert _refused(stage, stage.isp, subject, key, content) is Reason.WRONG_PUBLISHER
    with stage.exchange.outbox(secretariat) as outbox:
        outbox.hold(HOLD)
        outbox.release(RELEASE)


@pytest.mark.parametrize(
    ("subject", "key", "changes", "reason"),
    [
        ("hold", "hold/case", {"member": "isp-se"}, Reason.WRONG_PUBLISHER),
        ("hold", "hold/other", {}, Reason.WRONG_KEY),
        ("hold", "hold/case", {"kind": "FOREVER"}, Reason.INVALID),
        ("hold", "hold/case", {"publisher": None}, Reason.INVALID),
        ("hold", "hold/case", {"published_from": 2, "published_to": 1}, Reason.INVALID),
        ("release", "release/se/isp-se", {"member": "isp-se"}, Reason.WRONG_PUBLISHER),
        ("release", "release/de/isp-se", {}, Reason.WRONG_KEY),
    ],
)
def test_what_is_no_word_of_the_secretariat(
    stage: Stage, secretariat: Bundle, subject: str, key: str, changes: dict[str, object], reason: Reason
) -> None:
    """It changes nothing."""
    content = {**(HOLD_CONTENT if subject == "hold" else RELEASE_CONTENT), **changes}
    assert _refused(stage, secretariat, subject, key, content) is reason


def _refused(stage: Stage, bundle: Bundle, subject: str, key: str, content: Mapping[str, object]) -> Reason:
    form = schema(subject)
    value = encode(form, content)
    headers = tuple(sign_headers(bundle.signing_key(), "test", form, value))
    outboxes, directory = Outboxes(), stage.exchange.directory
    record = BusRecord(outbox_topic(bundle.member), 0, key.encode(), value, headers, directory.issued_at)
    with pytest.raises(Rejection) as refusal:
        outboxes.apply(bundle.member, record, stage.verifier())
    assert (outboxes.holds(directory).all, outboxes.changes) == ((), 0)
    return refusal.value.reason


def test_a_hold_stands_no_more_once_its_member_is_no_secretariat(stage: Stage, secretariat: Bundle) -> None:
    """The role counts that the directory says now."""
    outboxes, directory = Outboxes(), stage.exchange.directory
    form, value = schema("hold"), encode(schema("hold"), HOLD_CONTENT)
    headers = tuple(sign_headers(secretariat.signing_key(), "test", form, value))
    record = BusRecord(outbox_topic("sec-eu"), 0, b"hold/case", value, headers, directory.issued_at)
    outboxes.apply("sec-eu", record, stage.verifier())
    assert len(outboxes.holds(directory).all) == 1
    member = replace(directory.members["sec-eu"], role="bank")
    assert outboxes.holds(replace(directory, members={**directory.members, "sec-eu": member})).all == ()
