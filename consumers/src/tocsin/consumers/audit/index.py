"""An index of the record: what decisions, policy changes and outboxes say, in SQLite, to be asked. Disposable.

Nothing is in it that the topics do not say, and no content of alerts, which they do not hold either. How far each
topic was taken in stands beside the rows, in the same transaction: who is killed loses nothing and doubles nothing.

Rules, members and lists of recipients repeat from alert to alert. A text is stored once (`words`), and so is a list of
members with a word beside each, its rule or its reason (`rosters`), however many decisions have the same.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from array import array
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from tocsin.consumers.audit.facts import RECORD_BYTES_MAX, decision_of
from tocsin.consumers.audit.logs import is_lane_record
from tocsin.consumers.disputes import Disputed
from tocsin.consumers.errors import IndexUnusable
from tocsin.consumers.outbox_records import ACKNOWLEDGEMENT, DISPUTE, Acknowledged, Said, kind_and_name
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import content_of
from tocsin.schemas.directory import Directory, DirectoryMember
from tocsin.schemas.errors import Rejection
from tocsin.schemas.names import POLICY_AUDIT_TOPIC, audit_topic, outbox_topic
from tocsin.schemas.records import Decision, PolicyChange

VERSION: Final = 2
"""Of the tables below; a file of another version is built anew."""
FILE_MODE: Final = 0o600
BUSY_S: Final = 60.0
CACHE_KB: Final = 200_000

_POLICY: Final = schema("policy-change")
_KNOWN_MAX: Final = 200_000
_LANES: Final = audit_topic("")
_OUTBOXES: Final = outbox_topic("")
_ON_TOPICS: Final = "TOPIC "

_TABLES: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE topics (
    name TEXT PRIMARY KEY, topic_id TEXT NOT NULL, next_offset INTEGER NOT NULL, passed_over INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE words (word INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE rosters (roster INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, size INTEGER NOT NULL);
CREATE TABLE named (
    roster INTEGER NOT NULL, member INTEGER NOT NULL, word INTEGER, PRIMARY KEY (roster, member)
) WITHOUT ROWID;
CREATE INDEX named_members ON named (member, roster);
CREATE TABLE lineages (
    lineage INTEGER PRIMARY KEY, lineage_id TEXT NOT NULL, publisher INTEGER NOT NULL, UNIQUE (lineage_id, publisher)
);
CREATE TABLE decisions (
    decision INTEGER PRIMARY KEY, lane INTEGER NOT NULL, entry INTEGER NOT NULL, seq INTEGER NOT NULL,
    kind TEXT NOT NULL, outcome TEXT NOT NULL, reason INTEGER, detail TEXT, decided_at INTEGER NOT NULL,
    topic INTEGER NOT NULL, place INTEGER NOT NULL, appended_at INTEGER, sha256 BLOB NOT NULL, key_id INTEGER,
    publisher INTEGER, lineage INTEGER, alert_id TEXT, revision INTEGER, status INTEGER,
    given INTEGER, refused INTEGER, erased INTEGER,
    acl_digest INTEGER NOT NULL, acl_read_at INTEGER NOT NULL, directory_version INTEGER NOT NULL
);
CREATE INDEX decisions_lineages ON decisions (lineage);
CREATE INDEX decisions_alerts ON decisions (alert_id) WHERE alert_id IS NOT NULL;
CREATE INDEX decisions_places ON decisions (topic, place);
CREATE INDEX decisions_times ON decisions (decided_at);
CREATE INDEX decisions_refusals ON decisions (decided_at) WHERE outcome <> 'ACCEPTED' OR refused IS NOT NULL;
CREATE INDEX decisions_given ON decisions (given, decided_at) WHERE given IS NOT NULL;
CREATE INDEX decisions_erased ON decisions (decision) WHERE erased IS NOT NULL;
CREATE TABLE changes (
    change INTEGER PRIMARY KEY, change_id TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, by TEXT NOT NULL
);
CREATE INDEX changes_ids ON changes (change_id);
CREATE TABLE causes (rule INTEGER NOT NULL, change INTEGER NOT NULL, reasons INTEGER, PRIMARY KEY (rule, change))
WITHOUT ROWID;
CREATE TABLE removals (rule INTEGER NOT NULL, change INTEGER NOT NULL, PRIMARY KEY (rule, change)) WITHOUT ROWID;
CREATE TABLE told (
    lineage INTEGER NOT NULL, member INTEGER NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, word TEXT NOT NULL,
    notice_at INTEGER, key_id TEXT NOT NULL, place INTEGER NOT NULL, counts INTEGER NOT NULL,
    PRIMARY KEY (lineage, member, kind)
) WITHOUT ROWID;
CREATE TABLE members (member INTEGER PRIMARY KEY, role TEXT NOT NULL, jurisdiction TEXT NOT NULL, status TEXT NOT NULL);
"""

