"""The sealer: reads what is put on record, in its order, and keeps a sealed log of each topic in a folder of its own.

It has a login that may read the record and write nothing but checkpoints, and a key of its own. What is sealed is on
disk before its head is signed, and a head is on disk before it goes to `audit.checkpoints`; so the sealer can be killed
at any moment, and goes on with the record after the last one in its logs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog
from confluent_kafka.admin import AdminClient

from tocsin.consumers.audit.facts import seal_of, sealed_offset
from tocsin.consumers.audit.logs import SEALER, is_sealed, origin_of
from tocsin.consumers.audit.note import Signer
from tocsin.consumers.audit.sealed_log import Folder, SealedLog
from tocsin.consumers.audit.tiles import TILE_WIDTH, read_bundle
from tocsin.consumers.errors import CheckpointsNotWritten, LogInvalid
from tocsin.consumers.kafka import KafkaWriter
from tocsin.consumers.topics_reader import TopicsReader, topic_ids, topic_names
from tocsin.consumers.watch import ADMIN
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord, Failure
from tocsin.schemas.names import CHECKPOINTS_TOPIC

LEAVES_MAX: Final = TILE_WIDTH
"""Sealed at once when so many wait."""
LISTED_EVERY_S: Final = 10.0
WRITE_S: Final = 5.0
_TOPIC_ID: Final = "topic-id"

log = structlog.get_logger()


class TopicLog:
    """The log of one topic, by the only process that writes it. `signer` has the log's origin as its name.

    The topic may have another id than before if it was moved to another cluster and `moved` says from which offset to
    which it reaches there: the log goes on between them.

    Raises:
        LogInvalid: the folder is in use or damaged, or is the log of another topic of this name.
    """

    def __init__(self, folder: Path, topic_id: str, signer: Signer, moved: tuple[int, int] | None = None) -> None:
        self._files = Folder(folder)
        self._signer = signer
        self._pending: list[bytes] = []
        try:
            self._log = SealedLog(self._files, signer.verifier)
            self.next_offset = self._after_last()
            self._claim(topic_id, moved)
        except LogInvalid:
            self._files.close()
            raise

    def _claim(self, topic_id: str, moved: tuple[int, int] | None) -> None:
        try:
            known = self._files.read(_TOPIC_ID).decode()
        except FileNotFoundError:
            known = ""
        if known and known != topic_id and not self._goes_on(moved):
            raise LogInvalid(
                f"{self._files.path}: seals a topic that was deleted and made again ({known}, now {topic_id}). Keep the"
                " folder, which shows what there was, and let the sealer begin in another with a key of its own. If"
                " `tocsin move` has carried it to another cluster, and all was sealed before, seal once with --moved"
            )
        if known != topic_id:
            self._files.write(_TOPIC_ID, topic_id.encode())
            self._files.sync(".")

    def _goes_on(self, moved: tuple[int, int] | None) -> bool:
        return moved is not None and moved[0] <= self.next_offset <= moved[1]

    def _after_last(self) -> int:
        size = self._log.size
        if size == 0:
            return 0
        return sealed_offset(read_bundle((size - 1) // TILE_WIDTH, size, self._files.read)[-1]) + 1

    @property
    def size(self) -> int:
        """How many records are sealed or about to be."""
        return self._log.size + len(self._pending)

    @property
    def checkpoint(self) -> bytes | None:
        """The newest signed head."""
        return self._log.checkpoint

    def take(self, record: BusRecord) -> None:
        """Take in the next record; what comes again is passed over. Raises as `seal`."""
        if record.offset < self.next_offset:
            return
        self._pending.append(seal_of(record))
        self.next_offset = record.offset + 1
        if len(self._pending) >= LEAVES_MAX:
            self.seal()

    def seal(self) -> None:
        """Seal what was taken in.

        Raises:
            LogInvalid: the files cannot be written now. It can be called again.
        """
        self._log.append(self._pending)
        self._pending.clear()
        try:
            self._log.seal(self._signer.sign)
        except OSError as failure:
            why = f"cannot be written: {failure}; make room, and it goes on by itself"
            raise LogInvalid(f"{self._files.path}: {why}") from failure

    def close(self) -> None:
        """Let another process have it."""
        self._files.close()


class Sealer:
    """Seals every topic of the record that its login may read, each in `state`/<topic>. `bundle` is the sealer's.

    With `moved`, topics may have other ids than before: `tocsin move` has carried them to another cluster.
    """

    def __init__(self, bundle: Bundle, state: Path, *, moved: bool = False) -> None:
        config = bundle.kafka_config()
        self._config = config
        self._coalition = bundle.coalition
        self._key = bundle.signing_key()
        self._state = state
        self._moved = moved
        self._admin = AdminClient({**config, **ADMIN})
        self._reader = TopicsReader(config, group=f"{SEALER}.record")
        self._writer = KafkaWriter(config)
        self._published: dict[str, bytes] = {}
        self._listed_at = float("-inf")
        self.logs: dict[str, TopicLog] = {}
        self.refused: dict[str, str] = {}
        """Topics whose log cannot be gone on with, and why."""

    def look(self) -> None:
        """Seal all that is on record now, and hand out the heads.

        Raises:
            TopicsUnreadable, LogInvalid, CheckpointsNotWritten: it cannot be done now; call it again.
        """
        if time.monotonic() - self._listed_at > LISTED_EVERY_S:
            self._follow(topic_ids(self._admin, [*filter(is_sealed, topic_names(self._admin))]))
            self._listed_at = time.monotonic()
        self._reader.read_to_end(lambda record: self.logs[record.topic].take(record))
        for one in self.logs.values():
            one.seal()
        self._publish()

    def lag(self) -> dict[str, int]:
        """How many offsets of each topic were on record at the last look, and are not sealed."""
        return {
            topic: max(0, end - self.logs[topic].next_offset)
            for topic, end in self._reader.ends().items()
            if topic in self.logs
        }

    # -- topics ------------------------------------------------------------------------------------------------------

    def _follow(self, ids: Mapping[str, str]) -> None:
        new = {topic: topic_id for topic, topic_id in ids.items() if topic not in self.logs}
        opened = {topic: one for topic, topic_id in new.items() if (one := self._open(topic, topic_id)) is not None}
        if opened:
            self.logs |= opened
            self._reader.follow_from({topic: one.next_offset for topic, one in self.logs.items()})

    def _open(self, topic: str, topic_id: str) -> TopicLog | None:
        """The log of a topic; None when it cannot be gone on with, which is said once."""
        try:
            signer = Signer(origin_of(self._coalition, topic), self._key)
            firsts, ends = self._reader.bounds([topic])
            oldest, end = firsts[topic], ends[topic]
            found = TopicLog(self._state / topic, topic_id, signer, (oldest, end) if self._moved else None)
            _refuse_gap(topic, found, oldest)
        except LogInvalid as failure:
            reason = str(failure)
        else:
            self.refused.pop(topic, None)
            log.info("log_opened", topic=topic, records=found.size, next_offset=found.next_offset)
            return found
        if self.refused.get(topic) != reason:
            log.error("log_refused", topic=topic, reason=reason)
        self.refused[topic] = reason
        return None

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Hand out the heads that are new; after a restart all of them, which does no harm."""
        failures: list[Failure] = []

        def note(failure: Failure | None) -> None:
            if failure is not None:
                failures.append(failure)

        new = {
            topic: one.checkpoint
            for topic, one in self.logs.items()
            if one.checkpoint is not None and one.checkpoint != self._published.get(topic)
        }
        for topic, checkpoint in new.items():
            self._writer.send(CHECKPOINTS_TOPIC, origin_of(self._coalition, topic).encode(), checkpoint, [], note)
        if new and (self._writer.flush(WRITE_S) or failures):
            why = failures[0].detail if failures else f"no answer in {WRITE_S:.0f} s"
            self._writer.close()
            self._writer = KafkaWriter(self._config)
            raise CheckpointsNotWritten(
                f"{CHECKPOINTS_TOPIC} cannot be written: {why}; has `tocsin policy apply` given this login WRITE there?"
            )
        self._published |= new

    def close(self) -> None:
        """Let go of the logs and the connections."""
        for one in self.logs.values():
            one.close()
        self._reader.close()
        self._writer.close()


def _refuse_gap(topic: str, found: TopicLog, oldest: int) -> None:
    if 0 < found.next_offset < oldest:
        found.close()
        raise LogInvalid(
            f"{topic}: the records from offset {found.next_offset} to {oldest} were deleted before they were"
            " sealed; the log cannot go on without them"
        )
