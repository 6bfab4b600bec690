"""The publisher on a bus in memory: once, in order, signed with the key of now, and clear about what it refuses."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, cast

import pytest

from tests.world import revised, takedown, wait_until
from tocsin.consumers.acl import AclRow
from tocsin.consumers.memory import MemoryExchange
from tocsin.producers.delivery import EXPIRED, Delivery
from tocsin.producers.errors import AlertRefused, PublisherClosed, SpoolDamaged, SpoolFull, SpoolInUse
from tocsin.producers.publisher import Publisher
from tocsin.producers.signer import Signer
from tocsin.producers.spool import Spool, now_ms
from tocsin.producers.spool_rows import Row, State
from tocsin.schemas.bundle import SIGNING_KEY, Bundle
from tocsin.schemas.bus import BusRecord, Failure, Headers, Kind, OnDone
from tocsin.schemas.catalog import schema
from tocsin.schemas.memory import MemoryBus
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import AlertTopic, AlertType, Tlp
from tocsin.schemas.signing import SigningKey, pae, payload_type, verify

WAIT_S = 10.0
GREEN = AlertTopic("se", AlertType.SITE_TAKEN_DOWN, Tlp.GREEN).name
CLEAR = AlertTopic("se", AlertType.SITE_TAKEN_DOWN, Tlp.CLEAR).name
ROOT = Path(__file__).parents[3]
PROCESSES = [sys.executable, "-W", "error", "-m", "tests.unit.producers.publishing_processes"]


@pytest.fixture
def exchange(tmp_path: Path) -> MemoryExchange:
    """An exchange for each test."""
    return MemoryExchange(tmp_path)


@pytest.fixture
def bundle(exchange: MemoryExchange) -> Bundle:
    """A hotline's bundle."""
    return exchange.add_member("hotline-se", role="hotline", jurisdiction="se", publishes=(AlertType.SITE_TAKEN_DOWN,))


@pytest.fixture
def bus(exchange: MemoryExchange) -> MemoryBus:
    """The exchange's bus."""
    return exchange.bus


def opened(bus: MemoryBus, bundle: Bundle, **options: Any) -> Publisher:
    """A publisher on the bus."""
    return Publisher(bundle, writer=bus.writer(bundle.member), **options)


def written(bus: MemoryBus, topic: str = GREEN) -> list[bytes | None]:
    """The values in a topic."""
    return [record.value for record in bus.records(topic)]


class HeldWriter:
    """A Writer whose records wait for the test's answer."""

    trouble = None

    def __init__(self) -> None:
        self.waiting: dict[bytes, OnDone] = {}
        self.sent: list[bytes] = []
        self._answers: list[tuple[OnDone, Failure | None]] = []

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Headers, on_done: OnDone) -> None:  # noqa: ARG002
        """Keep it."""
        assert value is not None
        self.sent.append(value)
        self.waiting[value] = on_done

    def answer(self, value: bytes, failure: Failure | None = None) -> None:
        """Let the next `poll` report this."""
        self._answers.append((self.waiting.pop(value), failure))

    def poll(self, timeout_s: float) -> None:
        """Report."""
        threading.Event().wait(timeout_s)
        while self._answers:
            on_done, failure = self._answers.pop(0)
            on_done(failure)

    def flush(self, timeout_s: float) -> int:
        """Report."""
        self.poll(timeout_s)
        return len(self.waiting)

    def close(self) -> None:
        """Give up what has no answer."""
        for on_done in self.waiting.values():
            on_done(Failure(Kind.UNREACHABLE, "closed"))
        self.waiting.clear()


# -- the same alert ------------------------------------------------------------------------------------------------


def test_a_repeated_key_is_the_same_alert(bus: MemoryBus, bundle: Bundle) -> None:
    """Waiting, delivered, and after a restart: the first alert's id, and one record in the topic."""
    first = takedown(bundle, 1)
    with opened(bus, bundle) as publisher:
        assert not publisher.publish(first, "case-1").repeated
        assert publisher.flush(WAIT_S) == 0
        again = publisher.publish(takedown(bundle, 2), "case-1")
        assert (again.alert_id, again.topic, again.repeated) == (first.header.alert_id, GREEN, True)
    with opened(bus, bundle) as publisher:
        assert publisher.publish(takedown(bundle, 3), "case-1").alert_id == first.header.alert_id
        assert not publisher.publish(takedown(bundle, 3), "case-3").repeated
    assert len(written(bus)) == 2
    assert written(bus)[0] == first.to_avro()


