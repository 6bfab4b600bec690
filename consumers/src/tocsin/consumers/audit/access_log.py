"""What stands in the topic `audit.access`: parts of brokers' logs, each once, whoever was killed. Pure.

A shipper that begins appends a claim of each log, then reads the topic up to it, and goes on where the log was left.
What it ships names its claim. A record of an earlier claim that comes after a later one was on its way when its shipper
was killed: the later shipper has not seen it and ships that part itself, so it does not count. Kafka's order of the
records decides, and no clock.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, cast

from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import content_of, encode
from tocsin.schemas.records import Access, AccessLog, UnreadLine

NO_CLAIM: Final = -1
_ACCESS: Final = schema("access")
# of a full fold: larger than what strangers may write
_BYTES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where a log goes on: the byte of the file, and the time until which all is on record."""

    file: str
    offset: int
    log_to: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a log; see the fields of `AccessLog`. `lines` is how many lines it folds."""

    kind: Literal["READ", "LOST"]
    file: str
    begin: int
    end: int
    log_from: int
    log_to: int
    lines: int = 0
    accesses: list[Access] = field(default_factory=list[Access])
    unread: list[UnreadLine] = field(default_factory=list[UnreadLine])


@dataclass(slots=True)
class _Source:
    claim: int = NO_CLAIM
    run: str = ""
    position: Position | None = None
    ends: dict[str, int] = field(default_factory=dict[str, int])


class AccessTopic:
    """Takes in the topic's records in their order, and knows how far each log is on record."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self.passed_over = 0
        """Records that are none of a shipper's."""

    def take(self, record: BusRecord) -> AccessLog | None:
        """The part that a record holds; None where it is no part, or one that does not count."""
        part = _part(record.value)
        if part is None:
            self.passed_over += 1
            return None
        source = self._sources.setdefault(part["source"], _Source())
        if part["kind"] == "BEGUN":
            source.claim, source.run = record.offset, part["run"]
            return None
        if part["claim"] < source.claim:
            return None
        source.claim = part["claim"]
        if part["kind"] == "READ" and part["end"] <= source.ends.get(part["file"], 0) and part["begin"] < part["end"]:
            # the client library sent it twice
            return None
        source.ends[part["file"]] = part["end"]
        source.position = Position(part["file"], part["end"], part["log_to"])
        return part

    def position(self, source: str) -> Position | None:
        """Where a log goes on; None of one of which nothing is on record."""
        return self._sources[source].position if source in self._sources else None

    def claim(self, source: str, run: str) -> int | None:
        """The offset of the claim that this run of a shipper made; None where it has none, or a later one counts."""
        found = self._sources.get(source)
        return found.claim if found is not None and found.run == run else None


def _part(value: bytes | None) -> AccessLog | None:
    return cast("AccessLog | None", content_of(value, _ACCESS, bytes_max=_BYTES_MAX))


def claim_of(source: str, run: str, now_ms: int) -> bytes:
    """The value of a claim."""
    at: dict[str, Any] = {"file": "", "begin": 0, "end": 0, "log_from": now_ms, "log_to": now_ms}
    what = {"source": source, "kind": "BEGUN", "run": run, "claim": NO_CLAIM}
    return encode(_ACCESS, {**what, **at, "accesses": [], "unread": []})


def value_of(source: str, run: str, claim: int, part: Part) -> bytes:
    """The value of a part of a log that is shipped under a claim."""
    return encode(_ACCESS, {"source": source, "run": run, "claim": claim, **asdict(part)})
