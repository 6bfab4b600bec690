"""The publisher's client library, when something fatal happens to it; no broker answers here."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from tocsin.producers import kafka
from tocsin.producers.kafka import KafkaWriter
from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.bus import Failure

NOBODY: KafkaConfig = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


class DyingProducer(Producer):
    """The client library, which twice meets what is fatal: first in a poll, then in the flush that follows."""

    deaths = 2

    def _die(self) -> None:
        if DyingProducer.deaths:
            DyingProducer.deaths -= 1
            raise KafkaException(KafkaError(KafkaError._INCONSISTENT, "planted", fatal=True))

    def poll(self, timeout: float = -1) -> int:
        """Raise, as the library does for what is fatal, or poll."""
        self._die()
        return super().poll(timeout)

    def flush(self, timeout: float = -1) -> int:
        """Raise, or flush."""
        self._die()
        return super().flush(timeout)


def test_a_fatal_error_makes_it_a_new_client_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was on its way is reported as not done, and the next record goes out through another client."""
    made: list[DyingProducer] = []

    def make(config: dict[str, Any]) -> DyingProducer:
        made.append(DyingProducer(config))
        return made[-1]

    monkeypatch.setattr(kafka, "Producer", make)
    writer = KafkaWriter(NOBODY)
    done: list[Failure | None] = []
    for number in range(3):
        writer.send("alerts.se.site-taken-down.green", b"%d" % number, b"x", [], done.append)
    writer.poll(0)
    assert len(done) == 3
    assert None not in done
    assert len(made) == 2
    writer.send("alerts.se.site-taken-down.green", b"3", b"x", [], done.append)
    writer.poll(0)
    assert len(made[1]) == 1
    writer.close()
    assert len(done) == 4
