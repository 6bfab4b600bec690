"""What our libraries need of a bus: Kafka's clients fulfil it, the in-memory bus (`memory`), or a test's own.

Every topic has one partition, so a record's place is an offset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tocsin.schemas.errors import TocsinSchemaError

Headers = list[tuple[str, bytes]]


class Kind(StrEnum):
    """Why a record is not in its topic, or why a topic cannot be read."""

    UNREACHABLE = "unreachable"
    """Nobody answered in time: a record may or may not have been written, and the same bytes are sent again."""
    DENIED = "denied"
    NO_TOPIC = "no-topic"
    TOO_LARGE = "too-large"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that was not written; `detail` are the broker's own words."""

    kind: Kind
    detail: str


OnDone = Callable[[Failure | None], None]


class Writer(Protocol):
    """Appends records, each to partition 0 of its topic. Used by one thread."""

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Headers, on_done: OnDone) -> None:
        """Begin to write; no value is a tombstone.

        `on_done` is called once, in `send`, `poll` or `flush`; None: all replicas have it.
        """
        ...

    def poll(self, timeout_s: float) -> None:
        """Call the `on_done` of what is done; wait for the first up to `timeout_s`."""
        ...

    def flush(self, timeout_s: float) -> int:
        """Wait until all is done, `timeout_s` at most. Returns how many are not."""
        ...

    def close(self) -> None:
        """Give up what is not done, calling each `on_done`, and let go of the connection."""
        ...

    @property
    def trouble(self) -> str | None:
        """What is wrong with the connection now; None when records arrive."""
        ...


@dataclass(frozen=True, slots=True)
class BusRecord:
    """One record as it lies in its topic. `appended_ms` is the broker's clock, milliseconds since 1970."""

    topic: str
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    appended_ms: int


class ReadFailed(TocsinSchemaError):
    """A topic cannot be read, and asking again will not help; `detail` are the broker's own words."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(f"{kind.value}: {detail}")
        self.kind = kind
        self.detail = detail


class Reader(Protocol):
    """Reads the committed records of one topic in order. Used by one thread.

    A reader with a group begins at the group's place, which it shares with every later reader of the group; the first
    reader of a group, and a reader without one, begin at the first record. Of several readers of a group at a time, one
    reads and the others stand by.
    """

    def poll(self, timeout_s: float) -> BusRecord | None:
        """The next record, waiting for it up to `timeout_s`; None when there was none.

        A passing disturbance (a broker that cannot be reached) is no failure: it is named in `trouble`, and what comes
        after it is returned when it is over.

        Raises:
            ReadFailed: DENIED (topic, group, password), NO_TOPIC or OTHER.
        """
        ...

    @property
    def generation(self) -> int:
        """Rises whenever the topic is given to this reader anew: what others read of it meanwhile did not come here."""
        ...

    @property
    def position(self) -> int | None:
        """Where reading goes on: past all that was returned. None until a `poll` has begun to read.

        At the end of the topic it is what `end` says, though the last record may lie further back (Kafka's transaction
        markers take offsets, too).
        """
        ...

    def end(self, timeout_s: float) -> int:
        """The offset after everything that is in the topic now.

        Raises:
            ReadFailed: as `poll`, and UNREACHABLE when nobody answered in time.
        """
        ...

    def store(self, next_offset: int) -> None:
        """Let `next_offset` become the group's place, within a second or at `close`."""
        ...

    def commit(self, next_offset: int) -> bool:
        """Make `next_offset` the group's place now. False when the bus did not take it: what came since comes again."""
        ...

    def close(self) -> None:
        """Commit what was stored, leave the group and let go of the connection."""
        ...

    @property
    def trouble(self) -> str | None:
        """What is wrong with the connection now; None when the topic can be read."""
        ...
