"""Withdrawing what was told: without its content, from any machine, by the publisher or the secretariat."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.world import revised, takedown, wait_until
from tocsin.consumers.acl import AclRow
from tocsin.consumers.memory import MemoryExchange
from tocsin.producers.errors import AlertRefused, LineageUnknown
from tocsin.producers.publisher import Publisher
from tocsin.producers.spool import OVERTAKEN, now_ms
from tocsin.producers.spool_rows import State
from tocsin.schemas.bundle import TOKEN_KEYS, Bundle
from tocsin.schemas.codec import decode
from tocsin.schemas.header import StatusReason
from tocsin.schemas.names import AlertTopic, AlertType, Tlp
from tocsin.schemas.uuid7 import uuid7

WAIT_S = 10.0
MANUAL = (Path(__file__).parents[3] / "docs" / "retract.md").read_text()
YEAR_MS = 366 * 86_400_000
GREEN = AlertTopic("se", AlertType.SITE_TAKEN_DOWN, Tlp.GREEN)
TYPES = (AlertType.SITE_TAKEN_DOWN,)


@pytest.fixture
def exchange(tmp_path: Path) -> MemoryExchange:
    """An exchange with a reader of all that is green, and a secretariat."""
    made = MemoryExchange(tmp_path / "exchange")
    made.add_member("isp-se", role="isp", jurisdiction="se")
    made.grant("isp-se", GREEN.name)
    made.add_member("secretariat-eu", role="secretariat", jurisdiction="de")
    made.acls.add(AclRow("TOPIC", "alerts.se.", "PREFIXED", "User:secretariat-eu", "*", "WRITE", "ALLOW"))
    return made


@pytest.fixture
def bundle(exchange: MemoryExchange) -> Bundle:
    """A hotline's bundle."""
    return exchange.add_member("hotline-se", role="hotline", jurisdiction="se", publishes=TYPES)


def opened(exchange: MemoryExchange, bundle: Bundle, **options: Any) -> Publisher:
    """A publisher on the exchange's bus."""
    return Publisher(bundle, writer=exchange.writer(bundle.member), **options)


def written(exchange: MemoryExchange, topic: str = GREEN.name) -> list[dict[str, Any]]:
    """The alerts in a topic, as a plain client decodes them."""
    return [decode(record.value or b"")[1] for record in exchange.bus.records(topic)]


def decided(exchange: MemoryExchange) -> list[tuple[str, str | None]]:
    """What the exchange made of each record."""
    exchange.run()
    return [(one["outcome"], one["reason"]) for one in exchange.decisions() if one["kind"] == "ALERT"]


# -- retracting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", get_args(StatusReason))
def test_a_retraction_needs_the_lineage_only(exchange: MemoryExchange, bundle: Bundle, reason: StatusReason) -> None:
    """After delivery and a restart; the exchange takes it, it holds no content and outlives what it withdraws."""
    alert = takedown(bundle, 1, note="known by its note")
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
    with opened(exchange, bundle) as publisher:
        done = publisher.retract(alert.header.lineage_id, reason)
        assert (done.topic, done.repeated) == (GREEN.name, False)
        assert publisher.flush(WAIT_S) == 0
        known = publisher.lineage(alert.header.lineage_id)
    first, last = written(exchange)
    header = last["header"]
    assert last["details"] is None
    assert (header["status"], header["status_reason"], header["note"]) == ("RETRACTED", reason, None)
    assert header["revision"] > first["header"]["revision"]
    assert header["expires_at"] > first["header"]["expires_at"]
    assert header["expires_at"] - header["published_at"] == 3 * YEAR_MS
    assert (header["data_categories"], header["legal_basis"]) == ([], "GDPR_6_1_C")
    assert known is not None
    assert (known.alert_id, known.revision, known.retracted) == (done.alert_id, header["revision"], True)
    assert [outcome for outcome, _ in decided(exchange)] == ["ACCEPTED"] * 2


