"""Verification: every reason, and where two are to be had, the one whose turn comes first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.unit.schemas.coalition import (
    COALITION,
    KEYS,
    LINEAGE,
    OTHER,
    PUBLISHER,
    SECRETARIAT,
    SUBJECT,
    TOPIC,
    directory,
    directory_key,
)
from tests.unit.schemas.samples import DAY_MS, NOW_MS, TOKEN, put, sample
from tocsin.schemas.catalog import ALL, schema
from tocsin.schemas.codec import VALUE_BYTES_MAX, encode
from tocsin.schemas.directory import Directory, DirectoryMember
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.signing import Headers, SigningKey, sign_headers
from tocsin.schemas.verify import Verified, Verifier

OFFSET = 41


@dataclass
class Case:
    """A record on its way through verification. A fault changes a part; what depends on it is made last."""

    record: dict[str, Any] = field(default_factory=lambda: sample(SUBJECT))
    signer: SigningKey = KEYS[PUBLISHER]
    coalition: str = COALITION
    directory: Directory = field(default_factory=directory)
    topic: AlertTopic = TOPIC
    key: bytes | None = LINEAGE
    appended_ms: int | None = NOW_MS
    now_ms: int = NOW_MS
    kind: str = SUBJECT
    value: Callable[[bytes], bytes | None] = lambda value: value
    after_signing: Callable[[bytes], bytes] = lambda value: value
    headers: Callable[[Headers], Any] = lambda headers: headers

    def verify(self) -> Verified:
        """Both steps, as the fan-out takes them."""
        value = self.value(encode(schema(self.kind), self.record))
        headers = self.headers(sign_headers(self.signer, self.coalition, schema(self.kind), value or b""))
        sent = value if value is None else self.after_signing(value)
        verifier = Verifier(COALITION, self.directory)
        signed = verifier.check_signature(self.topic.name, OFFSET, sent, headers, NOW_MS)
        return verifier.check_record(signed, self.topic, self.key, appended_ms=self.appended_ms, now_ms=self.now_ms)


def _set(**changes: Any) -> Callable[[Case], None]:
    return lambda case: case.__dict__.update(changes)


def _put(path: str, value: Any) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        put(case.record, path, value)

    return change


def _signed_by_stranger(case: Case) -> None:
    case.signer = SigningKey.generate(case.signer.member)


def _key(**changes: Any) -> Callable[[Case], None]:
    return lambda case: case.__dict__.update(directory=directory(directory_key(case.signer, **changes)))


def _member(name: str, **changes: Any) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        members = {**case.directory.members, name: replace(case.directory.members[name], **changes)}
        case.directory = replace(case.directory, members=members)

    return change


def _without(name: str) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        kept = {member: one for member, one in case.directory.members.items() if member != name}
        case.directory = replace(case.directory, members=kept)

    return change


def _header(at: int, content: Any) -> Callable[[Headers], Any]:
    return lambda headers: [(name, content if n == at else was) for n, (name, was) in enumerate(headers)]


def _by_secretariat_for(publisher: str) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.signer = KEYS[SECRETARIAT]
        put(case.record, "header.publisher", publisher)

    return change


def _several(*changes: Callable[[Case], None]) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        for one in changes:
            one(case)

    return change


Fault = tuple[Callable[[Case], None], Reason, str]

# In the order of verification. No fault hides another's: any two of them can be had at once.
FAULTS: dict[str, Fault] = {
    "too large": (
        _set(after_signing=lambda value: value + bytes(VALUE_BYTES_MAX)),
        Reason.TOO_LARGE,
        f"value: more than {VALUE_BYTES_MAX} bytes",
    ),
    "a header is missing": (
        _set(headers=lambda headers: headers[:2]),
        Reason.UNSIGNED,
        "headers: dsse-type, dsse-keyid and dsse-sig are needed",
    ),
    "unknown key": (_signed_by_stranger, Reason.UNKNOWN_KEY, "dsse-keyid: not in the directory"),
    "key has ended": (
        _key(valid_to=NOW_MS - 1),
        Reason.KEY_NOT_VALID,
        "dsse-keyid: not valid at that time, or revoked",
    ),
    "another coalition": (
        _set(coalition="elsewhere"),
        Reason.UNKNOWN_SCHEMA,
        "dsse-type: no schema of this coalition and release",
    ),
    "changed after signing": (
        _set(after_signing=lambda value: value[:-1] + bytes([value[-1] ^ 1])),
        Reason.BAD_SIGNATURE,
        "dsse-sig: does not verify",
    ),
    "member not active": (
        _member(PUBLISHER, status="SUSPENDED"),
        Reason.KEY_NOT_VALID,
        "dsse-keyid: its member is not active",
    ),
    "framed as another schema": (
        _set(value=lambda value: b"\0\0\0\0\x65" + value[5:]),
        Reason.WRONG_SCHEMA,
        "value: the schema id is not the schema that was signed",
    ),
    "trailing bytes": (_set(value=lambda value: value + b"\0"), Reason.NOT_CANONICAL, "value: trailing bytes"),
    "another publisher": (
        _put("header.publisher", OTHER),
        Reason.WRONG_PUBLISHER,
        "header.publisher: not the signer, nor is the signer the secretariat",
    ),
    "another jurisdiction": (
        _put("header.jurisdiction", "fr"),
        Reason.WRONG_TOPIC,
        "header.jurisdiction: not the topic's",
    ),
    "another label": (_put("header.tlp", "GREEN"), Reason.WRONG_TOPIC, "header.tlp: not the topic's"),
    "publisher from elsewhere": (
        _member(PUBLISHER, jurisdiction="se"),
        Reason.WRONG_TOPIC,
        "header.jurisdiction: not the publisher's",
    ),
    "another record key": (_set(key=b"x"), Reason.WRONG_KEY, "key: not header.lineage_id"),
    "a rule of the header": (_put("header.confidence", 101), Reason.INVALID, "header.confidence: 0 to 100"),
    "a rule of the details": (_put("details.notices_sent", -1), Reason.INVALID, "details.notices_sent: 0 or more"),
    "published ahead": (
        _set(appended_ms=NOW_MS - 600_001),
        Reason.INVALID,
        "header.published_at: more than 10 minutes ahead",
    ),
    "content": (_put("header.note", "see www.example.top"), Reason.CONTENT, "header.note: "),
    "expired": (_set(now_ms=NOW_MS + 300 * DAY_MS), Reason.EXPIRED, "header.expires_at: in the past"),
}
PAIRS = [(first, second) for at, first in enumerate(FAULTS) for second in [*FAULTS][at + 1 :]]


def _refused(case: Case) -> Rejection:
    with pytest.raises(Rejection) as refusal:
        case.verify()
    return refusal.value


def test_what_is_right_passes() -> None:
    """The record, its header and its dsse headers; the secretariat may revise in another's name."""
    case = Case()
    found = case.verify()
    assert (found.record, found.header, found.member) == (case.record, case.record["header"], PUBLISHER)
    assert (found.key_id, found.schema) == (KEYS[PUBLISHER].key_id, schema(SUBJECT))
    assert [name for name, _ in found.headers] == ["dsse-type", "dsse-keyid", "dsse-sig"]
    revised = Case()
    _by_secretariat_for(PUBLISHER)(revised)
    assert revised.verify().member == SECRETARIAT


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_reason_and_field(fault: str) -> None:
    """And says who signed, once the signature held, so that the signer can be told."""
    change, reason, detail = FAULTS[fault]
    case = Case()
    change(case)
    refusal = _refused(case)
    assert refusal.reason is reason
    assert refusal.detail.startswith(detail)
    held = list(FAULTS).index(fault) >= list(FAULTS).index("member not active")
    assert refusal.signer == (PUBLISHER if held else None)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_of_two_faults_the_first_in_order_wins(first: str, second: str) -> None:
    """Whatever else is wrong with a record, its reason is that of the first check that it fails."""
    case = Case()
    for fault in (second, first):
        FAULTS[fault][0](case)
    refusal = _refused(case)
    assert refusal.reason is FAULTS[first][1]
    assert refusal.detail.startswith(FAULTS[first][2])


