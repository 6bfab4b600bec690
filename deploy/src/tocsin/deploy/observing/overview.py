"""How the exchange is, from what its services say: lanes, members, snapshots, services, and what needs somebody. Pure.

No alert, no content and no recipient of one is in it: metrics have none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from tocsin.deploy.observing.samples import Samples

LOOP_S_MAX: Final = 120.0
"""A loop that has not turned for so long stands: the slowest ones look once a minute."""
LINE_S_MORE: Final = 300.0
"""A line is silent when it was not tested for twice as long as it should be, and so much more."""
SNAPSHOT_S_MAX: Final = 120.0
SEALED_S_MAX: Final = 60.0

_LATENCY: Final = "tocsin_delivery_seconds_bucket"


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane. Rates are a second's, since the look before; latencies are seconds from publishing to the inbox.

    `state` is `works`, `stopped` (a snapshot is missing or too old), `hangs` (an open transaction) or `nobody`. What
    is not known is None.
    """

    lane: str
    state: str
    worker: str | None
    p50_s: float | None
    p99_s: float | None
    decisions: float | None
    copies: float | None
    lag: int | None
    lag_s: float | None
    behind: int | None


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member's line: `takes` copies, `refuses` them, or is `silent`: not tested for longer than it should be.

    `tested_s` ago it was last told that its line is alive; what is not known is None.
    """

    member: str
    line: str
    tested_s: float | None
    owed: int
    owed_s: float | None
    overdue: int


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """What decisions are made by: how old the oldest of all processes is, and how large."""

    snapshot: str
    age_s: float
    size: int | None


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service: where it answers, and how long ago the slowest of its loops turned."""

    service: str
    version: str | None
    where: str
    state: str
    turned_s: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it. `troubles` are sentences, the worst first; `members` is how many the directory has."""

    at_s: float
    troubles: tuple[str, ...]
    lanes: tuple[LaneRow, ...]
    members: int | None
    lines: tuple[MemberRow, ...]
    snapshots: tuple[SnapshotRow, ...]
    services: tuple[ServiceRow, ...]


def overview(now: Sequence[Samples], before: Sequence[Samples] = ()) -> Overview:
    """How the exchange is by what its services say `now`; rates are since they were asked `before`."""
    at_s = max((one.at_s for one in now), default=0.0)
    earlier = {one.url: one for one in before}
    lanes = tuple(_lanes(now, earlier))
    lines = tuple(_lines(now))
    snapshots = tuple(_snapshots(now))
    services = tuple(map(_service, now))
    sizes = [value for one in now for _, value in one.of("tocsin_snapshot_size", snapshot="directory")]
    troubles = (*_of_services(services), *_of_lanes(lanes), *_of_lines(lines), *_of_snapshots(snapshots), *_others(now))
    return Overview(at_s, troubles, lanes, int(max(sizes)) if sizes else None, lines, snapshots, services)


# -- lanes -----------------------------------------------------------------------------------------------------------


def _lanes(now: Iterable[Samples], earlier: Mapping[str, Samples]) -> Iterator[LaneRow]:
    by_lane: defaultdict[str, list[Samples]] = defaultdict(list)
    for one in now:
        for lane in dict.fromkeys(labels["lane"] for labels, _ in one.of("tocsin_lane_up")):
            by_lane[lane].append(one)
    for lane, known in sorted(by_lane.items()):
        # who has worked it before still says how it was then
        working = next((one for one in known if one.value("tocsin_lane_up", lane=lane)), None)
        yield LaneRow(lane, "nobody", *(None,) * 8) if working is None else _lane(lane, working, earlier)


def _lane(lane: str, one: Samples, earlier: Mapping[str, Samples]) -> LaneRow:
    before = earlier.get(one.url)
    state = "works"
    if one.value("tocsin_deliveries_stopped", lane=lane):
        state = "stopped"
    if one.value("tocsin_lane_hangs", lane=lane):
        state = "hangs"
    lag_at = one.value("tocsin_lag_timestamp_seconds", lane=lane)
    buckets = _buckets(one, before, lane)
    return LaneRow(
        lane,
        state,
        next((labels["worker"] for labels, value in one.of("tocsin_lane_owner", lane=lane) if value), None),
        quantile(0.5, buckets),
        quantile(0.99, buckets),
        _rate("tocsin_decisions_total", one, before, lane),
        _rate("tocsin_copies_total", one, before, lane),
        _whole(one.value("tocsin_lag_records", lane=lane)),
        None if lag_at is None else max(0.0, one.at_s - lag_at),
        _whole(one.value("tocsin_behind_members", lane=lane)),
    )


def _rate(name: str, now: Samples, before: Samples | None, lane: str) -> float | None:
    """How much a second; what counts from 0 again has begun again."""
    if before is None or now.at_s <= before.at_s:
        return None
    rose = (now.value(name, lane=lane) or 0.0) - (before.value(name, lane=lane) or 0.0)
    return rose / (now.at_s - before.at_s) if rose >= 0 else None


def _buckets(now: Samples, before: Samples | None, lane: str) -> list[tuple[float, float]]:
    """How many took no longer than each bound: since the look before, or if nothing came since, ever."""
    ever = _cumulative(now, lane)
    if before is not None:
        since = {bound: count - _cumulative(before, lane).get(bound, 0.0) for bound, count in ever.items()}
        if since.get(inf, 0.0) > 0 and min(since.values()) >= 0:
            return sorted(since.items())
    return sorted(ever.items())


def _cumulative(one: Samples, lane: str) -> dict[float, float]:
    found: defaultdict[float, float] = defaultdict(float)
    for labels, value in one.of(_LATENCY, lane=lane):
        found[float(labels["le"])] += value
    return found


def quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """What `share` of all did not exceed, by cumulative `buckets` (bound, count), even within one; as PromQL has it.

    None: nothing was counted. Beyond the last finite bound, that bound.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = share * buckets[-1][1]
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == inf:
                return low
            return low + (bound - low) * (rank - below) / (count - below) if count > below else bound
        low, below = bound, count
    return low


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


