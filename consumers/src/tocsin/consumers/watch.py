"""What a fan-out process watches for all its lanes: live ACLs, the topics there are, the directory.

Each watcher is a thread that swaps one immutable value; a reader takes it once per transaction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from tocsin.consumers.acl_client import acl_client
from tocsin.consumers.acl_reader import TopicAcls
from tocsin.consumers.errors import TocsinConsumerError
from tocsin.consumers.sight import Sight, Snapshot
from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.errors import TocsinSchemaError

ACL_POLL_S: Final = 0.5
TOPIC_POLL_S: Final = 1.0
REST_S_MAX: Final = 5.0
ALERTS: Final = "alerts."
INBOX: Final = "inbox."
OUTBOX: Final = "outbox."

log = structlog.get_logger()

# An admin client asks one broker only, the controller that it knows, and looks for another every five minutes: were
# that broker to die, ACLs could not be read for as long (measured; and it spins meanwhile).
ADMIN: Final[Mapping[str, int | bool]] = {
    "topic.metadata.refresh.interval.ms": 1_000,
    # else librdkafka (2.16) connects without a pause, a thousand times a second, while whom it is to ask is down
    "enable.sparse.connections": False,
}


class Look(NamedTuple):
    """What one look of a watcher came to: when it began (seconds since 1970), how long it took, how much there was.

    `failure` is the name of the error, None when it succeeded.
    """

    watch: str
    began_s: float
    took_s: float
    size: int
    failure: str | None


def _unobserved(_look: Look) -> None:
    """What becomes of looks that nobody asks for."""


class Watcher(threading.Thread):
    """Calls `look` every `every_s` seconds until stopped. A failure is logged once until it changes or ends.

    After a look it rests `rest` times as long as that took, so that one that has become slow is taken less often; but
    no longer than `REST_S_MAX`, and not after one that failed.
    `observe` may be set before it is started: it is told of every look.
    """

    def __init__(self, name: str, every_s: float, *, rest: float = 0.0) -> None:
        super().__init__(name=name, daemon=True)
        self._every_s = every_s
        self._rest = rest
        self._stop_asked = False
        self._wake = threading.Event()
        self._trouble = ""
        self.observe: Callable[[Look], None] = _unobserved

    def run(self) -> None:
        """Look until stopped."""
        while not self._stop_asked:
            began, began_s, failure = time.monotonic(), time.time(), None
            self._wake.clear()
            try:
                self.look()
                self._report("")
            except (TocsinConsumerError, TocsinSchemaError, KafkaException, OSError) as trouble:
                failure = type(trouble).__name__
                self._report(str(trouble))
            took = time.monotonic() - began
            self.observe(Look(self.name, began_s, took, self.size(), failure))
            rest = 0.0 if failure else min(self._rest * took, REST_S_MAX)
            self._wake.wait(max(self._every_s - took, rest))

    def look(self) -> None:
        """Take one look; the subclass swaps its value."""
        raise NotImplementedError

    def size(self) -> int:
        """How much the last look found: rows, topics, members."""
        raise NotImplementedError

    def hurry(self) -> None:
        """Ask for the next look now."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop_asked = True
        self._wake.set()

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            if trouble:
                log.warning("watch_failed", watch=self.name, reason=trouble)
            else:
                log.info("watch_recovered", watch=self.name)
            self._trouble = trouble


