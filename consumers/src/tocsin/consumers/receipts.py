"""What a member says came into its inbox: the items of a range, and the receipt that is made of them. Pure.

What counts is told by the bytes alone, so that whoever reads the same range finds the same:

* a copy: any record with a value, whether or not it verifies, since what cannot be read has been told all the same;
* an erasure: any record without a value;
* not what the exchange says itself: values of the schemas `notice` and `sight`. They are no alert of anybody, and no
  decision is made on most of them.

A copy is known by where it says that it comes from, the ACL that it names and the SHA-256 of its value, an erasure by
its key: no more than the decisions on record name, so an auditor without any alert can compare the two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from tocsin.consumers.audit.merkle import HASH_BYTES, leaf_hash, root_of
from tocsin.consumers.lane_transaction import RULE_HEADER, SOURCE_HEADER
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.codec import schema_of
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import inbox_topic

ITEMS_MAX: Final = 500
BYTES_MAX: Final = 48_000
"""Of the items of one receipt, about: what verifies is bounded by 65,536 with everything."""
UNKNOWN_OFFSET: Final = -1
_OWN_WORDS: Final = ("notice", "sight")
_TEXT_MAX: Final = 400
_ITEM_BYTES: Final = 48


class Copied(NamedTuple):
    """A copy of an alert at `offset` of an inbox. `source_offset` is UNKNOWN_OFFSET when it does not say its source."""

    offset: int
    topic: str
    source_offset: int
    rule: str
    sha256: bytes

    @property
    def leaf(self) -> bytes:
        """The hash of its leaf."""
        text = f"copy {self.topic}/0/{self.source_offset} {self.sha256.hex()} {self.rule}"
        return leaf_hash(text.encode())


class Erased(NamedTuple):
    """A tombstone at `offset` of an inbox."""

    offset: int
    key: str

    @property
    def leaf(self) -> bytes:
        """The hash of its leaf."""
        return leaf_hash(f"erasure {self.key}".encode())


Item: TypeAlias = Copied | Erased


def item_of(record: BusRecord) -> Item | None:
    """What a record of an inbox counts as; None when it is the exchange's own word."""
    if record.value is None:
        return Erased(record.offset, _text(record.key))
    if _is_own_word(record.value):
        return None
    topic, source_offset = _source(_header(record, SOURCE_HEADER))
    rule = _header(record, RULE_HEADER)
    return Copied(record.offset, topic, source_offset, rule, hashlib.sha256(record.value).digest())


def _is_own_word(value: bytes) -> bool:
    try:
        return schema_of(value).subject in _OWN_WORDS
    except Rejection:
        return False


def _header(record: BusRecord, name: str) -> str:
    found = [content for header, content in record.headers if header == name]
    return _text(found[0]) if len(found) == 1 else ""


def _text(content: bytes | None) -> str:
    """`content`, cut: what is longer than any of ours is foul, and a receipt must hold it."""
    return (content or b"")[:_TEXT_MAX].decode("utf-8", "replace")


def _source(text: str) -> tuple[str, int]:
    topic, _, offset = text.rpartition("/0/")
    if topic and offset.isascii() and offset.isdigit() and len(offset) <= 18:  # noqa: PLR2004  # an Avro long
        return topic, int(offset)
    return text, UNKNOWN_OFFSET


