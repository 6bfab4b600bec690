"""Brings the index of the record up to date with the topics, by a login that may read all of them, or some."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation, AdminClient

from tocsin.consumers.audit.index import Index, Place, is_taken_in, on_disk, open_index
from tocsin.consumers.audit.logs import is_sealed
from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.errors import IndexUnusable, TopicsUnreadable
from tocsin.consumers.outbox_records import Said, open_record
from tocsin.consumers.topics_reader import TopicsReader, topic_names
from tocsin.consumers.watch import ADMIN, OUTBOX, describe_topics
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.directory import VersionFloor
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import POLICY_AUDIT_TOPIC

ASK_S: Final = 10.0
LOCK_S: Final = 600.0
BATCH: Final = 5_000
"""Records that are taken in by one transaction."""

Progress = Callable[[int, int], None]
"""Is told how many records were read, and how many there are about."""


@dataclass(frozen=True, slots=True)
class Found:
    """A topic that there is: its id, its oldest offset and the one after its newest."""

    topic_id: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update came to. `passed_over` are records of each topic, ever.

    `left_out` is what the login may not read, `left_out_before` what it could not the last time; None: there was none.
    """

    records: int
    rebuilt: str | None
    left_out: tuple[str, ...]
    left_out_before: tuple[str, ...] | None
    passed_over: Mapping[str, int]


def lost(kept: Mapping[str, Place], found: Mapping[str, Found]) -> str | None:
    """Why what was taken in cannot be gone on from; None if it can. A topic that is gone, keeps what it said. Pure."""
    for name, place in kept.items():
        one = found.get(name)
        if one is None:
            continue
        if one.topic_id != place.topic_id:
            return f"{name} was deleted and made anew"
        if place.next_offset < one.first:
            return f"{name} begins at offset {one.first} now, and was read up to {place.next_offset}"
        if place.next_offset > one.end:
            return f"{name} ends at offset {one.end} now, and was read up to {place.next_offset}"
    return None


def left_out(found: Mapping[str, Found], unreadable: list[str]) -> tuple[str, ...]:
    """What of the record is not read, in words. Pure."""
    said = [*unreadable]
    if POLICY_AUDIT_TOPIC not in (*found, *unreadable):
        said.append(POLICY_AUDIT_TOPIC)
    if not any(name.startswith(OUTBOX) for name in (*found, *unreadable)):
        said.append(f"{OUTBOX}*")
    meanings = {POLICY_AUDIT_TOPIC: " (why ACLs were there)", f"{OUTBOX}*": " (acknowledgements and disputes)"}
    return tuple(f"{name}{meanings.get(name, '')}" for name in sorted(said))


class RecordReader:
    """`bundle` is the auditor's, or an officer's. A context manager."""

    def __init__(self, bundle: Bundle) -> None:
        self._config = bundle.kafka_config()
        self._login = bundle.config.login
        self._admin = AdminClient({**self._config, **ADMIN})
        self._directory = DirectoryWatcher(
            self._config, bundle.coalition, bundle.roots, VersionFloor(bundle.path / "directory-version")
        )
        self._reader = TopicsReader(self._config, group=f"{self._login}.none")
        self._asked_directory = False

    def update(self, path: Path, progress: Progress, *, anew: str | None = None) -> tuple[Index, Updated]:
        """The index in the file `path`, with all that the topics hold now. One process at a time.

        With `anew`, why that is, what was there is forgotten.

        Raises:
            TopicsUnreadable, DirectoryUnreadable: they cannot be read now; what was taken in is kept.
            IndexUnusable: this login may read no decisions, or the file cannot be written.
        """
        with on_disk(path), _alone(path):
            index = open_index(path, self._login)
            try:
                if anew is not None:
                    index.build_anew(anew)
                return index, self._update_or_anew(index, progress)
            except BaseException:
                index.close()
                raise

    def _update_or_anew(self, index: Index, progress: Progress) -> Updated:
        try:
            return self._update(index, progress)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            index.build_anew(f"its file is damaged ({error})")
            return self._update(index, progress)

    def _update(self, index: Index, progress: Progress) -> Updated:
        found, unreadable = self._topics()
        if not any(map(is_sealed, found)):
            raise IndexUnusable(
                f"the login {self._login} may read no decisions; take the auditor's bundle, or one of an officer "
                "(a login whose work is `audit` in the policy), and apply the policy"
            )
        why = lost(index.places(), found)
        if why is not None:
            index.build_anew(why)
        self._directory.look()
        if self._directory.directory is not None:
            index.take_directory(self._directory.directory)
        else:
            # nothing that members said can be judged; what was decided can be told all the same
            found = {name: one for name, one in found.items() if not name.startswith(OUTBOX)}
        records = self._read(index, found, progress)
        missing, before = left_out(found, unreadable), index.fact("left out")
        index.note("left out", "\n".join(missing))
        passed_over = {name: place.passed_over for name, place in index.places().items() if place.passed_over}
        return Updated(
            records, index.rebuilt, missing, None if before is None else tuple(before.splitlines()), passed_over
        )

    def _read(self, index: Index, found: Mapping[str, Found], progress: Progress) -> int:
        kept = index.places()
        begin = {name: kept[name].next_offset if name in kept else one.first for name, one in found.items()}
        total = sum(one.end - begin[name] for name, one in found.items())
        ids = {name: one.topic_id for name, one in found.items()}
        waiting: list[BusRecord] = []
        read = 0
        self._asked_directory = False

        def flush() -> None:
            index.take(waiting, ids, self._open)
            waiting.clear()
            progress(read, max(read, total))

        def take(record: BusRecord) -> None:
            nonlocal read
            waiting.append(record)
            read += 1
            if len(waiting) >= BATCH:
                flush()

        self._reader.follow_from(begin)
        self._reader.read_to_end(take)
        flush()
        index.reached(ids, self._reader.positions())
        return read

    def _open(self, record: BusRecord) -> Said:
        """An unknown key means: read the directory to its end, once an update, then reject."""
        member = record.topic.removeprefix(OUTBOX)
        verifier = self._directory.verifier()
        if verifier is None:
            raise TopicsUnreadable("directory: no document that verifies, so no word of a member can be judged")
        try:
            return open_record(member, record, verifier)
        except Rejection as refusal:
            if refusal.reason is not Reason.UNKNOWN_KEY or self._asked_directory:
                raise
            self._asked_directory = True
            self._directory.read_to_end()
            return open_record(member, record, self._directory.verifier() or verifier)

    # -- which topics there are --------------------------------------------------------------------------------------

    def _topics(self) -> tuple[dict[str, Found], list[str]]:
        """The topics of the record that this login may read, and the names of those that it only sees."""
        described = self._described([*filter(is_taken_in, topic_names(self._admin))])
        readable = [name for name, one in described.items() if AclOperation.READ in one.authorized_operations]
        firsts, ends = self._reader.bounds(readable)
        found = {name: Found(str(described[name].topic_id), firsts[name], ends[name]) for name in readable}
        return found, sorted(described.keys() - found.keys())

    def _described(self, names: list[str]) -> dict[str, Any]:
        try:
            return describe_topics(self._admin, names, ASK_S)
        except KafkaException as failure:
            raise TopicsUnreadable(f"the topics cannot be described: {failure.args[0]}") from failure

    def close(self) -> None:
        """Let go of the connections."""
        self._reader.close()
        self._directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Nobody else updates the index meanwhile; who would, waits."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.with_name(f"{path.name}.lock").open("ab") as lock:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise IndexUnusable(
                        f"{path}: another process updates it; wait for it, or use --no-update"
                    ) from error
                time.sleep(0.2)
        yield
