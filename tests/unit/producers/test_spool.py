"""The spool: what it has taken it keeps, what it cannot take it refuses, and it says what is wrong."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tocsin.producers.errors import AlertRefused, PublisherClosed, SpoolDamaged, SpoolError, SpoolFull, SpoolInUse
from tocsin.producers.spool import OVERTAKEN, REMEMBERED_MS, Spool
from tocsin.producers.spool_rows import Known, Lineage, Outcome, Row, Settled, State

TOPIC = "alerts.se.site-taken-down.green"
NOBODY = 65_534


class AskedSpool(Spool):
    """A spool whose own connection can be asked."""

    def ask(self, query: str) -> list[Any]:
        """What SQLite answers."""
        return self._all(query)


def row(number: int, *, lineage: str | None = None, revision: int = 1, topic: str = TOPIC, size: int = 400) -> Row:
    """A row as the publisher makes it."""
    value = number.to_bytes(4, "big") * (size // 4)
    return Row(
        alert_id=f"alert-{number}",
        publisher="hotline-se",
        lineage_id=lineage or f"lineage-{number}",
        revision=revision,
        topic=topic,
        expires_at=1 << 50,
        sha256=hashlib.sha256(value).digest(),
        value=value,
        headers=[("dsse-keyid", b"key"), ("dsse-sig", b"s" * 64)],
        key_id="key",
    )


def ids(rows: list[Row]) -> list[str]:
    """Their alert ids."""
    return [one.alert_id for one in rows]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a spool is made."""
    return tmp_path / "spool" / "alerts.db"


def filled(path: Path, count: int = 200) -> None:
    """Make a spool that holds `count` alerts."""
    with Spool(path) as spool:
        for number in range(count):
            spool.add(row(number))


# -- what it keeps -------------------------------------------------------------------------------------------------


def test_rows_come_out_as_they_went_in_and_in_order(path: Path) -> None:
    """Every field, headers and bytes included, through a reopening."""
    filled(path, 3)
    with Spool(path) as spool:
        taken = spool.take(10)
    assert [(one.value, one.headers, one.sha256) for one in taken] == [
        (row(number).value, row(number).headers, row(number).sha256) for number in range(3)
    ]
    assert ids(taken) == ["alert-0", "alert-1", "alert-2"]


def test_what_was_sent_and_not_answered_is_new_after_a_start(path: Path) -> None:
    """SENT means that the process that sent it is alive."""
    with Spool(path) as spool:
        spool.add(row(1))
        sent = spool.take(10)
        assert spool.counts()[State.SENT] == 1
        assert spool.take(10) == []
    with Spool(path) as spool:
        assert spool.counts()[State.NEW] == 1
        assert spool.take(10) == sent


def test_key_and_alert_are_recognised_in_every_state(path: Path) -> None:
    """Waiting, sent, acknowledged and after a reopening: the same key or the same alert stores nothing."""
    with Spool(path) as spool:
        assert spool.add(row(1), "key-1") is None
        _assert_known(spool)
        sent = spool.take(1)
        _assert_known(spool)
        spool.settle([Settled(one, State.ACKED) for one in sent])
        _assert_known(spool)
    with Spool(path) as spool:
        _assert_known(spool)
        assert sum(spool.counts().values()) == 1


def _assert_known(spool: Spool) -> None:
    known = Known("alert-1", TOPIC)
    assert [spool.add(row(2), "key-1"), spool.add(row(1), "key-2"), spool.add(row(1))] == [known] * 3


def test_an_alert_id_is_of_one_content(path: Path) -> None:
    """Used again for other content it is refused, and the first stays."""
    with Spool(path) as spool:
        spool.add(row(1))
        with pytest.raises(AlertRefused, match=r"^header\.alert_id: used before"):
            spool.add(row(1, size=800))
        assert [one.value for one in spool.take(10)] == [row(1).value]


def test_keys_are_forgotten_after_400_days_and_not_before(path: Path) -> None:
    """Only of what is on the broker and has expired: what waits or lives is never forgotten."""
    clock = [0]
    with AskedSpool(path, now=lambda: clock[0]) as spool:
        spool.add(replace(row(1), expires_at=1), "delivered")
        spool.add(row(3), "lives")
        spool.settle([Settled(one, State.ACKED) for one in spool.take(2)])
        spool.add(row(2), "waits")
    for now, known in ((REMEMBERED_MS, {"delivered", "lives", "waits"}), (REMEMBERED_MS + 1, {"lives", "waits"})):
        clock[0] = now
        with AskedSpool(path, now=lambda: clock[0]) as spool:
            found = spool.ask("SELECT idempotency_key FROM alert")
            assert {key for (key,) in found} == known


