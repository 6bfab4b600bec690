"""`tocsin audit archive`: what is new on record, added to an archive on write-once storage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka.admin import AdminClient

from tocsin.consumers.audit.logs import is_sealed
from tocsin.consumers.topics_reader import TopicsReader, topic_ids, topic_names
from tocsin.deploy.audit.archive_files import add_part
from tocsin.deploy.audit.export_command import OUTBOXES_MAX, SETTLE_S, SettleOption, Tell, alert_ends
from tocsin.deploy.audit.export_files import alerts_json
from tocsin.deploy.errors import ArchiveRefused
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, busy, log_beside_output, show
from tocsin.deploy.policy.rows import AUDITOR
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.directory import Roots
from tocsin.schemas.names import ACL_AUDIT_TOPIC, CHECKPOINTS_TOPIC, DIRECTORY_TOPIC, outbox_topic


def archive_record(
    folder: Annotated[
        Path, typer.Argument(help="The archive, on write-once storage; begun if it is not there.", file_okay=False)
    ],
    settle: SettleOption = SETTLE_S,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Add to the archive in FOLDER what has come into the record since its last part.

    With the login `auditor`. Files are only created: none is renamed, changed or deleted. A part is finished by its
    manifest; after a run that was stopped, run it again. `tocsin audit verify FOLDER` checks the whole archive.
    Exit codes: 0 written, 1 failed, 2 usage.
    """
    log_beside_output()
    bundle = Bundle.load(home / "services" / AUDITOR)
    with (
        busy("archiving") as status,
        closing(_Record(bundle, settle, lambda text: status.update(f"{text} ..."))) as record,
    ):
        part, made = add_part(folder, record, datetime.now(UTC))
    show([{"file": name, "records": count} for name, count in made.items()], output, title=f"part {part} in {folder}")


class _Record:
    """The record on the brokers: `archive_files.Source`."""

    def __init__(self, bundle: Bundle, settle_s: float, tell: Tell) -> None:
        self.coalition: str = bundle.coalition
        self.roots: Roots = bundle.roots
        self._settle_s = settle_s
        self._tell = tell
        self._admin = AdminClient(dict(bundle.kafka_config()))
        self._reader = TopicsReader(bundle.kafka_config(), group=f"{AUDITOR}.archive")

    def alerts(self) -> bytes:
        """The ends of the alert topics, which are looked at before the decisions, so that the part is whole."""
        topics = topic_names(self._admin)
        return alerts_json(alert_ends(self._admin, [topic for topic in topics if topic.startswith("alerts.")]))

    def groups(self) -> Iterator[Mapping[str, str]]:
        """Receipts before decisions, heads before what they seal, ACLs after the decisions that name them."""
        self._tell("waiting until what is there is decided")
        time.sleep(self._settle_s)
        topics = topic_names(self._admin)
        sealed = [topic for topic in topics if is_sealed(topic)]
        outboxes = [topic for topic in topics if topic.startswith(outbox_topic(""))]
        for start in range(0, len(outboxes), OUTBOXES_MAX):
            yield topic_ids(self._admin, outboxes[start : start + OUTBOXES_MAX])
        ordered = [CHECKPOINTS_TOPIC, *sealed, ACL_AUDIT_TOPIC, DIRECTORY_TOPIC]
        for topic in (one for one in ordered if one in topics):
            yield topic_ids(self._admin, [topic])

    def read(self, places: Mapping[str, int], take: Callable[[BusRecord], None]) -> Mapping[str, int]:
        """Read from these places to the ends."""
        self._tell(", ".join(places))
        firsts, _ = self._reader.bounds(places)
        for topic, place in places.items():
            if 0 < place < firsts[topic]:
                raise ArchiveRefused(
                    f"{topic}: the records from offset {place} to {firsts[topic] - 1} are gone, and were never"
                    " archived; keep this archive as it is, begin another in a new folder, and archive more often"
                )
        self._reader.follow_from(places)
        self._reader.read_to_end(take)
        return self._reader.positions()

    def close(self) -> None:
        """Let go of the connection."""
        self._reader.close()
