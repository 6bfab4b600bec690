"""The durable spool: what `publish()` has accepted survives kill -9 and power loss until the broker has it.

    NEW -> SENT -> ACKED          SENT -> NEW: refused for now, not answered, or this process started again
                -> DEAD           no later attempt can succeed; `reason` says why

Only `add` waits for the disk. A change of state that a power loss takes back costs a second sending of the same bytes,
which the exchange's ledger recognises. The content of what is ACKED or DEAD is deleted, and `erase` takes it out of the
files; its ids, revision and topic stay, so that a repeated call is recognised and a lineage can be retracted.

A retraction overtakes: lower revisions that are NEW are not sent any more. One that is SENT is waited for; and the
retraction goes in any case, since the broker may have what nobody heard of.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tocsin.producers.errors import (
    AlertRefused,
    PublisherClosed,
    SpoolDamaged,
    SpoolError,
    SpoolFull,
    SpoolInUse,
)
from tocsin.producers.spool_rows import (
    COLUMNS,
    LINEAGE_COLUMNS,
    RETRACTED,
    Known,
    Lineage,
    Outcome,
    Row,
    Settled,
    State,
    found_lineage,
    pack,
    unpack,
)

SIZE_BYTES_MAX: Final = 1 << 30
# kept free on the disk, so that deliveries can still be marked when no more alerts are taken
DISK_FREE_BYTES_MIN: Final = 8 << 20
MODE: Final = 0o600
BUSY_TIMEOUT_MS: Final = 5_000
REMEMBERED_MS: Final = 400 * 86_400_000
OVERTAKEN: Final = "retracted before it was delivered"

_APPLICATION_ID: Final = 0x546F6373  # "Tocs"
_VERSION: Final = 2
_SCHEMA: Final = f"""
BEGIN;
CREATE TABLE alert (
    row_id INTEGER PRIMARY KEY,
    alert_id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT UNIQUE,
    publisher TEXT NOT NULL,
    lineage_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    status TEXT NOT NULL,
    test INTEGER NOT NULL,
    topic TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    value BLOB,
    headers TEXT,
    key_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('NEW', 'SENT', 'ACKED', 'DEAD')),
    reason TEXT,
    changed_at INTEGER NOT NULL
);
CREATE INDEX new ON alert (row_id) WHERE state = 'NEW';
CREATE INDEX waiting ON alert (lineage_id, publisher, row_id) WHERE state IN ('NEW', 'SENT');
CREATE INDEX lineage ON alert (lineage_id, publisher, revision);
CREATE INDEX troubled ON alert (row_id) WHERE reason IS NOT NULL;
CREATE INDEX settled ON alert (changed_at) WHERE state IN ('ACKED', 'DEAD');
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_FIND_NEW: Final = """
SELECT {columns} FROM alert AS a WHERE state = 'NEW' AND topic NOT IN ({held}) AND NOT EXISTS (
    SELECT 1 FROM alert AS b
    WHERE b.lineage_id = a.lineage_id AND b.publisher = a.publisher AND b.state IN ('NEW', 'SENT')
    AND (b.state = 'SENT' OR (b.revision, b.row_id) < (a.revision, a.row_id))
) ORDER BY row_id LIMIT ?
"""
_FIND_LINEAGE: Final = """
SELECT {columns} FROM alert
WHERE publisher = ? AND lineage_id = ? ORDER BY revision DESC, row_id DESC LIMIT 1
"""
_OVERTAKE: Final = """
UPDATE alert AS a SET state = 'DEAD', reason = ?, changed_at = ?
WHERE {which} state = 'NEW' AND EXISTS (
    SELECT 1 FROM alert AS b
    WHERE b.lineage_id = a.lineage_id AND b.publisher = a.publisher AND b.status = 'RETRACTED'
    AND b.revision > a.revision
) RETURNING row_id, length(value) + length(headers)
"""
_FORGET_CONTENT: Final = "UPDATE alert SET value = NULL, headers = NULL WHERE row_id = ?"
_FORGET: Final = "DELETE FROM alert WHERE state IN ('ACKED', 'DEAD') AND changed_at < ? AND expires_at <= ?"
_OUTCOMES: Final = "SELECT alert_id, topic, state, reason FROM alert"


