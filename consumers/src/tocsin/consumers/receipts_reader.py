"""Reads receipts, and then the decisions that they are compared with, with the auditor's login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, cast

from confluent_kafka.admin import AdminClient

from tocsin.consumers.audit.given import Decisions
from tocsin.consumers.members_reader import MembersReader
from tocsin.consumers.receipts import Receipt
from tocsin.consumers.topics_reader import TopicsReader, topic_names
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.codec import decode, schema_of
from tocsin.schemas.names import audit_topic, is_valid, jurisdiction
from tocsin.schemas.records import Decision


class ReceiptsReader(MembersReader):
    """`bundle` is the auditor's. A context manager; to `read` again costs what has come since."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, {}, receipts=True)
        self._decisions = Decisions()
        self._record = TopicsReader(self._config, group=f"{bundle.config.login}.none")

    def read(self) -> tuple[Decisions, tuple[Receipt, ...]]:
        """All receipts, by keys that count, and all decisions of all lanes.

        In this order: a decision is on record before its copy is written, so none is missing that a receipt tells of.

        Raises:
            TopicsUnreadable, DirectoryUnreadable: it cannot be told now.
        """
        self.look()
        receipts = self._outboxes.receipts(self.directory)
        self._record.follow(self._audits())
        self._record.read_to_end(decisions_into(self._decisions))
        return self._decisions, receipts

    def _audits(self) -> list[str]:
        prefix = audit_topic("")
        names = topic_names(AdminClient(dict(self._config)))
        return [name for name in names if name.startswith(prefix) and is_valid(jurisdiction, name.removeprefix(prefix))]

    def close(self) -> None:
        """Let go of the connections."""
        self._record.close()
        super().close()

    def __enter__(self) -> Self:
        return self


def decisions_into(decisions: Decisions) -> Callable[[BusRecord], None]:
    """Takes the records of audit topics in, those that are decisions."""

    def take(record: BusRecord) -> None:
        if record.value is not None and schema_of(record.value).subject == "decision":
            decisions.add(cast("Decision", decode(record.value)[1]))

    return take
