"""Verifies what lies in an inbox: copies of alerts by their publishers' signatures, notices by the exchange's. Pure.

A copy is judged as the exchange judged its original, but for what only the exchange can know:

* the time. The exchange compared the broker's time of the original with the key's validity and with what the alert
  says of itself; a copy may be made much later (sight gained), so here the key must have begun by the time of the copy,
  and not have ended before the alert says that it was published.
* the publisher's standing. It was active when the exchange decided; what was told by a member that has left stays told.
* expiry. A revision that ends sooner replaces one that ended later, so it is handed out though it has expired.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypedDict, cast

from tocsin.consumers.errors import SchemaTooNew
from tocsin.consumers.lane_records import SIGHT_PREFIX
from tocsin.consumers.lane_transaction import RULE_HEADER, SOURCE_HEADER
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.codec import VALUE_BYTES_MAX, decode_strict
from tocsin.schemas.directory import EXCHANGE, Directory
from tocsin.schemas.errors import NameInvalid, Reason, Rejection
from tocsin.schemas.models import Alert, from_avro
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.records import Sight
from tocsin.schemas.signing import KEY_HEADER, SIGNATURE_HEADER, TYPE_HEADER, pae, verify
from tocsin.schemas.verify import Signed, Verifier, check_schema

_SOURCE_PARTS: Final = 3


class Notice(TypedDict):
    """What the exchange itself has to say: REJECTED, WITHDRAWN, DISPUTED, LINE_TEST.

    An alert of yours was rejected; one you hold is withdrawn; one of yours is disputed by a holder; your line works.
    `issued_at` is milliseconds since 1970. `topic` and `offset` name the record concerned, `detail` field and rule. The
    `checkpoint` of a LINE_TEST is the newest head of the log that seals the record of `jurisdiction`, a signed note.
    """

    notice_id: str
    kind: str
    member: str
    jurisdiction: str
    issued_at: int
    topic: str | None
    offset: int | None
    sha256: bytes | None
    lineage_id: str | None
    publisher: str | None
    reason: str | None
    detail: str | None
    checkpoint: str | None


class ReceivedKind(StrEnum):
    """What a record of an inbox is."""

    ALERT = "alert"
    NOTICE = "notice"
    ERASURE = "erasure"
    SIGHT = "sight"


@dataclass(frozen=True, slots=True)
class Received:
    """One record of the inbox: a verified alert, notice or word on the member's sight, or an erasure (none of them).

    `key` is `publisher/lineage_id`, `offset` its place in the inbox, `source` where the alert was published
    (`topic/partition/offset`), `rule` the ACL that allowed it, `value` the published bytes, `headers` as they came.
    """

    key: str
    offset: int
    alert: Alert | None
    notice: Notice | None
    source: str
    rule: str
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...]
    appended_at: datetime
    sight: Sight | None = None

    @property
    def kind(self) -> ReceivedKind:
        """Which of them it is."""
        if self.alert is not None:
            return ReceivedKind.ALERT
        if self.sight is not None:
            return ReceivedKind.SIGHT
        return ReceivedKind.ERASURE if self.notice is None else ReceivedKind.NOTICE

    @property
    def test(self) -> bool:
        """Whether it only proves that the line is alive."""
        if self.alert is not None:
            return self.alert.header.test
        return self.notice is not None and self.notice["kind"] == "LINE_TEST"


class CopyVerifier:
    """Verifies by one directory what `member` finds in its inbox."""

    def __init__(self, coalition: str, member: str, directory: Directory) -> None:
        standing = {name: replace(one, status="ACTIVE") for name, one in directory.members.items()}
        self._verifier = Verifier(coalition, replace(directory, members=standing))
        self._keys = directory.keys
        self._type_prefix = f"application/vnd.tocsin.{coalition}+avro; schema=".encode()
        self._member = member

    def check(self, record: BusRecord) -> Received:
        """`record`, verified. A tombstone is an erasure: only the exchange writes to an inbox.

        Raises:
            Rejection: it is not what it says it is.
            SchemaTooNew: it is properly signed under a schema that this release does not have.
        """
        key = (record.key or b"").decode("utf-8", "replace")
        if record.value is None:
            return _received(record, key, "", None, None)
        by_exchange = self._is_by_exchange(record)
        source = _one(record, SOURCE_HEADER) or ""
        topic, offset = (record.topic, record.offset) if by_exchange else _split(source)
        try:
            signed = self._check_signature(record, topic, offset)
        except Rejection as refusal:
            if refusal.reason is Reason.UNKNOWN_SCHEMA:
                self._blame_release(record)
            raise
        if by_exchange and signed.schema.subject == "sight":
            return replace(_received(record, key, source, None, None), sight=self._sight(signed, key))
        if by_exchange:
            return _received(record, key, source, None, self._notice(signed))
        return _received(record, key, source, self._alert(signed, topic, key), None)

    def _is_by_exchange(self, record: BusRecord) -> bool:
        known = self._keys.get(_one(record, KEY_HEADER) or "")
        return known is not None and known.member == EXCHANGE

    def _check_signature(self, record: BusRecord, topic: str, offset: int) -> Signed:
        known = self._keys.get(_one(record, KEY_HEADER) or "")
        at_ms = record.appended_ms if known is None else min(record.appended_ms, known.valid_to)
        return self._verifier.check_signature(topic, offset, record.value, record.headers, at_ms)

    def _blame_release(self, record: BusRecord) -> None:
        """Raise SchemaTooNew when the signature holds: then the record is right and this release is old."""
        kind, known = _one(record, TYPE_HEADER) or "", self._keys.get(_one(record, KEY_HEADER) or "")
        value, signature = record.value or b"", dict(record.headers).get(SIGNATURE_HEADER) or b""
        if known is None or not kind.encode().startswith(self._type_prefix) or len(value) > VALUE_BYTES_MAX:
            return
        if verify(known.public, pae(kind.encode(), value), signature):
            raise SchemaTooNew(
                f"{record.topic}/{record.offset}: signed under a schema that this release does not have; "
                "upgrade tocsin-schemas, then read on"
            )

    def _notice(self, signed: Signed) -> Notice:
        check_schema(signed, "notice")
        record = decode_strict(signed.value)[1]
        if record["member"] != self._member:
            raise Rejection(Reason.WRONG_TOPIC, "member: a notice to somebody else", signer=signed.member)
        return cast("Notice", record)

    def _sight(self, signed: Signed, key: str) -> Sight:
        check_schema(signed, "sight")
        record = cast("Sight", decode_strict(signed.value)[1])
        if record["member"] != self._member:
            raise Rejection(Reason.WRONG_TOPIC, "member: said to somebody else", signer=signed.member)
        if key != f"{SIGHT_PREFIX}{record['jurisdiction']}":
            raise Rejection(Reason.WRONG_KEY, "key: not sight/<jurisdiction>", signer=signed.member)
        return record

    def _alert(self, signed: Signed, topic: str, key: str) -> Alert:
        publisher, _, lineage = key.partition("/")
        try:
            place = AlertTopic.parse(topic)
        except NameInvalid as error:
            raise Rejection(Reason.WRONG_TOPIC, f"{SOURCE_HEADER}: {error}", signer=signed.member) from error
        verified = self._verifier.check_record(signed, place, lineage.encode(), appended_ms=None, now_ms=0)
        if publisher != verified.header["publisher"]:
            raise Rejection(Reason.WRONG_KEY, "key: not publisher/lineage_id", signer=signed.member)
        if verified.header["published_at"] > self._keys[signed.key_id].valid_to:
            raise Rejection(Reason.KEY_NOT_VALID, f"{KEY_HEADER}: ended before the alert was published")
        return _model(signed, dict(verified.record))


def _model(signed: Signed, record: dict[str, Any]) -> Alert:
    """Built here and not when first asked for: what cannot be built is refused once, and stops no reader for good."""
    try:
        return from_avro(signed.schema, record)
    except (ValueError, OverflowError) as error:
        raise Rejection(Reason.INVALID, "alert: a time or number out of range", signer=signed.member) from error


def _received(record: BusRecord, key: str, source: str, alert: Alert | None, notice: Notice | None) -> Received:
    return Received(
        key=key,
        offset=record.offset,
        alert=alert,
        notice=notice,
        source=source,
        rule=_one(record, RULE_HEADER) or "",
        value=record.value or b"",
        headers=record.headers,
        appended_at=datetime.fromtimestamp(record.appended_ms / 1_000, UTC),
    )


def _one(record: BusRecord, name: str) -> str | None:
    """The header `name` as text; None unless it is there exactly once."""
    found = [content for header, content in record.headers if header == name]
    return found[0].decode("utf-8", "replace") if len(found) == 1 and found[0] is not None else None


def _split(source: str) -> tuple[str, int]:
    parts = source.split("/")
    if len(parts) != _SOURCE_PARTS or not parts[2].isascii() or not parts[2].isdigit():
        raise Rejection(Reason.WRONG_TOPIC, f"{SOURCE_HEADER}: not topic/partition/offset")
    return parts[0], int(parts[2])
