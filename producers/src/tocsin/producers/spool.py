"""The durable spool: what `publish()` has accepted survives kill -9 and power loss until the broker has it."""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tocsin.producers.errors import SpoolDamaged, SpoolError, SpoolFull, SpoolInUse

ROWS_MAX = 1_000_000
BUSY_TIMEOUT_MS = 5_000

Headers = list[tuple[str, bytes]]
T = TypeVar("T")


class State(StrEnum):
    """NEW waits, SENT is with the client library, ACKED is on the broker, DEAD will not be sent; `error` says why."""

    NEW = "NEW"
    SENT = "SENT"
    ACKED = "ACKED"
    DEAD = "DEAD"


@dataclass(frozen=True, slots=True)
class Row:
    """One alert in the spool, as it is sent."""

    row_id: int
    alert_id: str
    lineage_id: str
    revision: int
    topic: str
    value: bytes
    headers: Headers
    key_id: str


_SCHEMA = """
CREATE TABLE IF NOT EXISTS alert (
    row_id INTEGER PRIMARY KEY,
    alert_id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT UNIQUE,
    lineage_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    topic TEXT NOT NULL,
    value BLOB NOT NULL,
    headers TEXT NOT NULL,
    key_id TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT
);
CREATE INDEX IF NOT EXISTS waiting ON alert (state, row_id) WHERE state IN ('NEW', 'SENT');
CREATE INDEX IF NOT EXISTS lineage ON alert (lineage_id, revision) WHERE state IN ('NEW', 'SENT');
"""
_ROW = "row_id, alert_id, lineage_id, revision, topic, value, headers, key_id"


class Spool:
    """One SQLite file, used by one process at a time, by any of its threads."""

    def __init__(self, path: Path, *, rows_max: int = ROWS_MAX) -> None:
        self._path = path
        self._rows_max = rows_max
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._owner = path.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._owner.close()
            raise SpoolInUse(f"{path}: another process uses it; give each its own with --spool") from error
        self._db = self._do(lambda: sqlite3.connect(path, check_same_thread=False, isolation_level=None))
        self._do(self._prepare)

    def _prepare(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        self._db.execute("PRAGMA journal_mode = WAL")
        # FULL: the commit is on disk before publish() returns
        self._db.execute("PRAGMA synchronous = FULL")
        if self._db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise SpoolDamaged(self._damaged())
        self._db.executescript(_SCHEMA)
        self._db.execute("UPDATE alert SET state = 'NEW' WHERE state = 'SENT'")
        self._path.chmod(0o600)

    def _damaged(self) -> str:
        return f"{self._path}: damaged; keep it aside for its alerts, and start with a new one (--spool)"

    def _do(self, work: Callable[[], T]) -> T:
        try:
            with self._lock:
                return work()
        except sqlite3.Error as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise SpoolFull(f"{self._path}: the disk is full ({error}); free space, nothing was stored") from error
            if error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise SpoolDamaged(self._damaged()) from error
            raise SpoolError(f"{self._path}: {error}") from error

    def known(self, idempotency_key: str) -> str | None:
        """The alert id under which a caller's key was stored before."""
        found = self._do(
            lambda: self._db.execute(
                "SELECT alert_id FROM alert WHERE idempotency_key = ?", (idempotency_key,)
            ).fetchone()
        )
        return str(found[0]) if found else None

    def add(self, row: Row, idempotency_key: str | None) -> None:
        """Store one alert; on disk when this returns.

        Raises:
            SpoolFull: as many wait as may, or the disk is full.
            SpoolDamaged: the file is not sound.
        """

        def work() -> None:
            waiting = self._db.execute("SELECT count(*) FROM alert WHERE state IN ('NEW', 'SENT')").fetchone()[0]
            if waiting >= self._rows_max:
                raise SpoolFull(f"{self._path}: {waiting} alerts wait; is the broker reachable? Nothing was stored")
            headers = json.dumps([[name, content.hex()] for name, content in row.headers])
            self._db.execute(
                f"INSERT INTO alert (idempotency_key, state, {_ROW}) VALUES (?, 'NEW', NULL, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # constants
                (
                    idempotency_key,
                    row.alert_id,
                    row.lineage_id,
                    row.revision,
                    row.topic,
                    row.value,
                    headers,
                    row.key_id,
                ),
            )

        self._do(work)

    def take(self, count: int) -> list[Row]:
        """Up to `count` alerts to send now, oldest first, marked SENT. At most one revision of a lineage is out."""

        def work() -> list[Row]:
            found = self._db.execute(
                f"SELECT {_ROW} FROM alert AS a WHERE state = 'NEW' AND NOT EXISTS ("  # noqa: S608  # constants
                " SELECT 1 FROM alert AS b WHERE b.lineage_id = a.lineage_id AND b.state IN ('NEW', 'SENT')"
                " AND b.row_id < a.row_id) ORDER BY row_id LIMIT ?",
                (count,),
            ).fetchall()
            self._mark_many([(State.SENT.value, None, one[0]) for one in found])
            return [_row(one) for one in found]

        return self._do(work)

    def mark(self, changes: Sequence[tuple[int, State, str | None]]) -> None:
        """Set state and error of rows: (row id, state, error)."""
        self._do(lambda: self._mark_many([(state.value, error, row_id) for row_id, state, error in changes]))

    def _mark_many(self, changes: Sequence[tuple[str, str | None, int]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("UPDATE alert SET state = ?, error = ? WHERE row_id = ?", changes)
        self._db.execute("COMMIT")

    def resign(self, row_id: int, value: bytes, headers: Headers, key_id: str) -> None:
        """Replace the signature of an alert that has not been sent."""
        encoded = json.dumps([[name, content.hex()] for name, content in headers])
        self._do(
            lambda: self._db.execute(
                "UPDATE alert SET value = ?, headers = ?, key_id = ? WHERE row_id = ?", (value, encoded, key_id, row_id)
            )
        )

    def counts(self) -> dict[State, int]:
        """How many alerts are in each state."""
        found = self._do(lambda: self._db.execute("SELECT state, count(*) FROM alert GROUP BY state").fetchall())
        return {**dict.fromkeys(State, 0), **{State(state): count for state, count in found}}

    def troubles(self) -> list[tuple[str, str, str]]:
        """Alert id, state and error of everything that has an error and is not on the broker."""
        return self._do(
            lambda: self._db.execute(
                "SELECT alert_id, state, error FROM alert WHERE error IS NOT NULL AND state != 'ACKED' ORDER BY row_id"
            ).fetchall()
        )

    def close(self) -> None:
        """Close the file and let go of it."""
        with self._lock:
            self._db.close()
        self._owner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _row(found: tuple[int, str, str, int, str, bytes, str, str]) -> Row:
    headers = [(name, bytes.fromhex(content)) for name, content in json.loads(found[6])]
    return Row(found[0], found[1], found[2], found[3], found[4], found[5], headers, found[7])
