"""What members tell the exchange through their outboxes: verified records, the newest under each key. Without I/O.

A key is `<kind>/<name>`, and its kind says which schema belongs under it. A tombstone is not signed: that nobody but
the member may write its outbox is the broker's to keep.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from tocsin.consumers.copies import Notice
from tocsin.consumers.disputes import DISPUTE_REASONS, Disputed
from tocsin.consumers.subscriptions import ALERT_FILTERS, Subscription, Subscriptions
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.codec import decode_strict
from tocsin.schemas.directory import Directory
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import outbox_topic
from tocsin.schemas.signing import KEY_HEADER
from tocsin.schemas.verify import Signed, Verifier, check_schema

SUBSCRIPTION: Final = "subscription"
SUBSCRIPTIONS_MAX: Final = 1_000
"""Of one member; each may watch as many tokens as fit into a value."""
ACKNOWLEDGEMENT: Final = "acknowledgement"
ACKNOWLEDGEMENTS_MAX: Final = 1_000_000
"""Of one member."""

DISPUTE: Final = "dispute"
DISPUTES_MAX: Final = 10_000
"""Of one member."""

SETS: Final = ("types", "jurisdictions", "tlps", *ALERT_FILTERS)
Content = TypeVar("Content")
_SUBSCRIPTION_ID: Final = re.compile(r"[a-z0-9-]{1,40}")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """That `member` was told of the withdrawal of a lineage, by the notice `notice_id`, and is done with it.

    `at_ms` is the broker's time of its word, milliseconds since 1970.
    """

    member: str
    publisher: str
    lineage_id: str
    notice_id: uuid.UUID
    at_ms: int


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Content]):
    """A record that verified, and what its signature depends on: a key may be revoked later."""

    content: Content
    key_id: str
    offset: int
    at_ms: int

    def counts(self, member: str, directory: Directory) -> bool:
        """Whether the key that signed it counts by `directory`."""
        key = directory.keys.get(self.key_id)
        return key is not None and key.counts(outbox_topic(member), self.offset, self.at_ms)


class Outboxes:
    """The newest record that verified under each key of each outbox.

    `changes` rises when a subscription or a dispute changes. Acknowledgements are kept with `acknowledgements` only:
    they are many, and nothing that the fan-out decides depends on one.
    """

    def __init__(self, *, acknowledgements: bool = False) -> None:
        self.changes = 0
        self._kept: dict[str, dict[str, _Kept[Subscription]]] = {}
        self._disputed: dict[str, dict[str, _Kept[Disputed]]] = {}
        self._keeps_acknowledgements = acknowledgements
        self._acknowledged: dict[str, dict[str, _Kept[Acknowledged]]] = {}

    def apply(self, member: str, record: BusRecord, verifier: Verifier) -> None:
        """Take one record of the outbox of `member` in. Kinds of later releases are left alone.

        Raises:
            Rejection: it must not be used. It has changed nothing: what stood under its key stays.
        """
        kind, _, name = (record.key or b"").decode("utf-8", "replace").partition("/")
        if kind == SUBSCRIPTION:
            self._apply_subscription(member, name, record, verifier)
        elif kind == DISPUTE:
            self._apply_dispute(member, name, record, verifier)
        elif kind == ACKNOWLEDGEMENT and self._keeps_acknowledgements:
            self._apply_acknowledgement(member, name, record, verifier)

    def _apply_subscription(self, member: str, name: str, record: BusRecord, verifier: Verifier) -> None:
        kept = self._kept.setdefault(member, {})
        if record.value is None:
            self.changes += kept.pop(name, None) is not None
            return
        signed = _signed(member, record, verifier)
        subscription = _subscription(member, name, signed)
        if name not in kept and len(kept) >= SUBSCRIPTIONS_MAX:
            raise Rejection(Reason.TOO_LARGE, f"key: more than {SUBSCRIPTIONS_MAX} subscriptions")
        kept[name] = _Kept(subscription, signed.key_id, record.offset, record.appended_ms)
        self.changes += 1

    def _apply_acknowledgement(self, member: str, name: str, record: BusRecord, verifier: Verifier) -> None:
        kept = self._acknowledged.setdefault(member, {})
        if record.value is None:
            kept.pop(name, None)
            return
        signed = _signed(member, record, verifier)
        acknowledged = _acknowledged(member, name, signed, record.appended_ms)
        if name not in kept and len(kept) >= ACKNOWLEDGEMENTS_MAX:
            raise Rejection(Reason.TOO_LARGE, f"key: more than {ACKNOWLEDGEMENTS_MAX} acknowledgements")
        kept[name] = _Kept(acknowledged, signed.key_id, record.offset, record.appended_ms)

    def _apply_dispute(self, member: str, name: str, record: BusRecord, verifier: Verifier) -> None:
        kept = self._disputed.setdefault(member, {})
        if record.value is None:
            self.changes += kept.pop(name, None) is not None
            return
        signed = _signed(member, record, verifier)
        disputed = _disputed(member, name, signed)
        if name not in kept and len(kept) >= DISPUTES_MAX:
            raise Rejection(Reason.TOO_LARGE, f"key: more than {DISPUTES_MAX} disputes")
        kept[name] = _Kept(disputed, signed.key_id, record.offset, record.appended_ms)
        self.changes += 1

    def forget(self, member: str) -> None:
        """Drop everything of `member`: its outbox is gone, or was made anew."""
        self._acknowledged.pop(member, None)
        self.changes += bool(self._kept.pop(member, None)) + bool(self._disputed.pop(member, None))

    def own(self, directory: Directory) -> Iterator[Subscription]:
        """The subscriptions that members have set, those that a key signed which still counts."""
        for member, by_name in self._kept.items():
            for kept in by_name.values():
                if kept.counts(member, directory):
                    yield kept.content

    def disputes(self, directory: Directory) -> tuple[Disputed, ...]:
        """All disputes, by keys that still count."""
        return tuple(
            kept.content
            for member, by_name in self._disputed.items()
            for kept in by_name.values()
            if kept.counts(member, directory)
        )

    def acknowledged(self, directory: Directory, lineage: str) -> dict[str, Acknowledged]:
        """Who has acknowledged the withdrawal of `lineage` (publisher/lineage_id), by a key that still counts."""
        found = ((member, kept.get(lineage)) for member, kept in self._acknowledged.items())
        return {member: one.content for member, one in found if one is not None and one.counts(member, directory)}

    def subscriptions(self, directory: Directory, defaults: Mapping[str, Subscription]) -> Subscriptions:
        """What everybody asks for; `defaults` are for members that have set none themselves."""
        own = [*self.own(directory)]
        set_by = {one.member for one in own}
        return Subscriptions([*own, *(default for member, default in defaults.items() if member not in set_by)])


def _signed(member: str, record: BusRecord, verifier: Verifier) -> Signed:
    signed = verifier.check_signature(record.topic, record.offset, record.value, record.headers, record.appended_ms)
    if signed.member != member:
        raise Rejection(Reason.WRONG_PUBLISHER, f"{KEY_HEADER}: not a key of this outbox's member")
    return signed


def _subscription(member: str, name: str, signed: Signed) -> Subscription:
    check_schema(signed, SUBSCRIPTION)
    _, content = decode_strict(signed.value)
    if content["member"] != member:
        raise Rejection(Reason.WRONG_PUBLISHER, "member: not this outbox's")
    if content["subscription_id"] != name or not _SUBSCRIPTION_ID.fullmatch(name):
        raise Rejection(Reason.WRONG_KEY, "key: not subscription/<subscription_id>")
    return Subscription(
        member=member,
        everything=content["everything"],
        own=content["own"],
        subscription_id=name,
        **{part: frozenset(content[part]) for part in SETS},
    )


def _acknowledged(member: str, name: str, signed: Signed, at_ms: int) -> Acknowledged:
    check_schema(signed, ACKNOWLEDGEMENT)
    _, content = decode_strict(signed.value)
    if content["member"] != member:
        raise Rejection(Reason.WRONG_PUBLISHER, "member: not this outbox's")
    if f"{content['publisher']}/{content['lineage_id']}" != name:
        raise Rejection(Reason.WRONG_KEY, "key: not acknowledgement/<publisher>/<lineage_id>")
    try:
        notice_id = uuid.UUID(content["notice_id"])
    except ValueError as error:
        raise Rejection(Reason.INVALID, "notice_id: not a UUID") from error
    return Acknowledged(member, content["publisher"], content["lineage_id"], notice_id, at_ms)


def _disputed(member: str, name: str, signed: Signed) -> Disputed:
    check_schema(signed, DISPUTE)
    _, content = decode_strict(signed.value)
    disputed = Disputed(member, content["publisher"], content["lineage_id"], content["dispute_id"], content["reason"])
    if content["member"] != member:
        raise Rejection(Reason.WRONG_PUBLISHER, "member: not this outbox's")
    if disputed.lineage != name:
        raise Rejection(Reason.WRONG_KEY, "key: not dispute/<publisher>/<lineage_id>")
    if disputed.reason not in DISPUTE_REASONS:
        raise Rejection(Reason.INVALID, f"reason: one of {', '.join(DISPUTE_REASONS)}")
    return disputed


def is_subscription_id(text: str) -> bool:
    """Whether `text` can name a subscription: 1 to 40 of a-z, 0-9 and '-'."""
    return _SUBSCRIPTION_ID.fullmatch(text) is not None


def subscription_record(subscription: Subscription, updated_at: int) -> dict[str, Any]:
    """The record that stands for `subscription` in its member's outbox; `updated_at` in milliseconds since 1970."""
    return {
        "member": subscription.member,
        "subscription_id": subscription.subscription_id,
        "everything": subscription.everything,
        "own": subscription.own,
        "updated_at": updated_at,
        **{part: sorted(getattr(subscription, part)) for part in SETS},
    }


def acknowledgement_record(member: str, notice: Notice, issued_at: int) -> dict[str, Any]:
    """The record by which `member` acknowledges a notice of the kind WITHDRAWN; `issued_at` as `updated_at` above."""
    return {
        "member": member,
        "publisher": notice["publisher"],
        "lineage_id": notice["lineage_id"],
        "notice_id": notice["notice_id"],
        "issued_at": issued_at,
    }
