"""What a month came to, from the index of the record: the tables that a board is shown."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final

from tocsin.consumers.audit.life import EXPIRED, Decided
from tocsin.consumers.audit.questions import Questions

MOST: Final = 20
"""How many members a table of the members with most shows."""
DECEMBER: Final = 12

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a report. `name` is a word for a file, `note` what must be known to read it."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def month_of(text: str) -> tuple[int, int]:
    """The beginning of the month `YYYY-MM` and its end, which is the next one's beginning; in UTC.

    Raises:
        ValueError: it is none.
    """
    began = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    ended = began.replace(year=began.year + began.month // DECEMBER, month=began.month % DECEMBER + 1)
    return round(began.timestamp() * 1_000), round(ended.timestamp() * 1_000)


def report(asked: Questions, database: sqlite3.Connection, from_ms: int, to_ms: int) -> list[Table]:
    """All tables of the decisions of that time."""
    one = _Report(asked, database, from_ms, to_ms)
    return [
        one.decisions(),
        one.copies(),
        one.rejections(),
        one.refusals(),
        one.latencies(),
        one.withdrawals(),
        one.receivers(),
        one.publishers(),
    ]


def percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest of `values`, in order, that so large a share of them does not exceed; None of none."""
    return values[max(0, ceil(len(values) * share) - 1)] if values else None


