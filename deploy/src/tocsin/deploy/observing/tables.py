"""An overview as tables, for a terminal and for a page. Pure."""

from __future__ import annotations

from tocsin.consumers.audit.report import Cell, Table
from tocsin.deploy.observing.overview import Overview, in_words


def tables(seen: Overview) -> list[Table]:
    """What an operator looks at, in this order."""
    members = "How many members there are is not known." if seen.members is None else f"{seen.members} members."
    return [
        Table(
            "lanes",
            "Lanes",
            ("lane", "state", "p50", "p99", "decisions/s", "copies/s", "not decided", "for", "refusing", "worker"),
            tuple(
                (
                    one.lane,
                    one.state,
                    _seconds(one.p50_s),
                    _seconds(one.p99_s),
                    _rounded(one.decisions),
                    _rounded(one.copies),
                    one.lag,
                    _for(one.lag_s) if one.lag else None,
                    one.behind,
                    one.worker,
                )
                for one in seen.lanes
            ),
            "p50, p99: from publishing to the inbox, since the last look or, when nothing came, since the start.",
        ),
        Table(
            "members",
            "Members' lines",
            ("member", "line", "tested", "owed", "since", "not acknowledged"),
            tuple(
                (one.member, one.line, _ago(one.tested_s), one.owed, _for(one.owed_s), one.overdue)
                for one in seen.lines
            ),
            f"{members} A line that refuses is owed what it does not take; a silent one was not tested in time.",
        ),
        Table(
            "snapshots",
            "What decisions are made by",
            ("snapshot", "read", "size"),
            tuple((one.snapshot, _ago(one.age_s), one.size) for one in seen.snapshots),
        ),
        Table(
            "services",
            "Services",
            ("service", "state", "last turn", "version", "where"),
            tuple(
                (
                    one.service,
                    one.state,
                    _ago(one.turned_s),
                    one.version,
                    one.where,
                )
                for one in seen.services
            ),
        ),
    ]


def headline(seen: Overview) -> str:
    """One line: whether anything needs somebody."""
    if not seen.services:
        return "Not looked yet"
    count = len(seen.troubles)
    return "All is well" if not count else f"{count} thing{'s' if count > 1 else ''} need{'' if count > 1 else 's'} you"


def _for(seconds: float | None) -> Cell:
    return None if seconds is None else in_words(seconds)


def _ago(seconds: float | None) -> Cell:
    return None if seconds is None else f"{in_words(seconds)} ago"


def _seconds(value: float | None) -> Cell:
    if value is None:
        return None
    return f"{value * 1_000:.0f} ms" if value < 1 else in_words(value) if value >= 10 else f"{value:.1f} s"  # noqa: PLR2004


def _rounded(value: float | None) -> Cell:
    return None if value is None else round(value, 1)
