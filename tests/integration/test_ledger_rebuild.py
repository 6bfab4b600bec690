"""The ledger on a real Kafka is what the record and the copies say, and whoever changes it is found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.load import publish
from tests.world import World, revised, running, small_policy, takedown, tocsin, wait_until
from tocsin.consumers.acl import AclRow
from tocsin.consumers.entry import Entry
from tocsin.consumers.ledger import MARK_KEY, Ledger, encode_entry, encode_mark
from tocsin.deploy.policy.acls import create_acls, delete_acls
from tocsin.producers.publisher import Publisher
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import DELIVERY_HOST

LEDGER = "ledger.se"
GRANT = AclRow("TOPIC", "alerts.se.site-taken-down.amber", "LITERAL", "User:reader-02", DELIVERY_HOST, "READ", "ALLOW")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coalition of its own: its ledger is damaged."""
    with running(tmp_path_factory.mktemp("ledger") / "home", small_policy()) as made:
        yield made


def _key(alert: SiteTakenDown) -> str:
    return f"hotline-se/{alert.header.lineage_id}"


def _wait(world: World, member: str, alert: SiteTakenDown, value: bytes | None) -> None:
    key = _key(alert).encode()
    wait_until(lambda: any((m.key(), m.value()) == (key, value) for m in world.inbox(member)), 20, f"{key!r}: {member}")


def _live(world: World) -> tuple[SiteTakenDown, SiteTakenDown]:
    """All that can become of an alert. Returns one that was corrected, and one that was given and taken back."""
    bundle = world.member("hotline-se")
    corrected, retracted, hidden = takedown(bundle, 1), takedown(bundle, 2), takedown(bundle, 3, tlp="AMBER")
    expiring = takedown(bundle, 4, expires_at=datetime.now(UTC) + timedelta(seconds=6))
    publish(bundle, corrected, retracted, hidden, expiring)
    for alert in (corrected, retracted, expiring):
        _wait(world, "reader-00", alert, alert.to_avro())
    newer = revised(corrected, 2)
    publish(bundle, newer)
    with Publisher(bundle) as publisher:
        publisher.retract(retracted.header.lineage_id, "ERROR", topic=retracted.topic)
        assert publisher.flush(30) == 0
    create_acls(world.admin(), [GRANT])
    _wait(world, "reader-02", hidden, hidden.to_avro())
    delete_acls(world.admin(), [GRANT])
    # what loses sight is noticed within a second; a correction then takes its copy back
    wait_until(lambda: _sight(world) == 0, 20, "sight is lost")
    publish(bundle, revised(hidden, 2))
    _wait(world, "reader-02", hidden, None)
    _wait(world, "reader-00", corrected, newer.to_avro())
    _wait(world, "reader-00", retracted, None)
    _wait(world, "reader-00", expiring, None)
    return newer, hidden


def _sight(world: World) -> int:
    rows = tocsin("sight", "--as", str(world.home / "members" / "reader-02"))
    return sum(row["topic"] == GRANT.name for row in rows)


def _check(world: World, *lanes: str, code: int = 0) -> list[dict[str, Any]]:
    return tocsin("ledger", "rebuild", *lanes, "--check", "--home", str(world.home), code=code)


def _append(world: World, key: bytes, value: bytes | None) -> None:
    producer = Producer(world.cluster.admin_config())
    producer.produce(LEDGER, value, key, 0)
    assert producer.flush(10) == 0


def _kept(world: World) -> Ledger:
    ledger = Ledger()
    for message in world.read([LEDGER]):
        ledger.apply(message.key() or b"", message.value())
    return ledger


def test_the_kept_ledger_is_what_can_be_rebuilt(home: World) -> None:
    """While the fan-out runs and when it has stopped; a changed entry is then named, and nothing of its content is."""
    corrected, hidden = _live(home)
    kinds = {one["kind"] for one in home.decisions()}
    assert kinds >= {"ALERT", "GAINED", "EXPIRED"}
    assert _check(home) == []
    home.stop_fanouts()
    assert _check(home, "se") == []
    kept = _kept(home)
    entry = kept.entries[_key(corrected)]
    _append(home, entry.key.encode(), encode_entry(_given_to_another(entry)))
    _append(home, _key(hidden).encode(), None)
    rows = _check(home, code=3)
    assert {(row["lane"], row["lineage"], row["field"]) for row in rows} == {
        ("se", entry.key, "given reader-00"),
        ("se", entry.key, "given reader-03"),
        ("se", _key(hidden), "lineage"),
    }
    _append(home, entry.key.encode(), b"\x00damaged")
    assert (entry.key, "record") in {(row["lineage"], row["field"]) for row in _check(home, "se", code=3)}
    _append(home, entry.key.encode(), encode_entry(entry))
    _append(home, _key(hidden).encode(), encode_entry(kept.entries[_key(hidden)]))
    assert _check(home) == []
    _append(home, MARK_KEY, encode_mark(replace(kept.mark, seq=kept.mark.seq + 1)))
    assert [(row["lineage"], row["field"]) for row in _check(home, "se", code=3)] == [("mark", "seq")]


def _given_to_another(entry: Entry) -> Entry:
    """As if another member had been given it in place of one who was."""
    return replace(
        entry,
        given=tuple(
            replace(one, members=tuple("reader-03" if member == "reader-00" else member for member in one.members))
            for one in entry.given
        ),
    )


def test_a_lane_goes_on_with_a_rebuilt_ledger(home: World) -> None:
    """One that is there is never written over; one that is gone is, and then nobody is given anything twice."""
    words = ["ledger", "rebuild", "se", "--home", str(home.home)]
    assert _check(home, "xx", code=2) == []
    assert tocsin(*words, code=1) == []
    home.stop_fanouts()
    bundle = home.member("hotline-se")
    admin = home.admin()  # held, or it ends before it has answered
    for future in admin.delete_topics([LEDGER]).values():
        future.result(10)
    wait_until(lambda: LEDGER not in home.topics("ledger."), 20, "the ledger is gone")
    home.apply()
    before = len(home.inbox("reader-00"))
    assert tocsin(*words) == []
    assert _check(home) == []
    taken = home.log().count("lane_taken")
    home.start_fanout()
    home.wait_lanes(taken + 2)
    alert = takedown(bundle, 9)
    publish(bundle, alert)
    _wait(home, "reader-00", alert, alert.to_avro())
    assert len(home.inbox("reader-00")) == before + 1
    assert _check(home) == []
