"""The state of an exchange as rows, made of what its services said: for whatever shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tocsin.deploy.observing.scrape import Scrape, Span


@dataclass(frozen=True, slots=True)
class LaneRow:
    """One lane. Times are seconds; None is what nobody has said yet. Without an `owner` nobody works it."""

    lane: str
    owner: str | None
    lag_records: float | None
    lag_s: float | None
    p50_s: float | None
    p99_s: float | None
    decisions_per_s: float | None
    copies_per_s: float | None
    owed_decisions: float | None
    stopped: bool


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member, as far as services have met it; `lanes` are those that owe it something because its inbox refuses."""

    member: str
    line: str
    lanes: tuple[str, ...]
    owed_copies: float
    owed_for_s: float | None
    clock_skew_s: float | None


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """What one process last read that decisions are made by."""

    snapshot: str
    source: str
    age_s: float
    read_s: float | None
    size: float | None
    failures: float


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One service that was asked."""

    source: str
    service: str | None
    version: str | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is shown."""

    lanes: tuple[LaneRow, ...]
    members: tuple[MemberRow, ...]
    snapshots: tuple[SnapshotRow, ...]
    sources: tuple[SourceRow, ...]


def state_of(before: Iterable[Scrape], now: Sequence[Scrape]) -> State:
    """What the scrapes of `now` come to; rates are since those of `before`, which may be none."""
    known = {one.source: one for one in before if one.trouble is None}
    spans = [Span(known.get(one.source), one) for one in now]
    return State(tuple(_lanes(spans)), tuple(_members(now)), tuple(_snapshots(now)), tuple(_source(one) for one in now))


def _lanes(spans: Sequence[Span]) -> Iterator[LaneRow]:
    seen = {labels["lane"] for span in spans for labels, _ in span.now.each("tocsin_lane_up")}
    for lane in sorted(seen):
        owner = next((span for span in spans if span.now.get("tocsin_lane_up", lane=lane) == 1), None)
        yield LaneRow(lane, *(None,) * 8, stopped=False) if owner is None else _lane(lane, owner)


def _lane(lane: str, span: Span) -> LaneRow:
    now = span.now
    oldest_s = now.get("tocsin_lag_timestamp_seconds", lane=lane)
    return LaneRow(
        lane=lane,
        owner=next((labels["worker"] for labels, _ in now.each("tocsin_lane_owner", lane=lane)), now.source),
        lag_records=now.get("tocsin_lag_records", lane=lane),
        lag_s=_age(now, oldest_s) if now.get("tocsin_lag_records", lane=lane) else 0.0,
        p50_s=span.quantile(0.5, "tocsin_delivery_seconds", lane=lane),
        p99_s=span.quantile(0.99, "tocsin_delivery_seconds", lane=lane),
        decisions_per_s=span.rate("tocsin_decisions_total", lane=lane),
        copies_per_s=span.rate("tocsin_copies_total", lane=lane),
        owed_decisions=now.get("tocsin_owed_seqs", lane=lane),
        stopped=now.get("tocsin_deliveries_stopped", lane=lane) == 1,
    )


def _age(scrape: Scrape, then_s: float | None) -> float | None:
    # clocks of two machines may differ a little
    return None if then_s is None else max(0.0, scrape.at_s - then_s)


def _members(now: Sequence[Scrape]) -> Iterator[MemberRow]:
    owed = {
        (labels["member"], labels["lane"]): (value, _age(one, _since(one, labels)))
        for one in now
        for labels, value in one.each("tocsin_owed_copies")
    }
    skew = {labels["member"]: value for one in now for labels, value in one.each("tocsin_clock_skew_seconds")}
    for member in sorted({*(member for member, _ in owed), *skew}):
        debts = {lane: debt for (whose, lane), debt in owed.items() if whose == member}
        yield MemberRow(
            member=member,
            line="refuses" if debts else "takes copies",
            lanes=tuple(sorted(debts)),
            owed_copies=sum(count for count, _ in debts.values()),
            owed_for_s=max((age for _, age in debts.values() if age is not None), default=None),
            clock_skew_s=skew.get(member),
        )


def _since(scrape: Scrape, labels: dict[str, str]) -> float | None:
    return scrape.get("tocsin_owed_timestamp_seconds", **labels)


def _snapshots(now: Sequence[Scrape]) -> Iterator[SnapshotRow]:
    for one in now:
        for labels, read_s in sorted(
            one.each("tocsin_snapshot_timestamp_seconds"), key=lambda found: [*found[0].items()]
        ):
            name = labels["snapshot"]
            yield SnapshotRow(
                snapshot=name,
                source=one.source,
                age_s=max(0.0, one.at_s - read_s),
                read_s=one.get("tocsin_snapshot_read_seconds", snapshot=name),
                size=one.get("tocsin_snapshot_size", snapshot=name),
                failures=one.get("tocsin_snapshot_failures_total", snapshot=name) or 0.0,
            )


def _source(one: Scrape) -> SourceRow:
    info = next((labels for labels, _ in one.each("tocsin_build_info")), {})
    return SourceRow(one.source, info.get("service"), info.get("version"), one.trouble)
