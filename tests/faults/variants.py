"""Fan-outs that lack a safeguard. They exist so that the storm is seen to find them out; never run one for real."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import yaml
from confluent_kafka import Producer

from tocsin.consumers.fanout import Fanout, FanoutSettings
from tocsin.consumers.lane_transaction import Copy
from tocsin.consumers.lane_worker import LaneWorker
from tocsin.consumers.transactions import TransactionPair
from tocsin.deploy.policy.compile import subscriptions
from tocsin.deploy.policy.document import Policy
from tocsin.schemas.bundle import Bundle


class NoTransaction(TransactionPair):
    """Writes the same records without a transaction: a crash tears a batch apart."""

    def __init__(self, config: dict[str, str | int | float | bool]) -> None:
        self.doubtful = False
        self._producer = Producer({**config, "enable.idempotence": True, "message.timeout.ms": 60_000})

    def fence(self) -> None:
        """Fence nobody."""

    def write(
        self,
        copies: Collection[Copy],
        records: Iterable[tuple[str, bytes | None, bytes | None]],
        inboxes: Callable[[], Collection[str]],  # noqa: ARG002
    ) -> None:
        """Write record by record."""
        for copy in copies:
            self._producer.produce(copy.topic, copy.value, copy.key, 0, headers=[*copy.headers])
        self._producer.flush()
        time.sleep(0.05)  # the window that a crash hits; without a transaction it exists, however short
        for topic, key, value in records:
            self._producer.produce(topic, value, key, 0)
        self._producer.flush()

    def close(self) -> None:
        """Send the rest."""
        self._producer.flush(5)


class NoTransactionWorker(LaneWorker):
    """A lane whose batches are not atomic."""

    def _new_pair(self) -> TransactionPair:
        return NoTransaction(dict(self._exchange.config))


class NoFencingPair(TransactionPair):
    """Ids of its own for each process: a stopped one that wakes up goes on beside its successor."""

    def __init__(self, config: dict[str, str | int | float | bool], jurisdiction: str) -> None:
        super().__init__(config, f"{jurisdiction}.{os.getpid()}")

    def write(
        self,
        copies: Collection[Copy],
        records: Iterable[tuple[str, bytes | None, bytes | None]],
        inboxes: Callable[[], Collection[str]],
    ) -> None:
        """Wait a moment between deciding and writing: where a stop hurts, however short the moment is for real."""
        time.sleep(1.0)
        super().write(copies, records, inboxes)


class NoFencingWorker(LaneWorker):
    """A lane that neither asks the group nor fences."""

    def _new_pair(self) -> TransactionPair:
        return NoFencingPair(dict(self._exchange.config), self.jurisdiction)


VARIANTS = {"no-transaction": NoTransactionWorker, "no-fencing": NoFencingWorker}


def run(variant: str) -> None:
    """Take the words of `tocsin fanout run`, and run the variant."""
    words = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=True))
    home, policy_file, name = Path(words["--home"]), Path(words["--policy"]), words["--name"]
    policy = Policy.model_validate(yaml.safe_load(policy_file.read_text()))
    settings = FanoutSettings(worker=name, name=name, lane_worker=VARIANTS[variant])
    fanout = Fanout(Bundle.load(home / "services" / "fanout"), subscriptions(policy), settings)
    signal.signal(signal.SIGTERM, lambda *_: fanout.stop())
    fanout.run()
