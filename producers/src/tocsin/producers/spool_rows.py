"""The rows of a spool, as they come out of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tocsin.schemas.bus import Headers

COLUMNS: Final = (
    "row_id, alert_id, publisher, lineage_id, revision, status, test, topic, expires_at, sha256, value, headers, key_id"
)
LINEAGE_COLUMNS: Final = "publisher, lineage_id, revision, status, test, topic, alert_id, state"
RETRACTED: Final = "RETRACTED"


class State(StrEnum):
    """NEW waits, SENT is with the client library, ACKED is on the broker, DEAD cannot be delivered any more."""

    NEW = "NEW"
    SENT = "SENT"
    ACKED = "ACKED"
    DEAD = "DEAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One alert as it is sent. `row_id` is the spool's; `sha256` is the value's; `expires_at` in milliseconds."""

    alert_id: str
    publisher: str
    lineage_id: str
    revision: int
    status: str = "ACTIVE"
    test: bool = False
    topic: str
    expires_at: int
    sha256: bytes
    value: bytes
    headers: Headers
    key_id: str
    row_id: int = 0

    @property
    def size_bytes(self) -> int:
        """What it adds to the spool's content."""
        return len(self.value) + len(pack(self.headers))


@dataclass(frozen=True, slots=True)
class Known:
    """An alert that was stored before."""

    alert_id: str
    topic: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a spool remembers of a lineage when its content is gone: its highest revision, and where that stands."""

    publisher: str
    lineage_id: str
    revision: int
    status: str
    test: bool
    topic: str
    alert_id: str
    state: State

    @property
    def retracted(self) -> bool:
        """Whether the last word on it is a retraction that is on the broker, or on its way."""
        return self.status == RETRACTED and self.state is not State.DEAD


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a row that was taken."""

    row: Row
    state: State
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where an alert stands. `reason` says why it is not on the broker, where that is known."""

    alert_id: str
    topic: str
    state: State
    reason: str | None


def pack(headers: Headers) -> str:
    """Headers as text for the database."""
    return json.dumps([[name, content.hex()] for name, content in headers])


def unpack(found: tuple[Any, ...]) -> Row:
    """A row from its COLUMNS."""
    row_id, alert_id, publisher, lineage_id, revision, status, test, topic, expires_at, sha256, *rest = found
    value, headers, key_id = rest
    return Row(
        row_id=row_id,
        alert_id=alert_id,
        publisher=publisher,
        lineage_id=lineage_id,
        revision=revision,
        status=status,
        test=bool(test),
        topic=topic,
        expires_at=expires_at,
        sha256=sha256,
        value=value,
        headers=[(name, bytes.fromhex(content)) for name, content in json.loads(headers)],
        key_id=key_id,
    )


def found_lineage(found: tuple[Any, ...]) -> Lineage:
    """A lineage from its LINEAGE_COLUMNS."""
    publisher, lineage_id, revision, status, test, topic, alert_id, state = found
    return Lineage(publisher, lineage_id, revision, status, bool(test), topic, alert_id, State(state))
