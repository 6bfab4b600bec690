"""Kills the sealer while much is put on record, again and again, and holds every head that it handed out against it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import Producer

from tests.integration.test_sealer import heads, records, roots
from tests.world import World, small_policy, wait_until

TOPIC: Final = "audit.se"
PAUSE_S: Final = 0.005
SETTLED_S: Final = 60.0


class KilledSealer:
    """`module` is what is run as the `tocsin` command: the real one, or a variant that must be found out."""

    def __init__(self, home: Path, module: str = "tocsin.deploy") -> None:
        self.world = World(home, small_policy())
        self._module = module
        self._rng = random.Random(7)

    def run(self, kills: int) -> list[str]:
        """What is wrong after so many kills; empty when nothing is."""
        try:
            self.world.up()
            with self._recording():
                for _ in range(kills):
                    self._kill_once()
            return self._wrong()
        finally:
            self.world.down()

    @contextmanager
    def _recording(self) -> Generator[None]:
        """Records all the while, in transactions, so that offsets have gaps."""
        ended = threading.Event()
        producer = Producer({**self.world.cluster.admin_config(), "transactional.id": "recording"})
        producer.init_transactions(30)

        def record() -> None:
            number = 0
            while not ended.wait(PAUSE_S):
                producer.begin_transaction()
                for _ in range(self._rng.randint(1, 20)):
                    number += 1
                    producer.produce(TOPIC, f"record {number}".encode(), partition=0)
                producer.commit_transaction(30)

        thread = threading.Thread(target=record)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _start(self) -> subprocess.Popen[bytes]:
        words = ["audit", "seal", "--every", "0.1", "--home", str(self.world.home)]
        return subprocess.Popen(
            [sys.executable, "-m", self._module, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )

    def _kill_once(self) -> None:
        before = self._sealed()
        process = self._start()
        wait_until(lambda: self._sealed() != before, SETTLED_S, "a head")
        time.sleep(self._rng.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def _sealed(self) -> bytes:
        try:
            return (self.world.home / "sealer" / TOPIC / "checkpoint").read_bytes()
        except FileNotFoundError:
            return b""

    def _told(self) -> int:
        """How many entries the newest published head has; every one before may have been killed on its way."""
        found = heads(self.world)[TOPIC]
        return found[-1].size if found else 0

    def _wrong(self) -> list[str]:
        """After one more start, that seals what is left."""
        process = self._start()
        try:
            count = len(records(self.world, TOPIC))
            wait_until(lambda: self._told() >= count, SETTLED_S, "a head of all there is")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        by_size = roots(self.world, TOPIC)
        return [
            f"a head of {head.size} entries is not of the record, which has {len(by_size) - 1}"
            for head in heads(self.world)[TOPIC]
            if head.size >= len(by_size) or by_size[head.size] != head.root
        ]