MORE: dict[str, Fault] = {
    "a tombstone": (_set(value=lambda _: None), Reason.NO_VALUE, "value: a tombstone"),
    "no headers": (_set(headers=lambda _: None), Reason.UNSIGNED, "headers: "),
    "a header twice": (_set(headers=lambda headers: [*headers, headers[2]]), Reason.UNSIGNED, "dsse-sig: given twice"),
    "an empty header": (_set(headers=_header(1, None)), Reason.UNSIGNED, "dsse-keyid: given twice, or empty"),
    "a key id that is no text": (_set(headers=_header(1, b"\xff\xfe")), Reason.UNKNOWN_KEY, "dsse-keyid"),
    "another member's key id": (
        _set(headers=_header(1, KEYS[OTHER].key_id.encode())),
        Reason.BAD_SIGNATURE,
        "dsse-sig",
    ),
    "a signature cut short": (_set(headers=_header(2, bytes(63))), Reason.BAD_SIGNATURE, "dsse-sig"),
    "a signature of nothing": (_set(headers=_header(2, bytes(64))), Reason.BAD_SIGNATURE, "dsse-sig"),
    "a key that begins later": (_key(valid_from=NOW_MS + 1), Reason.KEY_NOT_VALID, "dsse-keyid: not valid"),
    "a revoked key": (_key(revoked=True), Reason.KEY_NOT_VALID, "dsse-keyid: not valid"),
    "a key revoked just before": (
        _key(revoked=True, trusted={TOPIC.name: OFFSET - 1}),
        Reason.KEY_NOT_VALID,
        "dsse-keyid: not valid",
    ),
    "a key revoked, trusted in another topic": (
        _key(revoked=True, trusted={"alerts.de.site-taken-down.green": OFFSET}),
        Reason.KEY_NOT_VALID,
        "dsse-keyid: not valid",
    ),
    "a withdrawn member": (_member(PUBLISHER, status="WITHDRAWN"), Reason.KEY_NOT_VALID, "dsse-keyid: its member"),
    "no member any more": (_without(PUBLISHER), Reason.KEY_NOT_VALID, "dsse-keyid: its member"),
    "in the name of nobody": (_by_secretariat_for("nobody"), Reason.WRONG_PUBLISHER, "header.publisher: not a member"),
    "a frame of nothing": (_set(value=lambda _: b""), Reason.UNDECODABLE, "value"),
    "an unknown frame": (_set(value=lambda value: b"\0\0\0\xff\xff" + value[5:]), Reason.UNKNOWN_SCHEMA, "schema"),
    "no frame at all": (_set(value=lambda _: b"\x01garbage"), Reason.UNDECODABLE, "value"),
    "cut short": (_set(value=lambda value: value[:-3]), Reason.UNDECODABLE, "value"),
    "no record key": (_set(key=None), Reason.WRONG_KEY, "key: not header.lineage_id"),
    "a token of another key": (
        _put("details.url_tokens", [TOKEN.replace("k2026q4", "k2027q1")]),
        Reason.INVALID,
        "details.url_tokens: a token of another key than header.token_key_id",
    ),
    "expired at this very moment": (
        _several(_put("header.expires_at", NOW_MS + 1), _set(now_ms=NOW_MS + 1)),
        Reason.EXPIRED,
        "header.expires_at: in the past",
    ),
}


