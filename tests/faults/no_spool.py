"""A publisher without a spool: what a kill interrupts is lost, and what was sent before is sent again as new."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from confluent_kafka import Producer

from tests.faults.publish import PACE_S
from tests.world import takedown
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.catalog import schema
from tocsin.schemas.signing import sign_headers


def main(home: Path, member: str, count: int) -> None:
    """Publish straight to the broker."""
    bundle = Bundle.load(home / "members" / member)
    producer = Producer(bundle.kafka_config())
    for number in range(count):
        alert = takedown(bundle, number)
        value = alert.to_avro()
        headers = sign_headers(bundle.signing_key(), bundle.coalition, schema(alert.subject.value), value)
        producer.produce(alert.topic.name, value, alert.header.lineage_id.encode(), 0, headers=[*headers])
        producer.flush(60)
        time.sleep(PACE_S)
    sys.exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
