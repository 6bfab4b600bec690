"""The index of the record: it says what the decisions say, however they come, and is made anew when it is of no use."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.consumers.audit.lives import AUDIT, IDS, life, records
from tests.unit.schemas.coalition import COALITION, KEYS, OTHER, PUBLISHER, directory, directory_key
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.audit.index import Index, Place, index_as_it_is, is_taken_in, on_disk, open_index
from tocsin.consumers.audit.questions import Questions
from tocsin.consumers.audit.record_reader import Found, left_out, lost
from tocsin.consumers.errors import IndexUnusable
from tocsin.consumers.outbox_records import Said, open_record
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.directory import Directory
from tocsin.schemas.signing import SigningKey, sign_headers
from tocsin.schemas.uuid7 import uuid7
from tocsin.schemas.verify import Verifier


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An empty index."""
    with closing(open_index(tmp_path / "audit" / "index.sqlite", "auditor")) as made:
        yield made


def nobody(_: BusRecord) -> Said:
    """There are no outboxes."""
    raise AssertionError


def dump(index: Index) -> list[str]:
    """All that is in it."""
    return [*index.database.iterdump()]


# -- taking in -------------------------------------------------------------------------------------------------------


def test_pieces_and_repetitions_make_the_same_index(tmp_path: Path) -> None:
    """However the records are cut into updates, and whatever comes again."""
    every = records(life(1).audit)
    dumps: list[list[str]] = []
    for seed in range(3):
        chance = random.Random(seed)
        with closing(open_index(tmp_path / f"{seed}.sqlite", "auditor")) as index:
            at = 0
            while at < len(every):
                size = chance.randint(1, 60) if seed else len(every)
                index.take(every[max(0, at - 5) : at + size], IDS, nobody)
                at += size
            dumps.append(dump(index))
    assert dumps[0] == dumps[1] == dumps[2]


def test_who_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """A process that ends in the middle of an update, at whichever statement, leaves the index as it was."""
    every = records(life(2).audit)
    with closing(open_index(tmp_path / "whole.sqlite", "auditor")) as whole:
        whole.take(every, IDS, nobody)
        expected = dump(whole)
    path, chance = tmp_path / "index.sqlite", random.Random(5)
    with closing(open_index(path, "auditor")) as index:
        index.take(every[:20], IDS, nobody)
        before = dump(index)
    content = path.read_bytes()
    statements = _killed(path, every, 1 << 30)
    for kill_at in [*sorted(chance.sample(range(statements), 15)), *range(statements - 4, statements)]:
        path.write_bytes(content)
        assert _killed(path, every, kill_at) == kill_at
        with closing(open_index(path, "auditor")) as index:
            assert index.rebuilt is None
            assert dump(index) == before
            index.take(every, IDS, nobody)
            assert dump(index) == expected