def _lineage(row: Row) -> tuple[str, str]:
    return row.lineage_id, row.publisher


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Spool:
    """One SQLite file, used by one process at a time, by any of its threads.

    `size_bytes_max` bounds the content that it holds; the ids of alerts that are done with, some 500 bytes each, come
    on top and are forgotten after 400 days, but not before the alert expires.

    Raises:
        SpoolInUse: another process, or another Spool of this one, has it.
        SpoolDamaged: the file is not a sound spool.
        SpoolError: it cannot be opened.
    """

    def __init__(self, path: Path, *, size_bytes_max: int = SIZE_BYTES_MAX, now: Callable[[], int] = now_ms) -> None:
        self.path = path
        self._size_bytes_max = size_bytes_max
        self._now = now
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._growth_bytes = 0
        self._durable = True
        self._closed = False
        self.to_erase = True  # deleted content may still be in the files
        self._owner = self._own()
        try:
            with self._explained():
                self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                try:
                    self._prepare()
                    self._size_bytes = self._measure()
                    self._start()
                except BaseException:
                    self._db.close()
                    raise
        except BaseException:
            self._owner.close()
            raise

    # -- opening -----------------------------------------------------------------------------------------------------

    def _own(self) -> Any:
        """The open lock file. The database's own file is made here too: nobody else may read it or its WAL."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, MODE))
            lock = self.path.with_name(f"{self.path.name}.lock")
            owner = os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, MODE), "a")
        except OSError as error:
            raise SpoolError(f"{self.path}: {error.strerror}; choose another place for the spool") from error
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner.close()
            raise SpoolInUse(f"{self.path}: in use by another publisher; give this one a spool of its own") from error
        return owner

    def _prepare(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        if self._db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise self._damaged("")
        is_new = self._check_version()
        # not before it is known to be ours; a -wal and -shm that come later get the mode that it has
        try:
            for end in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + end).chmod(MODE)
        except OSError as error:
            raise SpoolError(f"{self.path}: {error.strerror}; make its owner the one who publishes") from error
        self._db.execute("PRAGMA journal_mode = WAL")
        # deleted content is overwritten with zeros
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("PRAGMA temp_store = MEMORY")  # no content in temporary files either
        self._db.execute("PRAGMA synchronous = FULL")
        if is_new:
            self._db.executescript(_SCHEMA)

    def _start(self) -> None:
        """Nobody has what an earlier process had sent; what is over is forgotten."""
        with self._transaction(durable=False) as db:
            db.execute("UPDATE alert SET state = 'NEW' WHERE state = 'SENT'")
            db.execute(_FORGET, (self._now() - REMEMBERED_MS, self._now()))
            self._overtake()

    def _check_version(self) -> bool:
        """Whether it is empty; if not, it is a spool of this release. Changes nothing."""
        made_by = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if not self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return True
        if made_by != _APPLICATION_ID:
            raise self._damaged(" (a database of something else)")
        if version != _VERSION:
            raise SpoolError(f"{self.path}: of another release (version {version}); deliver it with that release first")
        return False

    def _measure(self) -> int:
        held = self._db.execute("SELECT total(length(value) + length(headers)) FROM alert WHERE value IS NOT NULL")
        return int(held.fetchone()[0])

    def _damaged(self, how: str) -> SpoolDamaged:
        aside = self.path.with_name(f"{self.path.name}.damaged")
        return SpoolDamaged(
            f"{self.path}: not a sound spool{how}. Nothing was stored. Move it aside with its -wal file "
            f"(mv {self.path} {aside}); a new one is made, and what it held and is not in the topics must be "
            "published again"
        )

    # -- transactions ------------------------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Generator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_FULL:
                raise SpoolFull(f"{self.path}: the disk is full; free some space. Nothing was stored") from error
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._damaged(f" ({error})") from error
            raise SpoolError(
                f"{self.path}: {error}; check the disk, then publish again with the same idempotency key: "
                "the alert may have been stored"
            ) from error

    @contextmanager
    def _using(self) -> Generator[sqlite3.Connection]:
        """The open database, for one thread at a time."""
        # before the lock, which a thread may have held that the fork did not copy
        self.check_process()
        with self._lock:
            if self._closed:
                raise PublisherClosed(f"{self.path}: closed, nothing was stored; make a new Publisher")
            with self._explained():
                yield self._db

    @contextmanager
    def _transaction(self, *, durable: bool) -> Generator[sqlite3.Connection]:
        """All or nothing, KeyboardInterrupt included. `durable`: on the disk when this ends."""
        with self._using() as db:
            try:
                if durable is not self._durable:
                    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    self._durable = durable
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
                # for what was added or deleted; a failed transaction leaves it as it was
                self._size_bytes += self._growth_bytes
            except BaseException:
                db.rollback()
                raise
            finally:
                self._growth_bytes = 0

    # -- adding ------------------------------------------------------------------------------------------------------

    def add(self, row: Row, idempotency_key: str | None = None) -> Known | None:
        """Store one alert; on the disk when this returns None.

        Returns what was stored before under the same idempotency key, or as the very same alert; then nothing is
        stored. A retraction is taken though `size_bytes_max` is reached, and overtakes what waits of its lineage.

        Raises:
            AlertRefused: the alert id was used for other content; or a retraction of this revision or a higher one
                was stored before.
            SpoolFull: the spool or the disk is full.
            SpoolError: it could not be written.
        """
        with self._transaction(durable=True) as db:
            known = self._known(row, idempotency_key)
            if known is not None:
                return known
            self._check_retracted(row)
            self._check_room(row)
            db.execute(
                "INSERT INTO alert (alert_id, idempotency_key, publisher, lineage_id, revision, status, test, topic,"
                " expires_at, sha256, value, headers, key_id, state, changed_at)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,'NEW',?)",
                (
                    row.alert_id,
                    idempotency_key,
                    row.publisher,
                    row.lineage_id,
                    row.revision,
                    row.status,
                    row.test,
                    row.topic,
                    row.expires_at,
                    row.sha256,
                    row.value,
                    pack(row.headers),
                    row.key_id,
                    self._now(),
                ),
            )
            self._growth_bytes = row.size_bytes
            if row.status == RETRACTED:
                self._overtake(row)
        return None

    def _overtake(self, row: Row | None = None) -> None:
        """Drop what waits below a retraction, of `row`'s lineage or of all, in a transaction."""
        which, lineage = ("", ()) if row is None else ("lineage_id = ? AND publisher = ? AND", _lineage(row))
        find = _OVERTAKE.format(which=which)
        self._forget_content(self._db.execute(find, (OVERTAKEN, self._now(), *lineage)).fetchall())

    def _forget_content(self, rows: Iterable[tuple[int, int]]) -> None:
        """Delete the content of rows, each with its size, in a transaction."""
        for row_id, size_bytes in rows:
            self._db.execute(_FORGET_CONTENT, (row_id,))
            self._growth_bytes -= size_bytes
            self.to_erase = True

    def _check_retracted(self, row: Row) -> None:
        find = "SELECT max(revision) FROM alert WHERE lineage_id = ? AND publisher = ? AND status = 'RETRACTED'"
        [revision] = self._db.execute(find, _lineage(row)).fetchone()
        if revision is not None and row.revision <= revision:
            raise AlertRefused(
                f"header.revision: the lineage was retracted by revision {revision}; a later one is higher"
            )

    def _known(self, row: Row, idempotency_key: str | None) -> Known | None:
        find = "SELECT alert_id, topic, sha256 FROM alert WHERE "
        found = self._db.execute(f"{find} idempotency_key = ?", (idempotency_key,)).fetchone()
        if found is None:
            found = self._db.execute(f"{find} alert_id = ?", (row.alert_id,)).fetchone()
            if found is not None and found[2] != row.sha256:
                raise AlertRefused("header.alert_id: used before for other content; make a new one")
        return None if found is None else Known(found[0], found[1])

    def _check_room(self, row: Row) -> None:
        # what was told must not stay told for want of room
        if row.status != RETRACTED and self._size_bytes + row.size_bytes > self._size_bytes_max:
            raise SpoolFull(
                f"{self.path}: full, {self._size_bytes} of {self._size_bytes_max} bytes wait; "
                "is the broker reachable? Nothing was stored"
            )
        disk = os.statvfs(self.path)
        if disk.f_bavail * disk.f_frsize < DISK_FREE_BYTES_MIN + row.size_bytes:
            raise SpoolFull(f"{self.path}: the disk is nearly full; free some space. Nothing was stored")

    # -- delivering --------------------------------------------------------------------------------------------------

    def take(self, count: int, *, but_topics: Collection[str] = ()) -> list[Row]:
        """Up to `count` alerts to send now, oldest first, marked SENT.

        A revision waits until every lower one of its lineage is ACKED or DEAD. None is taken for `but_topics`.
        """
        find = _FIND_NEW.format(columns=COLUMNS, held=",".join("?" * len(but_topics)))
        with self._transaction(durable=False) as db:
            found = db.execute(find, (*but_topics, count)).fetchall()
            db.executemany("UPDATE alert SET state = 'SENT' WHERE row_id = ?", [(one[0],) for one in found])
        return [unpack(one) for one in found]

    def settle(self, settled: Iterable[Settled]) -> None:
        """Record what became of rows that were taken; what is ACKED or DEAD, or was overtaken, loses its content."""
        now, done = self._now(), list(settled)
        with self._transaction(durable=False) as db:
            db.executemany(
                "UPDATE alert SET state = ?, reason = ?, changed_at = ? WHERE row_id = ?",
                [(one.state.value, one.reason, now, one.row.row_id) for one in done],
            )
            self._forget_content((one.row.row_id, one.row.size_bytes) for one in done if one.state is not State.NEW)
            for one in done:
                if one.state is State.NEW:
                    self._overtake(one.row)

    def erase(self) -> None:
        """Take deleted content out of the files: until then it is in the write-ahead log, too. Waits for the disk."""
        with self._using() as db:
            [busy, *_] = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.to_erase = bool(busy)

    def resign(self, row: Row) -> None:
        """Store `row`'s new key id and headers; the value stays."""
        with self._transaction(durable=False) as db:
            db.execute(
                "UPDATE alert SET headers = ?, key_id = ? WHERE row_id = ?",
                (pack(row.headers), row.key_id, row.row_id),
            )

    # -- looking -----------------------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many alerts the broker does not have yet."""
        return int(self._all("SELECT count(*) FROM alert WHERE state IN ('NEW', 'SENT')")[0][0])

    def oldest_ms(self) -> int | None:
        """Of what waits, the earliest time at which it was stored or last refused; None when nothing waits."""
        found: int | None = self._all("SELECT min(changed_at) FROM alert WHERE state IN ('NEW', 'SENT')")[0][0]
        return found

    def counts(self) -> dict[State, int]:
        """How many alerts are in each state."""
        counted = dict(self._all("SELECT state, count(*) FROM alert GROUP BY state"))
        return {state: counted.get(state.value, 0) for state in State}

    def troubles(self, count: int) -> list[Outcome]:
        """The first `count` alerts that are not on the broker for a known reason, those that wait before the DEAD.

        What a retraction overtook is none of them.
        """
        find = (
            f"{_OUTCOMES} WHERE reason IS NOT NULL AND reason != '{OVERTAKEN}' ORDER BY state = 'DEAD', row_id LIMIT ?"
        )
        return self._outcomes(find, count)

    def outcome(self, alert_id: str) -> Outcome | None:
        """What became of an alert; None for one that this spool never had, or has forgotten."""
        return next(iter(self._outcomes(f"{_OUTCOMES} WHERE alert_id = ?", alert_id)), None)

    def lineage(self, publisher: str, lineage_id: str) -> Lineage | None:
        """What is remembered of a lineage, until its revisions have expired and 400 days are over; None if nothing."""
        found = self._all(_FIND_LINEAGE.format(columns=LINEAGE_COLUMNS), publisher, lineage_id)
        return found_lineage(found[0]) if found else None

    def _outcomes(self, find: str, value: str | int) -> list[Outcome]:
        found = self._all(find, value)
        return [Outcome(alert_id, topic, State(state), reason) for alert_id, topic, state, reason in found]

    def _all(self, find: str, *values: str | int) -> list[Any]:
        with self._using() as db:
            return db.execute(find, values).fetchall()

    @property
    def is_copy(self) -> bool:
        """Whether this process is a fork of the one that uses the spool."""
        return os.getpid() != self._process

    def check_process(self) -> None:
        """Raises SpoolInUse in a fork of the process that opened it."""
        if self.is_copy:
            raise SpoolInUse(f"{self.path}: opened before a fork; make the publisher in the process that uses it")

    def close(self) -> None:
        """Close the file and let go of it; closing twice is once, and in a fork of its process it is nothing."""
        if self.is_copy:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._db.close()
            # expressly: a fork of this process has the same open file, and would keep the lock
            fcntl.flock(self._owner, fcntl.LOCK_UN)
            self._owner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
