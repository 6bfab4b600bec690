"""Publishing: check, sign, store durably, return; delivery goes on in the background."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from tocsin.producers.delivery import Delivery
from tocsin.producers.errors import AlertRefused, LineageUnknown, PublisherClosed
from tocsin.producers.kafka import KafkaWriter
from tocsin.producers.revisions import clock_revision, retraction, revised
from tocsin.producers.signer import Signer
from tocsin.producers.spool import SIZE_BYTES_MAX, Spool, now_ms
from tocsin.producers.spool_rows import Lineage, Outcome, Row, State
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import Writer
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import VALUE_BYTES_MAX, encode
from tocsin.schemas.directory import SECRETARIAT_ROLE
from tocsin.schemas.errors import Rejection
from tocsin.schemas.guard import check_content
from tocsin.schemas.header import StatusReason
from tocsin.schemas.models import Alert
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.semantics import check_published, check_semantics

CLOSE_S: Final = 10.0
TROUBLES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` stored. `repeated` when it was stored before: then nothing new was."""

    alert_id: str
    topic: str
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """Where a publisher's alerts are, and what stands in their way.

    `held` are topics that refuse, with the reason; `troubles` the first hundred alerts that are not on the broker for a
    known reason; `connection` what is wrong with the connection, None when records arrive. `oldest_ms` is, of what
    waits, the earliest time (ms since 1970) at which it was stored or last refused; None when nothing waits. A member's
    own service tells its monitoring `waiting` and that.
    """

    counts: Mapping[State, int]
    held: Mapping[str, str]
    troubles: tuple[Outcome, ...]
    connection: str | None
    oldest_ms: int | None

    @property
    def waiting(self) -> int:
        """How many alerts the broker does not have yet."""
        return self.counts[State.NEW] + self.counts[State.SENT]


