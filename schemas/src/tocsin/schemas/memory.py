"""A bus in memory, for tests without a broker: topics, rights, groups and failures, as the exchange's Kafka has them.

As there, nothing is allowed that is not allowed expressly, topics are made by the administrator, and a group's name
begins with its member's. It does not have transactions: whatever is appended can be read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from tocsin.schemas.bus import BusRecord, Failure, Headers, Kind, OnDone, ReadFailed
from tocsin.schemas.uuid7 import uuid7

RECORD_BYTES_MAX: Final = 1_048_576
ANY: Final = "*"
DOWN: Final = "the bus is down"

Operation = Literal["READ", "WRITE"]
Resource = Literal["TOPIC", "GROUP"]
Authorizer = Callable[[str, Operation, Resource, str], bool]
"""Whether a login may do this to that: (login, operation, resource type, name)."""


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Rights:
    """The authorizer of a bus that was given none: what was allowed and not denied. `*` is any topic.

    A login `bank-fr` or `bank-fr.reports` may use the groups `bank-fr.…`.
    """

    def __init__(self) -> None:
        self._allowed: set[tuple[str, str, str]] = set()
        self._denied: set[tuple[str, str, str]] = set()

    def allow(self, login: str, operation: Operation, topic: str) -> None:
        """Add a right."""
        self._allowed.add((login, operation, topic))

    def deny(self, login: str, operation: Operation, topic: str) -> None:
        """Add a denial, which wins over any right."""
        self._denied.add((login, operation, topic))

    def remove(self, login: str, operation: Operation, topic: str) -> None:
        """Take back what `allow` or `deny` added."""
        self._allowed.discard((login, operation, topic))
        self._denied.discard((login, operation, topic))

    def __call__(self, login: str, operation: Operation, resource: Resource, name: str) -> bool:
        """Whether `login` may do `operation` to the topic or group `name`."""
        if resource == "GROUP":
            return name.startswith(login.partition(".")[0] + ".")
        rows = {(login, operation, name), (login, operation, ANY)}
        return bool(rows & self._allowed) and not rows & self._denied


@dataclass(slots=True)
class _Topic:
    records: list[BusRecord] = field(default_factory=list[BusRecord])
    end: int = 0
    id: str = field(default_factory=lambda: str(uuid7()))


class _Membership(NamedTuple):
    group: str
    topic: str


class MemoryBus:
    """Topics in memory. `writer` and `reader` give what the libraries take in place of a Kafka client.

    `rights` are its rights while no `authorizer` is given. `now` stamps records (milliseconds since 1970). Safe for use
    by several threads.
    """

    def __init__(self, *, authorizer: Authorizer | None = None, now: Callable[[], int] = wall_clock_ms) -> None:
        self.rights = Rights()
        self.up = True
        self._authorizer: Authorizer = authorizer or self.rights
        self._now = now
        self._topics: dict[str, _Topic] = {}
        self._places: dict[_Membership, int] = {}
        self._members: dict[_Membership, list[MemoryReader]] = {}
        self._unanswered = 0
        self._changed = threading.Condition(threading.RLock())

    # -- what an administrator does ----------------------------------------------------------------------------------

    def create_topic(self, name: str) -> None:
        """Make a topic, if it is not there."""
        with self._changed:
            self._topics.setdefault(name, _Topic())
            self._changed.notify_all()

    def delete_topic(self, name: str) -> None:
        """Delete a topic with its records and the places that groups had in it."""
        with self._changed:
            self._topics.pop(name, None)
            self._places = {who: place for who, place in self._places.items() if who.topic != name}

    def topics(self) -> tuple[str, ...]:
        """The names of all topics, sorted."""
        with self._changed:
            return tuple(sorted(self._topics))

    def topic_id(self, name: str) -> str | None:
        """What tells a topic from one of the same name that was deleted; None when there is none."""
        with self._changed:
            return self._topics[name].id if name in self._topics else None

    def records(self, topic: str) -> tuple[BusRecord, ...]:
        """Everything in `topic`. Raises KeyError when there is none."""
        with self._changed:
            return tuple(self._topics[topic].records)

    def place(self, group: str, topic: str) -> int | None:
        """The next offset that `group` will read; None when it has never said."""
        with self._changed:
            return self._places.get(_Membership(group, topic))

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> int:
        """Append a record, or a tombstone (`value` None), whoever may. Returns its offset. Raises KeyError."""
        with self._changed:
            to = self._topics[topic]
            to.records.append(BusRecord(topic, to.end, key, value, tuple(headers or ()), self._now()))
            to.end += 1
            self._changed.notify_all()
            return to.end - 1

    def compact(self, topic: str) -> None:
        """Keep the last record of each key, and no tombstones; offsets stay. Raises KeyError."""
        with self._changed:
            to = self._topics[topic]
            last = {record.key: record.offset for record in to.records}
            to.records = [one for one in to.records if one.offset == last[one.key] and one.value is not None]

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def take_down(self) -> None:
        """From now on nobody answers: writes fail as UNREACHABLE, reads wait."""
        self.up = False

    def bring_up(self) -> None:
        """Answer again."""
        with self._changed:
            self.up = True
            self._changed.notify_all()

    def lose_answers(self, count: int) -> None:
        """The next `count` records are written and reported as UNREACHABLE, as when a connection breaks."""
        self._unanswered = count

    # -- what a login does -------------------------------------------------------------------------------------------

    def writer(self, login: str) -> MemoryWriter:
        """A Writer of `login`."""
        return MemoryWriter(self, login)

    def reader(self, login: str, topic: str, group: str | None = None, *, begin: int = 0) -> MemoryReader:
        """A Reader of `topic` for `login`. It joins `group` at its first `poll`; without one it begins at `begin`."""
        return MemoryReader(self, login, topic, group, begin)

    # -- for this module's classes -----------------------------------------------------------------------------------

    def write(self, login: str, topic: str, key: bytes, value: bytes | None, headers: Headers) -> Failure | None:
        """Append in `login`'s name, if it may; why not, otherwise. In the order in which Kafka checks."""
        with self._changed:
            if not self.up:
                return Failure(Kind.UNREACHABLE, DOWN)
            if not self._authorizer(login, "WRITE", "TOPIC", topic):
                return Failure(Kind.DENIED, f"{login} may not WRITE to {topic}")
            if topic not in self._topics:
                return Failure(Kind.NO_TOPIC, f"{topic} does not exist")
            if value is not None and len(value) > RECORD_BYTES_MAX:
                return Failure(Kind.TOO_LARGE, f"more than {RECORD_BYTES_MAX} bytes")
            self.append(topic, key, value, headers)
            if self._unanswered:
                self._unanswered -= 1
                return Failure(Kind.UNREACHABLE, "the answer was lost")
            return None

    def check_readable(self, login: str, topic: str, group: str | None) -> _Topic:
        """The topic, if `login` may read it, for `group`. Raises ReadFailed."""
        if group is not None and not self._authorizer(login, "READ", "GROUP", group):
            raise ReadFailed(Kind.DENIED, f"{login} may not use the group {group}")
        if not self._authorizer(login, "READ", "TOPIC", topic):
            raise ReadFailed(Kind.DENIED, f"{login} may not READ {topic}")
        if topic not in self._topics:
            raise ReadFailed(Kind.NO_TOPIC, f"{topic} does not exist")
        return self._topics[topic]

    def join(self, reader: MemoryReader, group: str, topic: str) -> int | None:
        """The place from which `reader` reads for `group`; None while another reader does."""
        members = self._members.setdefault(_Membership(group, topic), [])
        if reader not in members:
            members.append(reader)
        return self._places.get(_Membership(group, topic), 0) if members[0] is reader else None

    def leave(self, reader: MemoryReader, group: str, topic: str) -> None:
        """Let the next reader of `group` read."""
        with self._changed:
            members = self._members.get(_Membership(group, topic), [])
            if reader in members:
                members.remove(reader)
            self._changed.notify_all()

    def keep(self, group: str, topic: str, next_offset: int) -> bool:
        """Make `next_offset` the group's place; False when the bus is down or the topic gone."""
        with self._changed:
            if self.up and topic in self._topics:
                self._places[_Membership(group, topic)] = next_offset
            return self.up and topic in self._topics

    @property
    def changed(self) -> threading.Condition:
        """Notified when a record, a topic or a right to read has come."""
        return self._changed