def split(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """`items` in as many runs as receipts are needed for them; at least one, which may be empty."""
    begin, size, origins = 0, 0, set[str]()
    for at, item in enumerate(items):
        text = item.key if isinstance(item, Erased) else item.topic + item.rule
        cost = _ITEM_BYTES + len(text.encode())
        if at - begin >= ITEMS_MAX or size + cost > BYTES_MAX:
            yield items[begin:at]
            begin, size, origins = at, 0, set()
        # an origin is written once
        size += _ITEM_BYTES if text in origins else cost
        if isinstance(item, Copied):
            origins.add(text)
    yield items[begin:]


# -- the record ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """That `items`, and no others, came into a range of `member`'s inbox.

    `group` is the reader whose word it is, `series` names an inbox between being made and being made anew. Times are
    milliseconds since 1970: `last_appended_ms` the broker's of the newest record in the range, `began_ms` and
    `issued_ms` the member's, `at_ms` the broker's of this receipt.
    """

    member: str
    group: str
    series: str
    first_offset: int
    last_offset: int
    items: tuple[Item, ...]
    last_appended_ms: int
    began_ms: int
    issued_ms: int
    at_ms: int = 0

    @property
    def name(self) -> str:
        """Its key in the outbox, after the kind."""
        return f"{self.series}/{self.first_offset}"

    @property
    def root(self) -> bytes:
        """The Merkle root over its items."""
        return root_of([item.leaf for item in self.items])


def receipt_record(receipt: Receipt) -> dict[str, Any]:
    """The record that stands for `receipt` in its member's outbox."""
    copies = [item for item in receipt.items if isinstance(item, Copied)]
    origins = list(dict.fromkeys((item.topic, item.rule) for item in copies))
    at = {origin: number for number, origin in enumerate(origins)}
    return {
        "member": receipt.member,
        "topic": inbox_topic(receipt.member),
        "group": receipt.group,
        "series": receipt.series,
        "first_offset": receipt.first_offset,
        "last_offset": receipt.last_offset,
        "count": len(receipt.items),
        "root": receipt.root,
        "origins": [{"topic": topic, "rule": rule} for topic, rule in origins],
        "copies": [
            {
                "offset": item.offset,
                "origin": at[item.topic, item.rule],
                "source_offset": item.source_offset,
                "sha256": item.sha256,
            }
            for item in copies
        ],
        "erasures": [{"offset": item.offset, "key": item.key} for item in receipt.items if isinstance(item, Erased)],
        "last_appended_at": receipt.last_appended_ms,
        "began_at": receipt.began_ms,
        "issued_at": receipt.issued_ms,
    }


def receipt_of(member: str, content: Any, at_ms: int) -> Receipt:
    """The receipt that `content`, a record of `member`'s outbox, stands for; `at_ms` is the broker's time of it.

    Raises:
        Rejection: it contradicts itself, or is about another's inbox.
    """
    if content["topic"] != inbox_topic(member):
        raise Rejection(Reason.WRONG_TOPIC, "topic: not the inbox of this outbox's member")
    receipt = Receipt(
        member=member,
        group=content["group"],
        series=content["series"],
        first_offset=content["first_offset"],
        last_offset=content["last_offset"],
        items=tuple(sorted(_items(content), key=lambda item: item.offset)),
        last_appended_ms=content["last_appended_at"],
        began_ms=content["began_at"],
        issued_ms=content["issued_at"],
        at_ms=at_ms,
    )
    _check(receipt, content["count"], content["root"])
    return receipt


def _items(content: Any) -> Iterable[Item]:
    origins = [(one["topic"], one["rule"]) for one in content["origins"]]
    for one in content["copies"]:
        if not 0 <= one["origin"] < len(origins) or len(one["sha256"]) != HASH_BYTES:
            raise Rejection(Reason.INVALID, "copies: an origin that is not listed, or no SHA-256")
        topic, rule = origins[one["origin"]]
        yield Copied(one["offset"], topic, one["source_offset"], rule, one["sha256"])
    for one in content["erasures"]:
        yield Erased(one["offset"], one["key"])


def _check(receipt: Receipt, count: int, root: bytes) -> None:
    offsets = [item.offset for item in receipt.items]
    if len(set(offsets)) != len(offsets) or any(
        not receipt.first_offset <= offset <= receipt.last_offset for offset in offsets
    ):
        raise Rejection(Reason.INVALID, "offset: twice, or out of the range")
    if not 0 <= receipt.first_offset <= receipt.last_offset:
        raise Rejection(Reason.INVALID, "last_offset: before the first")
    if count != len(offsets) or root != receipt.root:
        raise Rejection(Reason.INVALID, "root: not that of what is listed")
