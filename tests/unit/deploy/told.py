"""What members of a small exchange say in their outboxes: receipts, signed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.lane_transaction import Copy
from tocsin.consumers.receipts import Item, Receipt, item_of, receipt_record
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.names import outbox_topic
from tocsin.schemas.signing import SigningKey, sign_headers

TELLERS: Final = ("bank-de", "isp-de")
KEYS: Final = {member: SigningKey.generate(member) for member in TELLERS}
EACH: Final = 40
TOLD_MS: Final = NOW_MS + 20_000


def receipts_of(member: str, copies: Sequence[Copy]) -> list[Receipt]:
    """What a reader of an inbox tells of it, some records at a time."""
    items = [item_of(BusRecord(c.topic, at, c.key, c.value, tuple(c.headers), 0)) for at, c in enumerate(copies)]
    made: list[Receipt] = []
    for first in range(0, len(items), EACH):
        run = tuple(item for item in items[first : first + EACH] if item is not None)
        last = min(first + EACH, len(items)) - 1
        made.append(receipt(member, first, last, run))
    return made


def receipt(member: str, first: int, last: int, items: tuple[Item, ...]) -> Receipt:
    """Of a range of the inbox."""
    return Receipt(member, f"{member}.inbox", f"of-{member}", first, last, items, NOW_MS, NOW_MS, NOW_MS)


def record_of_receipt(
    receipt: Receipt, offset: int, key: SigningKey | None = None, coalition: str = "test"
) -> BusRecord:
    """As it lies in the outbox, signed by its member or by `key`."""
    value = encode(schema("receipt"), receipt_record(receipt))
    headers = sign_headers(key or KEYS[receipt.member], coalition, schema("receipt"), value)
    name = f"receipt/{receipt.name}".encode()
    return BusRecord(outbox_topic(receipt.member), offset, name, value, tuple(headers), TOLD_MS + offset)


def outboxes(receipts: Iterable[Receipt]) -> dict[str, list[BusRecord]]:
    """All of them, by outbox."""
    made: dict[str, list[BusRecord]] = {}
    for one in receipts:
        records = made.setdefault(outbox_topic(one.member), [])
        records.append(record_of_receipt(one, len(records)))
    return made


def without(one: Receipt, at: int) -> Receipt:
    """A receipt that lacks one of its items."""
    return replace(one, items=one.items[:at] + one.items[at + 1 :])
