"""Alerts all the while, and what became of them: the load under which a promise is tested."""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from confluent_kafka import Message

from tests.world import World, takedown, wait_until
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.models import Alert

TOPIC = "alerts.se.site-taken-down.green"
# `make faults`, against the short form inside `make test`
LONG = os.environ.get("TOCSIN_FAULTS") == "long"


def publish(bundle: Bundle, *alerts: Alert) -> None:
    """Publish `alerts` as the bundle's member, and wait until the broker has them."""
    with Publisher(bundle) as publisher:
        for alert in alerts:
            publisher.publish(alert)
        assert publisher.flush(20) == 0


def publish_decided(world: World, bundle: Bundle, *alerts: Alert) -> None:
    """Publish `alerts` as the bundle's member, and wait until each is decided."""
    publish(bundle, *alerts)
    ids = {alert.header.alert_id for alert in alerts}
    wait_until(lambda: ids <= {one["alert_id"] for one in world.decisions()}, 40, f"decisions on {sorted(ids)}")


@contextmanager
def load(world: World, pause_s: float = 0.02, publisher_id: str = "hotline-se") -> Generator[list[str]]:
    """Publish all the while; yields the lineage ids published so far."""
    bundle = world.member(publisher_id)
    ended = threading.Event()
    lineages: list[str] = []
    with Publisher(bundle) as publisher:

        def publish() -> None:
            while not ended.wait(pause_s):
                alert = takedown(bundle, len(lineages))
                publisher.publish(alert)
                lineages.append(alert.header.lineage_id)

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            yield lineages
        finally:
            ended.set()
            thread.join()
            assert publisher.flush(60) == 0


def has_all(world: World, member: str, lineages: list[str], publisher_id: str = "hotline-se") -> bool:
    """Whether the member's inbox holds all these lineages."""
    keys = {message.key() for message in world.inbox(member)}
    return all(f"{publisher_id}/{lineage}".encode() in keys for lineage in lineages)


def assert_once(messages: list[Message]) -> None:
    """No value is there twice; what was erased has none."""
    values = [message.value() for message in messages if message.value() is not None]
    assert len(values) == len(set(values))


def median_delay(
    world: World, lineages: list[str], member: str = "reader-00", publisher_id: str = "hotline-se"
) -> float:
    """Median milliseconds from append to the alert topic to append to the member's inbox, by the broker's clock."""
    topic = f"alerts.{publisher_id.removeprefix('hotline-')}.site-taken-down.green"
    written = {m.key(): m.timestamp()[1] for m in world.read([topic])}
    copied = {m.key(): m.timestamp()[1] for m in world.inbox(member)}
    return statistics.median(copied[f"{publisher_id}/{one}".encode()] - written[one.encode()] for one in lineages)


def source(copy: Message) -> tuple[str, int]:
    """Topic and offset of the alert of which `copy` is one."""
    headers = dict(cast("list[tuple[str, bytes]]", copy.headers()))
    topic, _, offset = headers["tocsin-source"].decode().split("/")
    return topic, int(offset)