class Publisher:
    """Publishes a member's alerts.

    `publish` returns once the alert is on this machine's disk. It is delivered in the background, through crashes and
    restarts, until the broker has it: at least once, always the same bytes. `spool` is a file on a local disk, of one
    publisher at a time; by default it is in the bundle.

    Leaving the `with` block waits up to 10 seconds for the broker; what it has not taken by then stays in the spool,
    and the next Publisher on it delivers it.

    Raises:
        SpoolError: the spool cannot be used: in use, damaged.
        BundleInvalid: the bundle lacks a key or a password.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        spool: Path | None = None,
        size_bytes_max: int = SIZE_BYTES_MAX,
        now: Callable[[], int] = now_ms,
        writer: Writer | None = None,
    ) -> None:
        self._bundle = bundle
        self._now = now
        self._signer = Signer(bundle)
        self._writer = KafkaWriter(bundle.kafka_config()) if writer is None else writer
        path = bundle.path / "spool" / "alerts.db" if spool is None else spool
        self._spool = Spool(path, size_bytes_max=size_bytes_max, now=now)
        self._delivery = Delivery(self._spool, self._writer, self._signer, now)
        self._revising = threading.Lock()
        self._closed = False

    def publish(self, alert: Alert, idempotency_key: str | None = None) -> Published:
        """Check, sign and store `alert`; it is on the disk when this returns. Any thread may call it.

        `idempotency_key` is the caller's own name for this publication: repeating a call with the same key stores
        nothing and returns the first alert's id, for 400 days. Repeating it with the very same alert does the same.

        Raises:
            AlertRefused: it breaks a rule; the message names field and rule.
            SpoolError: it could not be stored (full, damaged); the caller still has it.
            BundleInvalid: the signing key cannot be read.
            PublisherClosed: after `close`; so do all other methods.
        """
        self._spool.check_process()
        if self._closed:
            raise PublisherClosed("publish() after close(); make a new Publisher")
        if self._delivery.failure is not None:
            raise self._delivery.failure
        row = self._signed(alert)
        known = self._spool.add(row, idempotency_key)
        if known is not None:
            return Published(known.alert_id, known.topic, repeated=True)
        self._delivery.wake()
        return Published(row.alert_id, row.topic)

    def _signed(self, alert: Alert) -> Row:
        header, kind = alert.header, schema(alert.subject.value)
        value = self._checked(alert)
        key_id, headers = self._signer.sign(kind, value)
        return Row(
            alert_id=header.alert_id,
            publisher=header.publisher,
            lineage_id=header.lineage_id,
            revision=header.revision,
            status=header.status,
            test=header.test,
            topic=alert.topic.name,
            expires_at=int(header.expires_at.timestamp() * 1_000),
            sha256=hashlib.sha256(value).digest(),
            value=value,
            headers=headers,
            key_id=key_id,
        )

    def _checked(self, alert: Alert) -> bytes:
        """The alert's bytes, if everything holds that the exchange will check, the model's own rules included."""
        record = alert.model_dump()
        self._check_owner(record["header"])
        try:
            check_semantics(alert.subject.value, record)
            check_published(record["header"], self._now())
            check_content(alert.subject.value, record)
        except Rejection as refusal:
            raise AlertRefused(refusal.detail) from None
        try:
            value = encode(schema(alert.subject.value), record)
        except (ValueError, TypeError, OverflowError):  # its text would show the content
            raise AlertRefused(
                "alert: cannot be encoded: a number beyond 64 bits, or text that is not Unicode"
            ) from None
        if len(value) > VALUE_BYTES_MAX:
            raise AlertRefused(f"alert: {len(value)} bytes, {VALUE_BYTES_MAX} at most")
        return value

    def _check_owner(self, header: Mapping[str, Any]) -> None:
        config = self._bundle.config
        if header["publisher"] == config.member:
            if header["jurisdiction"] != config.jurisdiction:
                raise AlertRefused(f"header.jurisdiction: must be {config.jurisdiction}, this member's")
        elif config.role != SECRETARIAT_ROLE:
            raise AlertRefused(f"header.publisher: must be {config.member}, whose bundle this is")
        if header["expires_at"] <= self._now():
            raise AlertRefused("header.expires_at: in the past")

    # -- later revisions ---------------------------------------------------------------------------------------------

    def retract(
        self,
        lineage_id: str,
        reason: StatusReason,
        *,
        topic: AlertTopic | None = None,
        revision: int | None = None,
        publisher: str | None = None,
        note: str | None = None,
    ) -> Published:
        """Withdraw a lineage: publish its RETRACTED revision, which needs none of its content.

        A lineage that this spool knows needs nothing more. Of another one (another machine's, a lost spool's) give the
        `topic`. `revision` must be above every earlier one; by default it is the seconds since 2020, or one above what
        the spool knows if that is more. The secretariat retracts for `publisher`.

        Revisions of the lineage that wait are not sent any more. Retracting what is retracted stores nothing, and
        returns the first retraction, unless a higher `revision` is given.

        Raises:
            LineageUnknown: this spool does not know it, and no `topic` is given.
            AlertRefused: it breaks a rule, `revision` is not above what the spool knows included.
            SpoolError, BundleInvalid, PublisherClosed: as of `publish`.
        """
        owner = publisher or self._bundle.member
        with self._revising:
            known = self._spool.lineage(owner, lineage_id)
            if known is not None and known.retracted and (revision or 0) <= known.revision:
                return Published(known.alert_id, known.topic, repeated=True)
            alert = retraction(
                topic or _topic(known),
                owner,
                lineage_id,
                reason,
                revision=self._next_revision(known) if revision is None else _above(known, revision),
                now=self._time(),
                test=known is not None and known.test,
                note=note,
            )
            return self.publish(alert)

    def correct(self, alert: Alert, reason: StatusReason, idempotency_key: str | None = None) -> Published:
        """Publish `alert`, with the content that holds now, as the CORRECTED next revision of its lineage.

        Its alert id, revision and time of publication are made anew; the rest of it is what everyone is told from now.

        Raises:
            AlertRefused: it breaks a rule, or its lineage is retracted.
            SpoolError, BundleInvalid, PublisherClosed: as of `publish`.
        """
        return self._revise(alert, "CORRECTED", reason, idempotency_key)

    def dispute(self, alert: Alert, reason: StatusReason, idempotency_key: str | None = None) -> Published:
        """Publish `alert` as the DISPUTED next revision of its lineage: not to be acted on until it is settled.

        Raises:
            As `correct`.
        """
        return self._revise(alert, "DISPUTED", reason, idempotency_key)

    def _revise(
        self, alert: Alert, status: Literal["CORRECTED", "DISPUTED"], reason: StatusReason, key: str | None
    ) -> Published:
        header = alert.header
        with self._revising:
            known = self._spool.lineage(header.publisher, header.lineage_id)
            if known is not None and known.retracted:
                raise AlertRefused("header.status: the lineage is retracted; publish what holds now as a new one")
            revision = max(self._next_revision(known), header.revision + 1)
            return self.publish(revised(alert, status, reason, revision=revision, now=self._time()), key)

    def lineage(self, lineage_id: str, publisher: str | None = None) -> Lineage | None:
        """What this spool remembers of a lineage: its highest revision, topic and state; None if nothing."""
        return self._spool.lineage(publisher or self._bundle.member, lineage_id)

    def _next_revision(self, known: Lineage | None) -> int:
        return max(clock_revision(self._time()), known.revision + 1 if known else 1)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._now() / 1_000, UTC)

    # -- delivery ----------------------------------------------------------------------------------------------------

    def flush(self, timeout_s: float | None = None) -> int:
        """Wait until everything stored is on the broker. Returns how many alerts are not: those stay in the spool.

        Returns early when all that is left has been refused; `status` says why, and it is tried again.

        Raises:
            SpoolError: delivery ended because the spool failed.
        """
        return self._delivery.flush(timeout_s)

    def waiting(self) -> int:
        """How many stored alerts the broker does not have yet."""
        return self._spool.waiting()

    def status(self) -> Status:
        """Counts by state, and what stands in the way of those that wait."""
        return Status(
            self._spool.counts(),
            self._delivery.held(),
            tuple(self._spool.troubles(TROUBLES_MAX)),
            self._writer.trouble,
            self._spool.oldest_ms(),
        )

    def outcome(self, alert_id: str) -> Outcome | None:
        """Where one alert stands; None for one that this spool never had, or has forgotten."""
        return self._spool.outcome(alert_id)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Wait for the broker up to `timeout_s`, then stop; what is left stays in the spool.

        In a fork of the publisher's process it does nothing: the publisher is still its parent's.
        """
        if self._closed or self._spool.is_copy:
            return
        self._closed = True
        try:
            if self._delivery.failure is None:
                self._delivery.flush(timeout_s)
        finally:
            try:
                self._delivery.stop()
            finally:
                self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(CLOSE_S if error is None else 0)


def _topic(known: Lineage | None) -> AlertTopic:
    if known is None:
        raise LineageUnknown("header.lineage_id: not in this spool; give the topic that it was published in")
    return AlertTopic.parse(known.topic)


def _above(known: Lineage | None, revision: int) -> int:
    if known is not None and revision <= known.revision:
        raise AlertRefused(f"header.revision: must be above {known.revision}, which this spool has published")
    return revision
