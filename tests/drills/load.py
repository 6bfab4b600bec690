"""Alerts all the while from two publishers, and a reader that looks at the clock."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from tests.world import World, is_copy, revised, takedown
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import inbox_topic

REVISED_EVERY: Final = 4
# a second revision right behind the first would end the lane's transaction at each: 80 ms for every four alerts
REVISED_BACK: Final = 90
FLUSH_S: Final = 120.0


class Member:
    """Publishes at a steady rate until stopped; every fourth alert is the second revision of an earlier one.

    `sent` is when each was published, and `second` the second revision of a first one.
    """

    def __init__(self, world: World, name: str, rate: float) -> None:
        self.name = name
        self.lane = name.removeprefix("hotline-")
        self.rate = rate
        self.folder = world.home / "members" / name
        self.sent: dict[bytes, float] = {}
        self.second: dict[bytes, bytes] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, or go on with what is in the member's bundle now."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._publish, name=self.name)
        self._thread.start()

    def stop(self) -> None:
        """Stop publishing, and wait until the broker has everything.

        Raises:
            AssertionError: it has not.
        """
        running = self._thread is not None
        self.abandon()
        if running:
            with Publisher(Bundle.load(self.folder)) as publisher:
                assert publisher.flush(FLUSH_S) == 0, f"{self.name}: {publisher.status()}"

    def abandon(self) -> None:
        """Stop, whatever is not delivered."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _publish(self) -> None:
        bundle = Bundle.load(self.folder)
        firsts: deque[SiteTakenDown] = deque(maxlen=REVISED_BACK)
        with Publisher(bundle) as publisher:
            due = time.monotonic()
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                due += 1 / self.rate
                if len(firsts) == REVISED_BACK and len(self.sent) % REVISED_EVERY == 0:
                    alert = revised(firsts[0], 2)
                    self.second[firsts[0].to_avro()] = alert.to_avro()
                else:
                    alert = takedown(bundle, len(self.sent))
                    firsts.append(alert)
                at = time.monotonic()
                publisher.publish(alert)
                self.sent[alert.to_avro()] = at


class Reader:
    """A member's plain client that notes when each copy was in its hands."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name
        self.came: dict[bytes, float] = {}
        self._next = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read on from where it was, with what is in the member's bundle now; does nothing while it reads."""
        if self._thread is not None:
            return
        self._ended.clear()
        self._thread = threading.Thread(target=self._read, name=self.name)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _read(self) -> None:
        config = self._world.member(self.name).kafka_config()
        consumer = Consumer(
            {
                **config,
                "group.id": f"{self.name}.drill",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
            }
        )
        consumer.assign([TopicPartition(inbox_topic(self.name), 0, self._next)])
        while not self._ended.is_set():
            message = consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            self._next = (message.offset() or 0) + 1
            value = message.value()
            if value is not None and is_copy(message):
                self.came.setdefault(value, time.monotonic())
        consumer.close()


def held_rate(members: list[Member], since: float, until: float) -> float:
    """Alerts a second that were published in this time."""
    count = sum(since <= at < until for member in members for at in member.sent.values())
    return count / (until - since)