def test_the_same_alert_again_is_the_same_alert(bus: MemoryBus, bundle: Bundle) -> None:
    """Without a key, or under another one."""
    alert = takedown(bundle, 1)
    with opened(bus, bundle) as publisher:
        assert [publisher.publish(alert, key).repeated for key in (None, None, "case-1")] == [False, True, True]
    assert written(bus) == [alert.to_avro()]


def test_other_content_under_a_used_alert_id_is_refused(bus: MemoryBus, bundle: Bundle) -> None:
    """Two contents of one id would be a conflict at the exchange."""
    alert = takedown(bundle, 1)
    other = takedown(bundle, 2, alert_id=alert.header.alert_id)
    with opened(bus, bundle) as publisher:
        publisher.publish(alert)
        with pytest.raises(AlertRefused) as refused:
            publisher.publish(other)
        assert refused.value.field == "header.alert_id"
    assert written(bus) == [alert.to_avro()]


def test_threads_that_publish_the_same_keys_store_each_once(bus: MemoryBus, bundle: Bundle) -> None:
    """Of four threads with the same 25 keys, one stores each."""
    alerts = [[takedown(bundle, number) for number in range(25)] for _ in range(4)]
    fresh: list[str] = []
    with opened(bus, bundle) as publisher:

        def publish(mine: list[SiteTakenDown]) -> None:
            for number, alert in enumerate(mine):
                if not publisher.publish(alert, f"n-{number}").repeated:
                    fresh.append(f"n-{number}")

        threads = [threading.Thread(target=publish, args=(mine,)) for mine in alerts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(fresh) == sorted(f"n-{number}" for number in range(25))
    assert len(written(bus)) == 25


# -- order, and the end of a wait ----------------------------------------------------------------------------------


def test_the_next_revision_is_sent_after_the_answer_to_the_one_before(bundle: Bundle) -> None:
    """An answer that is lost sends the same revision again, before the next; another lineage does not wait."""
    writer = HeldWriter()
    first, other = takedown(bundle, 1), takedown(bundle, 2)
    second = revised(first, 2)
    one, two, far = (alert.to_avro() for alert in (first, second, other))
    with Publisher(bundle, writer=writer) as publisher:
        for alert in (second, first, other):
            publisher.publish(alert)
        wait_until(lambda: {two, far} <= set(writer.waiting) or {one, far} <= set(writer.waiting), WAIT_S, "two sent")
        assert not {one, two} <= set(writer.waiting)
        begun = one if one in writer.waiting else two
        writer.answer(begun, Failure(Kind.UNREACHABLE, "lost"))
        wait_until(lambda: one in writer.waiting, WAIT_S, "the first revision")
        assert two not in writer.waiting
        writer.answer(one)
        wait_until(lambda: two in writer.waiting, WAIT_S, "the second revision")
        assert writer.sent.count(far) == 1
        publisher.close(0)


def test_what_expires_in_the_spool_is_dead_and_says_so(bus: MemoryBus, bundle: Bundle) -> None:
    """It is not sent, and holds up nothing; its reason can be asked for."""
    clock = [now_ms()]
    short = takedown(bundle, 1, expires_at=datetime.now(UTC) + timedelta(days=1))
    after = revised(takedown(bundle, 2, lineage_id=short.header.lineage_id), 2)
    bus.take_down()
    with opened(bus, bundle, now=lambda: clock[0]) as publisher:
        publisher.publish(short)
        publisher.publish(after)
        publisher.close(0)
    clock[0] += 2 * 86_400_000
    bus.bring_up()
    with opened(bus, bundle, now=lambda: clock[0]) as publisher:
        assert publisher.flush(WAIT_S) == 0
        outcome = publisher.outcome(short.header.alert_id)
        assert outcome is not None
        assert (outcome.state, outcome.reason) == (State.DEAD, EXPIRED)
        assert publisher.status().troubles == (outcome,)
    assert written(bus) == [after.to_avro()]


def test_what_a_topic_can_never_take_is_dead(bundle: Bundle) -> None:
    """Too large for the broker: reported, and not tried again."""
    writer = HeldWriter()
    alert = takedown(bundle, 1)
    with Publisher(bundle, writer=writer) as publisher:
        publisher.publish(alert)
        wait_until(lambda: bool(writer.waiting), WAIT_S, "the alert sent")
        writer.answer(alert.to_avro(), Failure(Kind.TOO_LARGE, "broker's words"))
        assert publisher.flush(WAIT_S) == 0
        [trouble] = publisher.status().troubles
        assert trouble.state is State.DEAD
        assert trouble.reason == f"larger than {GREEN} takes; publish a shorter one"
    assert len(writer.sent) == 1


def test_a_refusing_topic_holds_up_no_other_and_is_tried_again(
    exchange: MemoryExchange, bus: MemoryBus, bundle: Bundle
) -> None:
    """Flush does not wait for what is refused, but for all else; the right given, that arrives too."""
    denied, fine = takedown(bundle, 1), takedown(bundle, 2, tlp="CLEAR")
    denial = _denial(exchange)
    exchange.acls.add(denial)
    with opened(bus, bundle) as publisher:
        publisher.publish(denied)
        wait_until(lambda: GREEN in publisher.status().held, WAIT_S, "the refusal")
        publisher.publish(fine)
        assert publisher.flush(WAIT_S) == 1
        assert written(bus, CLEAR) == [fine.to_avro()]
        reason = f"this login may not WRITE to {GREEN}; ask the secretariat for the right"
        assert publisher.status().held == {GREEN: reason}
        assert [one.reason for one in publisher.status().troubles] == [reason]
        exchange.acls.remove(denial)
        wait_until(lambda: publisher.flush(WAIT_S) == 0, WAIT_S, "the right found")
        assert (publisher.status().held, publisher.status().troubles) == ({}, ())
    assert written(bus) == [denied.to_avro()]


def _denial(exchange: MemoryExchange) -> AclRow:
    """What takes the right to write GREEN away."""
    [right] = [row for row in exchange.acls if row.operation == "WRITE" and row.name.startswith("alerts.")]
    return replace(right, permission="DENY", pattern="LITERAL", name=GREEN)


def test_flush_counts_all_that_is_refused(exchange: MemoryExchange, bus: MemoryBus, bundle: Bundle) -> None:
    """Two topics that refuse for two reasons: it waits for neither, and each says its own."""
    exchange.acls.add(_denial(exchange))
    bus.delete_topic(CLEAR)
    with opened(bus, bundle) as publisher:
        publisher.publish(takedown(bundle, 1))
        publisher.publish(takedown(bundle, 2, tlp="CLEAR"))
        assert publisher.flush(None) == 2
        held = publisher.status().held
        assert held.keys() == {GREEN, CLEAR}
        assert held[CLEAR] == f"{CLEAR} does not exist; is the jurisdiction in the coalition's policy?"
        publisher.close(0)


# -- keys ----------------------------------------------------------------------------------------------------------


def _assert_signed(record: BusRecord, key: SigningKey, bundle: Bundle) -> None:
    headers = dict(record.headers)
    assert headers["dsse-keyid"] == key.key_id.encode()
    kind = payload_type(bundle.coalition, schema("site-taken-down")).encode()
    assert verify(key.public, pae(kind, record.value or b""), headers["dsse-sig"] or b"")


def test_what_waits_is_signed_again_with_the_key_that_follows(bus: MemoryBus, bundle: Bundle) -> None:
    """Also while the publisher runs; the value stays the same, byte for byte."""
    alerts = [takedown(bundle, number) for number in range(3)]
    old, new = bundle.signing_key(), SigningKey.generate(bundle.member)
    with opened(bus, bundle) as publisher:
        publisher.publish(alerts[0])
        assert publisher.flush(WAIT_S) == 0
        bus.take_down()
        publisher.publish(alerts[1])
        wait_until(lambda: publisher.status().connection is not None, WAIT_S, "the trouble")
        new.save(bundle.path / SIGNING_KEY)
        publisher.publish(alerts[2])
        bus.bring_up()
        assert publisher.flush(WAIT_S) == 0
    records = bus.records(GREEN)
    assert {record.value for record in records} == {alert.to_avro() for alert in alerts}
    for record in records:
        _assert_signed(record, old if record.value == alerts[0].to_avro() else new, bundle)


def test_what_waits_is_signed_again_after_a_restart(bus: MemoryBus, bundle: Bundle) -> None:
    """The spool remembers which key has signed."""
    alert = takedown(bundle, 1)
    bus.take_down()
    with opened(bus, bundle) as publisher:
        publisher.publish(alert)
        publisher.close(0)
    new = SigningKey.generate(bundle.member)
    new.save(bundle.path / SIGNING_KEY)
    bus.bring_up()
    with opened(bus, bundle) as publisher:
        assert publisher.flush(WAIT_S) == 0
    [record] = bus.records(GREEN)
    assert record.value == alert.to_avro()
    _assert_signed(record, new, bundle)


def test_a_key_that_is_missing_for_a_while_loses_nothing(bus: MemoryBus, bundle: Bundle) -> None:
    """It is said why alerts wait; with the key back they go."""
    alert = takedown(bundle, 1)
    bus.take_down()
    with opened(bus, bundle) as publisher:
        publisher.publish(alert)
        path = bundle.path / SIGNING_KEY
        path.rename(path.with_name("aside"))
        bus.bring_up()
        wait_until(lambda: "signing key" in _reasons(publisher), WAIT_S, "the reason")
        assert written(bus) == []
        path.with_name("aside").rename(path)
        assert publisher.flush(WAIT_S) == 0
    assert written(bus) == [alert.to_avro()]


def _reasons(publisher: Publisher) -> str:
    return " ".join(str(one.reason) for one in publisher.status().troubles)


# -- rules ---------------------------------------------------------------------------------------------------------

SECRET = "4111 1111 1111 1111"  # noqa: S105  # a card number that everybody uses in tests
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"note": f"paid with {SECRET}"}, "header.note", "card number"),
    ({"note": "see https://x.example/"}, "header.note", "URL"),
    ({"note": "ask joe@x.example"}, "header.note", "e-mail address"),
    ({"note": "n" * 281}, "header.note", "longer than 280 characters"),
    ({"note": "secret \ud800"}, "alert", "cannot be encoded: a number beyond 64 bits, or text that is not Unicode"),
    ({"revision": 1 << 70}, "alert", "cannot be encoded: a number beyond 64 bits, or text that is not Unicode"),
    ({"revision": 0}, "header.revision", "1 or more"),
    ({"publisher": "hotline-de"}, "header.publisher", "must be hotline-se, whose bundle this is"),
    ({"jurisdiction": "de"}, "header.jurisdiction", "must be se, this member's"),
    (
        {"expires_at": datetime.now(UTC) + timedelta(days=400)},
        "header.expires_at",
        "at most 366 days after published_at",
    ),
    ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "header.expires_at", "in the past"),
    ({"status": "RETRACTED", "status_reason": "ERROR"}, "details", "null exactly when the status is RETRACTED"),
]


