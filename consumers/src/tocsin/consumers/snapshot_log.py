"""Puts ACL snapshots on record in the topic `audit.acls`, before anything is decided by them."""

from __future__ import annotations

from contextlib import closing
from typing import Final

import structlog

from tocsin.consumers.errors import SnapshotNotRecorded, TopicsUnreadable
from tocsin.consumers.kafka import KafkaWriter
from tocsin.consumers.sight import Snapshot
from tocsin.consumers.snapshots import WHOLE_EVERY_MS, Register
from tocsin.consumers.topics_reader import TopicsReader
from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.bus import Failure
from tocsin.schemas.names import ACL_AUDIT_TOPIC

WRITE_S: Final = 5.0

log = structlog.get_logger()


class SnapshotLog:
    """What one process puts on record, as `worker`. Used by one thread.

    Where nothing has changed, `keep` costs a look into a dictionary. It reads the topic once, when it is first called.
    The writer is not idempotent: what comes twice or in another order does no harm.
    """

    def __init__(self, config: KafkaConfig, worker: str) -> None:
        self._config = config
        self._worker = worker
        self._register: Register | None = None
        self._writer = KafkaWriter(config)

    def keep(self, snapshot: Snapshot) -> None:
        """Return once all replicas have what says which rows `snapshot` has, from this or another process.

        Raises:
            SnapshotNotRecorded: they do not, after WRITE_S at most; what is not written is given up.
        """
        register = self._register = self._register or self._read(snapshot.read_at_ms)
        missing = register.missing(snapshot, self._worker)
        if missing:
            self._write(snapshot.digest, missing)
            log.info("acls_recorded", digest=snapshot.digest.hex(), records=len(missing))
        register.wrote(snapshot)

    def _read(self, now_ms: int) -> Register:
        register = Register()
        with closing(TopicsReader(self._config, group=f"{self._config['sasl.username']}.snapshots")) as reader:
            try:
                # what is older does not count any more
                reader.follow_since(ACL_AUDIT_TOPIC, now_ms - WHOLE_EVERY_MS)
                reader.read_to_end(lambda record: register.apply(record.value))
            except TopicsUnreadable as failure:
                raise _not_recorded(str(failure)) from failure
        return register

    def _write(self, digest: bytes, values: list[bytes]) -> None:
        failures: list[Failure] = []

        def note(failure: Failure | None) -> None:
            if failure is not None:
                failures.append(failure)

        for value in values:
            self._writer.send(ACL_AUDIT_TOPIC, digest, value, [], note)
        if self._writer.flush(WRITE_S) or failures:
            why = failures[0].detail if failures else f"no answer in {WRITE_S:.0f} s"
            self._writer.close()
            self._writer = KafkaWriter(self._config)
            raise _not_recorded(why)


def _not_recorded(why: str) -> SnapshotNotRecorded:
    return SnapshotNotRecorded(
        f"the ACLs cannot be put on record in {ACL_AUDIT_TOPIC}, so nothing is decided by them: {why}; is the broker"
        " up, and has `tocsin policy apply` of this release given this login READ and WRITE there?"
    )