def test_retracting_again_is_the_same_retraction(exchange: MemoryExchange, bundle: Bundle) -> None:
    """Waiting, delivered, and after a restart; with another reason, too. A higher revision by hand is a new one."""
    alert = takedown(bundle, 1)
    lineage = alert.header.lineage_id
    exchange.bus.take_down()
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
        first = publisher.retract(lineage, "ERROR")
        assert publisher.retract(lineage, "ERROR").repeated
        exchange.bus.bring_up()
        assert publisher.flush(WAIT_S) == 0
        assert publisher.retract(lineage, "ERASURE").alert_id == first.alert_id
    with opened(exchange, bundle) as publisher:
        again = publisher.retract(lineage, "ERROR")
        assert (again.alert_id, again.topic, again.repeated) == (first.alert_id, GREEN.name, True)
        known = publisher.lineage(lineage)
        assert known is not None
        assert publisher.retract(lineage, "ERROR", revision=known.revision).repeated
        assert not publisher.retract(lineage, "ERROR", revision=known.revision + 1).repeated
    assert [one["header"]["status"] for one in written(exchange)] == ["RETRACTED"] * 2


def test_what_waits_is_overtaken_and_never_sent(exchange: MemoryExchange, bundle: Bundle) -> None:
    """Only the retraction goes: an earlier attempt may have arrived. Other lineages go as ever."""
    alert, other = takedown(bundle, 1), takedown(bundle, 2)
    exchange.bus.take_down()
    with opened(exchange, bundle) as publisher:
        for one in (alert, other, revised(alert, 2)):
            publisher.publish(one, one.header.alert_id)
        publisher.close(0)
    exchange.bus.bring_up()
    exchange.bus.take_down()
    with opened(exchange, bundle) as publisher:
        publisher.retract(alert.header.lineage_id, "FALSE_POSITIVE")
        exchange.bus.bring_up()
        assert publisher.flush(WAIT_S) == 0
        outcome = publisher.outcome(alert.header.alert_id)
        assert outcome is not None
        assert (outcome.state, outcome.reason) == (State.DEAD, OVERTAKEN)
        assert publisher.publish(takedown(bundle, 3), alert.header.alert_id).repeated
        assert publisher.status().troubles == ()
    sent = [(one["header"]["lineage_id"], one["header"]["status"]) for one in written(exchange)]
    assert sorted(sent) == sorted(
        [(alert.header.lineage_id, "RETRACTED"), (other.header.lineage_id, "ACTIVE")],
    )


def test_a_lineage_of_another_machine_needs_its_topic(exchange: MemoryExchange, bundle: Bundle, tmp_path: Path) -> None:
    """Without it the error says so; the revision is above what was published, by import or by hand."""
    alert = takedown(bundle, 1, revision=17)
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
    (bundle.path / TOKEN_KEYS).unlink()
    with opened(exchange, bundle, spool=tmp_path / "other.db") as publisher:
        with pytest.raises(LineageUnknown, match=r"^header\.lineage_id: not in this spool; give the topic"):
            publisher.retract(alert.header.lineage_id, "ERROR")
        assert not publisher.retract(alert.header.lineage_id, "ERROR", topic=GREEN).repeated
        by_hand = str(uuid7())
        publisher.retract(by_hand, "ERROR", topic=GREEN, revision=2_026_112_601)
    header = written(exchange)[-1]["header"]
    assert (header["lineage_id"], header["revision"]) == (by_hand, 2_026_112_601)
    assert [outcome for outcome, _ in decided(exchange)] == ["ACCEPTED"] * 3


def test_the_revision_rises_above_what_the_spool_knows(exchange: MemoryExchange, bundle: Bundle) -> None:
    """Also above numbers that are ahead of the clock; one by hand that is not above is refused."""
    alert = takedown(bundle, 1, revision=2_000_000_000)
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
        with pytest.raises(AlertRefused, match=r"^header\.revision: must be above 2000000000"):
            publisher.retract(alert.header.lineage_id, "ERROR", revision=2_000_000_000)
        publisher.retract(alert.header.lineage_id, "ERROR")
        known = publisher.lineage(alert.header.lineage_id)
        assert known is not None
        assert known.revision == 2_000_000_001