def test_content_is_deleted_when_it_is_on_the_broker(path: Path) -> None:
    """No more data than needed: ids stay, bytes go."""
    with AskedSpool(path) as spool:
        spool.add(row(1))
        spool.settle([Settled(one, State.ACKED) for one in spool.take(1)])
        assert spool.ask("SELECT alert_id, value, headers FROM alert") == [("alert-1", None, None)]


def test_only_adding_waits_for_the_disk(path: Path) -> None:
    """The commit of an `add` is synchronous=FULL (2), however the one before it was; others are NORMAL (1)."""
    with AskedSpool(path) as spool:
        for number in range(2):
            spool.add(row(number))
            assert spool.ask("PRAGMA synchronous") == [(2,)]
            assert len(spool.take(1)) == 1
            assert spool.ask("PRAGMA synchronous") == [(1,)]


# -- order ---------------------------------------------------------------------------------------------------------


def test_a_revision_waits_until_the_one_before_is_settled(path: Path) -> None:
    """ACKED or DEAD lets the next go; refused for now does not. Other lineages do not wait."""
    with Spool(path) as spool:
        for number, revision in ((3, 3), (1, 1), (2, 2)):
            spool.add(row(number, lineage="same", revision=revision))
        spool.add(row(9))
        first, other = spool.take(10)
        assert ids([first, other]) == ["alert-1", "alert-9"]
        assert spool.take(10) == []
        spool.settle([Settled(first, State.NEW, "refused"), Settled(other, State.ACKED)])
        [first] = spool.take(10)
        assert first.alert_id == "alert-1"
        spool.settle([Settled(first, State.ACKED)])
        [second] = spool.take(10)
        assert second.alert_id == "alert-2"
        spool.settle([Settled(second, State.DEAD, "expired")])
        assert ids(spool.take(10)) == ["alert-3"]


def test_lineages_of_two_publishers_do_not_wait_for_each_other(path: Path) -> None:
    """A lineage is named by publisher and id; the secretariat publishes for several."""
    with Spool(path) as spool:
        spool.add(row(1, lineage="same"))
        one = row(2, lineage="same", revision=2)
        spool.add(replace(one, publisher="other"))
        assert ids(spool.take(10)) == ["alert-1", "alert-2"]


def test_held_topics_are_left_alone(path: Path) -> None:
    """What is taken is of other topics."""
    with Spool(path) as spool:
        spool.add(row(1))
        spool.add(row(2, topic="other"))
        assert ids(spool.take(10, but_topics=[TOPIC])) == ["alert-2"]


def test_those_that_wait_are_named_before_the_dead(path: Path) -> None:
    """Old losses do not hide new troubles."""
    with Spool(path) as spool:
        for number in range(3):
            spool.add(row(number))
        first, second, third = spool.take(3)
        spool.settle([Settled(one, State.DEAD, "expired") for one in (first, second)])
        spool.settle([Settled(third, State.NEW, "denied")])
        assert [(one.alert_id, one.reason) for one in spool.troubles(2)] == [
            ("alert-2", "denied"),
            ("alert-0", "expired"),
        ]


# -- retractions, and what is left of the content ------------------------------------------------------------------


def retraction(number: int, *, lineage: str, revision: int) -> Row:
    """A retraction as the publisher makes it."""
    return replace(row(number, lineage=lineage, revision=revision), status="RETRACTED")


def test_a_retraction_overtakes_what_waits_and_still_goes(path: Path) -> None:
    """Lower revisions of its lineage are dropped with their content; others' and other publishers' are not."""
    with AskedSpool(path) as spool:
        spool.add(row(1, lineage="same"), "key-1")
        spool.add(row(2, lineage="same", revision=2))
        spool.add(replace(row(3, lineage="same"), publisher="other"))
        spool.add(row(4))
        spool.add(retraction(5, lineage="same", revision=9))
        assert ids(spool.take(10)) == ["alert-3", "alert-4", "alert-5"]
        assert [spool.outcome(f"alert-{number}") for number in (1, 2)] == [
            Outcome(f"alert-{number}", TOPIC, State.DEAD, OVERTAKEN) for number in (1, 2)
        ]
        assert spool.ask("SELECT count(value) FROM alert") == [(3,)]
        assert spool.add(row(6), "key-1") == Known("alert-1", TOPIC)
        assert spool.troubles(10) == []


