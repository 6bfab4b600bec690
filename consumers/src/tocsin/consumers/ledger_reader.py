"""Reads a lane's ledger until its last stable offset is its end: the middle part of taking a lane over."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tocsin.consumers.contents import FileContents
from tocsin.consumers.errors import LaneFenced, LedgerHangs
from tocsin.consumers.ledger import Ledger
from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.names import ledger_topic

STABLE_WAIT_MAX_S = 40.0
STILL_MAX_S = 20.0


class LedgerReader:
    """Keeps a `Ledger` up to date with its topic. Reading on after an earlier read is enough: `apply` may repeat.

    The lineages' bytes are kept in an unnamed file in the folder `scratch`.
    """

    def __init__(self, config: KafkaConfig, jurisdiction: str, scratch: Path | None = None) -> None:
        self._contents = FileContents(scratch)
        self.ledger = Ledger(self._contents)
        self._topic = ledger_topic(jurisdiction)
        self._next = 0
        self._config = {
            **config,
            "group.id": f"fanout.{jurisdiction}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",  # compaction removes the first offsets, which is not a loss
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # the end of the topic is told at once
            "check.crcs": True,
            "queued.max.messages.kbytes": 16_384,  # what is fetched ahead counts against the memory of the lane
            "fetch.queue.backoff.ms": 5,  # by default, fetching rests for a second whenever that much waits
        }
        self._admin = AdminClient(dict(config))

    def close(self) -> None:
        """Let go of the lineages' bytes."""
        self._contents.close()

    def read_to_end(self) -> Ledger:
        """Apply everything committed. Call only after both transactional ids are fenced.

        Raises:
            LedgerHangs: somebody's transaction stays open on the ledger.
            LaneFenced: it cannot be read.
        """
        end = self._stable_end()
        if end <= self._next:
            return self.ledger
        consumer = Consumer(self._config)
        try:
            consumer.assign([TopicPartition(self._topic, 0, self._next)])
            before, moved_at = self._next, time.monotonic()
            while self._next < end:
                self._take(consumer)
                if self._next > before:
                    before, moved_at = self._next, time.monotonic()
                elif time.monotonic() - moved_at > STILL_MAX_S:
                    raise LaneFenced(f"{self._topic}: nothing came for {STILL_MAX_S:.0f} s")
        finally:
            consumer.close()
        return self.ledger

    def _take(self, consumer: Consumer) -> None:
        for message in consumer.consume(5_000, 0.05):
            error = message.error()
            if error is None:
                self.ledger.apply(cast("bytes", message.key()), message.value())
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name
                raise LaneFenced(f"{self._topic}: {error.str()}")
            self._next = cast("int", message.offset()) + (0 if error else 1)

    def _stable_end(self) -> int:
        deadline = time.monotonic() + STABLE_WAIT_MAX_S
        while time.monotonic() < deadline:
            stable, end = self._offset(IsolationLevel.READ_COMMITTED), self._offset(IsolationLevel.READ_UNCOMMITTED)
            if stable == end:
                return end
            time.sleep(0.05)
        raise LedgerHangs(
            f"{self._topic}: a transaction has been open for {STABLE_WAIT_MAX_S:.0f} s, though both ids are fenced; "
            f"if this comes again, Kafka has lost its end: see 'A transaction that hangs' in docs/ARCHITECTURE.md"
        )

    def _offset(self, isolation: IsolationLevel) -> int:
        partition = TopicPartition(self._topic, 0)
        try:
            futures = self._admin.list_offsets(
                {partition: cast("OffsetSpec", OffsetSpec.latest())}, isolation_level=isolation, request_timeout=10
            )
            return int(futures[partition].result().offset)
        except KafkaException as failure:
            raise LaneFenced(f"{self._topic}: {failure.args[0]}") from failure
