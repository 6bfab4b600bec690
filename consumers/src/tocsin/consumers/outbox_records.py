"""What members tell the exchange through their outboxes: verified records, the newest under each key. Without I/O.

A key is `<kind>/<name>`, and its kind says which schema belongs under it. A tombstone is not signed: that nobody but
the member may write its outbox is the broker's to keep.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tocsin.consumers.audit.cosigned import Cosigned
from tocsin.consumers.copies import Notice
from tocsin.consumers.disputes import DISPUTE_REASONS, Disputed
from tocsin.consumers.errors import NoteInvalid
from tocsin.consumers.gains import Release, Releases
from tocsin.consumers.holds import Hold, HoldKind, Holds
from tocsin.consumers.receipts import Receipt, receipt_of
from tocsin.consumers.subscriptions import ALERT_FILTERS, Subscription, Subscriptions
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.codec import decode_strict
from tocsin.schemas.directory import Directory
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import outbox_topic
from tocsin.schemas.signing import KEY_HEADER
from tocsin.schemas.verify import Signed, Verifier, check_schema

SUBSCRIPTION: Final = "subscription"
ACKNOWLEDGEMENT: Final = "acknowledgement"
DISPUTE: Final = "dispute"
HOLD: Final = "hold"
RELEASE: Final = "release"
RECEIPT: Final = "receipt"
COSIGNATURE: Final = "cosignature"

RECORDS_MAX: Final = {
    # each may watch as many tokens as fit into a value
    SUBSCRIPTION: 1_000,
    ACKNOWLEDGEMENT: 1_000_000,
    DISPUTE: 10_000,
    HOLD: 10_000,
    RELEASE: 10_000,
    # each of up to 500 copies
    RECEIPT: 100_000,
    COSIGNATURE: 1_000,
}
"""How many of a kind one member may have."""

SETS: Final = ("types", "jurisdictions", "tlps", *ALERT_FILTERS)
HOLD_PARTS: Final = (
    "publisher",
    "lineage_id",
    "recipient",
    "published_from",
    "published_to",
    "reference",
    "lifted",
)
_ID: Final = re.compile(r"[a-z0-9-]{1,40}")


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

    @property
    def notice_at_ms(self) -> int | None:
        """When the notice was made, milliseconds since 1970, by its id; None if that is no UUIDv7, which says it."""
        return self.notice_id.int >> 80 if self.notice_id.version == 7 else None  # noqa: PLR2004  # UUIDv7


@dataclass(frozen=True, slots=True)
class Said:
    """What a record that verified says, and what its signature depends on: a key may be revoked later."""

    content: Any
    key_id: str
    offset: int
    at_ms: int

    def counts(self, member: str, directory: Directory) -> bool:
        """Whether the key that signed it counts by `directory`."""
        key = directory.keys.get(self.key_id)
        return key is not None and key.counts(outbox_topic(member), self.offset, self.at_ms)


class Outboxes:
    """The newest record that verified under each key of each outbox.

    `changes` rises when one of them changes. Acknowledgements are kept with `acknowledgements` only, receipts with
    `receipts`: they are many, and nothing that the fan-out decides depends on one. Cosignatures are not kept: they are
    for who proves something.
    """

    def __init__(self, *, acknowledgements: bool = False, receipts: bool = False) -> None:
        self.changes = 0
        asked = {ACKNOWLEDGEMENT: acknowledgements, RECEIPT: receipts, COSIGNATURE: False}
        kinds = (kind for kind in _READ if asked.get(kind, True))
        self._kept: dict[str, dict[str, dict[str, Said]]] = {kind: {} for kind in kinds}

    def apply(self, member: str, record: BusRecord, verifier: Verifier) -> None:
        """Take one record of the outbox of `member` in. Kinds of later releases are left alone.

        Raises:
            Rejection: it must not be used. It has changed nothing: what stood under its key stays.
        """
        kind, name = kind_and_name(record.key)
        if kind not in self._kept:
            return
        kept = self._kept[kind].setdefault(member, {})
        if record.value is None:
            self.changes += kept.pop(name, None) is not None
            return
        said = open_record(member, record, verifier)
        if name not in kept and len(kept) >= RECORDS_MAX[kind]:
            raise Rejection(Reason.TOO_LARGE, f"key: more than {RECORDS_MAX[kind]} {kind}s")
        kept[name] = said
        self.changes += 1

    def forget(self, member: str) -> None:
        """Drop everything of `member`: its outbox is gone, or was made anew."""
        self.changes += sum(by_member.pop(member, None) is not None for by_member in self._kept.values())

    def _counting(self, kind: str, directory: Directory) -> Iterator[Any]:
        """What records of `kind` say, by keys that still count."""
        return (
            kept.content
            for member, by_name in self._kept[kind].items()
            if kind not in _SECRETARIAT or directory.is_secretariat(member)
            for kept in by_name.values()
            if kept.counts(member, directory)
        )

    def own(self, directory: Directory) -> Iterator[Subscription]:
        """The subscriptions that members have set, those that a key signed which still counts."""
        return self._counting(SUBSCRIPTION, directory)

    def disputes(self, directory: Directory) -> tuple[Disputed, ...]:
        """All disputes, by keys that still count."""
        return tuple(self._counting(DISPUTE, directory))

    def holds(self, directory: Directory) -> Holds:
        """What secretariats have put on hold, by keys that still count."""
        return Holds(self._counting(HOLD, directory))

    def releases(self, directory: Directory) -> Releases:
        """What secretariats have released, by keys that still count."""
        return Releases(self._counting(RELEASE, directory))

    def acknowledged(self, directory: Directory, lineage: str) -> dict[str, Acknowledged]:
        """Who has acknowledged the withdrawal of `lineage` (publisher/lineage_id), by a key that still counts."""
        found = ((member, kept.get(lineage)) for member, kept in self._kept.get(ACKNOWLEDGEMENT, {}).items())
        return {member: one.content for member, one in found if one is not None and one.counts(member, directory)}

    def receipts(self, directory: Directory) -> tuple[Receipt, ...]:
        """What members say came into their inboxes, by keys that still count."""
        return tuple(self._counting(RECEIPT, directory))

    def subscriptions(self, directory: Directory, defaults: Mapping[str, Subscription]) -> Subscriptions:
        """What everybody asks for; `defaults` are for members that have set none themselves."""
        own = [*self.own(directory)]
        set_by = {one.member for one in own}
        return Subscriptions([*own, *(default for member, default in defaults.items() if member not in set_by)])


def kind_and_name(key: bytes | None) -> tuple[str, str]:
    """What a record's key names: `acknowledgement/<publisher>/<lineage_id>` is an acknowledgement of that name."""
    kind, _, name = (key or b"").decode("utf-8", "replace").partition("/")
    return kind, name


