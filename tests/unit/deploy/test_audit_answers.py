"""Answers from the record: why ACLs were there, as the journal has it; rows, times, pages and CSV."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.unit.consumers.audit.lives import IDS, life, records
from tests.unit.consumers.audit.test_index import nobody
from tests.world import tocsin
from tocsin.consumers.audit.index import Index, open_index
from tocsin.consumers.audit.questions import FOREVER, Questions, Why, Withdrawn
from tocsin.consumers.audit.report import Table, report
from tocsin.deploy.audit.answers import (
    HOUR_MS,
    checked_moment,
    overdue_rows,
    refusal_rows,
    seen_lines,
    seen_rows,
    trace_lines,
    trace_rows,
    why_text,
)
from tocsin.deploy.audit.pages import csv_text, write_csv, write_html
from tocsin.deploy.errors import ReportNotWritten
from tocsin.deploy.html_page import page
from tocsin.deploy.policy.journal import Change, Journal, Kind, Step, acl_name, changes
from tocsin.deploy.policy.journal import records as journal_records
from tocsin.deploy.policy.rows import acl_row
from tocsin.schemas.bus import BusRecord

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
ROWS = [acl_row(f"bank-{n}", "READ", "TOPIC", "alerts.se.site-taken-down.green", host="192.0.2.1") for n in range(3)]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An empty index."""
    with closing(open_index(tmp_path / "index.sqlite", "auditor")) as made:
        yield made


# -- why -------------------------------------------------------------------------------------------------------------


def _history(seed: int) -> list[Change]:
    """Applications that make and end some ACLs, some of them in vain; a minute apart."""
    chance, at, told = random.Random(seed), BEGAN, list[Change]()
    there: set[int] = set()
    for n in range(12):
        making = {one for one in range(3) if one not in there and chance.random() < 0.5}
        ending = {one for one in there if chance.random() < 0.4}
        steps = tuple(
            Step(action, "ACL", acl_name(ROWS[one]), (f"agreement a{n}", f"by EEA {n}"))
            for action, numbers in (("CREATE", making), ("DELETE", ending))
            for one in sorted(numbers)
        )
        begun = Change(f"change-{n}", Kind.BEGUN, at, "ann", steps=steps)
        if chance.random() < 0.3:
            told += [begun, replace(begun, kind=Kind.FAILED, at=at + timedelta(seconds=1))]
            there |= making
        else:
            told += [begun, replace(begun, kind=Kind.DONE, at=at + timedelta(seconds=1), steps=())]
            there = (there | making) - ending
        at += timedelta(minutes=1)
    return told


@pytest.mark.parametrize("seed", range(8))
def test_why_an_acl_was_there_is_what_the_journal_said_then(index: Index, seed: int) -> None:
    """At every moment, as folding the journal up to then says; asked of the rule that decisions name."""
    history = _history(seed)
    values = [value for change in history for value in journal_records(change)]
    index.take([BusRecord("audit.policy", n, None, one, (), 0) for n, one in enumerate(values)], IDS, nobody)
    asked = Questions(index.database)
    for minute in range(-1, 13):
        now = BEGAN + timedelta(minutes=minute, seconds=30)
        journal = Journal()
        for part in changes(values):
            if part.at <= now:
                journal.apply(part)
        for row in ROWS:
            why = asked.why(row.text(), round(now.timestamp() * 1_000))
            assert (() if why is None else why.reasons) == journal.reasons(row)
            assert why is None or (why.by, why.at_ms <= now.timestamp() * 1_000) == ("ann", True)


def test_why_is_said_in_words() -> None:
    """The reasons, since when and by whom; or that it is not on record."""
    assert why_text(Why(("agreement both by EEA (GDPR)",), 0, "ann")) == (
        "agreement both by EEA (GDPR) (since 1970-01-01T00:00:00+00:00, by ann)"
    )
    assert "not on record" in why_text(None)
    assert why_text(Why((), 0, "ann")).startswith("without a reason on record")


# -- rows ------------------------------------------------------------------------------------------------------------


def test_rows_and_lines_say_the_same_events(index: Index) -> None:
    """For programs and for people; each event is a row, and nothing is left out of either."""
    audit = life(0).audit
    index.take(records(audit), IDS, nobody)
    asked = Questions(index.database)
    for one in audit:
        found = asked.trace(f"{one['topic']}/{one['offset']}")
        rows, lines = trace_rows(found), trace_lines(found)
        assert len(rows) == len(lines) == len(found.events)
        assert [row["what"].lower() for row in rows] == [line["what"] for line in lines]
        assert all(row["rule"] in line[""] for row, line in zip(rows, lines, strict=True) if row["rule"])
    seen = asked.seen_by("bank-de")
    assert [row["member"] for row in seen_rows(seen)] == ["bank-de"] * len(seen)
    assert {line["lineage"] for line in seen_lines(seen, by_lineage=True)} == {one.lineage for one in seen}
    assert {line["member"] for line in seen_lines(seen, by_lineage=False)} <= {"bank-de"}
    assert all(row["reason"] for row in refusal_rows(asked.refusals()))


