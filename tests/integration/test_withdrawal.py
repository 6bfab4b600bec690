"""Corrections, retractions and expiry on a real Kafka: who is told, and what is left in the inboxes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.load import publish
from tests.world import World, revised, takedown, tocsin, wait_until
from tocsin.consumers.copies import Received
from tocsin.consumers.inbox import Inbox
from tocsin.consumers.withdrawals_reader import WithdrawalsReader
from tocsin.producers.publisher import Publisher
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.uuid7 import uuid7

EVERYONE = ("reader-00", "reader-01", "reader-02")


def _retracted(alert: SiteTakenDown, revision: int) -> SiteTakenDown:
    told = {"alert_id": str(uuid7()), "revision": revision, "status": "RETRACTED", "status_reason": "FALSE_POSITIVE"}
    return SiteTakenDown(header=alert.header.model_copy(update=told), details=None)


def _wait(world: World, member: str, key: str, value: bytes | None) -> None:
    wait_until(
        lambda: any((m.key(), m.value()) == (key.encode(), value) for m in world.inbox(member)), 20, f"{key}: {member}"
    )


def _decision(world: World, alert: SiteTakenDown) -> dict[str, Any]:
    [decision] = [one for one in world.decisions() if one["alert_id"] == alert.header.alert_id]
    return decision


def _received(world: World, member: str) -> list[Received]:
    with Inbox(world.member(member), follow=False, group="withdrawal", include_erasures=True) as inbox:
        received = list(inbox)
        assert inbox.unverified == {}
    return received


def test_a_retraction_reaches_everyone_who_was_ever_given_it(world: World) -> None:
    """Copies are erased and each reader holds a verified notice; a later revision is refused aloud."""
    bundle = world.member("hotline-se")
    first = takedown(bundle, 71)
    second, last, late = revised(first, 2), _retracted(first, 7), revised(first, 8)
    key = f"hotline-se/{first.header.lineage_id}"
    publish(bundle, first, second)
    for reader in EVERYONE:
        _wait(world, reader, key, second.to_avro())
    publish(bundle, last, late)
    for reader in EVERYONE:
        _wait(world, reader, key, None)
        mine = [one for one in _received(world, reader) if one.key.endswith(key)]
        assert [one.kind.value for one in mine] == ["alert", "alert", "erasure", "notice"]
        notice = mine[-1].notice
        assert notice is not None
        assert (notice["kind"], notice["lineage_id"]) == ("WITHDRAWN", first.header.lineage_id)
    assert sorted(_decision(world, last)["erased"]) == list(EVERYONE)
    assert _decision(world, last)["given"] == []
    wait_until(lambda: any(one["alert_id"] == late.header.alert_id for one in world.decisions()), 20, "late")
    assert _decision(world, late)["reason"] == "transition"


def test_what_expires_is_erased(world: World) -> None:
    """By itself and without a notice, a moment after its time."""
    bundle = world.member("hotline-se")
    alert = takedown(bundle, 72, expires_at=datetime.now(UTC) + timedelta(seconds=6))
    key = f"hotline-se/{alert.header.lineage_id}"
    publish(bundle, alert)
    _wait(world, "reader-00", key, alert.to_avro())
    _wait(world, "reader-00", key, None)
    kinds = [one["kind"] for one in world.decisions() if one["lineage_id"] == alert.header.lineage_id]
    assert kinds == ["ALERT", "EXPIRED"]
    assert not [m for m in world.inbox("reader-00") if m.key() == f"withdrawn/{key}".encode()]


def test_the_operator_sees_who_has_not_acknowledged(world: World) -> None:
    """Exit code 3 while somebody is overdue, and 0 once all have acknowledged; the service says the same."""
    bundle = world.member("hotline-se")
    alert = takedown(bundle, 40)
    publish(bundle, alert)
    key = f"hotline-se/{alert.header.lineage_id}"
    _wait(world, "reader-02", key, alert.to_avro())
    with Publisher(bundle) as publisher:
        publisher.retract(alert.header.lineage_id, "ERROR", topic=alert.topic)
        assert publisher.flush(30) == 0
    _wait(world, "reader-02", key, None)
    words = ["withdrawals", "--home", str(world.home), "--lane", "se", "--overdue"]
    assert _states(tocsin(*words, "0", code=3), key)["reader-02"] == ("WAITING", True)
    with WithdrawalsReader(world.service("fanout"), []) as reader:
        assert reader.read() == []
        reader.follow(["se"])  # a jurisdiction has come since the service was started
        assert key in {one.lineage for one in reader.read()}
    with _serving(words) as metrics:
        wait_until(lambda: 'overdue{lane="se",member="reader-02"}' in metrics(), 20, "the metric")
        for member in ("reader-00", "reader-01", "reader-02"):
            with Inbox(world.member(member), follow=False) as inbox:
                for _ in inbox:
                    pass
        assert _states(tocsin(*words, "24"), key)["reader-02"] == ("ACKNOWLEDGED", False)
        wait_until(lambda: 'overdue{lane="se",member="reader-02"}' not in metrics(), 20, "the metric is gone")
    assert tocsin("withdrawals", "--home", str(world.home), "--lane", "xx", code=2) == []


def _states(rows: list[dict[str, Any]], key: str) -> dict[str, tuple[str, bool]]:
    return {row["member"]: (row["state"], row["overdue"]) for row in rows if row["lineage"] == key}


@contextmanager
def _serving(words: list[str]) -> Generator[Callable[[], str]]:
    """The service, whose metrics can be asked for; Ctrl-C ends it cleanly."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    program = "from tocsin.deploy.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words, "0", "--metrics-port", port, "--every", "1"], stdout=subprocess.DEVNULL
    )

    def metrics() -> str:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
        return ""

    try:
        yield metrics
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