def open_record(member: str, record: BusRecord, verifier: Verifier) -> Said:
    """What a record of the outbox of `member` says, which is no tombstone and of a kind that this release knows.

    Raises:
        Rejection: it must not be used.
    """
    kind, name = kind_and_name(record.key)
    signed = _signed(member, record, verifier)
    if kind in _SECRETARIAT and not verifier.directory.is_secretariat(member):
        raise Rejection(Reason.WRONG_PUBLISHER, f"key: only a secretariat has a {kind}")
    content = _READ[kind](member, name, signed, record.appended_ms)
    return Said(content, signed.key_id, record.offset, record.appended_ms)


def _signed(member: str, record: BusRecord, verifier: Verifier) -> Signed:
    signed = verifier.check_signature(record.topic, record.offset, record.value, record.headers, record.appended_ms)
    if signed.member != member:
        raise Rejection(Reason.WRONG_PUBLISHER, f"{KEY_HEADER}: not a key of this outbox's member")
    return signed


def _content(kind: str, member: str, signed: Signed) -> Mapping[str, Any]:
    check_schema(signed, kind)
    _, content = decode_strict(signed.value)
    if content["member"] != member:
        raise Rejection(Reason.WRONG_PUBLISHER, "member: not this outbox's")
    return content


def _check_name(name: str, expected: str, form: str) -> None:
    if name != expected:
        raise Rejection(Reason.WRONG_KEY, f"key: not {form}")


def _subscription(member: str, name: str, signed: Signed, _at_ms: int) -> Subscription:
    content = _content(SUBSCRIPTION, member, signed)
    if content["subscription_id"] != name or not is_id(name):
        raise Rejection(Reason.WRONG_KEY, "key: not subscription/<subscription_id>")
    return Subscription(
        member=member,
        everything=content["everything"],
        own=content["own"],
        subscription_id=name,
        **{part: frozenset(content[part]) for part in SETS},
    )


def _acknowledged(member: str, name: str, signed: Signed, at_ms: int) -> Acknowledged:
    content = _content(ACKNOWLEDGEMENT, member, signed)
    publisher, lineage_id = content["publisher"], content["lineage_id"]
    _check_name(name, f"{publisher}/{lineage_id}", "acknowledgement/<publisher>/<lineage_id>")
    try:
        notice_id = uuid.UUID(content["notice_id"])
    except ValueError as error:
        raise Rejection(Reason.INVALID, "notice_id: not a UUID") from error
    return Acknowledged(member, publisher, lineage_id, notice_id, at_ms)