@pytest.mark.parametrize("fault", MORE)
def test_more_ways_to_be_wrong(fault: str) -> None:
    """Forms of the same faults."""
    change, reason, detail = MORE[fault]
    case = Case()
    change(case)
    refusal = _refused(case)
    assert (refusal.reason, refusal.detail[: len(detail)]) == (reason, detail)


@pytest.mark.parametrize(
    "change",
    [
        _key(valid_from=NOW_MS, valid_to=NOW_MS),
        _key(revoked=True, trusted={TOPIC.name: OFFSET}),
        _set(appended_ms=NOW_MS - 600_000),
        _set(appended_ms=NOW_MS + 200 * DAY_MS),
        _set(now_ms=NOW_MS + 300 * DAY_MS - 1),
        _set(headers=lambda headers: [("other", None), *reversed(headers), ("other", b"x")]),
        _member(OTHER, status="SUSPENDED"),
    ],
)
def test_the_last_that_passes(change: Callable[[Case], None]) -> None:
    """Each rule's edge, from inside."""
    case = Case()
    change(case)
    assert case.verify().member == PUBLISHER


def test_a_copy_is_not_compared_with_the_time_of_its_original() -> None:
    """The inbox cannot know it, and passes no time: neither expiry nor `published_at` is judged again."""
    assert Case(appended_ms=None, now_ms=0).verify().member == PUBLISHER