def test_a_test_alert_is_retracted_by_a_test(exchange: MemoryExchange, bundle: Bundle) -> None:
    """Readers who skip the one skip the other."""
    alert = takedown(bundle, 1, test=True)
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
        publisher.retract(alert.header.lineage_id, "DUPLICATE")
    assert written(exchange)[-1]["header"]["test"] is True


BAD: list[tuple[dict[str, Any], str]] = [
    ({"lineage_id": "Case 17"}, r"^header\.lineage_id: a UUID in lower case$"),
    ({"reason": "WHIM"}, r"^header\.status_reason: Input should be "),
    ({"revision": 0}, r"^header\.revision: 1 or more$"),
    ({"publisher": "bank-fr"}, r"^header\.publisher: must be hotline-se"),
    ({"topic": AlertTopic("fr", AlertType.SITE_TAKEN_DOWN, Tlp.GREEN)}, r"^header\.jurisdiction: must be se"),
    ({"note": "see www.example.top"}, r"^header\.note: "),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_a_retraction_that_breaks_a_rule_is_refused(
    exchange: MemoryExchange, bundle: Bundle, words: dict[str, Any], message: str
) -> None:
    """By field and rule, without content; nothing is stored."""
    asked: dict[str, Any] = {"lineage_id": str(uuid7()), "reason": "ERROR", "topic": GREEN, **words}
    with opened(exchange, bundle) as publisher:
        with pytest.raises(AlertRefused, match=message):
            publisher.retract(**asked)
        assert sum(publisher.status().counts.values()) == 0


def test_the_secretariat_retracts_for_a_publisher(exchange: MemoryExchange, bundle: Bundle) -> None:
    """The owner stays the publisher, in the topic of its jurisdiction; the key is the secretariat's."""
    alert = takedown(bundle, 1)
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
    secretariat = Bundle.load(bundle.path.parent / "secretariat-eu")
    with opened(exchange, secretariat) as publisher:
        publisher.retract(alert.header.lineage_id, "COURT_ORDER", topic=GREEN, publisher="hotline-se")
        assert publisher.flush(WAIT_S) == 0
        assert publisher.lineage(alert.header.lineage_id) is None
        assert publisher.lineage(alert.header.lineage_id, "hotline-se") is not None
    record = exchange.bus.records(GREEN.name)[-1]
    header = decode(record.value or b"")[1]["header"]
    assert (header["publisher"], header["jurisdiction"]) == ("hotline-se", "se")
    assert header["evidence_kind"] == "LE_REQUEST"
    assert dict(record.headers)["dsse-keyid"] == secretariat.signing_key().key_id.encode()
    assert [outcome for outcome, _ in decided(exchange)] == ["ACCEPTED"] * 2


def test_the_manuals_code_runs_as_it_stands_there(exchange: MemoryExchange, bundle: Bundle) -> None:
    """It retracts."""
    [code] = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
    alert = takedown(bundle, 1)
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
    own = code.replace("Publisher(Bundle.load(bundle_folder))", "opened(exchange, Bundle.load(bundle_folder))")
    names = {"bundle_folder": bundle.path, "lineage_id": alert.header.lineage_id}
    exec(own, {**names, "opened": opened, "exchange": exchange})  # noqa: S102  # the manual's own code
    assert written(exchange)[-1]["header"]["status_reason"] == "FALSE_POSITIVE"


# -- correcting and disputing --------------------------------------------------------------------------------------


def test_a_correction_and_a_dispute_are_next_revisions(exchange: MemoryExchange, bundle: Bundle) -> None:
    """Rising, each with an alert id of its own; the same key again is the same correction."""
    alert = takedown(bundle, 1)
    changed = alert.model_copy(update={"header": alert.header.model_copy(update={"confidence": 40})})
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
        publisher.correct(changed, "ERROR", "correction-1")
        assert publisher.correct(changed, "ERROR", "correction-1").repeated
        publisher.dispute(changed, "COURT_ORDER")
    headers = [one["header"] for one in written(exchange)]
    assert [one["status"] for one in headers] == ["ACTIVE", "CORRECTED", "DISPUTED"]
    assert [one["confidence"] for one in headers] == [90, 40, 40]
    assert len({one["alert_id"] for one in headers}) == 3
    assert headers[0]["revision"] < headers[1]["revision"] < headers[2]["revision"]
    assert [outcome for outcome, _ in decided(exchange)] == ["ACCEPTED"] * 3


def test_what_is_retracted_is_not_corrected(exchange: MemoryExchange, bundle: Bundle) -> None:
    """Nor published below the retraction's revision; the message says what to do."""
    alert = takedown(bundle, 1)
    calls: list[tuple[Callable[[Publisher], object], str]] = [
        (lambda publisher: publisher.correct(alert, "ERROR"), r"^header\.status: the lineage is retracted; publish"),
        (lambda publisher: publisher.dispute(alert, "ERROR"), r"^header\.status: the lineage is retracted; publish"),
        (lambda publisher: publisher.publish(revised(alert, 2)), r"^header\.revision: the lineage was retracted by"),
    ]
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
        publisher.retract(alert.header.lineage_id, "ERROR")
        for call, message in calls:
            with pytest.raises(AlertRefused, match=message):
                call(publisher)
    assert [one["header"]["status"] for one in written(exchange)][-1] == "RETRACTED"


# -- what is left --------------------------------------------------------------------------------------------------

MARKER = "the note that must go"


def _holding(bundle: Bundle) -> list[str]:
    """The spool's files that hold the marker."""
    return [one.name for one in (bundle.path / "spool").iterdir() if MARKER.encode() in one.read_bytes()]


def test_what_is_delivered_is_gone_from_the_spools_files(exchange: MemoryExchange, bundle: Bundle) -> None:
    """While the publisher stays open, seconds later: original and correction."""
    alert = takedown(bundle, 1, note=MARKER)
    exchange.bus.take_down()
    with opened(exchange, bundle) as publisher:
        publisher.publish(alert)
        publisher.correct(alert, "ERROR")
        assert _holding(bundle)
        exchange.bus.bring_up()
        assert publisher.flush(WAIT_S) == 0
        wait_until(lambda: not _holding(bundle), WAIT_S, "the content gone")
    assert _holding(bundle) == []


def test_what_is_overtaken_or_expired_is_gone_from_the_spools_files(exchange: MemoryExchange, bundle: Bundle) -> None:
    """What nobody was sent goes as soon as it is retracted, with no broker in reach; what expired, too."""
    clock = [now_ms()]
    alert = takedown(bundle, 1, note=MARKER)
    short = takedown(bundle, 2, note=MARKER, expires_at=datetime.now(UTC) + timedelta(days=1))
    exchange.bus.take_down()
    with opened(exchange, bundle, now=lambda: clock[0]) as publisher:
        publisher.publish(alert)
        publisher.publish(short)
        assert _holding(bundle)
        clock[0] += 2 * 86_400_000
        publisher.retract(alert.header.lineage_id, "ERASURE")
        wait_until(lambda: not _holding(bundle), WAIT_S, "the content gone")
        assert publisher.waiting() == 1
        publisher.close(0)


def test_nothing_is_left_after_a_process_that_was_killed(exchange: MemoryExchange, bundle: Bundle) -> None:
    """The write-ahead log that it left is erased by the next one."""
    with opened(exchange, bundle) as publisher:
        publisher.publish(takedown(bundle, 1, note=MARKER))
        assert publisher.flush(WAIT_S) == 0
        kept = {one: one.read_bytes() for one in (bundle.path / "spool").iterdir()}
    for path, content in kept.items():
        path.write_bytes(content)
    with opened(exchange, bundle):
        began = time.monotonic()
        wait_until(lambda: not _holding(bundle), WAIT_S, "the content gone")
        assert time.monotonic() - began < WAIT_S
