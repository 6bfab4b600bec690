"""What a lane puts on record and what it has to say itself: decisions and notices, made from what was decided. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from tocsin.consumers.disputes import Disputed
from tocsin.consumers.entry import Entry, Given
from tocsin.consumers.lane_transaction import SOURCE_HEADER, Context, Copy, Source, Transaction
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import inbox_topic
from tocsin.schemas.verify import Verified

SALT_BYTES: Final = 16
SIGHT_PREFIX: Final = "sight/"
_DECISION: Final = schema("decision")
_OF_NO_RECORD: Final = dict.fromkeys(("topic", "offset", "sha256", "lineage_id", "publisher", "reason", "detail"), None)


def record_decision(
    tx: Transaction,
    context: Context,
    kind: str,
    entry: Entry,
    *,
    given: Iterable[tuple[str, str]] = (),
    refused: Mapping[str, str] = {},
    erased: Iterable[str] = (),
    alert_id: str | None = None,
    source: Source | None = None,
    detail: str | None = None,
) -> None:
    """Put on record who is given `entry` (member, rule), who is refused it (member -> reason), whose copy is erased."""
    publisher, _, lineage_id = entry.key.partition("/")
    tx.tally.decisions[kind, "ACCEPTED", ""] += 1
    if refused:
        tx.tally.refused.update(refused.values())
    tx.decisions.append(
        encode(
            _DECISION,
            {
                **_stamp(tx, context),
                "kind": kind,
                "outcome": "ACCEPTED",
                "reason": None,
                "detail": detail,
                "topic": entry.topic,
                "topic_id": source.topic_id if source else "",
                "partition": entry.partition,
                "offset": entry.offset,
                "appended_at": source.appended_at if source else None,
                "sha256": entry.sha256,
                "key_id": entry.signer,
                "publisher": publisher,
                "lineage_id": lineage_id,
                "alert_id": alert_id,
                "revision": entry.revision,
                "status": entry.status,
                "given": [{"member": member, "rule": rule} for member, rule in given],
                "refused": [{"member": member, "reason": reason} for member, reason in refused.items()],
                "erased": list(erased),
            },
        )
    )


def record_rejection(
    tx: Transaction, context: Context, source: Source, refusal: Rejection, sha256: bytes, alert: Verified | None
) -> None:
    """Put on record that a record is rejected, or is a duplicate."""
    header: Mapping[str, Any] = alert.header if alert else {}
    outcome = "DUPLICATE" if refusal.reason is Reason.REPLAYED else "REJECTED"
    tx.tally.decisions["ALERT", outcome, refusal.reason.value] += 1
    tx.decisions.append(
        encode(
            _DECISION,
            {
                **_stamp(tx, context),
                "kind": "ALERT",
                "outcome": outcome,
                "reason": refusal.reason.value,
                "detail": refusal.detail or None,
                **source._asdict(),
                "sha256": sha256,
                "key_id": alert.key_id if alert else None,
                "publisher": refusal.signer,
                "lineage_id": header.get("lineage_id"),
                "alert_id": header.get("alert_id"),
                "revision": header.get("revision"),
                "status": header.get("status"),
                "given": [],
                "refused": [],
                "erased": [],
            },
        )
    )


def _stamp(tx: Transaction, context: Context) -> dict[str, Any]:
    return {
        "seq": tx.seq,
        "decided_at": context.now_ms,
        "acl_digest": context.sight.latest.digest,
        "acl_read_at": context.sight.latest.read_at_ms,
        "directory_version": context.directory.version,
        "worker": context.worker,
        "salt": hmac.digest(context.secret, tx.seq.to_bytes(8, "big"), "sha256")[:SALT_BYTES],
    }


def rejection_notice(
    lane: str, context: Context, source: Source, refusal: Rejection, sha256: bytes, member: str, seq: int
) -> Entry:
    """The debt of a signed notice to `member`, by decision `seq`, that its record was rejected."""
    value, headers = context.notary(
        "notice",
        {
            **_notice(lane, context, "REJECTED", member),
            "topic": source.topic,
            "offset": source.offset,
            "sha256": sha256,
            "reason": refusal.reason.value,
            "detail": refusal.detail or None,
        },
    )
    return Entry(
        key=f"notice/{member}/{source.topic}/{source.offset}",
        kind="NOTICE",
        inbox_key=f"notice/{source.topic}/{source.offset}",
        revision=0,
        status="ACTIVE",
        topic=source.topic,
        partition=source.partition,
        offset=source.offset,
        sha256=sha256,
        expires_at=0,
        forget_at=0,
        signer="",
        test=False,
        value=value,
        headers=headers,
        given=(Given(seq, 0, (member,), ("",)),),
    )


def dispute_notice(lane: str, context: Context, disputed: Disputed, entry: Entry, seq: int) -> Entry:
    """The debt of a signed notice to a publisher, by decision `seq`, that what it told is disputed; not by whom."""
    value, headers = context.notary(
        "notice",
        {
            **_notice(lane, context, "DISPUTED", disputed.publisher),
            "publisher": disputed.publisher,
            "lineage_id": disputed.lineage_id,
            "reason": disputed.reason,
        },
    )
    key = f"disputed/{disputed.lineage}/{disputed.dispute_id}"
    return replace(
        entry,
        key=f"notice/{key}",
        kind="NOTICE",
        inbox_key=key,
        value=value,
        headers=headers,
        given=(Given(seq, 0, (disputed.publisher,), ("",)),),
    )


def withdrawal(lane: str, context: Context, entry: Entry, member: str) -> Copy:
    """The signed word to `member` that what it was given of `entry` is withdrawn: it names the lineage and no more."""
    publisher, _, lineage_id = entry.key.partition("/")
    notice = {**_notice(lane, context, "WITHDRAWN", member), "publisher": publisher, "lineage_id": lineage_id}
    return _copy(context, member, f"withdrawn/{entry.key}", notice)


def line_test(lane: str, context: Context, member: str) -> Copy:
    """The signed word to `member` that its line is alive."""
    return _copy(context, member, f"line-test/{lane}", _notice(lane, context, "LINE_TEST", member))


def sight_told(lane: str, context: Context, member: str, topics: list[str]) -> Copy:
    """The signed word to `member` which alert topics of `lane` it may be given; no more than its own."""
    record = {"member": member, "jurisdiction": lane, "issued_at": context.now_ms, "topics": topics}
    value, headers = context.notary("sight", record)
    key = f"{SIGHT_PREFIX}{lane}".encode()
    return Copy(member, inbox_topic(member), key, value, [*headers, (SOURCE_HEADER, b"")])


def _notice(lane: str, context: Context, kind: str, member: str) -> dict[str, Any]:
    return {**_OF_NO_RECORD, "kind": kind, "member": member, "jurisdiction": lane, "issued_at": context.now_ms}


def _copy(context: Context, member: str, key: str, notice: Mapping[str, Any]) -> Copy:
    value, headers = context.notary("notice", notice)
    return Copy(member, inbox_topic(member), key.encode(), value, [*headers, (SOURCE_HEADER, b"")])
