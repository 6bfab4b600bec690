"""The two transactional producers of a lane, used in turn, and nothing else that writes for it.

Two ids in turn: back-to-back transactions of one producer wait for the previous one's markers. Order and offsets stay
right, since the second begins after the first one's commit returned. Taking over fences both, in fixed order, and the
first transaction uses the first id: of two owners that interleave, at most one gets past it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tocsin.consumers.client_statistics import ClientSettings, silent
from tocsin.consumers.errors import LaneFenced, TransactionAborted
from tocsin.consumers.lane_transaction import Copy
from tocsin.schemas.bundle import KafkaConfig

# A re-sent EndTxn can end a later transaction (KAFKA-17754; librdkafka has no per-transaction epoch bump). librdkafka
# re-sends no sooner than `retry.backoff.ms` less a fifth; a commit that took less than this was sent once.
RETRY_BACKOFF_MS = 500
COMMIT_CERTAIN_S = 0.35
FLUSH_MAX_S = 25.0
FLUSH_SLICE_S = 0.25

_QUEUE_MAX = 400_000


def transactional_ids(jurisdiction: str) -> tuple[str, str]:
    """The ids of a lane, in the order in which they are fenced."""
    return (f"fanout.{jurisdiction}.0", f"fanout.{jurisdiction}.1")


class TransactionPair:
    """Writes whole transactions. `doubtful` is set once a commit may have been sent twice: then take over again."""

    def __init__(self, config: KafkaConfig, jurisdiction: str, tell: ClientSettings = silent) -> None:
        self.doubtful = False
        self._failed: dict[str, KafkaError] = {}
        self._fatal: KafkaError | None = None
        self._turn = 0
        self._producers = [
            Producer(
                {
                    **config,
                    "transactional.id": transactional_id,
                    "transaction.timeout.ms": 30_000,
                    # a copy that cannot be appended in 3 s becomes a debt again: part of the 5 s bound on revocation
                    "message.timeout.ms": 3_000,
                    "socket.timeout.ms": 10_000,
                    "retry.backoff.ms": RETRY_BACKOFF_MS,
                    # a transaction is flushed as soon as it is whole: until then, wait for larger batches
                    "compression.type": "lz4",
                    "linger.ms": 1_000,
                    "batch.num.messages": 10_000,
                    "queue.buffering.max.messages": _QUEUE_MAX,
                    "queue.buffering.max.kbytes": 1_048_576,
                    "topic.metadata.propagation.max.ms": 2_000,
                    "delivery.report.only.error": True,
                    "on_delivery": self._note_failure,
                    # without it a fatal error is raised from inside `flush`, in the middle of the other call-backs
                    "error_cb": self._note_fatal,
                    **tell(f"{jurisdiction}.writer.{number}"),
                }
            )
            for number, transactional_id in enumerate(transactional_ids(jurisdiction))
        ]

    def _note_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.setdefault(cast("str", message.topic()), error)

    def _note_fatal(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error

    def fence(self) -> None:
        """Fence both ids, in order. Whatever another owner left open is aborted when this returns.

        Raises:
            LaneFenced: the broker refused an id (another owner came in between, or the right is missing).
        """
        for producer in self._producers:
            try:
                producer.init_transactions(30)
            except KafkaException as failure:
                raise LaneFenced(f"init_transactions: {failure.args[0]}") from failure

    def poll(self) -> None:
        """Let the client library say what it has to say while nothing is written, or it keeps it all."""
        for producer in self._producers:
            producer.poll(0)

    def write(
        self,
        copies: Collection[Copy],
        records: Iterable[tuple[str, bytes | None, bytes | None]],
        inboxes: Callable[[], Collection[str]],
    ) -> None:
        """Commit `copies` and `records` (topic, key, value) in one transaction.

        `inboxes` says which inboxes take copies, as far as known: it is asked when the answers are slow to come.

        Raises:
            TransactionAborted: nothing was written; `.failed` names the topics that refused, where known. The pair is
                spent: the next owner's `fence` ends what is left open.
            LaneFenced: another process has taken the lane over, or the producer cannot go on.
        """
        producer = self._producers[self._turn]
        self._turn ^= 1
        self._failed.clear()
        try:
            self._attempt(producer.begin_transaction)
            for topic, key, value in records:
                _produce(producer, topic, key, value, None)
            for copy in copies:
                _produce(producer, copy.topic, copy.key, copy.value, copy.headers)
            self._flush(producer, copies, inboxes)
            began = time.monotonic()
            self._attempt(producer.commit_transaction)
        except _MustAbort as refusal:
            raise TransactionAborted(str(refusal.error), self._refusing()) from refusal
        if time.monotonic() - began > COMMIT_CERTAIN_S:
            self.doubtful = True

    def _flush(self, producer: Producer, copies: Collection[Copy], inboxes: Callable[[], Collection[str]]) -> None:
        """Wait for all answers, or the first failure: the rest need not be waited for.

        One inbox that was deleted keeps all the others' records waiting, and the client library would go on hoping.
        """
        deadline = time.monotonic() + FLUSH_MAX_S
        while self._unanswered(producer) and not self._failed and time.monotonic() < deadline:
            known = inboxes()
            gone = {copy.topic for copy in copies if copy.topic not in known}
            self._failed |= dict.fromkeys(gone, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        if self._fatal is not None:
            raise LaneFenced(str(self._fatal))
        if self._failed:
            raise _MustAbort(next(iter(self._failed.values())))

    def _unanswered(self, producer: Producer) -> int:
        """How many records have no answer yet, after a short wait."""
        try:
            return producer.flush(FLUSH_SLICE_S)
        except (KafkaException, SystemError) as failure:
            # what is fatal can come up in a call-back all the same, and then as the SystemError that it causes there
            if isinstance(failure, SystemError) and not isinstance(failure.__cause__, KafkaException):
                raise
            raise LaneFenced(f"flush: {failure.__cause__ or failure}") from failure

    def _attempt(self, call: Callable[[], None]) -> None:
        while True:
            try:
                return call()
            except KafkaException as failure:
                error = cast("KafkaError", failure.args[0])
                if error.fatal():
                    raise LaneFenced(str(error)) from failure
                if error.txn_requires_abort():
                    raise _MustAbort(error) from failure
                if not error.retriable():
                    raise LaneFenced(str(error)) from failure
                self.doubtful = True

    def _refusing(self) -> frozenset[str]:
        purged = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)  # noqa: SLF001  # librdkafka's own names
        return frozenset(topic for topic, error in self._failed.items() if error.code() not in purged)

    def close(self) -> None:
        """Drop both producers. An open transaction ends when its id is next fenced, or times out."""
        for producer in self._producers:
            producer.purge()
            with suppress(KafkaException):  # what was fatal is told here again
                producer.flush(0)
        self._producers.clear()


class _MustAbort(Exception):  # a signal inside this module, not an error of the package
    def __init__(self, error: KafkaError) -> None:
        self.error = error


def _produce(
    producer: Producer, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]] | None
) -> None:
    while True:
        try:
            # headers=None is not the same as no headers for older clients, hence the empty list
            producer.produce(topic, value, key, 0, headers=cast("Any", headers or []))
        except BufferError:
            producer.poll(0.05)
        except KafkaException as failure:
            error = cast("KafkaError", failure.args[0])
            if error.fatal():
                raise LaneFenced(str(error)) from failure
            raise _MustAbort(error) from failure
        else:
            return