def _killed(path: Path, every: list[BusRecord], kill_at: int) -> int:
    """Update in a process that kills itself at a statement of SQLite. Returns how many there were before that."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        seen = 0
        with closing(open_index(path, "auditor")) as index:

            def count(_: str) -> None:
                nonlocal seen
                if seen == kill_at:
                    os.write(writing, str(seen).encode())
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

            index.database.set_trace_callback(count)
            index.take(every, IDS, nobody)
            index.database.set_trace_callback(None)
        os.write(writing, str(seen).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        return int(answer.read())


def test_what_is_no_decision_is_passed_over_and_counted(index: Index) -> None:
    """No value, no frame, another kind, cut short, strange schema: none of it stops the others, and none is content."""
    good = records(life(3, 30).audit)
    other = encode(schema("acl-snapshot"), _SNAPSHOT)
    value = good[0].value or b""
    foul = [None, b"", b"\x00", b"\xff" * 50, other, value[:-3], b"\x00\x7f\xff\xff\xff" + value[5:], value + b"x"]
    mixed = [replace(good[0], value=one) for one in foul] + good
    index.take([replace(one, offset=n) for n, one in enumerate(mixed)], IDS, nobody)
    assert index.places()[AUDIT] == Place(IDS[AUDIT], len(mixed), len(foul))
    assert _count(index, "decisions") == len(good)


_SNAPSHOT: dict[str, Any] = {
    "digest": bytes(32), "part": 0, "parts": 1, "read_at": 0, "base": None, "added": [], "removed": [], "worker": "w",
}  # fmt: skip


def _count(index: Index, table: str) -> int:
    return int(index.database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


def test_what_repeats_is_stored_once(index: Index) -> None:
    """A thousand decisions of the same recipients have one list of them."""
    [one, *_] = [one for one in life(4).audit if one["given"]]
    index.take(records([{**one, "seq": n} for n in range(1_000)]), IDS, nobody)
    assert _count(index, "decisions") == 1_000
    assert _count(index, "named") == sum(len(one[part]) for part in ("given", "refused", "erased"))


def test_places_are_kept_beside_the_rows(index: Index) -> None:
    """Past markers of transactions, too; what was passed over stays counted."""
    index.take([BusRecord(AUDIT, 3, None, b"", (), 0)], IDS, nobody)
    index.reached(IDS, {AUDIT: 9, "audit.policy": 2})
    assert index.places() == {AUDIT: Place(IDS[AUDIT], 9, 1), "audit.policy": Place(IDS["audit.policy"], 2, 0)}


# -- what cannot be gone on with -------------------------------------------------------------------------------------


def _spoil(path: Path, how: str) -> None:
    if how == "damaged":
        path.write_bytes(b"this is no database" * 1_000)
        return
    with closing(sqlite3.connect(path)) as database:
        if how == "older":
            database.execute("PRAGMA user_version = 0")
        elif how == "foreign":
            database.executescript("DROP TABLE facts; CREATE TABLE facts (x)")
        database.commit()


@pytest.mark.parametrize(
    ("how", "login", "said"),
    [
        ("damaged", "auditor", "damaged"),
        ("older", "auditor", "another release"),
        ("foreign", "auditor", "damaged"),
        ("fine", "bank.law", "made by the login auditor"),
        ("fine", "auditor", None),
    ],
)
def test_an_index_that_is_of_no_use_is_made_anew(tmp_path: Path, how: str, login: str, said: str | None) -> None:
    """With a word why, and nothing is left of it; asked without an update it is an error that says what to do."""
    path = tmp_path / "index.sqlite"
    with closing(open_index(path, "auditor")) as made:
        made.take(records(life(5, 20).audit), IDS, nobody)
        count = _count(made, "decisions")
    _spoil(path, how)
    if said is not None:
        with pytest.raises(IndexUnusable, match="leave --no-update out"):
            index_as_it_is(path, login)
    else:
        index_as_it_is(path, login).close()
    with closing(open_index(path, login)) as index:
        assert (index.rebuilt is None) if said is None else (said in (index.rebuilt or ""))
        assert _count(index, "decisions") == (0 if said else count)
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(IndexUnusable, match="no index yet"):
        index_as_it_is(tmp_path / "none", login)


def test_a_disk_that_cannot_be_written_is_said_clearly(tmp_path: Path) -> None:
    """With the file and what to do; the index is not thrown away for it."""
    path = tmp_path / "index.sqlite"
    with closing(open_index(path, "auditor")) as index:
        index.database.execute("PRAGMA max_page_count = 1")
        with pytest.raises(IndexUnusable, match="see to the disk"), on_disk(path):
            index.take(records(life(5, 20).audit * 50), IDS, nobody)
        assert _count(index, "decisions") == 0
    with pytest.raises(IndexUnusable, match="choose another place"), on_disk(path / "below"):
        open_index(path / "below" / "index.sqlite", "auditor")


def test_topics_that_were_made_anew_or_cut_are_noticed() -> None:
    """By their id, and by a place that is not there any more; a topic that is gone keeps what it said."""
    kept = {AUDIT: Place("a", 10), "outbox.gone": Place("b", 3)}
    assert lost(kept, {AUDIT: Found("a", 0, 10), "audit.fr": Found("c", 0, 0)}) is None
    assert lost(kept, {AUDIT: Found("a", 10, 12)}) is None
    assert "made anew" in str(lost(kept, {AUDIT: Found("x", 0, 20)}))
    assert "begins at offset 11" in str(lost(kept, {AUDIT: Found("a", 11, 20)}))
    assert "ends at offset 9" in str(lost(kept, {AUDIT: Found("a", 0, 9)}))


def test_what_is_not_read_is_named() -> None:
    """What the login sees and may not read, and what it does not even see."""
    one = Found("a", 0, 0)
    assert left_out({AUDIT: one, "audit.policy": one, "outbox.bank-fr": one}, []) == ()
    said = left_out({AUDIT: one}, ["audit.fr"])
    assert [name.partition(" ")[0] for name in said] == ["audit.fr", "audit.policy", "outbox.*"]
    assert [*filter(is_taken_in, ("audit.de", "audit.acls", "outbox.x", "inbox.x"))] == ["audit.de", "outbox.x"]


# -- what members said -----------------------------------------------------------------------------------------------


def _word(kind: str, key: SigningKey, lineage: str, offset: int, **content: Any) -> BusRecord:
    publisher, _, lineage_id = lineage.partition("/")
    record = {"member": OTHER, "publisher": publisher, "lineage_id": lineage_id, "issued_at": NOW_MS, **content}
    value = encode(schema(kind), record)
    headers = tuple(sign_headers(key, COALITION, schema(kind), value))
    return BusRecord(f"outbox.{OTHER}", offset, f"{kind}/{lineage}".encode(), value, headers, NOW_MS)


def _opened(record: BusRecord) -> Said:
    return open_record(record.topic.removeprefix("outbox."), record, Verifier(COALITION, directory()))


def _told(index: Index) -> Sequence[tuple[Any, ...]]:
    return index.database.execute("SELECT kind, place, counts FROM told ORDER BY kind, place").fetchall()


def test_words_of_members_count_as_long_as_their_keys_do(index: Index) -> None:
    """What was signed by another, or not at all, is passed over; the newest stands; a tombstone takes it back."""
    lineage, notice = f"{PUBLISHER}/one", str(uuid7())
    good = _word("acknowledgement", KEYS[OTHER], lineage, 0, notice_id=notice)
    dispute = _word("dispute", KEYS[OTHER], lineage, 4, dispute_id="d", reason="ERROR")
    foul = [
        _word("acknowledgement", KEYS[PUBLISHER], lineage, 1, notice_id=notice),
        replace(good, offset=2, headers=()),
        replace(good, offset=3, key=b"acknowledgement/\xff/one"),
    ]
    ignored = [replace(good, offset=5, key=b"subscription/x"), replace(good, offset=6, key=None, value=b"?")]
    index.take([good, *foul, dispute, *ignored], IDS, _opened)
    assert _told(index) == [("acknowledgement", 0, 1), ("dispute", 4, 1)]
    assert index.places()[f"outbox.{OTHER}"].passed_over == len(foul)
    index.take_directory(_revoked(3))
    assert _told(index) == [("acknowledgement", 0, 1), ("dispute", 4, 0)]
    index.take_directory(replace(_revoked(-1), version=9))
    assert _told(index) == [("acknowledgement", 0, 0), ("dispute", 4, 0)]
    index.take([replace(good, offset=7, value=None, headers=())], IDS, _opened)
    assert _told(index) == [("dispute", 4, 0)]


def _revoked(trusted: int) -> Directory:
    key = replace(directory_key(KEYS[OTHER]), revoked=True, trusted={f"outbox.{OTHER}": trusted})
    return replace(directory(key), version=8)


def test_a_question_does_not_make_sql(index: Index) -> None:
    """What is asked for is a value, whatever is in it."""
    index.take(records(life(6, 20).audit), IDS, nobody)
    before = dump(index)
    for foul in ("'", '"; DROP TABLE decisions; --', "x/' OR 1=1 --", "%", "\x00"):
        assert Questions(index.database).seen_by(foul) == []
        assert [*Questions(index.database).refusals(lane=foul, member=foul)] == []
    assert dump(index) == before
