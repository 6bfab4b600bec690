"""Processes that publish, for tests of what becomes of the spool when one ends, forks or is given no room.

python -m tests.unit.producers.publishing_processes endless|forks|no-room BUNDLE
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.world import takedown
from tocsin.producers.errors import SpoolError, SpoolFull, SpoolInUse
from tocsin.producers.publisher import Publisher
from tocsin.producers.spool_rows import State
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.memory import MemoryBus

ROOM_BYTES = 64 << 10


def opened(bundle: Bundle) -> Publisher:
    """A publisher whose broker is away."""
    bus = MemoryBus()
    bus.take_down()
    return Publisher(bundle, writer=bus.writer(bundle.member))


def endless(bundle: Bundle) -> None:
    """Publish for ever; after each return print the alert's id and its bytes' hash."""
    with opened(bundle) as publisher:
        for number in count():
            alert = takedown(bundle, number)
            publisher.publish(alert)
            print(alert.header.alert_id, hashlib.sha256(alert.to_avro()).hexdigest(), flush=True)  # noqa: T201  # for the test


def forks(bundle: Bundle) -> None:
    """The fork is refused and does no harm; the parent goes on, and lets go of the spool though a fork still lives."""
    publisher = opened(bundle)
    first, second = takedown(bundle, 1), takedown(bundle, 2)
    publisher.publish(first)
    child = os.fork()
    if child == 0:
        calls: list[Callable[[], object]] = [lambda: publisher.publish(second), publisher.status, publisher.waiting]
        refused = [_refused(call) for call in calls]
        publisher.close()
        os._exit(0 if all(refused) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the fork was not refused"
    assert not publisher.publish(second).repeated
    lives = os.fork()
    if lives == 0:
        signal.pause()
    try:
        publisher.close(0)
        with opened(bundle) as again:
            assert again.waiting() == 2
            again.close(0)
    finally:
        os.kill(lives, signal.SIGKILL)
        os.waitpid(lives, 0)


def _refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except SpoolInUse as error:
        return "fork" in str(error)
    return False


def no_room(bundle: Bundle) -> None:
    """The file system takes no more; when it does again, the same key publishes the same alert, and nothing is lost."""
    stored = 0
    publisher = opened(bundle)
    wal = bundle.path / "spool" / "alerts.db-wal"
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + ROOM_BYTES, hard))
    try:
        while stored < ROOM_BYTES:
            publisher.publish(takedown(bundle, stored), f"n-{stored}")
            stored += 1
    except SpoolError as error:
        assert not isinstance(error, SpoolFull), error  # noqa: PT017  # no test, a process of one
        assert "check the disk, then publish again with the same idempotency key" in str(error), error  # noqa: PT017
    assert 0 < stored < ROOM_BYTES, stored
    publisher.close(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    with opened(bundle) as publisher:
        assert all(publisher.publish(takedown(bundle, n), f"n-{n}").repeated for n in range(stored))
        publisher.publish(takedown(bundle, stored), f"n-{stored}")
        counts = publisher.status().counts
        assert counts[State.NEW] + counts[State.SENT] == stored + 1, counts
        publisher.close(0)


if __name__ == "__main__":
    {"endless": endless, "forks": forks, "no-room": no_room}[sys.argv[1]](Bundle.load(Path(sys.argv[2])))