@pytest.mark.parametrize(("changes", "field", "rule"), REFUSED)
def test_what_breaks_a_rule_is_refused_by_field_and_rule(
    bus: MemoryBus, bundle: Bundle, changes: dict[str, Any], field: str, rule: str
) -> None:
    """Nothing is stored, and no content is in what a log would show."""
    plain = takedown(bundle, 1)
    alert = plain.model_copy(update={"header": plain.header.model_copy(update=changes)})
    with opened(bus, bundle) as publisher:
        with pytest.raises(AlertRefused) as refused:
            publisher.publish(alert, "case-1")
        assert (refused.value.field, refused.value.rule) == (field, rule)
        shown = "".join(traceback.format_exception(refused.value))
        assert not [word for word in (SECRET, "x.example", "nnnn", "secret", "d800", str(1 << 70)) if word in shown]
        assert sum(publisher.status().counts.values()) == 0
        assert not publisher.publish(plain, "case-1").repeated


def test_an_alert_beyond_64_kib_is_refused(bus: MemoryBus, bundle: Bundle) -> None:
    """As the exchange would."""
    plain = takedown(bundle, 1)
    assert plain.details is not None
    many = plain.details.model_copy(update={"url_tokens": plain.details.url_tokens * 1_000})
    with opened(bus, bundle) as publisher, pytest.raises(AlertRefused, match=r"^alert: \d+ bytes, 65536 at most$"):
        publisher.publish(plain.model_copy(update={"details": many}))


