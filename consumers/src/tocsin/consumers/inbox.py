"""Receiving: a member's inbox, verified, once the caller is done with each record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.errors import InboxError
from tocsin.consumers.lane import RULE_HEADER, SOURCE_HEADER
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.codec import decode_strict
from tocsin.schemas.directory import EXCHANGE, VersionFloor
from tocsin.schemas.errors import NameInvalid, Reason, Rejection
from tocsin.schemas.models import Alert, from_avro
from tocsin.schemas.names import AlertTopic, inbox_topic
from tocsin.schemas.verify import Signed, Verifier, check_schema

COMMIT_EVERY_S = 1.0
_FATAL = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "this login may not READ its inbox; ask the secretariat",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "this login may not use that group; its name must begin with `<member>.`",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "the inbox does not exist; ask the secretariat",
    KafkaError._AUTHENTICATION: "the password is not accepted; ask the secretariat for a new bundle",  # noqa: SLF001  # librdkafka's name
    KafkaError.SASL_AUTHENTICATION_FAILED: "the password is not accepted; ask the secretariat for a new bundle",
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Received:
    """One verified record of the inbox: an alert, or a notice by the exchange.

    `source` is where the alert was published (`topic/partition/offset`), `rule` the ACL that allowed it, `offset` its
    place in the inbox.
    """

    key: str
    offset: int
    alert: Alert | None
    notice: dict[str, Any] | None
    source: str
    rule: str
    value: bytes


class Inbox:
    """Iterates a member's inbox.

    The place in it moves on only after the body of the loop is done: an exception, or a crash, and the record comes
    again. Records that fail verification are never handed out; they are counted in `unverified` by reason and logged
    without their content. Test records are skipped unless asked for, and count as a sign of life.
    """

    def __init__(
        self, bundle: Bundle, *, include_tests: bool = False, follow: bool = True, group: str = "inbox"
    ) -> None:
        self._bundle = bundle
        self._include_tests = include_tests
        self._follow = follow
        self._stopped = False
        self._done: Message | None = None
        self._committed_at = time.monotonic()
        self.unverified: dict[str, int] = {}
        self.tests_seen = 0
        self.last_sign_of_life: float | None = None
        config = bundle.kafka_config()
        floor = VersionFloor(bundle.path / "directory-version")
        group_id = f"{bundle.member}.{group}"
        self._directory = DirectoryWatcher(config, bundle.coalition, bundle.roots, floor, group=group_id)
        self._consumer = Consumer(
            {
                **config,
                "group.id": group_id,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "check.crcs": True,
            }
        )
        self._consumer.subscribe([inbox_topic(bundle.member)])

    def stop(self) -> None:
        """End the iteration after the current record; may be called from a signal handler."""
        self._stopped = True

    def __iter__(self) -> Iterator[Received]:
        """The records, as they come; ends at the end of the inbox unless `follow`.

        Raises:
            InboxError: the inbox or the directory cannot be read; the message says what to do.
        """
        self._directory.read_to_end()
        while not self._stopped:
            message = self._consumer.poll(0.2)
            if message is None:
                self._commit_now_and_then()
                continue
            error = message.error()
            if error is None:
                yield from self._take(message)
                self._done = message
                self._commit_now_and_then()
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name
                if not self._follow:
                    return
            elif error.code() in _FATAL or error.fatal():
                raise InboxError(f"{inbox_topic(self._bundle.member)}: {_FATAL.get(error.code(), error.str())}")

    def _take(self, message: Message) -> Iterator[Received]:
        self.last_sign_of_life = time.time()
        if message.value() is None:
            return
        try:
            received = self._verify(message)
        except Rejection as refusal:
            self.unverified[refusal.reason.value] = self.unverified.get(refusal.reason.value, 0) + 1
            log.warning("record_not_verified", offset=message.offset(), reason=str(refusal))
            return
        test = received.alert is not None and received.alert.header.test
        self.tests_seen += test
        if not test or self._include_tests:
            yield received

    def ack(self, received: Received) -> None:
        """Commit now that `received` is done, instead of within a second."""
        self._commit(received.offset + 1)

    def _commit_now_and_then(self) -> None:
        if self._done is not None and time.monotonic() - self._committed_at > COMMIT_EVERY_S:
            self._commit(cast("int", self._done.offset()) + 1)

    def _commit(self, offset: int) -> None:
        place = TopicPartition(inbox_topic(self._bundle.member), 0, offset)
        try:
            self._consumer.commit(offsets=[place], asynchronous=False)
        except KafkaException as failure:
            # the record comes again, which is what happens after any crash
            log.warning("commit_failed", reason=str(failure.args[0]))
        self._done, self._committed_at = None, time.monotonic()

    # -- verification ------------------------------------------------------------------------------------------------

    def _verify(self, message: Message) -> Received:
        headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
        extra = {name: (content or b"").decode("utf-8", "replace") for name, content in headers}
        source, rule = extra.get(SOURCE_HEADER, ""), extra.get(RULE_HEADER, "")
        topic, offset = _split(source)
        at_ms = message.timestamp()[1]
        try:
            signed = self._verifier().check_signature(topic, offset, message.value(), headers, at_ms)
        except Rejection as refusal:
            if refusal.reason is not Reason.UNKNOWN_KEY:
                raise
            self._directory.read_to_end()
            signed = self._verifier().check_signature(topic, offset, message.value(), headers, at_ms)
        key = (message.key() or b"").decode("utf-8", "replace")
        place = cast("int", message.offset())
        if signed.schema.subject == "notice":
            return Received(key, place, None, _notice(signed, self._bundle.member), source, rule, signed.value)
        return Received(key, place, self._alert(signed, topic, key), None, source, rule, signed.value)

    def _verifier(self) -> Verifier:
        verifier = self._directory.verifier()
        if verifier is None:
            raise InboxError(
                "the topic `directory` holds no document that the pinned root keys signed; ask the secretariat"
            )
        return verifier

    def _alert(self, signed: Signed, topic: str, key: str) -> Alert:
        lineage = key.partition("/")[2].encode()
        try:
            parsed = AlertTopic.parse(topic)
        except NameInvalid as error:
            raise Rejection(Reason.WRONG_TOPIC, f"{SOURCE_HEADER}: {error}") from error
        # an alert is kept after its expiry until its tombstone comes, so expiry is not judged here
        verified = self._verifier().check_record(signed, parsed, lineage, 0)
        if key != f"{verified.header['publisher']}/{verified.header['lineage_id']}":
            raise Rejection(Reason.WRONG_KEY, "key: not publisher/lineage_id")
        return from_avro(verified.schema, dict(verified.record))

    def close(self) -> None:
        """Commit what is done and leave."""
        if self._done is not None:
            self._commit(cast("int", self._done.offset()) + 1)
        self._consumer.close()
        self._directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _split(source: str) -> tuple[str, int]:
    topic, _, rest = source.partition("/")
    offset = rest.partition("/")[2]
    return topic, int(offset) if offset.isdigit() else 0


def _notice(signed: Signed, member: str) -> dict[str, Any]:
    if signed.member != EXCHANGE:
        raise Rejection(Reason.WRONG_PUBLISHER, "a notice that the exchange did not sign")
    check_schema(signed, "notice")
    record = decode_strict(signed.value)[1]
    if record["member"] != member:
        raise Rejection(Reason.WRONG_TOPIC, "member: a notice to somebody else")
    return record
