"""Reads what brokers' logs say on record: the topic `audit.access`, by the auditor."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from tocsin.consumers.audit.access_search import Asked, Search
from tocsin.consumers.topics_reader import TopicsReader
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.names import ACCESS_AUDIT_TOPIC

EARLIER_MS: Final = 600_000
"""Read so much more: of what was on its way when a shipper was killed, and of clocks that differ."""


def search(bundle: Bundle, asked: Asked) -> Search:
    """What is on record now of what is asked for. What was said in a period was shipped then or later.

    Raises:
        TopicsUnreadable: it cannot be read now, or this login may not.
    """
    found = Search(asked)
    with closing(TopicsReader(bundle.kafka_config(), group=f"{bundle.config.login}.none")) as reader:
        reader.follow_since(ACCESS_AUDIT_TOPIC, max(0, asked.from_ms - EARLIER_MS))
        reader.read_to_end(found.take)
    return found