# -- the spool under it --------------------------------------------------------------------------------------------


def test_a_full_spool_refuses_until_the_broker_has_taken_some(bus: MemoryBus, bundle: Bundle) -> None:
    """What was refused is nowhere; what was taken arrives."""
    bus.take_down()
    with opened(bus, bundle, size_bytes_max=5_000) as publisher:
        alerts = (takedown(bundle, number) for number in range(100))
        stored = list(_until_full(publisher, alerts))
        refused = next(alerts)
        with pytest.raises(SpoolFull, match=r"is the broker reachable\? Nothing was stored"):
            publisher.publish(refused)
        assert 2 < len(stored) < 50
        assert publisher.waiting() == len(stored)
        assert publisher.outcome(refused.header.alert_id) is None
        bus.bring_up()
        assert publisher.flush(WAIT_S) == 0
        publisher.publish(refused)
    assert sorted(map(bytes, filter(None, written(bus)))) == sorted(one.to_avro() for one in [*stored, refused])


def _until_full(publisher: Publisher, alerts: Iterator[SiteTakenDown]) -> Iterator[SiteTakenDown]:
    for alert in alerts:
        try:
            publisher.publish(alert)
        except SpoolFull:
            return
        yield alert


class _FullOnce(Spool):
    """A spool whose disk is full when the first alert is signed again."""

    resigned = 0

    def resign(self, row: Row) -> None:
        """Fail the first time."""
        self.resigned += 1
        if self.resigned == 1:
            raise SpoolFull("full")
        super().resign(row)