class MemoryWriter:
    """A Writer on a `MemoryBus`."""

    def __init__(self, bus: MemoryBus, login: str) -> None:
        self._bus = bus
        self._login = login
        self._done: list[tuple[OnDone, Failure | None]] = []
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why the last record did not arrive, if nobody answered."""
        return self._trouble

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Headers, on_done: OnDone) -> None:
        """Write at once; `on_done` is called by the next `poll`, `flush` or `close`."""
        failure = self._bus.write(self._login, topic, key, value, headers)
        self._trouble = failure.detail if failure is not None and failure.kind is Kind.UNREACHABLE else None
        self._done.append((on_done, failure))

    def poll(self, timeout_s: float) -> None:
        """Report what was sent. There is nothing to wait for; `timeout_s` passes when nothing was sent."""
        if not self._done:
            time.sleep(timeout_s)
        self.flush(0)

    def flush(self, timeout_s: float) -> int:  # noqa: ARG002  # nothing takes time here
        """Report what was sent."""
        done, self._done = self._done, []
        for on_done, failure in done:
            on_done(failure)
        return 0

    def close(self) -> None:
        """Report what was sent."""
        self.flush(0)


class MemoryReader:
    """A Reader on a `MemoryBus`."""

    def __init__(self, bus: MemoryBus, login: str, topic: str, group: str | None, begin: int = 0) -> None:
        self._bus = bus
        self._login = login
        self._topic = topic
        self._group = group
        self._begin = begin
        self._position: int | None = None

    @property
    def generation(self) -> int:
        """Always the first: once a reader reads, it does so until it is closed."""
        return 1

    @property
    def position(self) -> int | None:
        """Where reading goes on."""
        return self._position

    @property
    def trouble(self) -> str | None:
        """That the bus is down, if it is."""
        return None if self._bus.up else DOWN

    def poll(self, timeout_s: float) -> BusRecord | None:
        """The next record, waiting up to `timeout_s`. Returns at once when it finds out that there is none yet."""
        deadline = time.monotonic() + timeout_s
        with self._bus.changed:
            while True:
                began = self._position is None
                found = self._take()
                left = deadline - time.monotonic()
                if found is not None or left <= 0 or (began and self._position is not None):
                    return found
                self._bus.changed.wait(left)

    def _take(self) -> BusRecord | None:
        if not self._bus.up:
            return None
        topic = self._bus.check_readable(self._login, self._topic, self._group)
        if self._position is None:
            self._position = self._begin if self._group is None else self._bus.join(self, self._group, self._topic)
        if self._position is None:
            return None
        if self._position > topic.end:  # deleted and made again
            self._position = 0
        found = next((record for record in topic.records if record.offset >= (self._position or 0)), None)
        self._position = topic.end if found is None else found.offset + 1
        return found

    def end(self, timeout_s: float) -> int:  # noqa: ARG002  # nothing takes time here
        """The offset after the last record. Raises ReadFailed."""
        if not self._bus.up:
            raise ReadFailed(Kind.UNREACHABLE, DOWN)
        with self._bus.changed:
            return self._bus.check_readable(self._login, self._topic, None).end

    def store(self, next_offset: int) -> None:
        """Make `next_offset` the group's place."""
        self.commit(next_offset)

    def commit(self, next_offset: int) -> bool:
        """Make `next_offset` the group's place; False when the bus is down, or this reader stands by."""
        if self._group is None or self._position is None:
            return False
        return self._bus.keep(self._group, self._topic, next_offset)

    def close(self) -> None:
        """Leave the group."""
        if self._group is not None:
            self._bus.leave(self, self._group, self._topic)
        self._position = None
