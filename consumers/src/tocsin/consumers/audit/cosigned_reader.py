"""Reads what witnesses have handed out of one log, by a login that may read all outboxes."""

from __future__ import annotations

import structlog
from confluent_kafka.admin import AdminClient

from tocsin.consumers.audit.cosigned import Cosigned
from tocsin.consumers.outbox_records import COSIGNATURE, open_record
from tocsin.consumers.topics_reader import TopicsReader, topic_names
from tocsin.consumers.watch import ADMIN, OUTBOX
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.directory import Directory
from tocsin.schemas.errors import Rejection
from tocsin.schemas.verify import Verifier

log = structlog.get_logger()


def read_cosigned(bundle: Bundle, directory: Directory, topic: str) -> list[Cosigned]:
    """The heads of a topic's log that members have cosigned, as far as they are still there, verified by `directory`.

    Raises:
        TopicsUnreadable: the outboxes cannot be read now.
    """
    config = bundle.kafka_config()
    key = f"{COSIGNATURE}/{topic}".encode()
    verifier = Verifier(bundle.coalition, directory)
    found: list[Cosigned] = []

    def take(record: BusRecord) -> None:
        if record.key != key or record.value is None:
            return
        try:
            found.append(open_record(record.topic.removeprefix(OUTBOX), record, verifier).content)
        except (Rejection, ValueError) as refusal:  # the text of the latter would show the bytes
            log.warning("cosignature_refused", topic=record.topic, offset=record.offset, why=type(refusal).__name__)

    reader = TopicsReader(config, group=f"{bundle.config.login}.none")
    try:
        names = topic_names(AdminClient({**config, **ADMIN}))
        reader.follow(name for name in names if name.startswith(OUTBOX))
        reader.read_to_end(take)
    finally:
        reader.close()
    return found