def _disputed(member: str, name: str, signed: Signed, _at_ms: int) -> Disputed:
    content = _content(DISPUTE, member, signed)
    disputed = Disputed(member, content["publisher"], content["lineage_id"], content["dispute_id"], content["reason"])
    _check_name(name, disputed.lineage, "dispute/<publisher>/<lineage_id>")
    if disputed.reason not in DISPUTE_REASONS:
        raise Rejection(Reason.INVALID, f"reason: one of {', '.join(DISPUTE_REASONS)}")
    return disputed


def _hold(member: str, name: str, signed: Signed, _at_ms: int) -> Hold:
    content = _content(HOLD, member, signed)
    if content["hold_id"] != name or not is_id(name):
        raise Rejection(Reason.WRONG_KEY, "key: not hold/<hold_id>")
    if content["kind"] not in set(HoldKind):
        raise Rejection(Reason.INVALID, f"kind: one of {', '.join(HoldKind)}")
    hold = Hold(
        member=member,
        hold_id=name,
        kind=HoldKind(content["kind"]),
        since={one["topic"]: one["offset"] for one in content["since"]},
        **{part: content[part] for part in HOLD_PARTS},
    )
    if (fault := hold.fault()) is not None:
        raise Rejection(Reason.INVALID, fault)
    return hold


def _release(member: str, name: str, signed: Signed, _at_ms: int) -> Release:
    content = _content(RELEASE, member, signed)
    recipient, place = content["recipient"], content["jurisdiction"]
    _check_name(name, f"{place}/{recipient}", "release/<jurisdiction>/<recipient>")
    return Release(recipient, place, content["live_alerts_max"], content["valid_to"])


def _receipt(member: str, name: str, signed: Signed, at_ms: int) -> Receipt:
    receipt = receipt_of(member, _content(RECEIPT, member, signed), at_ms)
    _check_name(name, receipt.name, "receipt/<series>/<first_offset>")
    return receipt


def _cosigned(member: str, name: str, signed: Signed, _at_ms: int) -> Cosigned:
    content = _content(COSIGNATURE, member, signed)
    try:
        found = Cosigned.checked(member, content["checkpoint"], content["key"], content["signature"])
    except NoteInvalid as error:
        raise Rejection(Reason.INVALID, "signature: not of this member's witness over this checkpoint") from error
    if found.head.origin != content["origin"]:
        raise Rejection(Reason.INVALID, "origin: not that of the checkpoint")
    _check_name(name, found.topic, "cosignature/<topic>")
    return found


_READ: Final[Mapping[str, Callable[[str, str, Signed, int], Any]]] = {
    SUBSCRIPTION: _subscription,
    ACKNOWLEDGEMENT: _acknowledged,
    DISPUTE: _disputed,
    HOLD: _hold,
    RELEASE: _release,
    RECEIPT: _receipt,
    COSIGNATURE: _cosigned,
}
_SECRETARIAT: Final = (HOLD, RELEASE)


def is_id(text: str) -> bool:
    """Whether `text` can name a subscription or a hold: 1 to 40 of a-z, 0-9 and '-'."""
    return _ID.fullmatch(text) is not None


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


def hold_record(hold: Hold, issued_at: int) -> dict[str, Any]:
    """The record that stands for `hold` in the outbox of its secretariat; `issued_at` as above."""
    return {
        "member": hold.member,
        "hold_id": hold.hold_id,
        "kind": hold.kind.value,
        "since": [{"topic": topic, "offset": offset} for topic, offset in sorted(hold.since.items())],
        "issued_at": issued_at,
        **{part: getattr(hold, part) for part in HOLD_PARTS},
    }


def release_record(member: str, release: Release, issued_at: int) -> dict[str, Any]:
    """The record by which the secretariat `member` makes `release`; `issued_at` as above."""
    return {
        "member": member,
        "recipient": release.recipient,
        "jurisdiction": release.jurisdiction,
        "live_alerts_max": release.live_alerts_max,
        "valid_to": release.valid_to,
        "issued_at": issued_at,
    }


def cosignature_record(cosigned: Cosigned, issued_at: int) -> dict[str, Any]:
    """The record by which a member hands out what it cosigned; `issued_at` as above."""
    return {
        "member": cosigned.member,
        "origin": cosigned.head.origin,
        "checkpoint": cosigned.checkpoint,
        "key": cosigned.key.text(),
        "signature": cosigned.signature.line(),
        "issued_at": issued_at,
    }
