"""How long an alert takes from `publish()` to a read_committed inbox, at a steady rate."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer

from tests.bench.backlog import PUBLISHER, TOPICS, alert, readers_of
from tests.world import World, is_copy
from tocsin.producers.publisher import Publisher
from tocsin.schemas.names import inbox_topic

RATE: Final = 100.0
# half a minute, in which connections are opened and the broker's JVM compiles
WARM_UP: Final = 3_000
WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the call of `publish` to the copy in a plain consumer's hands, one of ten recipients."""

    rate: float
    alerts: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def measure(world: World, seconds: float) -> Latency:
    """Publish at `RATE` for `seconds`; the first `WARM_UP` alerts are not counted.

    Raises:
        AssertionError: a copy did not come.
    """
    reader = readers_of(TOPICS[0])[0]
    bundle = world.member(PUBLISHER)
    came: dict[str, float] = {}
    ended = threading.Event()
    listener = threading.Thread(target=_listen, args=(world, reader, came, ended))
    listener.start()
    sent: dict[str, float] = {}
    try:
        with Publisher(bundle) as publisher:
            began = time.monotonic()
            for number in range(int(seconds * RATE) + WARM_UP):
                one = alert(TOPICS[0])
                time.sleep(max(0.0, began + number / RATE - time.monotonic()))
                sent[f"{PUBLISHER}/{one.header.lineage_id}"] = time.monotonic()
                publisher.publish(one)
        deadline = time.monotonic() + WAIT_S
        while len(came) < len(sent) and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        ended.set()
        listener.join()
    took = sorted((came[key] - at) * 1_000 for key, at in list(sent.items())[WARM_UP:])
    return Latency(RATE, len(took), statistics.median(took), took[int(len(took) * 0.99)], took[-1])


def _listen(world: World, reader: str, came: dict[str, float], ended: threading.Event) -> None:
    config = world.member(reader).kafka_config()
    consumer = Consumer({**config, "group.id": f"{reader}.bench", "auto.offset.reset": "earliest"})
    consumer.subscribe([inbox_topic(reader)])
    while not ended.is_set():
        message = consumer.poll(0.2)
        if message is not None and message.error() is None and is_copy(message):
            came[(message.key() or b"").decode()] = time.monotonic()
    consumer.close()
