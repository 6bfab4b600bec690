"""A coalition of 100 readers, and a backlog of alerts of which each is for 10 of them."""

from __future__ import annotations

import copy
import secrets
import time
from collections.abc import Iterator
from itertools import product
from typing import Any, Final

from confluent_kafka import Producer

from tests.unit.schemas.samples import DAY_MS, SUBJECTS, TOKEN, sample
from tests.world import agreement
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.models import Alert, from_avro
from tocsin.schemas.names import AlertTopic, AlertType, Tlp, inbox_topic
from tocsin.schemas.signing import sign_headers
from tocsin.schemas.uuid7 import uuid7

PUBLISHER: Final = "acquirer-se"
READERS: Final = tuple(f"reader-{n:02}" for n in range(100))
AUDIENCE: Final = 10
TOPICS: Final = tuple(AlertTopic("se", kind, tlp) for kind, tlp in product(AlertType, Tlp))[: len(READERS) // AUDIENCE]


def readers_of(topic: AlertTopic) -> tuple[str, ...]:
    """The ten members that are given the alerts of `topic`."""
    first = TOPICS.index(topic) * AUDIENCE
    return READERS[first : first + AUDIENCE]


def inboxes_of(topic: AlertTopic) -> tuple[str, ...]:
    """Their inboxes."""
    return tuple(inbox_topic(reader) for reader in readers_of(topic))


def policy() -> dict[str, Any]:
    """All may see everything, and each asks for one topic's alerts."""
    readers = {
        reader: {
            "role": "bank",
            "jurisdiction": "se",
            "subscription": {"types": [topic.type.value], "tlps": [topic.tlp.value]},
        }
        for topic in TOPICS
        for reader in readers_of(topic)
    }
    publisher = {"role": "acquirer", "jurisdiction": "se", "publishes": list(SUBJECTS)}
    return {
        "coalition": "bench",
        "members": {PUBLISHER: publisher, **readers},
        "agreements": [
            agreement("everything", ["se"], list(READERS), types=list(SUBJECTS), up_to=Tlp.AMBER_STRICT.value)
        ],
    }


def publish(bundle: Bundle, count: int) -> None:
    """Write `count` signed alerts, spread evenly over the topics."""
    producer = Producer({**bundle.kafka_config(), "enable.idempotence": True, "linger.ms": 20})
    for topic, key, value, headers in _alerts(bundle, count):
        while True:
            try:
                producer.produce(topic, value, key, 0, headers=[*headers])
            except BufferError:
                producer.poll(0.1)
            else:
                break
    assert producer.flush(120) == 0


def alert(topic: AlertTopic) -> Alert:
    """A new alert for `topic`, as a member's program makes it."""
    record = _record(topic, time.time_ns() // 1_000_000)
    record["header"] |= {"alert_id": str(uuid7()), "lineage_id": str(uuid7())}
    return from_avro(schema(topic.type.value), record)


def _alerts(bundle: Bundle, count: int) -> Iterator[tuple[str, bytes, bytes, list[tuple[str, bytes]]]]:
    key, now_ms = bundle.signing_key(), time.time_ns() // 1_000_000
    records = [_record(topic, now_ms) for topic in TOPICS]
    for number in range(count):
        at = number % len(TOPICS)
        topic, record = TOPICS[at], records[at]
        lineage = str(uuid7())
        record["header"] |= {"alert_id": str(uuid7()), "lineage_id": lineage}
        kind = schema(topic.type.value)
        value = _own_tokens(encode(kind, record))
        yield topic.name, lineage.encode(), value, sign_headers(key, bundle.coalition, kind, value)


def _own_tokens(value: bytes) -> bytes:
    """`value` with different tokens, so that alerts are as hard to compress as real ones."""
    first, *others = value.split(TOKEN.encode())
    return first + b"".join(f"k2026q4:{secrets.token_hex(32)}".encode() + part for part in others)


def _record(topic: AlertTopic, now_ms: int) -> dict[str, Any]:
    record = copy.deepcopy(sample(topic.type.value))
    record["header"] |= {
        "publisher": PUBLISHER,
        "jurisdiction": topic.jurisdiction,
        "tlp": topic.tlp.value,
        "observed_at": now_ms - DAY_MS,
        "published_at": now_ms,
        "expires_at": now_ms + 300 * DAY_MS,
    }
    return record
