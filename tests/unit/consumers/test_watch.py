"""How watchers look: what a failure means, and how long they rest."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.world import wait_until
from tocsin.consumers.errors import TopicsUnreadable
from tocsin.consumers.watch import Look, Watcher, there
from tocsin.schemas.errors import DirectoryInvalid

GONE = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))


def _answer(said: object) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(said, Exception):
        future.set_exception(said)
    else:
        future.set_result(said)
    return future


def test_a_topic_that_was_deleted_meanwhile_is_left_out() -> None:
    """The others' answers stand."""
    assert there({"inbox.a": _answer(1), "inbox.b": _answer(GONE)}) == {"inbox.a": 1}


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.NOT_CONTROLLER])
def test_a_question_that_failed_is_not_taken_for_no_topics(code: int) -> None:
    """The client gives the failure as the answer for every topic: nothing is known of any."""
    failed = KafkaException(KafkaError(code))
    with pytest.raises(KafkaException):
        there({"inbox.a": _answer(failed), "outbox.a": _answer(failed)})


class _Slow(Watcher):
    """Looks for some time, and fails where it is told to."""

    def __init__(self, rest: float, *failures: Exception) -> None:
        super().__init__("slow", 0.0, rest=rest)
        self.failures = [*failures]
        self.looks: list[Look] = []
        self.observe = self.looks.append

    def look(self) -> None:
        time.sleep(0.05)
        if self.failures:
            raise self.failures.pop(0)

    def size(self) -> int:
        return 0


FAILURES = [
    TopicsUnreadable("nothing came"),
    GONE,
    DirectoryInvalid("the version is no number"),
    OSError("no space left on device"),
]


def test_it_goes_on_after_whatever_may_pass() -> None:
    """No answer, a damaged file, a full disk; and does not rest after them, as it would after a slow look."""
    watcher = _Slow(1_000.0, *FAILURES)
    watcher.start()
    wait_until(lambda: len(watcher.looks) > len(FAILURES), 10, "a look that succeeds")
    failures = [one.failure for one in watcher.looks]
    watcher.stop()
    watcher.join(10)
    assert failures == [*(type(one).__name__ for one in FAILURES), None]