class _Report:
    def __init__(self, asked: Questions, database: sqlite3.Connection, from_ms: int, to_ms: int) -> None:
        self._asked = asked
        self._database = database
        self._time = (from_ms, to_ms)

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._database.execute(query, (*self._time, *values)).fetchall()

    def decisions(self) -> Table:
        rows = self._rows(
            "SELECT words.text, kind, outcome, number FROM (SELECT lane, kind, outcome, count(*) AS number"
            " FROM decisions WHERE decided_at >= ? AND decided_at < ? GROUP BY lane, kind, outcome)"
            " JOIN words ON words.word = lane ORDER BY 1, 2, 3"
        )
        return Table("decisions", "Decisions", ("lane", "kind", "outcome", "decisions"), tuple(rows))

    def copies(self) -> Table:
        rows = self._rows(
            "SELECT words.text, given, gained, withheld, withdrawn, expired, given + gained - withheld FROM ("
            " SELECT lane,"
            " sum(CASE WHEN kind = 'ALERT' THEN g.size ELSE 0 END) AS given,"
            " sum(CASE WHEN kind = 'GAINED' THEN g.size ELSE 0 END) AS gained,"
            " sum(CASE WHEN kind = 'WITHHELD' THEN r.size ELSE 0 END) AS withheld,"
            " sum(CASE WHEN kind <> 'EXPIRED' THEN e.size ELSE 0 END) AS withdrawn,"
            " sum(CASE WHEN kind = 'EXPIRED' THEN e.size ELSE 0 END) AS expired"
            " FROM decisions LEFT JOIN rosters AS g ON g.roster = given LEFT JOIN rosters AS r ON r.roster = refused"
            " LEFT JOIN rosters AS e ON e.roster = erased WHERE decided_at >= ? AND decided_at < ? GROUP BY lane)"
            " JOIN words ON words.word = lane ORDER BY 1"
        )
        return Table(
            "copies",
            "Copies given and taken back",
            ("lane", "given at once", "gained later", "withheld", "withdrawn", "expired", "copies given"),
            tuple(tuple(value or 0 if at else value for at, value in enumerate(row)) for row in rows),
            "Withheld copies were decided and never written; they may have been decided in the month before. "
            "Withdrawn is counted for each member that was told so.",
        )

    def rejections(self) -> Table:
        rows = self._rows(
            "SELECT lanes.text, outcome, reasons.text, number FROM (SELECT lane, outcome, reason, count(*) AS number"
            " FROM decisions WHERE decided_at >= ? AND decided_at < ? AND outcome <> 'ACCEPTED'"
            " GROUP BY lane, outcome, reason) JOIN words AS lanes ON lanes.word = lane"
            " LEFT JOIN words AS reasons ON reasons.word = reason ORDER BY 1, 2, 4 DESC, 3"
        )
        return Table("rejections", "Records that were rejected", ("lane", "outcome", "reason", "records"), tuple(rows))

    def refusals(self) -> Table:
        rows = self._rows(
            "SELECT lanes.text, beside.text, sum(number), count(DISTINCT named.member) FROM ("
            " SELECT lane, refused, count(*) AS number FROM decisions WHERE decided_at >= ? AND decided_at < ?"
            " AND refused IS NOT NULL GROUP BY lane, refused) JOIN named ON named.roster = refused"
            " JOIN words AS lanes ON lanes.word = lane LEFT JOIN words AS beside ON beside.word = named.word"
            " GROUP BY lanes.text, beside.text ORDER BY 1, 3 DESC, 2"
        )
        return Table(
            "refusals", "Members that were refused", ("lane", "reason", "refusals", "members"), tuple(rows),
            "sight-lost and superseded: decided, and not given any more when it was to be written.",
        )  # fmt: skip

    def latencies(self) -> Table:
        by_lane: dict[str, list[int]] = {}
        rows = self._rows(
            "SELECT words.text, decided_at - appended_at FROM decisions JOIN words ON words.word = lane"
            " WHERE decided_at >= ? AND decided_at < ? AND appended_at IS NOT NULL ORDER BY 2"
        )
        for lane, took in rows:
            by_lane.setdefault(lane, []).append(took)
        found = [(lane, by_lane[lane]) for lane in sorted(by_lane)]
        if len(found) > 1:
            found.append(("all", [took for _, took in rows]))
        return Table(
            "latencies",
            "From append to decision, milliseconds",
            ("lane", "records", "p50", "p95", "p99", "max"),
            tuple(
                (lane, len(took), *(percentile(took, share) for share in (0.5, 0.95, 0.99)), took[-1])
                for lane, took in found
            ),
            "By two clocks, the broker's and the fan-out's.",
        )

    def withdrawals(self) -> Table:
        return Table(
            "retractions",
            "Retractions and their reach",
            ("lane", "lineage", "decided", "told", "acknowledged", "p50 s", "max s"),
            tuple(self._withdrawal_rows()),
            "Told: who was ever given any revision, and acknowledges that.",
        )

    def _withdrawal_rows(self) -> Iterator[tuple[Cell, ...]]:
        for one in self._asked.retractions(*self._time):
            took = sorted(self._asked.answered(one))
            middle = percentile(took, 0.5)
            yield (
                one.lane,
                one.lineage,
                _time_text(one),
                len(one.erased),
                len(took),
                None if middle is None else middle / 1_000,
                took[-1] / 1_000 if took else None,
            )

    def receivers(self) -> Table:
        given, refused, erased = (self._by_member(part) for part in ("given", "refused", "erased"))
        most = sorted(given.keys() | refused.keys(), key=lambda name: (-given[name], -refused[name], name))[:MOST]
        return Table(
            "receivers",
            "Members that were given most",
            ("member", "given", "refused", "withdrawn"),
            tuple((name, given[name], refused[name], erased[name]) for name in most),
            "Withheld copies count as refused, and were given by a decision before.",
        )

    def _by_member(self, part: str) -> Counter[str]:
        rows = self._rows(_BY_MEMBER[part], EXPIRED)
        return Counter(dict(rows))

    def publishers(self) -> Table:
        rows = self._rows(
            "SELECT words.text, accepted, rejected, duplicates FROM (SELECT publisher,"
            " sum(outcome = 'ACCEPTED') AS accepted, sum(outcome = 'REJECTED') AS rejected,"
            " sum(outcome = 'DUPLICATE') AS duplicates FROM decisions"
            " WHERE decided_at >= ? AND decided_at < ? AND kind = 'ALERT' AND publisher IS NOT NULL GROUP BY publisher)"
            " JOIN words ON words.word = publisher ORDER BY accepted DESC, rejected DESC, 1 LIMIT ?",
            MOST,
        )
        return Table(
            "publishers", "Members that published most", ("member", "accepted", "rejected", "duplicates"), tuple(rows)
        )


_COUNTED: Final = """
SELECT words.text, sum(number) FROM (
    SELECT <part> AS roster, count(*) AS number FROM decisions
    WHERE decided_at >= ? AND decided_at < ? AND <part> IS NOT NULL AND kind <> <kind> GROUP BY <part>
) JOIN named USING (roster) JOIN words ON words.word = named.member GROUP BY named.member
"""
_BY_MEMBER: Final = {
    part: _COUNTED.replace("<part>", part).replace("<kind>", "?") for part in ("given", "refused", "erased")
}


def _time_text(one: Decided) -> str:
    return datetime.fromtimestamp(one.decided_at / 1_000, UTC).isoformat(timespec="seconds")