# -- members, snapshots, services ------------------------------------------------------------------------------------


def _lines(now: Iterable[Samples]) -> Iterator[MemberRow]:
    """Every member, those first whose line needs somebody."""
    owed: defaultdict[str, float] = defaultdict(float)
    since: dict[str, float] = {}
    tested: dict[str, float] = {}
    overdue: defaultdict[str, float] = defaultdict(float)
    every_s = max((value for one in now for _, value in one.of("tocsin_line_test_seconds")), default=inf)
    for one in now:
        for labels, value in one.of("tocsin_line_timestamp_seconds"):
            age_s = max(0.0, one.at_s - value)
            tested[labels["member"]] = min(age_s, tested.get(labels["member"], inf))
        for labels, value in one.of("tocsin_owed_copies"):
            if one.value("tocsin_lane_up", lane=labels["lane"]):
                owed[labels["member"]] += value
        for labels, value in one.of("tocsin_owed_timestamp_seconds"):
            if one.value("tocsin_lane_up", lane=labels["lane"]):
                age_s = max(0.0, one.at_s - value)
                since[labels["member"]] = max(age_s, since.get(labels["member"], 0.0))
        for labels, value in one.of("tocsin_withdrawals_overdue"):
            overdue[labels["member"]] += value
    rows = []
    for member in {*owed, *overdue, *tested}:
        silent = tested.get(member, 0.0) > 2 * every_s + LINE_S_MORE
        line = "refuses" if member in owed else "silent" if silent else "takes"
        rows.append(
            MemberRow(
                member,
                line,
                tested.get(member),
                int(owed.get(member, 0)),
                since.get(member),
                int(overdue.get(member, 0)),
            )
        )
    return iter(sorted(rows, key=lambda row: (row.line == "takes", not row.overdue, row.member)))


