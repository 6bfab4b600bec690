"""Who was told of a withdrawal, and who has acknowledged it."""

from __future__ import annotations

import uuid

from tests.unit.consumers.test_ledger import entry
from tocsin.consumers.entry import ERASED, Entry, Given
from tocsin.consumers.ledger import MARK_KEY, Mark, encode_entry, encode_mark
from tocsin.consumers.metrics import WithdrawalsMetrics
from tocsin.consumers.outbox_records import Acknowledged
from tocsin.consumers.withdrawals import NOTICE_EARLY_MS, Retractions, Stock, Told, Withdrawal
from tocsin.schemas.bus import BusRecord

AT = 1_800_000_000_000
LINEAGE = "p/l"
GIVEN = Given(1, 1, ("a", "b", "c"), ("rule", "rule", "rule"))
ERASURE = Given(5, 2, ("a", "b"), (ERASED, ERASED))


def _entry(status: str, *given: Given) -> bytes:
    return encode_entry(
        Entry(LINEAGE, "ALERT", LINEAGE, 2, status, "t", 0, 7, bytes(32), AT, AT, "k", False, b"", (), given)
    )


def _retractions(status: str = "RETRACTED", *, paid: int = 5, behind: dict[str, int] | None = None) -> Retractions:
    retractions = Retractions("se")
    retractions.apply(BusRecord("ledger.se", 0, LINEAGE.encode(), _entry("ACTIVE", GIVEN), (), AT - 60_000))
    retractions.apply(BusRecord("ledger.se", 1, LINEAGE.encode(), _entry(status, GIVEN, ERASURE), (), AT))
    retractions.apply(BusRecord("ledger.se", 2, MARK_KEY, encode_mark(Mark(paid, behind or {})), (), AT))
    return retractions


def _notice(at_ms: int, version: int = 7) -> uuid.UUID:
    return uuid.UUID(int=at_ms << 80 | version << 76 | 0x2 << 62)


def _states(retractions: Retractions, said: dict[str, uuid.UUID], members: tuple[str, ...] = ("a", "b")) -> list[Told]:
    words = {member: Acknowledged(member, "p", "l", notice, AT + 9) for member, notice in said.items()}
    return [one.state for one in retractions.report(members, lambda name: words if name == LINEAGE else {})]


def test_only_who_was_erased_is_told_and_has_acknowledged_by_this_notice() -> None:
    """A holder of another revision who is not erased is no part of it."""
    [first, second] = _retractions().report(
        ("a", "b", "c"), lambda _: {"a": Acknowledged("a", "p", "l", _notice(AT + 5), AT + 9)}
    )
    assert first == Withdrawal("se", LINEAGE, "a", Told.ACKNOWLEDGED, AT, AT + 9)
    assert second == Withdrawal("se", LINEAGE, "b", Told.WAITING, AT)


def test_the_notice_of_an_earlier_correction_does_not_count() -> None:
    """Its id is older than the retraction, by more than clocks differ."""
    early = AT - NOTICE_EARLY_MS
    assert _states(_retractions(), {"a": _notice(early), "b": _notice(early - 1)}) == [Told.ACKNOWLEDGED, Told.WAITING]
    assert _states(_retractions(), {"a": _notice(AT + 5, version=4)}) == [Told.WAITING, Told.WAITING]


def test_who_is_owed_is_not_told_and_who_left_is_not_waited_for() -> None:
    """The mark says who is owed, the directory who is there."""
    assert _states(_retractions(paid=4), {}) == [Told.NOT_TOLD, Told.NOT_TOLD]
    assert _states(_retractions(behind={"b": 4}), {}) == [Told.WAITING, Told.NOT_TOLD]
    assert _states(_retractions(), {}, members=("b",)) == [Told.LEFT, Told.WAITING]


def test_what_is_not_retracted_or_is_forgotten_is_not_reported() -> None:
    """Only what was retracted is."""
    for status in ("ACTIVE", "CORRECTED", "DISPUTED", "EXPIRED"):
        assert _states(_retractions(status), {}) == []
    retractions = _retractions()
    retractions.apply(BusRecord("ledger.se", 3, LINEAGE.encode(), None, (), AT))
    assert _states(retractions, {}) == []


def test_overdue_is_not_acknowledged_for_longer_than_the_bound() -> None:
    """Exactly as long is not longer."""
    for state in Told:
        one = Withdrawal("se", LINEAGE, "a", state, AT)
        assert one.overdue(AT + 11, 10) is (state in {Told.WAITING, Told.NOT_TOLD})
        assert not one.overdue(AT + 10, 10)


def test_what_still_stands_of_a_publisher_since_a_position() -> None:
    """By the newest revision's place; expired ones too, retracted ones and others' not."""
    stock = Stock("p", {"alerts.de.site-taken-down.green": 5})
    made = [
        entry("p/before", offset=4),
        entry("p/after", offset=5),
        entry("p/expired", offset=6, status="EXPIRED"),
        entry("p/retracted", offset=7, status="RETRACTED"),
        entry("p/elsewhere", offset=0, topic="alerts.de.site-taken-down.amber"),
        entry("q/other", offset=8),
    ]
    for number, one in enumerate(made):
        stock.apply(BusRecord("ledger.de", number, one.key.encode(), encode_entry(one), (), 0))
    assert [one.key for one in stock.lineages()] == ["p/after", "p/expired", "p/elsewhere"]


def test_metrics_say_who_is_overdue_and_how_old_the_oldest_is() -> None:
    """What was made good is no longer counted."""
    metrics = WithdrawalsMetrics()
    found = [
        Withdrawal("se", f"{LINEAGE}-{number}", member, state, AT + number * 1_000)
        for number, (member, state) in enumerate([("a", Told.WAITING), ("a", Told.NOT_TOLD), ("b", Told.ACKNOWLEDGED)])
    ]
    metrics.read(found, ["se", "de"], AT + 9_000, 7_500)
    assert _samples(metrics) == {
        ("tocsin_withdrawals_overdue", "se", "a"): 2,
        ("tocsin_withdrawals_oldest_seconds", "se", None): 9,
        ("tocsin_withdrawals_oldest_seconds", "de", None): 0,
        ("tocsin_withdrawals_read_timestamp_seconds", None, None): (AT + 9_000) / 1_000,
    }
    metrics.read([], ["se", "de"], AT + 10_000, 7_500)
    assert ("tocsin_withdrawals_overdue", "se", "a") not in _samples(metrics)
    assert _samples(metrics)["tocsin_withdrawals_oldest_seconds", "se", None] == 0


def _samples(metrics: WithdrawalsMetrics) -> dict[tuple[str, str | None, str | None], float]:
    return {
        (one.name, one.labels.get("lane"), one.labels.get("member")): one.value
        for family in metrics.registry.collect()
        if family.name.startswith("tocsin_withdrawals")
        for one in family.samples
    }