_INSERT_DECISION: Final = (
    "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_TAKE_BACK: Final = """
DELETE FROM told WHERE lineage = (
    SELECT lineage FROM lineages JOIN words ON words.word = publisher WHERE lineage_id = ? AND words.text = ?
) AND member = (SELECT word FROM words WHERE text = ?) AND kind = ?
"""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a topic was taken in: `next_offset` of the topic with this id. `passed_over` could not be used."""

    topic_id: str
    next_offset: int
    passed_over: int = 0


Open = Callable[[BusRecord], Said]
"""Verifies one record of an outbox; raises Rejection."""


def is_taken_in(topic: str) -> bool:
    """Whether an index is made of a topic: decisions, the journal of the policy, outboxes."""
    return topic == POLICY_AUDIT_TOPIC or is_lane_record(topic) or topic.startswith(_OUTBOXES)


class Index:
    """The index in a file; one process at a time takes records in. Made by `open_index` or `index_as_it_is`.

    `rebuilt` says why what was there could not be gone on with; None if it could, or nothing was there.
    """

    def __init__(self, path: Path, login: str) -> None:
        self.path = path
        self.login = login
        self.rebuilt: str | None = None
        self._words: dict[str, int] = {}
        self._rosters: dict[bytes, int] = {}
        self._lineages: dict[tuple[str, str], int] = {}
        self.database = _connect(path)

    def wrong(self) -> str | None:
        """Why it cannot be gone on with. A process that was killed while making it leaves no tables, which is fine."""
        try:
            if not self.has_tables():
                return None
            [[version]] = self.database.execute("PRAGMA user_version")
            by = self.fact("login")
        except sqlite3.DatabaseError as error:
            return f"its file is damaged ({error})"
        if version != VERSION:
            return f"it is of another release ({version}, not {VERSION})"
        return None if by == self.login else f"it was made by the login {by}, which may read other things"

    def has_tables(self) -> bool:
        """Whether anything was made yet."""
        return bool(self.database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])

    def build_anew(self, why: str) -> None:
        """Forget everything; say `why` in `rebuilt`."""
        self.rebuilt = why
        self.database.close()
        _remove(self.path)
        self.database = _connect(self.path)
        self.make()

    def make(self) -> None:
        """Make the tables."""
        self._forget()
        with self._transaction():
            for statement in _TABLES.split(";"):
                self.database.execute(statement)
            self.database.execute(f"PRAGMA user_version = {VERSION}")
            self._note("login", self.login)

    def _forget(self) -> None:
        for known in (self._words, self._rosters, self._lineages):
            known.clear()

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            # what was numbered in it is not there
            self._forget()
            # a full disk has ended it already
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    # -- how far it is -----------------------------------------------------------------------------------------------

    def places(self) -> dict[str, Place]:
        """How far each topic was taken in."""
        rows = self.database.execute("SELECT name, topic_id, next_offset, passed_over FROM topics ORDER BY name")
        return {name: Place(*rest) for name, *rest in rows}

    def fact(self, name: str) -> str | None:
        """What was noted under `name`."""
        row = self.database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def note(self, name: str, value: str) -> None:
        """Note a `value` under `name`."""
        with self._transaction():
            self._note(name, value)

    def _note(self, name: str, value: str) -> None:
        self.database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # -- taking in ---------------------------------------------------------------------------------------------------

    def take(self, records: Iterable[BusRecord], ids: Mapping[str, str], opened: Open) -> None:
        """Take records in, and how far that comes, in one transaction; of one topic in order, `ids` are the topics'.

        What was taken in before changes nothing. What is none of ours, or does not verify, is counted and passed over.
        """
        with self._transaction():
            places = {name: [one.topic_id, one.next_offset, one.passed_over] for name, one in self.places().items()}
            decisions: list[tuple[Any, ...]] = []
            for record in records:
                place = places.setdefault(record.topic, [ids[record.topic], 0, 0])
                if record.offset < cast("int", place[1]):
                    continue
                place[1] = record.offset + 1
                if not self._take(record, opened, decisions):
                    place[2] = cast("int", place[2]) + 1
            self.database.executemany(_INSERT_DECISION, decisions)
            self._keep((name, *place) for name, place in places.items())

    def reached(self, topic_ids: Mapping[str, str], next_offsets: Mapping[str, int]) -> None:
        """Note that nothing more stands before `next_offsets`: markers of transactions, or what was compacted."""
        with self._transaction():
            before = self.places()
            self._keep(
                (name, topic_ids[name], offset, before[name].passed_over if name in before else 0)
                for name, offset in next_offsets.items()
            )

    def _keep(self, places: Iterable[tuple[Any, ...]]) -> None:
        self.database.executemany("INSERT OR REPLACE INTO topics VALUES (?, ?, ?, ?)", places)

    def _take(self, record: BusRecord, opened: Open, decisions: list[tuple[Any, ...]]) -> bool:
        """Whether it could be used."""
        if record.topic.startswith(_OUTBOXES):
            return self._take_word(record, opened)
        if record.topic == POLICY_AUDIT_TOPIC:
            change = content_of(record.value, _POLICY, bytes_max=RECORD_BYTES_MAX)
            if change is not None:
                self._take_change(record.offset, cast("PolicyChange", change))
            return change is not None
        decision = decision_of(record.value)
        if decision is not None:
            decisions.append(self._decision_row(record, decision))
        return decision is not None

    def _decision_row(self, record: BusRecord, one: Decision) -> tuple[Any, ...]:
        word, publisher, lineage_id = self._word, one["publisher"], one["lineage_id"]
        return (
            None,
            word(record.topic.removeprefix(_LANES)),
            record.offset,
            one["seq"],
            one["kind"],
            one["outcome"],
            self._word_or_none(one["reason"]),
            one["detail"],
            one["decided_at"],
            word(one["topic"]),
            one["offset"],
            one["appended_at"],
            one["sha256"],
            self._word_or_none(one["key_id"]),
            self._word_or_none(publisher),
            None if publisher is None or lineage_id is None else self._lineage(publisher, lineage_id),
            one["alert_id"],
            one["revision"],
            self._word_or_none(one["status"]),
            self._roster([(given["member"], given["rule"]) for given in one["given"]]),
            self._roster([(refused["member"], refused["reason"]) for refused in one["refused"]]),
            self._roster([(member, None) for member in one["erased"]]),
            word(one["acl_digest"].hex()),
            one["acl_read_at"],
            one["directory_version"],
        )

    # -- what is stored once -----------------------------------------------------------------------------------------

    def _word(self, text: str) -> int:
        known = self._words.get(text)
        if known is None:
            known = self._number("SELECT word FROM words WHERE text = ?", "INSERT INTO words VALUES (NULL, ?)", (text,))
            _remember(self._words, text, known)
        return known

    def _word_or_none(self, text: str | None) -> int | None:
        return None if text is None else self._word(text)

    def _lineage(self, publisher: str, lineage_id: str) -> int:
        known = self._lineages.get((lineage_id, publisher))
        if known is None:
            known = self._number(
                "SELECT lineage FROM lineages WHERE lineage_id = ? AND publisher = ?",
                "INSERT INTO lineages VALUES (NULL, ?, ?)",
                (lineage_id, self._word(publisher)),
            )
            _remember(self._lineages, (lineage_id, publisher), known)
        return known

    def _roster(self, named: Sequence[tuple[str, str | None]]) -> int | None:
        """The number of a list of members and the word beside each; None of an empty one."""
        if not named:
            return None
        # a member that came twice, which our own lanes do not write, has the last word beside it
        rows = {self._word(member): self._word_or_none(word) for member, word in named}
        packed = array("q", [number for pair in sorted(rows.items()) for number in (pair[0], pair[1] or 0)])
        digest = hashlib.blake2b(packed.tobytes(), digest_size=16).digest()
        known = self._rosters.get(digest)
        if known is None:
            known = self._stored_roster(digest, rows)
            _remember(self._rosters, digest, known)
        return known

    def _stored_roster(self, digest: bytes, rows: Mapping[int, int | None]) -> int:
        row = self.database.execute("SELECT roster FROM rosters WHERE digest = ?", (digest,)).fetchone()
        if row is not None:
            return int(row[0])
        made = self.database.execute("INSERT INTO rosters VALUES (NULL, ?, ?)", (digest, len(rows))).lastrowid or 0
        self.database.executemany(
            "INSERT INTO named VALUES (?, ?, ?)", [(made, member, word) for member, word in rows.items()]
        )
        return made

    def _number(self, ask: str, make: str, what: tuple[Any, ...]) -> int:
        row = self.database.execute(ask, what).fetchone()
        return int(row[0]) if row else self.database.execute(make, what).lastrowid or 0

    # -- why ACLs were there -----------------------------------------------------------------------------------------

    def _take_change(self, offset: int, change: PolicyChange) -> None:
        self.database.execute(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?)",
            (offset, change["change_id"], change["kind"], change["at"], change["by"]),
        )
        rules = [step for step in change["changes"] if step["what"] == "ACL" and step["name"].startswith(_ON_TOPICS)]
        for step in rules:
            rule = self._word(step["name"].removeprefix(_ON_TOPICS))
            if step["action"] == "CREATE":
                reasons = self._word_or_none("\n".join(step["reasons"]) or None)
                self.database.execute("INSERT OR REPLACE INTO causes VALUES (?, ?, ?)", (rule, offset, reasons))
            elif change["kind"] == "BEGUN":
                self.database.execute("INSERT OR REPLACE INTO removals VALUES (?, ?)", (rule, offset))

    # -- what members said -------------------------------------------------------------------------------------------

    def _take_word(self, record: BusRecord, opened: Open) -> bool:
        """An acknowledgement or a dispute; what else members write to their outboxes is not for the record."""
        kind, name = kind_and_name(record.key)
        if kind not in (ACKNOWLEDGEMENT, DISPUTE):
            return True
        publisher, _, lineage_id = name.partition("/")
        member = record.topic.removeprefix(_OUTBOXES)
        if record.value is None:
            # it is not signed: nothing is stored because of it
            self.database.execute(_TAKE_BACK, (lineage_id, publisher, member, kind))
            return True
        try:
            said = opened(record)
        except (Rejection, ValueError):  # the text of the latter would show the bytes
            return False
        self._keep_word(member, kind, said)
        return True

    def _keep_word(self, member: str, kind: str, said: Said) -> None:
        content = cast("Acknowledged | Disputed", said.content)
        if isinstance(content, Acknowledged):
            # an id that is no UUIDv7 says no time, and answers nothing
            word, notice_at = str(content.notice_id), content.notice_at_ms
        else:
            word, notice_at = content.reason, None
        lineage = self._lineage(content.publisher, content.lineage_id)
        row = (lineage, self._word(member), kind, said.at_ms, word, notice_at, said.key_id, said.offset, True)
        self.database.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def take_directory(self, directory: Directory) -> None:
        """Take in who is a member; what a key signed that does not count any more, does not count any more."""
        version = str(directory.version)
        if self.fact("directory") == version:
            return
        with self._transaction():
            self.database.execute("DELETE FROM members")
            self.database.executemany("INSERT INTO members VALUES (?, ?, ?, ?)", self._member_rows(directory))
            said = self.database.execute(
                "SELECT lineage, member, kind, words.text, told.key_id, place, at FROM told"
                " JOIN words ON words.word = told.member"
            ).fetchall()
            self.database.executemany(
                "UPDATE told SET counts = ? WHERE lineage = ? AND member = ? AND kind = ?",
                [
                    (Said(None, key_id, place, at).counts(member, directory), lineage, number, kind)
                    for lineage, number, kind, member, key_id, place, at in said
                ],
            )
            self._note("directory", version)

    def _member_rows(self, directory: Directory) -> Iterator[tuple[Any, ...]]:
        members: Collection[DirectoryMember] = directory.members.values()
        return ((self._word(one.member), one.role, one.jurisdiction, one.status) for one in members)

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()


