"""The ACLs that decisions name by digest are on record, before the decision, for everyone who may read the audit."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

import pytest
from confluent_kafka import Message

from tests.load import TOPIC, load, publish
from tests.world import World, small_policy, takedown, tocsin, wait_until
from tocsin.consumers.acl import AclRow
from tocsin.consumers.snapshots import Snapshots
from tocsin.deploy.policy.acls import create_acls, delete_acls, read_acls
from tocsin.schemas.codec import decode
from tocsin.schemas.names import ACL_AUDIT_TOPIC, DELIVERY_HOST

ASKS = "reader-03"
SIGHT = [
    AclRow("TOPIC", f"alerts.{at}.", "PREFIXED", f"User:{ASKS}", DELIVERY_HOST, "READ", "ALLOW") for at in ("se", "de")
]
NO_RECORD = AclRow("TOPIC", ACL_AUDIT_TOPIC, "LITERAL", "User:fanout", "*", "WRITE", "DENY")
BOUND_S = 5.0


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coalition of this module's own, with two fan-out processes."""
    made = World(tmp_path_factory.mktemp("snapshots") / "home", small_policy())
    try:
        made.up()
        for name in ("one", "two"):
            made.start_fanout(name=name)
        made.wait_lanes(2)
        wait_until(lambda: made.log().count("acls_recorded") >= 1, 10, "the first snapshot")
        yield made
    finally:
        made.down()


def _recorded(world: World) -> list[Message]:
    """The records of snapshots."""
    records = world.read([ACL_AUDIT_TOPIC])
    return [one for one in records if decode(one.value() or b"")[0].subject == "acl-snapshot"]


def _rows_by(world: World) -> Iterator[tuple[Message, frozenset[AclRow]]]:
    """Every decision, and the rows of its digest, by what was on record when it was appended."""
    lanes = [topic for topic in world.topics("audit.") if len(topic) == len("audit.xx")]
    decisions, records = sorted(world.read(lanes), key=_appended), deque(sorted(_recorded(world), key=_appended))
    snapshots = Snapshots()
    for decision in decisions:
        while records and _appended(records[0]) <= _appended(decision):
            snapshots.apply(records.popleft().value())
        yield decision, snapshots.rows(decode(decision.value() or b"")[1]["acl_digest"])


def _appended(message: Message) -> int:
    return message.timestamp()[1]


def test_every_decision_is_explained_by_the_acls_that_were_on_record_before_it(exchange: World) -> None:
    """While sight comes and goes: each rule is among the rows of the decision's digest, whichever process decided."""
    admin = exchange.admin()
    with load(exchange), load(exchange, publisher_id="hotline-de"):
        for row in (*SIGHT, *SIGHT):
            create_acls(admin, [row])
            time.sleep(1.5)
            delete_acls(admin, [row])
            time.sleep(1.0)
    wait_until(lambda: len(exchange.decisions()) >= len(exchange.read([TOPIC])), 30, "all decided")
    given: set[tuple[str, str]] = set()
    digests: set[bytes] = set()
    workers: set[str] = set()
    for message, rows in _rows_by(exchange):
        decision, texts = decode(message.value() or b"")[1], {row.text() for row in rows}
        assert {one["rule"] for one in decision["given"]} <= texts
        given |= {(one["member"], one["rule"]) for one in decision["given"]}
        digests.add(decision["acl_digest"])
        workers.add(decision["worker"])
    assert {(ASKS, row.text()) for row in SIGHT} <= given
    assert len(digests) >= 3
    assert workers == {"one", "two"}


def test_a_digest_is_shown_as_rows(exchange: World) -> None:
    """One that is not on record is a failure, and no digest at all a wrong word."""
    publish(exchange.member("hotline-se"), takedown(exchange.member("hotline-se")))
    exchange.wait_decided(1)
    decision = exchange.decisions()[-1]
    words = ["policy", "snapshot", "--home", str(exchange.home)]
    shown = {row["ACL"] for row in tocsin(*words, decision["acl_digest"].hex())}
    assert {one["rule"] for one in decision["given"]} <= shown
    assert shown == {row.text() for row in read_acls(exchange.admin()) if row.resource_type == "TOPIC"}
    assert tocsin(*words, "00" * 32, code=1) == []
    assert tocsin(*words, "00", code=2) == []


def test_a_process_that_starts_again_writes_nothing_that_is_there(exchange: World) -> None:
    """It knows what others have written, too."""
    lanes, recorded = exchange.log().count("lane_taken"), len(_recorded(exchange))
    exchange.stop_fanouts()
    exchange.start_fanout(name="three")
    exchange.wait_lanes(lanes + 2)
    publish(exchange.member("hotline-se"), takedown(exchange.member("hotline-se")))
    wait_until(lambda: {"three"} <= {one["worker"] for one in exchange.decisions()}, 30, "a decision of its own")
    assert len(_recorded(exchange)) == recorded


def test_what_cannot_be_put_on_record_decides_nothing(exchange: World) -> None:
    """Nothing is decided or delivered until it can; sight that ends meanwhile has ended in time."""
    wide = [row for row in read_acls(exchange.admin()) if row.principal == "User:reader-00" and "alerts." in row.name]
    admin, hotline = exchange.admin(), exchange.member("hotline-se")
    with load(exchange) as published:
        wait_until(lambda: len(published) > 50, 20, "load")
        create_acls(admin, [NO_RECORD])
        delete_acls(admin, wide)
        gone_at_ms = time.time() * 1_000
        time.sleep(BOUND_S + 1)
        decided = len(exchange.decisions())
        time.sleep(2)
        assert len(exchange.decisions()) == decided
    assert "cannot be put on record in audit.acls" in exchange.log()
    assert [one for one in exchange.inbox("reader-01") if _appended(one) > gone_at_ms + BOUND_S * 1_000] == []
    delete_acls(admin, [NO_RECORD])
    publish(hotline, takedown(hotline))
    wait_until(lambda: len(exchange.decisions()) >= len(exchange.read([TOPIC])), 30, "all decided")
    late = [one for one in exchange.inbox("reader-00") if _appended(one) > gone_at_ms + BOUND_S * 1_000]
    assert late == []
    assert all(rows for _, rows in _rows_by(exchange))