def test_a_batch_that_meets_a_full_disk_is_sent_later(bus: MemoryBus, bundle: Bundle, tmp_path: Path) -> None:
    """No alert stays marked as sent that nobody has."""
    bus.take_down()
    with opened(bus, bundle) as publisher:
        for number in range(3):
            publisher.publish(takedown(bundle, number))
        publisher.close(0)
    SigningKey.generate(bundle.member).save(bundle.path / SIGNING_KEY)
    bus.bring_up()
    path = bundle.path / "spool" / "alerts.db"
    assert tmp_path in path.parents
    with _FullOnce(path) as spool:
        delivery = Delivery(spool, bus.writer(bundle.member), Signer(bundle), now_ms)
        try:
            assert delivery.flush(WAIT_S) == 0
        finally:
            delivery.stop()
        assert spool.resigned == 4
    assert len(written(bus)) == 3


def test_a_damaged_spool_refuses_the_caller(bus: MemoryBus, bundle: Bundle) -> None:
    """And the lock is let go, so that the remedy works in the same process."""
    path = bundle.path / "spool" / "alerts.db"
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(SpoolDamaged):
        opened(bus, bundle)
    path.rename(path.with_name("alerts.db.damaged"))
    with opened(bus, bundle) as publisher:
        publisher.publish(takedown(bundle, 1))
    assert len(written(bus)) == 1


def test_a_second_publisher_on_the_same_spool_is_refused(bus: MemoryBus, bundle: Bundle, tmp_path: Path) -> None:
    """One of its own works, and so does this one after the first is closed."""
    with opened(bus, bundle):
        with pytest.raises(SpoolInUse):
            opened(bus, bundle)
        opened(bus, bundle, spool=tmp_path / "own" / "alerts.db").close()
    opened(bus, bundle).close()


def test_a_closed_publisher_says_so(bus: MemoryBus, bundle: Bundle) -> None:
    """Every method but `close`."""
    publisher = opened(bus, bundle)
    publisher.close()
    publisher.close()
    calls: list[Callable[[], object]] = [
        lambda: publisher.publish(takedown(bundle, 1)),
        publisher.flush,
        publisher.status,
        publisher.waiting,
        lambda: publisher.outcome("any"),
    ]
    for call in calls:
        with pytest.raises(PublisherClosed, match="make a new Publisher"):
            call()


# -- processes -----------------------------------------------------------------------------------------------------


def test_what_publish_has_returned_survives_kill_9(bus: MemoryBus, bundle: Bundle) -> None:
    """Killed amid its calls, three times on the same spool; at most the call that was interrupted is more."""
    returned: dict[str, str] = {}
    for count in (1, 40, 90):
        with subprocess.Popen(
            [*PROCESSES, "endless", str(bundle.path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            out = cast("IO[str]", process.stdout)
            lines = [out.readline() for _ in range(count)]
            process.kill()
            lines += out.readlines()
        whole = [line.split() for line in lines if line.endswith("\n")]
        assert len(whole) >= count
        returned |= dict(whole)
    with Spool(bundle.path / "spool" / "alerts.db") as spool:
        stored = {row.alert_id: hashlib.sha256(row.value).hexdigest() for row in spool.take(100_000)}
    assert returned.items() <= stored.items()
    assert len(stored) - len(returned) <= 3
    with opened(bus, bundle) as publisher:
        assert publisher.flush(WAIT_S) == 0
    arrived = [hashlib.sha256(value or b"").hexdigest() for value in written(bus)]
    assert sorted(arrived) == sorted(stored.values())


@pytest.mark.parametrize("trouble", ["forks", "no-room"])
def test_forks_are_refused_and_a_full_file_system_is_survived(bundle: Bundle, trouble: str) -> None:
    """See `publishing_processes`, which checks itself."""
    done = subprocess.run(
        [*PROCESSES, trouble, str(bundle.path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