def _snapshots(now: Iterable[Samples]) -> Iterator[SnapshotRow]:
    ages: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for one in now:
        for labels, value in one.of("tocsin_snapshot_timestamp_seconds"):
            name = labels["snapshot"]
            ages[name] = max(one.at_s - value, ages.get(name, 0.0))
        for labels, value in one.of("tocsin_snapshot_size"):
            sizes[labels["snapshot"]] = int(value)
    return (SnapshotRow(name, age_s, sizes.get(name)) for name, age_s in sorted(ages.items()))


def _service(one: Samples) -> ServiceRow:
    if one.why:
        return ServiceRow("?", None, one.url, f"no answer ({one.why})", None)
    labels = next((labels for labels, _ in one.of("tocsin_build_info")), {})
    turned = [max(0.0, one.at_s - value) for _, value in one.of("tocsin_loop_timestamp_seconds")]
    slowest = max(turned, default=None)
    state = "stands" if slowest is not None and slowest > LOOP_S_MAX else "answers"
    return ServiceRow(labels.get("service", "?"), labels.get("version"), one.url, state, slowest)


# -- what needs somebody ---------------------------------------------------------------------------------------------

_LANE_TROUBLES: Final = {
    "nobody": "nobody works it",
    "stopped": "nothing is delivered: what decisions are made by is missing or too old",
    "hangs": "a transaction stays open on its ledger",
}


def _of_services(services: Iterable[ServiceRow]) -> Iterator[str]:
    for one in services:
        if one.state != "answers":
            yield f"service at {one.where}: {one.state}"


def _of_lanes(lanes: Iterable[LaneRow]) -> Iterator[str]:
    for one in lanes:
        if one.state in _LANE_TROUBLES:
            yield f"lane {one.lane}: {_LANE_TROUBLES[one.state]}"


def _of_lines(lines: Iterable[MemberRow]) -> Iterator[str]:
    for one in lines:
        if one.line == "refuses":
            since = "" if one.owed_s is None else f", the first for {in_words(one.owed_s)}"
            yield f"{one.member}: its inbox refuses copies; {one.owed} are owed{since}"
        if one.line == "silent" and one.tested_s is not None:
            yield f"{one.member}: its line was last tested {in_words(one.tested_s)} ago"
        if one.overdue:
            yield f"{one.member}: {one.overdue} retractions not acknowledged in time"


def _of_snapshots(snapshots: Iterable[SnapshotRow]) -> Iterator[str]:
    for one in snapshots:
        if one.age_s > SNAPSHOT_S_MAX:
            yield f"{one.snapshot}: last read whole {in_words(one.age_s)} ago"


def _others(now: Iterable[Samples]) -> Iterator[str]:
    for one in now:
        sealed = one.value("tocsin_sealed_timestamp_seconds")
        if sealed is not None and one.at_s - sealed > SEALED_S_MAX:
            yield f"the record: last sealed {in_words(one.at_s - sealed)} ago" if sealed else "the record: never sealed"
        for name, what in _COUNTED.items():
            count = one.value(name)
            if count:
                yield what.format(int(count))
        for labels, value in one.of("tocsin_policy_differences"):
            if value:
                kind = labels["kind"]
                yield (
                    f"policy: {int(value)} break-glass grants are in force"
                    if kind == "break-glass"
                    else f"policy: {int(value)} things are not as it has them ({kind})"
                )


_COUNTED: Final = {
    "tocsin_witness_forks": "the record: {} heads contradict others",
    "tocsin_sealer_refused_logs": "the record: {} logs cannot be gone on with",
    "tocsin_gains_held_members": "{} members wait for a release of what they gained",
}


def in_words(seconds: float) -> str:
    """A time for people: 12 s, 3 min, 2.5 h, 4.1 d."""
    for unit, length in (("d", 86_400.0), ("h", 3_600.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"  # noqa: PLR2004  # two minutes