@contextmanager
def on_disk(path: Path) -> Generator[None]:
    """What goes wrong with the disk, and not with what is on it, said in our words.

    Raises:
        IndexUnusable: the disk is full, or may not be written; a process holds the file.
    """
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise IndexUnusable(f"{path}: {error}; see to the disk, or choose another place with --state") from error


def open_index(path: Path, login: str) -> Index:
    """The index in the file `path` for what `login` may read, made anew if what is there cannot be gone on with."""
    try:
        found = Index(path, login)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        _remove(path)
        found = Index(path, login)
        found.rebuilt = f"its file is damaged ({error})"
    why = found.wrong()
    if why is not None:
        found.build_anew(why)
    elif not found.has_tables():
        found.make()
    return found


def index_as_it_is(path: Path, login: str) -> Index:
    """The index in the file `path`, to be asked and nothing else.

    Raises:
        IndexUnusable: there is none, or it is of no use here.
    """
    remedy = "leave --no-update out, and it is made from the topics"
    if not path.exists():
        raise IndexUnusable(f"{path}: no index yet; {remedy}")
    try:
        with on_disk(path):
            found = Index(path, login)
    except sqlite3.DatabaseError as error:
        raise IndexUnusable(f"{path}: damaged ({error}); {remedy}") from error
    why = found.wrong() if found.has_tables() else "nothing is in it yet"
    if why is not None:
        found.close()
        raise IndexUnusable(f"{path}: {why}; {remedy}")
    return found


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # it says who was given what: made before SQLite makes it for all to read
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE))
    database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # a power failure may cost the last transactions, rows and places alike: they are taken in again
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        # in a large index a transaction touches many pages: written back together, they are fewer
        database.execute("PRAGMA wal_autocheckpoint = 20000")
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()


def _remember(known: dict[Any, int], key: Any, number: int) -> None:
    if len(known) >= _KNOWN_MAX:
        known.clear()
    known[key] = number
