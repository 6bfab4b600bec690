"""Ways in which receipts in an export can be altered, or tell of what was not decided.

Not among them is what no receipt can show: the newest, or the first, of a series is taken out. Less is told of then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tests.unit.deploy.bed import Bed, Expected, Mutation, flipped
from tests.unit.deploy.told import KEYS, TELLERS, record_of_receipt, without
from tocsin.consumers.audit.deliveries import DELIVERED
from tocsin.consumers.audit.outbox_receipts import RECEIPTS
from tocsin.consumers.audit.verification import file_of
from tocsin.consumers.receipts import Copied, Receipt
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import outbox_topic
from tocsin.schemas.signing import SigningKey


def _chosen(bed: Bed) -> tuple[str, list[BusRecord], list[Receipt], int]:
    """A member that tells, its records and receipts, and one of them that is neither the first nor the last."""
    member = bed.rng.choice(TELLERS)
    records, receipts = [*bed.record.others[outbox_topic(member)]], [*bed.record.receipts[member]]
    return member, records, receipts, bed.rng.randrange(1, len(records) - 1)


def _put(bed: Bed, member: str, records: Sequence[BusRecord], line: int, check: str = RECEIPTS) -> Expected:
    topic = outbox_topic(member)
    bed.put_records(topic, records)
    return Expected(check, file_of(topic), line)


def flip_receipt(bed: Bed) -> Expected:
    """A bit of the value of a receipt, or of its signature."""
    member, records, _, at = _chosen(bed)
    topic = outbox_topic(member)
    lines = bed.lines(topic)
    lines[at] = flipped(bed.rng, lines[at], bed.rng.randrange(lines[at].index(b'"value"'), len(lines[at])))
    bed.put(topic, lines)
    assert len(records) == len(lines)
    return Expected(RECEIPTS, file_of(topic), at + 1)


def drop_receipt(bed: Bed) -> Expected:
    """A receipt between others is taken out."""
    member, records, _, at = _chosen(bed)
    del records[at]
    return _put(bed, member, records, at + 1)


def insert_receipt(bed: Bed) -> Expected:
    """A receipt is put in once more, with its own offset, after later ones."""
    member, records, _, at = _chosen(bed)
    where = bed.rng.randrange(at + 1, len(records) + 1)
    records.insert(where, records[at])
    return _put(bed, member, records, where + 1)


def swap_receipts(bed: Bed) -> Expected:
    """Receipts of two members change places."""
    one, two = TELLERS
    here, there = [*bed.record.others[outbox_topic(one)]], [*bed.record.others[outbox_topic(two)]]
    at = bed.rng.randrange(min(len(here), len(there)))
    here[at], there[at] = there[at], here[at]
    bed.put_records(outbox_topic(two), there)
    return _put(bed, one, here, at + 1)


def replay_receipt(bed: Bed) -> Expected:
    """A shorter one, which it replaced, comes again after it."""
    member, records, receipts, at = _chosen(bed)
    old = replace(receipts[at], last_offset=receipts[at].last_offset - 1)
    old = replace(old, items=tuple(item for item in old.items if item.offset <= old.last_offset))
    records.append(record_of_receipt(old, len(records)))
    return _put(bed, member, records, len(records))


def replay_compacted(bed: Bed) -> Expected:
    """A shorter one, which it replaced, stands in its place."""
    member, records, receipts, at = _chosen(bed)
    old = replace(receipts[at], last_offset=receipts[at].last_offset - 1)
    old = replace(old, items=tuple(item for item in old.items if item.offset <= old.last_offset))
    records[at] = record_of_receipt(old, at)
    return _put(bed, member, records, at + 2)


def truncate_receipts(bed: Bed) -> Expected:
    """The end is cut off, within a receipt."""
    member, _, _, at = _chosen(bed)
    topic = outbox_topic(member)
    lines = bed.lines(topic)
    bed.put(topic, [*lines[:at], lines[at][: bed.rng.randrange(1, len(lines[at]))]])
    return Expected(RECEIPTS, file_of(topic), at + 1)


def back_date_receipt(bed: Bed) -> Expected:
    """A receipt is stamped much earlier than the one before it."""
    member, records, _, at = _chosen(bed)
    records[at] = replace(records[at], appended_ms=records[at].appended_ms - bed.rng.randrange(15_000, 10**6))
    return _put(bed, member, records, at + 1)


def forge_receipt(bed: Bed) -> Expected:
    """A receipt is signed by a key that is in no directory, by another member, or for another coalition."""
    member, records, receipts, at = _chosen(bed)
    other = next(name for name in TELLERS if name != member)
    key, coalition = bed.rng.choice(
        ((SigningKey.generate(member), "test"), (KEYS[other], "test"), (KEYS[member], "other"))
    )
    records[at] = record_of_receipt(receipts[at], at, key, coalition)
    return _put(bed, member, records, at + 1)


def overlap_receipts(bed: Bed) -> Expected:
    """A receipt begins within the one before it."""
    member, records, receipts, at = _chosen(bed)
    records[at] = record_of_receipt(replace(receipts[at], first_offset=receipts[at].first_offset - 1), at)
    return _put(bed, member, records, at + 1)


def contradict_receipt(bed: Bed) -> Expected:
    """A receipt is replaced by one that says something else of the same range."""
    member, records, receipts, at = _chosen(bed)
    where = bed.rng.randrange(len(receipts[at].items) - 1)
    records.append(record_of_receipt(without(receipts[at], where), len(records)))
    return _put(bed, member, records, len(records))


def leaked(bed: Bed) -> Expected:
    """A member tells of a copy that no decision gave."""
    member, records, receipts, at = _chosen(bed)
    items = [*receipts[at].items]
    where = _a_copy(bed, receipts[at])
    copy = items[where]
    assert isinstance(copy, Copied)
    items[where] = copy._replace(source_offset=copy.source_offset + 10_000)
    records[at] = record_of_receipt(replace(receipts[at], items=tuple(items)), at)
    return _put(bed, member, records, at + 1, DELIVERED)


def altered_copy(bed: Bed) -> Expected:
    """A member tells of a copy with another value, or under another rule, than was decided."""
    member, records, receipts, at = _chosen(bed)
    items = [*receipts[at].items]
    where = _a_copy(bed, receipts[at])
    copy = items[where]
    assert isinstance(copy, Copied)
    items[where] = copy._replace(**bed.rng.choice(({"sha256": bytes(32)}, {"rule": "ALLOW READ User:stranger"})))
    records[at] = record_of_receipt(replace(receipts[at], items=tuple(items)), at)
    return _put(bed, member, records, at + 1, DELIVERED)


def omitted(bed: Bed) -> Expected:
    """A member tells of a range in which a copy that was decided is not."""
    member, records, receipts, at = _chosen(bed)
    where = _a_copy(bed, receipts[at], alone=True)
    records[at] = record_of_receipt(without(receipts[at], where), at)
    return _put(bed, member, records, 0, DELIVERED)._replace(line=None)


def _a_copy(bed: Bed, receipt: Receipt, *, alone: bool = False) -> int:
    """Which item is a copy; with `alone`, one whose lineage nothing else was ever decided on."""
    once = bed.record.once
    fit = [
        at
        for at, item in enumerate(receipt.items)
        if isinstance(item, Copied) and (not alone or (item.topic, item.source_offset) in once)
    ]
    return bed.rng.choice(fit)


RECEIPT_MUTATIONS: Final[Sequence[Mutation]] = (
    flip_receipt,
    drop_receipt,
    insert_receipt,
    swap_receipts,
    replay_receipt,
    replay_compacted,
    truncate_receipts,
    back_date_receipt,
    forge_receipt,
    overlap_receipts,
    contradict_receipt,
    leaked,
    altered_copy,
    omitted,
)
