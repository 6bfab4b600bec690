"""The comparison of receipts with decisions: what is found, and what must not be."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import pytest

from tocsin.consumers.audit.given import Decisions
from tocsin.consumers.audit.merkle import EMPTY_ROOT, leaf_hash, root_of
from tocsin.consumers.audit.receipts import Coverage, Finding, compare
from tocsin.consumers.receipts import (
    ITEMS_MAX,
    UNKNOWN_OFFSET,
    Copied,
    Erased,
    Item,
    Receipt,
    item_of,
    receipt_of,
    receipt_record,
    split,
)
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import VALUE_BYTES_MAX, encode
from tocsin.schemas.errors import Rejection
from tocsin.schemas.records import Decision

TOPIC = "alerts.de.site-taken-down.green"
RULE = "ALLOW READ User:isp-de 192.0.2.1 LITERAL alerts.de.site-taken-down.green"


def sha(number: int) -> bytes:
    """The hash of the alert at that offset."""
    return hashlib.sha256(str(number).encode()).digest()


def copied(at: int, number: int, **other: Any) -> Copied:
    """The copy of the alert at offset `number`, at offset `at` of the inbox."""
    return Copied(at, TOPIC, number, RULE, sha(number))._replace(**other)


def decided(seq: int, number: int, *, kind: str = "ALERT", lineage: int | None = None, **other: Any) -> Decision:
    """A decision on the alert at offset `number`, which gives it to `isp-de` unless `other` says more."""
    made = {
        "seq": seq,
        "kind": kind,
        "outcome": "ACCEPTED",
        "decided_at": seq * 1_000_000,
        "topic": TOPIC,
        "offset": number,
        "sha256": sha(number),
        "publisher": "hotline-de",
        "lineage_id": f"matter-{number if lineage is None else lineage}",
        "given": [] if "erased" in other or "refused" in other else [{"member": "isp-de", "rule": RULE}],
        "refused": [],
        "erased": [],
        **other,
    }
    return cast("Decision", made)


def receipt(*items: Item, first: int = 0, last: int | None = None, series: str = "s", at_ms: int = 0) -> Receipt:
    """A receipt of `isp-de`."""
    end = max((item.offset for item in items), default=first) if last is None else last
    return Receipt("isp-de", "isp-de.inbox", series, first, end, items, 0, 0, 0, at_ms)


def found(decisions: list[Decision], *receipts: Receipt) -> list[tuple[Finding, str, int | None, int | None]]:
    """Finding, place, decision and place in the inbox, of each."""
    all_of = Decisions()
    for decision in decisions:
        all_of.add(decision)
    return [(one.finding, one.place, one.seq, one.inbox_offset) for one in compare(all_of, receipts)[0]]


FIVE = [decided(number + 1, number) for number in range(5)]


def test_what_came_as_it_was_decided_is_nothing() -> None:
    """And what is owed, or is not told of yet, neither."""
    assert found(FIVE, receipt(copied(0, 0), copied(1, 1))) == []
    assert found(FIVE) == []


def test_what_lies_between_two_that_came_must_have_come() -> None:
    """Within one range without a gap; what comes first or last of all cannot be told."""
    missing = (Finding.MISSING, f"{TOPIC}/2", 3, None)
    assert found(FIVE, receipt(copied(3, 1), copied(4, 3))) == [missing]
    assert found(FIVE, receipt(copied(3, 1), last=3), receipt(copied(4, 3), first=4)) == [missing]
    assert found(FIVE, receipt(copied(3, 1), last=3), receipt(copied(5, 3), first=5)) == []
    assert found(FIVE, receipt(copied(3, 1), last=3), receipt(copied(4, 3), first=4, series="t")) == []


def test_what_another_reader_tells_of_is_not_missing() -> None:
    """And what is missing for two is one finding."""
    holey = receipt(copied(3, 1), copied(4, 3))
    assert found(FIVE, holey, receipt(copied(5, 2), series="t")) == []
    assert len(found(FIVE, holey, receipt(copied(3, 1), copied(4, 3), series="t"))) == 1


@pytest.mark.parametrize(
    ("later", "at_ms", "is_missing"),
    [
        (decided(6, 2, kind="WITHHELD", refused=[{"member": "isp-de", "reason": "sight-lost"}]), 0, False),
        (decided(6, 2, kind="WITHHELD", refused=[{"member": "isp-fr", "reason": "sight-lost"}]), 0, True),
        (decided(6, 2, kind="DISPUTED", refused=[{"member": "isp-de", "reason": "never-given"}]), 0, True),
        (decided(6, 7, lineage=2), 6_000_000, False),
        (decided(6, 7, lineage=2), 5_900_000, True),
        (decided(6, 2, kind="EXPIRED", erased=["isp-de"]), 6_000_000, False),
        (decided(6, 2, kind="EXPIRED", erased=["isp-de"]), 5_900_000, True),
        (decided(6, 0, kind="GAINED"), 6_000_000, False),
    ],
)
def test_what_may_rightly_be_gone(later: Decision, at_ms: int, is_missing: bool) -> None:  # noqa: FBT001
    """Withheld, or replaced or erased before it was read, or given to an inbox that was made anew."""
    told = receipt(copied(3, 1), copied(4, 3), at_ms=at_ms)
    assert bool(found([*FIVE, later], told)) is is_missing


def test_what_was_not_decided_is_found_where_it_lies() -> None:
    """A source that nobody was given, one that others were, one that was withheld, one too many, and no source."""
    others = decided(6, 5, given=[{"member": "isp-fr", "rule": RULE}])
    withheld = decided(7, 4, kind="WITHHELD", refused=[{"member": "isp-de", "reason": "sight-lost"}])
    foul = Copied(9, "", UNKNOWN_OFFSET, "", sha(0))
    told = receipt(copied(0, 0), copied(1, 0), copied(2, 4), copied(3, 5), copied(4, 77), foul)
    assert found([*FIVE, others, withheld], told) == [
        (Finding.UNDECIDED, f"{TOPIC}/0", None, 1),
        (Finding.UNDECIDED, f"{TOPIC}/4", None, 2),
        (Finding.UNDECIDED, f"{TOPIC}/5", None, 3),
        (Finding.UNDECIDED, f"{TOPIC}/77", None, 4),
        (Finding.UNDECIDED, "/-1", None, 9),
    ]


def test_another_value_or_rule_is_different() -> None:
    """The decision is named, and where the copy lies."""
    told = receipt(copied(0, 0, sha256=sha(9)), copied(1, 1, rule="ALLOW ALL"))
    assert found(FIVE, told) == [
        (Finding.DIFFERENT, f"{TOPIC}/0", 1, 0),
        (Finding.DIFFERENT, f"{TOPIC}/1", 2, 1),
    ]


def test_erasures_are_compared_too() -> None:
    """One that nobody decided, one too many, and one that never came."""
    gone = decided(6, 2, kind="EXPIRED", erased=["isp-de"])
    later = decided(7, 6)
    key = "hotline-de/matter-2"
    came = [copied(number, number) for number in range(5)]
    assert found([*FIVE, gone, later], receipt(*came, Erased(5, key), copied(6, 6), at_ms=7_000_000)) == []
    assert found([*FIVE, gone, later], receipt(*came, copied(6, 6), at_ms=7_000_000)) == [
        (Finding.MISSING, key, 6, None)
    ]
    assert found([*FIVE, gone, later], receipt(*came, copied(6, 6), at_ms=10**9)) == []
    twice = receipt(*came, Erased(5, key), Erased(6, key), Erased(7, "hotline-de/matter-3"))
    assert found([*FIVE, gone], twice) == [
        (Finding.UNDECIDED, key, None, 6),
        (Finding.UNDECIDED, "hotline-de/matter-3", None, 7),
    ]


def test_coverage_says_how_far_it_can_be_told() -> None:
    """By member: what it was given, what came, what had been replaced, and when it told last."""
    all_of = Decisions()
    for decision in [*FIVE, decided(6, 7, lineage=2), decided(7, 8, given=[{"member": "isp-fr", "rule": RULE}])]:
        all_of.add(decision)
    told = receipt(copied(3, 1), copied(4, 3), at_ms=6_000_000)
    assert compare(all_of, [told]) == (
        [],
        [Coverage("isp-de", 6, 2, 1, 1, 6_000_000), Coverage("isp-fr", 1, 0, 0, 0, None)],
    )


# -- the record ------------------------------------------------------------------------------------------------------


def record(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = b"p/l") -> BusRecord:
    """A record of an inbox."""
    return BusRecord("inbox.isp-de", 7, key, value, headers, 5)


def test_what_counts_is_told_by_the_bytes() -> None:
    """Any value but the exchange's own words, whether or not it verifies; a tombstone by its key."""
    source, rule = ("tocsin-source", f"{TOPIC}/0/3".encode()), ("tocsin-rule", RULE.encode())
    assert item_of(record(b"3", source, rule)) == copied(7, 3)
    assert item_of(record(b"3", source, source)) == Copied(7, "", UNKNOWN_OFFSET, "", sha(3))
    assert item_of(record(b"3", ("tocsin-source", b"x/1/3"))) == Copied(7, "x/1/3", UNKNOWN_OFFSET, "", sha(3))
    assert item_of(record(None)) == Erased(7, "p/l")
    assert item_of(record(None, key=None)) == Erased(7, "")
    notice = {
        "member": "m",
        "recipient": "r",
        "jurisdiction": "de",
        "live_alerts_max": 1,
        "valid_to": 2,
        "issued_at": 3,
    }
    assert item_of(record(encode(schema("release"), notice))) is not None
    assert item_of(record(b"\0\0\0\0\xc9 and whatever follows")) is None


