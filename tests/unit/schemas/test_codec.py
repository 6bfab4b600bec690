"""Decoding strangers' bytes: what mainstream writers produce is read, everything else is refused, at a bounded cost."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.schemas.avro_support import Blocks, block_per_item, framed, negative_block, number, records, varint
from tocsin.schemas.catalog import ALL, Schema, schema
from tocsin.schemas.codec import VALUE_BYTES_MAX, decode, decode_strict, encode
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.strict import compile_decoder

RELEASE: dict[str, Any] = {
    "member": "m",
    "recipient": "r",
    "jurisdiction": "de",
    "live_alerts_max": 1,
    "valid_to": 2,
    "issued_at": 3,
}
EACH_SCHEMA = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.subject)


def _reason(value: bytes) -> Reason:
    with pytest.raises(Rejection) as refusal:
        decode_strict(value)
    return refusal.value.reason


def _fastavro(value: bytes, kind: Schema) -> tuple[Any, int]:
    """What fastavro reads, and how many bytes of it. Only for bytes that cannot hurt it."""
    source = BytesIO(value)
    source.seek(5)
    return fastavro.schemaless_reader(source, kind.parsed, None), source.tell()


@EACH_SCHEMA
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(kind: Schema, data: st.DataObject) -> None:
    """A record comes back as it was, and as fastavro reads it."""
    record = data.draw(records(kind))
    value = encode(kind, record)
    assert decode_strict(value, bytes_max=len(value)) == (kind, record)
    assert decode(value) == (kind, record)
    assert _fastavro(value, kind) == (record, len(value))


@EACH_SCHEMA
@pytest.mark.parametrize("blocks", [negative_block, block_per_item])
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_other_writers_arrays_are_read(kind: Schema, blocks: Blocks, data: st.DataObject) -> None:
    """Arrays in blocks of negative count (hamba/avro) or of one item each are the same record."""
    record = data.draw(records(kind))
    value = framed(kind, record, blocks)
    assert decode_strict(value, bytes_max=len(value)) == (kind, record)
    assert _fastavro(value, kind) == (record, len(value))


@EACH_SCHEMA
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_mean_the_same_to_everybody(kind: Schema, data: st.DataObject) -> None:
    """Whatever is accepted after damage, fastavro reads as the same record, to the last byte; and never a crash."""
    value = bytearray(encode(kind, data.draw(records(kind))))
    at = data.draw(st.integers(5, len(value) - 1))
    damage = data.draw(st.sampled_from(["flip", "cut", "insert", "overwrite"]))
    if damage == "flip":
        value[at] ^= 1 << data.draw(st.integers(0, 7))
    elif damage == "cut":
        del value[at:]
    elif damage == "insert":
        value[at:at] = data.draw(st.binary(min_size=1, max_size=3))
    else:
        value[at] = data.draw(st.integers(0, 255))
    try:
        found = decode_strict(bytes(value))[1]
    except Rejection as refusal:
        assert refusal.reason in {Reason.UNDECODABLE, Reason.NOT_CANONICAL}  # noqa: PT017  # both ends are right
        return
    assert _fastavro(bytes(value), kind) == (found, len(value))


@EACH_SCHEMA
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_every_cut_is_undecodable(kind: Schema, data: st.DataObject) -> None:
    """A value that ends early is refused wherever it ends."""
    value = encode(kind, data.draw(records(kind)))
    assert _reason(value[: data.draw(st.integers(5, len(value) - 1))]) is Reason.UNDECODABLE


def _alert() -> bytes:
    """A retracted alert: header fields at known places."""
    uuid = "00000000-0000-7000-8000-000000000000"
    header: dict[str, Any] = {
        "alert_id": uuid,
        "lineage_id": uuid,
        "revision": 1,
        "status": "ACTIVE",
        "status_reason": None,
        "publisher": "bank-fr",
        "jurisdiction": "fr",
        "tlp": "AMBER",
        "handling": ["H1"],
        "handling_note": None,
        "observed_at": 1,
        "published_at": 2,
        "expires_at": 3,
        "purposes": [],
        "legal_basis": "OTHER",
        "basis_ref": None,
        "data_categories": [],
        "notify_subject": "MAY",
        "evidence_kind": "LE_REQUEST",
        "confidence": 50,
        "human_reviewed": False,
        "case_refs": [],
        "related": [],
        "token_key_id": "k",
        "norm_version": "dn1",
        "test": True,
        "note": None,
    }
    return encode(schema("site-taken-down"), {"header": header, "details": None})


ALERT = _alert()
REVISION = 5 + 2 * 37  # after the frame and two strings of 36
STATUS = REVISION + 1
PUBLISHER = STATUS + 2
HANDLING = PUBLISHER + 8 + 3 + 1
TEST = len(ALERT) - 3


def _with(at: int, content: bytes, length: int = 1) -> bytes:
    return ALERT[:at] + content + ALERT[at + length :]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ALERT + b"\0", Reason.NOT_CANONICAL),
        (_with(REVISION, varint(2, bytes_min=2)), Reason.NOT_CANONICAL),
        (_with(REVISION, varint(2, bytes_min=10)), Reason.NOT_CANONICAL),
        (_with(REVISION, varint(2, bytes_min=60_000)), Reason.NOT_CANONICAL),
        (_with(REVISION, number(2**31)), Reason.NOT_CANONICAL),
        (_with(REVISION, number(-(2**40))), Reason.NOT_CANONICAL),
        (_with(REVISION, b"\xff" * 9 + b"\x7f"), Reason.NOT_CANONICAL),
        (_with(STATUS, number(-1)), Reason.NOT_CANONICAL),
        (_with(STATUS, number(4)), Reason.UNDECODABLE),
        (_with(STATUS, number(2**40)), Reason.UNDECODABLE),
        (_with(STATUS, varint(2, bytes_min=2)), Reason.NOT_CANONICAL),
        (_with(STATUS + 1, number(-1)), Reason.NOT_CANONICAL),
        (_with(STATUS + 1, number(2)), Reason.UNDECODABLE),
        (_with(PUBLISHER, number(-7)), Reason.UNDECODABLE),
        (_with(PUBLISHER, number(2**62)), Reason.UNDECODABLE),
        (_with(PUBLISHER, number(300)), Reason.UNDECODABLE),
        (_with(PUBLISHER, varint(14, bytes_min=2)), Reason.NOT_CANONICAL),
        (_with(PUBLISHER + 1, b"\xff"), Reason.UNDECODABLE),
        (_with(PUBLISHER + 1, b"\xed\xa0\x80", 3), Reason.UNDECODABLE),
        (_with(HANDLING, number(-1) + number(2)), Reason.NOT_CANONICAL),
        (_with(HANDLING, number(-1) + number(-1)), Reason.UNDECODABLE),
        (_with(HANDLING, number(2**62)), Reason.UNDECODABLE),
        (_with(HANDLING, number(-(2**63)) + number(1)), Reason.UNDECODABLE),
        (_with(HANDLING + 2, b"\x80\0"), Reason.NOT_CANONICAL),
        (_with(TEST, b"\2"), Reason.NOT_CANONICAL),
        (_with(TEST, b"\xff"), Reason.NOT_CANONICAL),
        (b"", Reason.UNDECODABLE),
        (b"\0\0\0\0", Reason.UNDECODABLE),
        (b"\1" + ALERT[1:], Reason.UNDECODABLE),
        (b"\0\0\0\0\x09" + ALERT[5:], Reason.UNKNOWN_SCHEMA),
        (b"\0" * (VALUE_BYTES_MAX + 1), Reason.TOO_LARGE),
    ],
)
def test_hostile_forms(value: bytes, reason: Reason) -> None:
    """Each form that no mainstream writer produces has its reason, and nothing of the value is in the message."""
    assert decode_strict(ALERT)[1]["header"]["test"] is True
    assert _reason(value) is reason


def test_a_block_may_say_its_size() -> None:
    """The same place with the right size is read: the test above changes nothing else."""
    assert decode_strict(_with(HANDLING, number(-1) + number(1)))[1] == decode_strict(ALERT)[1]


@pytest.mark.parametrize("filler", [b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff", number(2**62), number(-(2**62))])
def test_cost_is_bounded_by_size(filler: bytes) -> None:
    """64 KiB of anything at any array cost little time, in every schema."""
    body = filler * (VALUE_BYTES_MAX // len(filler))
    started = time.process_time()
    for kind in ALL:
        for keep in (5, HANDLING):
            value = (b"\0" + kind.id.to_bytes(4, "big") + ALERT[5:keep] + body)[:VALUE_BYTES_MAX]
            _reason(value)
    assert time.process_time() - started < 0.1 * 2 * len(ALL)


def test_the_greatest_alert_is_cheap() -> None:
    """The most items that fit in 64 KiB take under half a second and 8 MiB."""
    count = VALUE_BYTES_MAX - len(ALERT) - 8
    value = _with(HANDLING, number(count) + b"\2" * (count - 1))
    started = time.process_time()
    assert len(decode_strict(value)[1]["header"]["handling"]) == count
    assert time.process_time() - started < 0.5
    tracemalloc.start()
    try:
        decode_strict(value)
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_self_reference_is_no_decoder() -> None:
    """A schema that contains itself, which lint refuses, does not become a decoder that would end the process."""
    node = {"type": "record", "name": "R", "fields": [{"name": "again", "type": ["null", "R"]}]}
    with pytest.raises(RecursionError):
        compile_decoder(node)


@pytest.mark.parametrize(
    "change", [lambda r: r.pop("member"), lambda r: r.update(live_alerts_max="x")], ids=["missing", "type"]
)
def test_encode_refuses_what_does_not_fit(change: Callable[[dict[str, Any]], Any]) -> None:
    """A record that lacks a field or has one of another type is not encoded."""
    record = dict(RELEASE)
    change(record)
    with pytest.raises((ValueError, TypeError)):
        encode(schema("release"), record)
