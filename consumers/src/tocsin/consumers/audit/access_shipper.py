"""The shipper: puts the authorizer logs of the brokers of this machine on record in the topic `audit.access`.

It keeps nothing of its own. Where a log was left, the topic says, in the same record as what was read up to there; so
it can be killed at any moment, and goes on with the line after the last one on record (`access_log` says why nothing
comes twice).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog

from tocsin.consumers.audit.access_files import log_files, sources
from tocsin.consumers.audit.access_log import AccessTopic, Part, claim_of, value_of
from tocsin.consumers.audit.access_parts import bytes_behind, parts
from tocsin.consumers.directory_reader import wall_clock_ms
from tocsin.consumers.errors import AccessNotShipped, TocsinConsumerError
from tocsin.consumers.kafka import KafkaWriter
from tocsin.consumers.topics_reader import TopicsReader
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord, Failure
from tocsin.schemas.names import ACCESS_AUDIT_TOPIC

WRITE_S: Final = 10.0
_TAIL: Final = 200
_LONGER: Final = 8

log = structlog.get_logger()


class Shipper:
    """Ships the logs in the folders under `logs`, each a broker's. `bundle` is the shipper's."""

    def __init__(self, bundle: Bundle, logs: Path) -> None:
        config = bundle.kafka_config()
        # parts of a log repeat each other
        self._writing = {**config, "compression.type": "zstd"}
        self._logs = logs
        self._run = str(uuid4())
        self._claimed: frozenset[str] = frozenset()
        self._superseded: str | None = None
        self._topic = AccessTopic()
        self._reader = TopicsReader(config, group=f"{bundle.config.login}.none")
        self._writer = KafkaWriter(self._writing)
        self.records = self.lines = self.unread = self.lost = 0
        """What was shipped since the start; `lost` is how often a log was gone before it was read."""
        self.lag: dict[str, int] = {}
        """Bytes of each log that are not on record, as of the last look at it."""

    def look(self) -> None:
        """Put all that the logs say on record.

        Raises:
            TopicsUnreadable, AccessNotShipped: it cannot be done now; call it again.
        """
        names = sources(self._logs)
        if not names:
            raise AccessNotShipped(
                f"{self._logs}: no folder in it has an access.log; name the folder of the brokers' folders with --logs"
            )
        try:
            self._look(names)
        except TocsinConsumerError:
            # a record may still be on its way: what comes under the old claim does not count after the next one
            self._claimed = frozenset()
            raise

    def _look(self, names: Sequence[str]) -> None:
        self._refuse_superseded()
        if self._claimed.issuperset(names):
            self._reader.read_to_end(self._take)
        else:
            self._claim(names)
        for name in names:
            claim = self._topic.claim(name, self._run)
            if claim is None:
                self._superseded = name
                self._refuse_superseded()
            else:
                self._ship(name, claim)

    def _refuse_superseded(self) -> None:
        if self._superseded is not None:
            raise AccessNotShipped(
                f"{self._superseded}: another shipper has taken this log over; let one of the two end"
            )

    # -- where it was ------------------------------------------------------------------------------------------------

    def _claim(self, names: Sequence[str]) -> None:
        for name in names:
            self._write(claim_of(name, self._run, wall_clock_ms()))
        self._read_back(names)
        self._claimed = frozenset(names)
        log.info("logs_claimed", sources=[*names])

    def _read_back(self, names: Sequence[str]) -> None:
        """Read the end of the topic: as much of it as says how far each log is on record."""
        oldest, end = (bound[ACCESS_AUDIT_TOPIC] for bound in self._reader.bounds([ACCESS_AUDIT_TOPIC]))
        begin, length = end, _TAIL
        self._topic = AccessTopic()
        while begin > oldest and any(self._topic.position(name) is None for name in names):
            begin, length = max(oldest, end - length), length * _LONGER
            self._topic = AccessTopic()
            self._reader.follow_from({ACCESS_AUDIT_TOPIC: begin})
            self._reader.read_to_end(self._take)

    def _take(self, record: BusRecord) -> None:
        self._topic.take(record)

    # -- shipping ----------------------------------------------------------------------------------------------------

    def _ship(self, name: str, claim: int) -> None:
        position = self._topic.position(name)
        with log_files(self._logs / name) as files:
            self.lag[name] = bytes_behind(files, position)
            for part in parts(files, position, wall_clock_ms()):
                self._write(value_of(name, self._run, claim, part))
                self._count(name, part)

    def _count(self, name: str, part: Part) -> None:
        self.lag[name] -= part.end - part.begin
        self.records += 1
        self.lines += part.lines
        self.unread += len(part.unread)
        if part.kind == "LOST":
            self.lost += 1
            log.error("log_lost", source=name, log_from=part.log_from, log_to=part.log_to)

    def _write(self, value: bytes) -> None:
        """Return once it is on record; one at a time, so that they are in their order."""
        failures: list[Failure] = []

        def note(failure: Failure | None) -> None:
            if failure is not None:
                failures.append(failure)

        # no key, which nothing would seal
        self._writer.send(ACCESS_AUDIT_TOPIC, None, value, [], note)
        if self._writer.flush(WRITE_S) or failures:
            why = failures[0].detail if failures else f"no answer in {WRITE_S:.0f} s"
            self._writer.close()
            self._writer = KafkaWriter(self._writing)
            raise AccessNotShipped(
                f"{ACCESS_AUDIT_TOPIC} cannot be written: {why}; is the broker up, and has `tocsin policy apply` of"
                " this release given this login WRITE there?"
            )

    def close(self) -> None:
        """Let go of the connections."""
        self._reader.close()
        self._writer.close()
