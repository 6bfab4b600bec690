"""Tell the exchange what you want: signed records in your outbox."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from typing import Any, Final, Self, cast, get_args

import structlog

from tocsin.consumers.audit.cosigned import Cosigned
from tocsin.consumers.copies import Notice
from tocsin.consumers.directory_reader import DirectoryReader, wall_clock_ms
from tocsin.consumers.disputes import DISPUTE_REASONS
from tocsin.consumers.errors import HoldInvalid, NotSecretariat, OutboxError, SubscriptionInvalid
from tocsin.consumers.gains import Release
from tocsin.consumers.holds import Hold
from tocsin.consumers.kafka import KafkaReader, KafkaWriter
from tocsin.consumers.outbox_records import (
    ACKNOWLEDGEMENT,
    COSIGNATURE,
    DISPUTE,
    HOLD,
    RECEIPT,
    RELEASE,
    SETS,
    SUBSCRIPTION,
    Outboxes,
    acknowledgement_record,
    cosignature_record,
    hold_record,
    is_id,
    release_record,
    subscription_record,
)
from tocsin.consumers.receipts import Receipt, receipt_record
from tocsin.consumers.subscriptions import Subscription
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord, Failure, Kind, Reader, ReadFailed, Writer
from tocsin.schemas.catalog import Schema, schema
from tocsin.schemas.codec import VALUE_BYTES_MAX, encode
from tocsin.schemas.details import Rail
from tocsin.schemas.directory import SECRETARIAT_ROLE, Directory, VersionFloor
from tocsin.schemas.errors import Rejection
from tocsin.schemas.names import DIRECTORY_TOPIC, AlertType, Tlp, outbox_topic
from tocsin.schemas.signing import sign_headers
from tocsin.schemas.uuid7 import uuid7
from tocsin.schemas.verify import Verifier

SEND_S_MAX: Final = 30.0
ACKNOWLEDGE_S_MAX: Final = 5.0
"""Shorter: an Inbox waits for it, and tries again."""
READ_S_MAX: Final = 20.0
REFERENCE_CHARS_MAX: Final = 280
_POLL_S: Final = 0.2

_WORDS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "types": (re.compile("|".join(AlertType)), ", ".join(AlertType)),
    "jurisdictions": (re.compile(r"[a-z]{2}"), "two lower-case letters, as in the alerts' topics"),
    "tlps": (re.compile("|".join(Tlp)), ", ".join(Tlp)),
    "reasons": (re.compile(r"(MATCH|VMSS|COALITION):\S+"), "SCHEME:code with MATCH, VMSS or COALITION, as MATCH:13"),
    "countries": (re.compile(r"[A-Z]{2}"), "ISO 3166-1 alpha-2 in capitals"),
    "rails": (re.compile("|".join(get_args(Rail))), ", ".join(get_args(Rail))),
    "mccs": (re.compile(r"[0-9]{4}"), "4 digits"),
    # what is not a token could be an identifier in clear, which nobody may be sent
    "tokens": (re.compile(r"[^:\s]+:[0-9a-f]{64}"), "tokens, as <key id>:<64 hex digits>"),
    "host_asns": (re.compile(r"[1-9][0-9]{0,9}"), "AS numbers"),
    "tlds": (re.compile(r"[a-z0-9-]+"), "top-level domains in lower case, without a dot"),
}

log = structlog.get_logger()


class Outbox:
    """The outbox of a bundle's member. What is written counts within seconds, and until it is replaced or removed.

    `writer` writes, `reader` and `directory` read the outbox and the topic `directory`: Kafka's by default. Used by one
    thread; a context manager.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        writer: Writer | None = None,
        reader: Reader | None = None,
        directory: Reader | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._bundle = bundle
        self._topic = outbox_topic(bundle.member)
        self._key = bundle.signing_key()
        self._writer: Writer = writer or KafkaWriter(bundle.kafka_config())
        self._reader = reader
        self._directory = directory
        self._now_ms = now_ms

    def subscribe(self, subscription: Subscription) -> None:
        """Set `subscription`, in place of the one of the same id. It is this member's, whoever it names.

        The first one that a member sets replaces what the exchange would give it otherwise; several add up.

        Raises:
            SubscriptionInvalid: it cannot mean what it says, or is too long; the message says what to change.
            OutboxError: the broker did not take it; the message says what to do.
        """
        mine = replace(subscription, member=self._bundle.member)
        check_subscription(mine)
        self._send(SUBSCRIPTION, mine.subscription_id, schema(SUBSCRIPTION), subscription_record(mine, self._now_ms()))

    def unsubscribe(self, subscription_id: str) -> None:
        """Remove a subscription; once the last is gone, the exchange gives what it would give otherwise.

        Raises:
            OutboxError: the broker did not take it; the message says what to do.
        """
        self._send(SUBSCRIPTION, subscription_id, schema(SUBSCRIPTION), None)

    def acknowledge(self, notice: Notice) -> None:
        """Tell the exchange that you are done with a WITHDRAWN notice: you no longer rely on what you were given.

        An `Inbox` does it for you. To acknowledge again changes nothing.

        Raises:
            ValueError: the notice is of another kind.
            OutboxError: the broker did not take it; the message says what to do.
        """
        if notice["kind"] != "WITHDRAWN":
            raise ValueError(f"notice of the kind {notice['kind']}: only a withdrawal is acknowledged")
        name, record = _lineage(notice), acknowledgement_record(self._bundle.member, notice, self._now_ms())
        self._send(ACKNOWLEDGEMENT, name, schema(ACKNOWLEDGEMENT), record, ACKNOWLEDGE_S_MAX)

    def receive(self, receipt: Receipt) -> None:
        """Tell the exchange what came into a range of your inbox, in place of a receipt of the same name.

        An `Inbox` does it for you.

        Raises:
            OutboxError: the broker did not take it; the message says what to do.
        """
        self._send(RECEIPT, receipt.name, schema(RECEIPT), receipt_record(receipt), ACKNOWLEDGE_S_MAX)

    def dispute(self, publisher: str, lineage_id: str, reason: str) -> str:
        """Tell `publisher`, through the exchange, that what you were given of a lineage is wrong. Returns an id.

        The publisher hears that it is disputed and why, not by whom. Its answer is the lineage's next revision: what it
        corrects or retracts reaches you as it does everyone who was given it.

        Raises:
            ValueError: no such reason.
            OutboxError: the broker did not take it; the message says what to do.
        """
        if reason not in DISPUTE_REASONS:
            raise ValueError(f"reason {reason!r}: one of {', '.join(DISPUTE_REASONS)}")
        dispute_id = str(uuid7())
        record = {
            "member": self._bundle.member,
            "publisher": publisher,
            "lineage_id": lineage_id,
            "dispute_id": dispute_id,
            "reason": reason,
            "issued_at": self._now_ms(),
        }
        self._send(DISPUTE, f"{publisher}/{lineage_id}", schema(DISPUTE), record)
        return dispute_id

    def cosign(self, cosigned: Cosigned) -> None:
        """Hand out, as a witness, a head that you have cosigned, in place of the last one of its log.

        Raises:
            OutboxError: the broker did not take it; the message says what to do.
        """
        record = cosignature_record(cosigned, self._now_ms())
        self._send(COSIGNATURE, cosigned.topic, schema(COSIGNATURE), record)

    def hold(self, hold: Hold) -> None:
        """For a secretariat: put on hold, within seconds, what `hold` says; with `lifted`, lift it.

        It is this member's, whoever it names. One of the same id is replaced.

        Raises:
            NotSecretariat: this member is none.
            HoldInvalid: it cannot mean what it says; the message says what to change.
            OutboxError: the broker did not take it; the message says what to do.
        """
        self._check_secretariat()
        mine = replace(hold, member=self._bundle.member)
        check_hold(mine)
        self._send(HOLD, mine.hold_id, schema(HOLD), hold_record(mine, self._now_ms()))

    def release(self, release: Release) -> None:
        """For a secretariat: let a member be given more live alerts at once than the exchange's bound.

        Raises:
            NotSecretariat: this member is none.
            OutboxError: the broker did not take it; the message says what to do.
        """
        self._check_secretariat()
        record = release_record(self._bundle.member, release, self._now_ms())
        self._send(RELEASE, f"{release.jurisdiction}/{release.recipient}", schema(RELEASE), record)

    def _check_secretariat(self) -> None:
        if self._bundle.config.role != SECRETARIAT_ROLE:
            raise NotSecretariat(f"{self._bundle.member}: only a secretariat can say so; use the secretariat's bundle")

    def _send(
        self, kind: str, name: str, form: Schema, record: Mapping[str, Any] | None, wait_s: float = SEND_S_MAX
    ) -> None:
        """Write `record`, or a tombstone, under `<kind>/<name>` and wait for the broker's answer."""
        value = None if record is None else encode(form, record)
        if value is not None and len(value) > VALUE_BYTES_MAX:
            raise SubscriptionInvalid(
                f"{kind} {name}: {len(value)} bytes, {VALUE_BYTES_MAX} at most; share it out over several ids"
            )
        headers = [] if value is None else sign_headers(self._key, self._bundle.coalition, form, value)
        answers: list[Failure | None] = []
        self._writer.send(self._topic, f"{kind}/{name}".encode(), value, headers, answers.append)
        self._writer.flush(wait_s)
        failure = answers[0] if answers else Failure(Kind.UNREACHABLE, f"no answer in {wait_s:.0f} s")
        if failure is not None:
            passing = failure.kind is Kind.UNREACHABLE
            raise OutboxError(f"{self._topic}: {_remedy(failure.kind, failure.detail)}", passing=passing)

    def subscriptions(self) -> tuple[Subscription, ...]:
        """The subscriptions that stand in the outbox, by id, verified as the exchange does.

        Raises:
            OutboxError, DirectoryUnreadable: they cannot be read; the message says what to do.
        """
        outboxes, directory = self._read()
        return tuple(sorted(outboxes.own(directory), key=lambda one: one.subscription_id))

    def holds(self) -> tuple[Hold, ...]:
        """The holds that stand in a secretariat's outbox, lifted ones too, by id, verified as the exchange does.

        Raises:
            OutboxError, DirectoryUnreadable: they cannot be read; the message says what to do.
        """
        outboxes, directory = self._read()
        return tuple(sorted(outboxes.holds(directory).all, key=lambda one: one.hold_id))

    def _read(self) -> tuple[Outboxes, Directory]:
        floor = VersionFloor(self._bundle.path / "directory-version")
        with self._reading(self._directory, DIRECTORY_TOPIC) as source:
            known = DirectoryReader(source, self._bundle.coalition, self._bundle.roots, floor, self._now_ms)
            known.read_to_end()
        if known.directory is None:
            raise OutboxError("there is no directory to verify by; ask the secretariat")
        outboxes, verifier = Outboxes(), Verifier(self._bundle.coalition, known.directory)
        with self._reading(self._reader, self._topic) as own:
            for record in self._records(own):
                try:
                    outboxes.apply(self._bundle.member, record, verifier)
                except Rejection as refusal:
                    log.warning("outbox_record_refused", topic=self._topic, offset=record.offset, reason=str(refusal))
        return outboxes, known.directory

    def _reading(self, given: Reader | None, topic: str) -> AbstractContextManager[Reader]:
        """The reader that was given, or one of Kafka that is closed afterwards."""
        return nullcontext(given) if given else closing(KafkaReader(self._bundle.kafka_config(), topic, None))

    def _records(self, reader: Reader) -> Iterator[BusRecord]:
        began = time.monotonic()
        try:
            end = reader.end(READ_S_MAX / 2)
            while (reader.position or 0) < end:
                record = reader.poll(_POLL_S)
                if record is not None:
                    yield record
                if time.monotonic() - began > READ_S_MAX:
                    raise OutboxError(f"{self._topic}: not read to its end in {READ_S_MAX:.0f} s; try again")
        except ReadFailed as failure:
            raise OutboxError(f"{self._topic}: {_remedy(failure.kind, failure.detail)}") from failure

    def close(self) -> None:
        """Let go of the connection."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_subscription(subscription: Subscription) -> None:
    """Whether `subscription` can mean what it says.

    Raises:
        SubscriptionInvalid: it cannot; the message names the part and its form, never a value.
    """
    if not is_id(subscription.subscription_id):
        raise SubscriptionInvalid("subscription_id: 1 to 40 of a-z, 0-9 and '-'")
    for part in SETS:
        values = cast("frozenset[str | int]", getattr(subscription, part))
        pattern, form = _WORDS[part]
        if subscription.everything and values:
            raise SubscriptionInvalid(f"{part}: everything is asked for already; leave out one of the two")
        if not all(pattern.fullmatch(str(value)) for value in values):
            raise SubscriptionInvalid(f"{part}: {form}")


def check_hold(hold: Hold) -> None:
    """Whether `hold` can mean what it says.

    Raises:
        HoldInvalid: it cannot; the message names the part and its form.
    """
    if not is_id(hold.hold_id):
        raise HoldInvalid("hold_id: 1 to 40 of a-z, 0-9 and '-'")
    if not 0 < len(hold.reference) <= REFERENCE_CHARS_MAX:
        raise HoldInvalid(f"reference: 1 to {REFERENCE_CHARS_MAX} characters; the order or case that asks for it")
    if (fault := hold.fault()) is not None:
        raise HoldInvalid(fault)


def _lineage(notice: Notice) -> str:
    return f"{notice['publisher']}/{notice['lineage_id']}"


def _remedy(kind: Kind, detail: str) -> str:
    if kind is Kind.UNREACHABLE:
        return f"no broker answers ({detail}); try again"
    return f"the broker refuses ({detail}); ask the secretariat"