class SightWatcher(Watcher):
    """Polls DescribeAcls. `sight` is None until two snapshots have been read.

    `keep` puts a snapshot on record, or raises: a decision names the latest one of its sight by digest, and can be
    explained by its rows for as long as it is kept. While a snapshot cannot be put on record there is no newer sight,
    and the one before it grows too old to deliver by, as when ACLs cannot be read. So the end of a right waits for no
    record: what was read while the right was there is delivered by for as long as always.
    """

    def __init__(self, config: KafkaConfig, keep: Callable[[Snapshot], None]) -> None:
        super().__init__("sight", ACL_POLL_S)
        self._acls = TopicAcls(acl_client({**config, **ADMIN}))
        self._keep = keep
        self._snapshot: Snapshot | None = None
        self.sight: Sight | None = None

    def look(self) -> None:
        """Read all ACL rows on topics, and put them on record where they are not."""
        asked_at = time.monotonic()
        acls, earlier = self._acls.read(), self._snapshot
        digest = earlier.digest if earlier is not None and earlier.acls is acls else acls.digest()
        snapshot = Snapshot(acls, digest, asked_at, time.time_ns() // 1_000_000)
        # one that is not recorded counts as the earlier of two: what it lacks is missing in the next sight
        self._snapshot = snapshot
        self._keep(snapshot)
        if self.sight is not None and self.sight.latest is earlier:
            self.sight = self.sight.then(snapshot)
        elif earlier is not None:
            self.sight = Sight(earlier, snapshot)

    def size(self) -> int:
        """ACL rows on topics."""
        return len(self._snapshot.acls.rows) if self._snapshot is not None else 0


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic ids: of alert topics and outboxes by name, of the inboxes that this login may write by member."""

    ids: Mapping[str, str] = field(default_factory=dict[str, str])
    inboxes: Mapping[str, str] = field(default_factory=dict[str, str])
    outboxes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def inbox_names(self) -> frozenset[str]:
        """The topics that are inboxes and may be written."""
        return frozenset(f"{INBOX}{member}" for member in self.inboxes)


class TopicWatcher(Watcher):
    """Polls which alert topics, inboxes and outboxes there are, and asks the broker what this login may do with them.

    `looked` is False until it has been told.
    """

    def __init__(self, config: KafkaConfig) -> None:
        # for each of a thousand members' topics the broker works out every right
        super().__init__("topics", TOPIC_POLL_S, rest=3.0)
        self._admin = AdminClient({**config, **ADMIN})
        self.topics = Topics()
        self.looked = False

    def look(self) -> None:
        """List the topics, and describe the alert topics, inboxes and outboxes among them."""
        listed: dict[str, Any] = self._admin.list_topics(timeout=5).topics
        names = sorted(name for name in listed if name.startswith((ALERTS, INBOX, OUTBOX)))
        described = describe_topics(self._admin, names, 5)
        topics = Topics(
            _ids(described, ALERTS),
            {
                name.removeprefix(INBOX): str(one.topic_id)
                for name, one in described.items()
                if name.startswith(INBOX) and AclOperation.WRITE in one.authorized_operations
            },
            _ids(described, OUTBOX),
        )
        if topics != self.topics:
            self.topics = topics
        self.looked = True

    def size(self) -> int:
        """Alert topics, inboxes that may be written, and outboxes."""
        return len(self.topics.ids) + len(self.topics.inboxes) + len(self.topics.outboxes)


def describe_topics(admin: AdminClient, names: list[str], answer_s: float) -> dict[str, Any]:
    """What there is to know of those among `names` that are there, and what this login may do with each.

    Raises:
        KafkaException: nobody answered. That is not the same as none being there.
    """
    if not names:
        return {}
    return there(
        admin.describe_topics(TopicCollection(names), include_authorized_operations=True, request_timeout=answer_s)
    )


def there(answers: Mapping[str, Future[Any]]) -> dict[str, Any]:
    """The answers by name, without those of topics that were deleted since they were listed. Raises KafkaException."""
    found: dict[str, Any] = {}
    for name, answer in answers.items():
        try:
            found[name] = answer.result()
        except KafkaException as failure:
            # what went wrong with the question is the answer for every topic
            if failure.args[0].code() not in _GONE:
                raise
    return found


_GONE: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)


def _ids(described: Mapping[str, Any], prefix: str) -> dict[str, str]:
    return {name: str(one.topic_id) for name, one in described.items() if name.startswith(prefix)}