def test_overdue_is_what_nobody_acknowledged_for_so_long(index: Index) -> None:
    """Not what was acknowledged, and not of who has left."""
    index.take(records(life(0).audit), IDS, nobody)
    # who is a member is not known yet, so everybody has left
    told: list[Withdrawn] = [*Questions(index.database).withdrawn()]
    assert told
    now_ms = max(one.decided.decided_at for one in told) + HOUR_MS
    assert overdue_rows(told, now_ms, 0) == []
    there = [replace(one, left=False) for one in told]
    assert len(overdue_rows(there, now_ms, 0)) == len(told)
    assert overdue_rows(there, now_ms, 100 * HOUR_MS) == []
    assert overdue_rows([replace(one, acknowledged_ms=1) for one in there], now_ms, 0) == []


@pytest.mark.parametrize(
    ("text", "option", "millis"),
    [
        (None, "--to", 7),
        ("1970-01-02", "--from", 86_400_000),
        ("1970-01-02", "--to", 2 * 86_400_000),
        ("1970-01-01T00:00:01", "--to", 1_000),
        ("1970-01-01T02:00:00+02:00", "--from", 0),
    ],
)
def test_times_are_in_utc_and_a_day_is_all_of_it(text: str | None, option: str, millis: int) -> None:
    """Unless a time says otherwise."""
    assert checked_moment(text, option, 7) == millis


def test_what_is_no_time_is_a_usage_error() -> None:
    """That shows how it is written."""
    with pytest.raises(typer.BadParameter, match="2026-11-30"):
        checked_moment("yesterday", "--from", 0)


# -- pages -----------------------------------------------------------------------------------------------------------

FOUL = '<script>alert("x")</script>&"\''
TABLES = [
    Table("one", f"Title {FOUL}", ("name", f"count {FOUL}"), ((FOUL, 1_234), ("=1+1", None), ("+x", 2.25)), FOUL),
    Table("two", "Empty", ("a",), ()),
]


class _Page(HTMLParser):
    """What a page holds, if its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_page_is_accessible_and_holds_no_scripts() -> None:
    """Each table has a caption, each heading a scope; what scrolls has a name; nothing comes from elsewhere."""
    shown = _Page(page(f"Report {FOUL}", [FOUL], TABLES))
    names = [name for name, _ in shown.tags]
    assert names.count("table") == names.count("caption") == len(TABLES)
    assert all(one.get("scope") in ("col", "row") for one in shown.all("th"))
    assert shown.all("html") == [{"lang": "en"}]
    assert {one.get("name") for one in shown.all("meta")} >= {"viewport"}
    ids = {attributes["id"] for _, attributes in shown.tags if "id" in attributes}
    assert {str(one["href"]).removeprefix("#") for one in shown.all("a")} <= ids
    assert {one["aria-labelledby"] for one in shown.all("div")} <= ids
    assert not {"script", "link", "img", "iframe"} & set(names)
    assert not any(key.startswith("on") for _, attributes in shown.tags for key in attributes)
    assert shown.text.count(FOUL) == 8  # title, heading, what is missing, link, caption, column, cell, note
    assert "1,234" in shown.text


def test_csv_is_read_back_as_it_was_and_is_no_formula() -> None:
    """With quotes and all; what a spreadsheet would compute is text to it."""
    rows = [*csv.reader(io.StringIO(csv_text(TABLES[0])))]
    assert rows == [["name", f"count {FOUL}"], [FOUL, "1234"], ["'=1+1", ""], ["'+x", "2.25"]]


def test_a_report_is_written_as_files(index: Index, tmp_path: Path) -> None:
    """For their owner alone; a place that cannot be written is an error that names it."""
    index.take(records(life(0).audit), IDS, nobody)
    tables = report(Questions(index.database), index.database, 0, FOREVER)
    write_html(tmp_path / "report.html", "Report", tables, [])
    write_csv(tmp_path / "csv", tables)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o600
    assert {path.stem for path in (tmp_path / "csv").iterdir()} == {one.name for one in tables}
    _Page((tmp_path / "report.html").read_text())
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportNotWritten, match="choose another place"):
        write_csv(tmp_path / "file", tables)


# -- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["trace", "x"], 1),
        (["who-saw", "x", "--no-update"], 1),
        (["seen-by", "No Member"], 2),
        (["seen-by", "bank", "--from", "2026-11-02", "--to", "2026-11-01"], 2),
        (["refusals", "--lane", "sweden"], 2),
        (["report"], 2),
        (["report", "--month", "2026-13"], 2),
        (["overdue", "--hours", "-1"], 2),
    ],
)
def test_what_cannot_be_asked_is_an_error(tmp_path: Path, words: list[str], code: int) -> None:
    """Without a bundle nothing is asked; words that are wrong are usage errors before that."""
    found: list[dict[str, Any]] = tocsin("audit", *words, "--home", str(tmp_path), code=code)
    assert found == []