def test_a_receipt_is_read_as_it_was_written() -> None:
    """Items in the order of their offsets, and the root is RFC 6962's over their leaves."""
    made = receipt(copied(1, 0), Erased(2, "p/l"), copied(5, 1, rule="other"))
    assert receipt_of("isp-de", receipt_record(made), 0) == made
    leaves = [f"copy {TOPIC}/0/0 {sha(0).hex()} {RULE}", "erasure p/l", f"copy {TOPIC}/0/1 {sha(1).hex()} other"]
    assert made.root == root_of([leaf_hash(leaf.encode()) for leaf in leaves])
    assert receipt(first=3).root == EMPTY_ROOT


@pytest.mark.parametrize(
    "change",
    [
        {"topic": "inbox.isp-fr"},
        {"count": 2},
        {"root": bytes(32)},
        {"first_offset": 2},
        {"last_offset": 4},
        {"erasures": []},
        {"erasures": [{"offset": 1, "key": "p/l"}]},
        {"origins": []},
        {"copies": [{"offset": 1, "origin": -1, "source_offset": 0, "sha256": sha(0)}]},
        {"copies": [{"offset": 1, "origin": 0, "source_offset": 0, "sha256": b""}]},
        {"copies": [], "erasures": [], "count": 0, "root": EMPTY_ROOT, "first_offset": 9},
    ],
)
def test_a_receipt_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    """And one about another's inbox."""
    good = receipt_record(receipt(copied(1, 0), copied(3, 1), Erased(5, "p/l")))
    with pytest.raises(Rejection):
        receipt_of("isp-de", {**good, **change}, 0)


def test_a_receipt_always_fits() -> None:
    """Whatever was planted in an inbox; the items are in one receipt each, in order."""
    long = "ö" * 400
    planted = [item_of(record(None, key=long.encode()))] * 300
    foul = [item_of(record(b"x", ("tocsin-source", f"{number}{long}".encode()))) for number in range(300)]
    items = [item._replace(offset=at) for at, item in enumerate(one for one in (*planted, *foul) if one is not None)]
    items += [copied(at, at) for at in range(len(items), len(items) + 1_200)]
    runs = [*split(items)]
    assert [item for run in runs for item in run] == items
    assert max(map(len, runs)) == ITEMS_MAX
    for run in runs:
        made = receipt(*run, first=run[0].offset)
        assert len(encode(schema("receipt"), receipt_record(made))) < VALUE_BYTES_MAX - 5_000