def test_an_alert_of_another_type_than_its_topic() -> None:
    """Rightly signed and framed, in the wrong place."""
    case = Case(record=sample("merchant-terminated"), kind="merchant-terminated")
    refusal = _refused(case)
    assert refusal.reason is Reason.WRONG_SCHEMA
    assert refusal.detail == "value: a merchant-terminated where a site-taken-down belongs"


@pytest.mark.parametrize("kind", [one for one in ALL if one.subject not in {SUBJECT, "merchant-terminated"}])
def test_a_record_that_is_no_alert(kind: Any) -> None:
    """Every other schema of ours is the wrong one in an alert topic, before its bytes are looked at."""
    value = b"\0" + kind.id.to_bytes(4, "big")
    headers = sign_headers(KEYS[PUBLISHER], COALITION, kind, value)
    verifier = Verifier(COALITION, directory())
    signed = verifier.check_signature(TOPIC.name, OFFSET, value, headers, NOW_MS)
    with pytest.raises(Rejection) as refusal:
        verifier.check_record(signed, TOPIC, LINEAGE, appended_ms=NOW_MS, now_ms=NOW_MS)
    assert refusal.value.reason is Reason.WRONG_SCHEMA


def test_a_newer_schema_is_told_to_its_signer_and_a_forged_one_to_nobody() -> None:
    """`.signer` is set only when the signature over a type of this coalition holds."""
    newer = replace(schema(SUBJECT), sha256="0" * 64)
    value = b"whatever the new release writes"
    verifier = Verifier(COALITION, directory())

    def signer_of(headers: Headers) -> str | None:
        with pytest.raises(Rejection) as refusal:
            verifier.check_signature(TOPIC.name, OFFSET, value, headers, NOW_MS)
        assert refusal.value.reason is Reason.UNKNOWN_SCHEMA
        return refusal.value.signer

    good = sign_headers(KEYS[PUBLISHER], COALITION, newer, value)
    assert signer_of(good) == PUBLISHER
    assert signer_of([*good[:2], ("dsse-sig", bytes(64))]) is None
    assert signer_of(sign_headers(KEYS[PUBLISHER], "other", newer, value)) is None
    longer = replace(newer, sha256="0" * 65)
    assert signer_of(sign_headers(KEYS[PUBLISHER], COALITION, longer, value)) is None


def test_the_reasons_stand_in_the_order_of_the_checks() -> None:
    """As the enum promises; only a member's standing shares the reason of its key, and is looked up later."""
    order = list(Reason)
    places = [order.index(reason) for name, (_, reason, _) in FAULTS.items() if name != "member not active"]
    assert places == sorted(places)


def test_a_suspended_member_of_the_secretariat_revises_nothing() -> None:
    """Standing is the signer's, not the publisher's."""
    case = Case()
    _several(_by_secretariat_for(PUBLISHER), _member(SECRETARIAT, status="SUSPENDED"))(case)
    assert _refused(case).reason is Reason.KEY_NOT_VALID
    members = {PUBLISHER: DirectoryMember(PUBLISHER, "acquirer", "de", "SUSPENDED")}
    revised = Case()
    _by_secretariat_for(PUBLISHER)(revised)
    revised.directory = replace(revised.directory, members={**revised.directory.members, **members})
    assert revised.verify().member == SECRETARIAT