@pytest.mark.parametrize("end", [State.NEW, State.ACKED])
def test_a_retraction_waits_for_what_is_sent(path: Path, end: State) -> None:
    """Whatever the answer, the retraction is next: a revision that was refused is not sent again."""
    with Spool(path) as spool:
        spool.add(row(1, lineage="same"))
        sent = spool.take(10)
        spool.add(retraction(2, lineage="same", revision=2))
        assert spool.take(10) == []
        spool.settle([Settled(one, end) for one in sent])
        assert ids(spool.take(10)) == ["alert-2"]


def test_a_retraction_overtakes_what_an_ended_process_had_sent(path: Path) -> None:
    """It was SENT when the retraction came; after a start it is not sent again."""
    with Spool(path) as spool:
        spool.add(row(1, lineage="same"))
        spool.take(10)
        spool.add(retraction(2, lineage="same", revision=2))
    size = row(2).size_bytes
    with Spool(path, size_bytes_max=2 * size) as spool:
        assert ids(spool.take(10)) == ["alert-2"]
        assert spool.add(row(3)) is None
        with pytest.raises(SpoolFull):
            spool.add(row(4))


def test_below_a_retraction_nothing_is_taken(path: Path) -> None:
    """The same or a lower revision is refused; a higher one is a new word on the matter."""
    with Spool(path) as spool:
        spool.add(retraction(1, lineage="same", revision=5))
        for revision in (4, 5):
            with pytest.raises(AlertRefused, match=r"^header\.revision: the lineage was retracted by revision 5"):
                spool.add(row(2, lineage="same", revision=revision))
        assert spool.add(row(2, lineage="same", revision=6)) is None
        assert spool.add(replace(row(3, lineage="same"), publisher="other")) is None


def test_a_full_spool_takes_a_retraction(path: Path) -> None:
    """What was told must not stay told for want of room; and there is room for what it overtakes."""
    with Spool(path, size_bytes_max=row(1).size_bytes) as spool:
        spool.add(row(1, lineage="same"))
        spool.add(retraction(2, lineage="same", revision=2))
        with pytest.raises(SpoolFull):
            spool.add(row(3))
        spool.settle([Settled(one, State.ACKED) for one in spool.take(10)])
        assert spool.add(row(3)) is None


def test_a_lineage_is_remembered_without_its_content(path: Path) -> None:
    """By its highest revision: topic, status and whether it was a test, also after a reopening."""
    with Spool(path) as spool:
        spool.add(row(2, lineage="same", revision=7))
        spool.add(replace(row(1, lineage="same"), topic="other"))
        for _ in range(2):
            spool.settle([Settled(one, State.ACKED) for one in spool.take(10)])
    with Spool(path) as spool:
        known = Lineage(
            "hotline-se", "same", 7, "ACTIVE", test=False, topic=TOPIC, alert_id="alert-2", state=State.ACKED
        )
        assert spool.lineage("hotline-se", "same") == known
        assert not known.retracted
        assert spool.lineage("other", "same") is None
        spool.add(replace(retraction(3, lineage="same", revision=8), test=True))
        found = spool.lineage("hotline-se", "same")
        assert found is not None
        assert (found.retracted, found.test, found.revision) == (True, True, 8)


MARKER = b"what was told"


def _marked(number: int, size: int) -> Row:
    """A row whose content can be searched for."""
    return replace(row(number), value=MARKER * (size // len(MARKER)), headers=[("dsse-sig", MARKER * 5)])


def _found(path: Path) -> dict[str, int]:
    """The files that hold the marker, as bytes or in hexadecimal, and how often."""
    counts = {
        one.name: sum(one.read_bytes().count(text) for text in (MARKER, MARKER.hex().encode()))
        for one in path.parent.iterdir()
    }
    return {name: count for name, count in counts.items() if count}


def _deliver_marked(spool: Spool) -> None:
    """Alerts of every size, on the broker, dead or waiting again, in no order."""
    draw = random.Random(1)
    for number in range(400):
        spool.add(_marked(number, draw.choice([100, 400, 2_000, 9_000])))
        if number % 40 == 0:
            _settle_marked(spool, draw)
    while spool.waiting():
        _settle_marked(spool, draw)


def _settle_marked(spool: Spool, draw: random.Random) -> None:
    taken = spool.take(draw.randrange(1, 60))
    for one in taken[:5]:
        spool.resign(one)
    spool.settle([Settled(one, draw.choice([State.NEW, State.ACKED, State.ACKED, State.DEAD])) for one in taken])


@pytest.mark.parametrize("ended", ["open", "closed"])
def test_no_content_is_left_in_the_files(path: Path, ended: str) -> None:
    """Once it is delivered or dead and erased, or the spool is closed, no file has it, free pages included."""
    with AskedSpool(path) as spool:
        _deliver_marked(spool)
        assert _found(path), "the search finds what is there"
        if ended == "open":
            spool.erase()
            assert _found(path) == {}
    assert _found(path) == {}


def test_it_is_secure_deletion_that_erases(path: Path) -> None:
    """Without it the bytes stay in free pages: some builds of SQLite have it by default, others do not."""
    with AskedSpool(path) as spool:
        assert spool.ask("PRAGMA secure_delete") == [(1,)]
        spool.ask("PRAGMA secure_delete = OFF")
        _deliver_marked(spool)
        spool.erase()
        assert _found(path)


# -- no room -------------------------------------------------------------------------------------------------------


def test_a_full_spool_refuses_and_has_room_again_after_deliveries(path: Path) -> None:
    """Nothing of what is refused is stored; the bound holds after a reopening, too."""
    size = row(1).size_bytes
    with Spool(path, size_bytes_max=2 * size) as spool:
        spool.add(row(1))
        spool.add(row(2))
        with pytest.raises(SpoolFull, match=rf"full, {2 * size} of {2 * size} bytes wait.*Nothing was stored"):
            spool.add(row(3))
        assert spool.outcome("alert-3") is None
        assert spool.add(row(1)) == Known("alert-1", TOPIC)
    with Spool(path, size_bytes_max=2 * size) as spool:
        with pytest.raises(SpoolFull):
            spool.add(row(3))
        spool.settle([Settled(one, State.ACKED) for one in spool.take(1)])
        assert spool.add(row(3)) is None
        with pytest.raises(SpoolFull):
            spool.add(row(4))


def test_a_database_that_may_not_grow_refuses_and_goes_on_with_room(path: Path) -> None:
    """SQLite's own "full" is ours: what had been stored stays, what is refused is not there."""
    with AskedSpool(path) as spool:
        spool.add(row(0))
        [(pages,)] = spool.ask("PRAGMA page_count")
        spool.ask(f"PRAGMA max_page_count = {pages + 4}")
        numbers = iter(range(1, 1_000))
        with pytest.raises(SpoolFull, match=r"the disk is full; free some space\. Nothing was stored"):
            any(spool.add(row(number)) for number in numbers)
        stored = next(numbers) - 1
        assert 1 < stored < 1_000
        assert spool.counts()[State.NEW] == stored
        assert spool.outcome(f"alert-{stored}") is None
        spool.ask("PRAGMA max_page_count = 100000")
        assert spool.add(row(stored)) is None
        assert len(spool.take(1_000)) == stored + 1


# -- damaged, foreign, not to be had -------------------------------------------------------------------------------


def _noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def _random_file(path: Path) -> None:
    path.write_bytes(_noise(16_384))


def _cut_in_the_middle(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size // 2)


def _middle_overwritten(path: Path) -> None:
    filled(path)
    content = bytearray(path.read_bytes())
    content[8_192 : len(content) // 2] = _noise(len(content) // 2 - 8_192)
    path.write_bytes(content)


def _header_overwritten(path: Path) -> None:
    filled(path)
    path.write_bytes(_noise(100) + path.read_bytes()[100:])


@pytest.mark.parametrize("damage", [_random_file, _cut_in_the_middle, _middle_overwritten, _header_overwritten])
def test_a_damaged_file_is_refused_and_left_as_it_is(path: Path, damage: Callable[[Path], None]) -> None:
    """The message says what to do; done, there is a new spool."""
    path.parent.mkdir()
    damage(path)
    before = path.read_bytes()
    aside = path.with_name("alerts.db.damaged")
    remedy = rf"not a sound spool.*Nothing was stored\. Move it aside.*\(mv {path} {aside}\)"
    for _ in range(2):
        with pytest.raises(SpoolDamaged, match=remedy):
            Spool(path)
    assert path.read_bytes() == before
    path.rename(aside)
    with Spool(path) as spool:
        assert spool.add(row(1)) is None


def test_a_database_of_something_else_is_not_touched(path: Path) -> None:
    """Neither its bytes nor its mode; no file appears beside it but the lock."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE cookies (name TEXT)")
    path.chmod(0o640)
    before = path.read_bytes()
    with pytest.raises(SpoolDamaged, match="a database of something else"):
        Spool(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in path.parent.iterdir()) == ["alerts.db", "alerts.db.lock"]


def test_a_spool_of_another_release_is_kept_for_it(path: Path) -> None:
    """It is not damaged: that release can deliver it."""
    filled(path, 1)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 1")
    with pytest.raises(SpoolError, match=r"of another release \(version 1\)") as refused:
        Spool(path)
    assert not isinstance(refused.value, SpoolDamaged)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """A file where a folder is needed, a folder where the file is."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "alerts.db", tmp_path):
        with pytest.raises(SpoolError, match="choose another place for the spool"):
            Spool(path)


def test_a_folder_that_may_not_be_written_is_refused(path: Path) -> None:
    """With the system's reason and a remedy."""
    path.parent.mkdir(mode=0o500)
    with _not_root(), pytest.raises(SpoolError, match="Permission denied; choose another place for the spool"):
        Spool(path)


@contextmanager
def _not_root() -> Generator[None]:
    """Root may write anywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_one_at_a_time(path: Path) -> None:
    """A second one is refused while the first is open, and the first is none the worse."""
    with Spool(path) as spool:
        with pytest.raises(SpoolInUse, match="give this one a spool of its own"):
            Spool(path)
        assert spool.add(row(1)) is None
    with Spool(path) as spool:
        assert spool.waiting() == 1


def test_closed_is_closed(path: Path) -> None:
    """Every call says so; closing again is nothing."""
    spool = Spool(path)
    spool.close()
    spool.close()
    for call in (lambda: spool.add(row(1)), spool.waiting, lambda: spool.take(1), lambda: spool.settle([])):
        with pytest.raises(PublisherClosed, match="closed, nothing was stored"):
            call()


def test_nobody_else_may_read_it(path: Path) -> None:
    """Folder 0700; file, WAL and lock 0600, whatever the umask; a file that was wider is made narrow."""
    before = os.umask(0)
    try:
        with Spool(path) as spool:
            spool.add(row(1))
            assert _modes(path.parent) == {f"alerts.db{end}": 0o600 for end in ("", "-wal", "-shm", ".lock")}
        assert path.parent.stat().st_mode & 0o777 == 0o700
        shutil.copy(path, path.with_name("copy.db"))
        path.with_name("copy.db").chmod(0o644)
        with Spool(path.with_name("copy.db")) as spool:
            assert spool.waiting() == 1
            assert set(_modes(path.parent).values()) == {0o600}
    finally:
        os.umask(before)


def _modes(folder: Path) -> dict[str, int]:
    return {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()}


def test_the_spool_says_since_when_something_waits(path: Path) -> None:
    """The time at which what waits longest was stored or last refused; None once everything has arrived."""
    clock = [1_000]
    with Spool(path, now=lambda: clock[0]) as spool:
        assert spool.oldest_ms() is None
        spool.add(row(1))
        clock[0] = 2_000
        spool.add(row(2))
        assert spool.oldest_ms() == 1_000
        first, second = spool.take(2)
        spool.settle([Settled(first, State.ACKED)])
        assert spool.oldest_ms() == 2_000
        clock[0] = 3_000
        spool.settle([Settled(second, State.NEW, "refused")])
        assert spool.oldest_ms() == 3_000
        spool.settle([Settled(second, State.ACKED)])
        assert spool.oldest_ms() is None
