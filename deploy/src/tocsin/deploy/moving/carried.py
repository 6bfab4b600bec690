"""What is carried to a new cluster, and at which place it lies there. Pure.

Offsets are named in many places: where a lane goes on, up to where a revoked key counts, since where a hold is, where a
copy comes from, what is sealed. So no offset changes its meaning: topics in which offsets are named go on with the
numbers of the old ones. Where the old topic has no record, a filler lies in the new one.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from tocsin.consumers.audit.logs import is_lane_record
from tocsin.consumers.ledger import (
    INBOX_PREFIX,
    POSITION_PREFIX,
    SIGHT_PREFIX,
    decode_inbox,
    decode_position,
    encode_inbox,
    encode_position,
)
from tocsin.deploy.errors import MoveRefused
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import (
    ACCESS_AUDIT_TOPIC,
    ACL_AUDIT_TOPIC,
    CHECKPOINTS_TOPIC,
    DIRECTORY_TOPIC,
    POLICY_AUDIT_TOPIC,
    inbox_topic,
    ledger_topic,
    outbox_topic,
)

LEDGERS: Final = ledger_topic("")
INBOXES: Final = inbox_topic("")
_OUTBOXES: Final = outbox_topic("")
_NUMBERED: Final = (POLICY_AUDIT_TOPIC, ACL_AUDIT_TOPIC, ACCESS_AUDIT_TOPIC, CHECKPOINTS_TOPIC)


class Way(StrEnum):
    """How a topic is carried.

    WHOLE: every record at its offset, with its time. BEGUN: no record, but the next one has the number after the last.
    PACKED: every record, one after another; nothing names its offset.
    """

    WHOLE = "whole"
    BEGUN = "begun"
    PACKED = "packed"


def way_of(topic: str) -> Way | None:
    """How `topic` is carried; None when it is none of the exchange's."""
    if is_lane_record(topic):
        return Way.BEGUN
    if topic in _NUMBERED or topic.startswith(("alerts.", _OUTBOXES)):
        return Way.WHOLE
    return Way.PACKED if topic == DIRECTORY_TOPIC or topic.startswith((LEDGERS, INBOXES)) else None


class Put(NamedTuple):
    """A record to be written. `at_ms` is its time where the topic takes the writer's."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    at_ms: int

    def digest(self, way: Way) -> bytes:
        """Tells it from others; where it lies with its time, by that too."""
        said = (self.key, self.value, self.headers, self.at_ms if way is Way.WHOLE else 0)
        return hashlib.sha256(repr(said).encode()).digest()


# older than any retention, so that a segment of fillers keeps no alert longer; no reader knows a record of this key
FILLER: Final = Put(b"moved", None, (), 1)


def put_of(record: BusRecord) -> Put:
    """`record`, to be written as it is."""
    return Put(record.key, record.value, record.headers, record.appended_ms)


@dataclass(slots=True)
class There:
    """What a new topic holds from the offset `first` to `end`: digests by offset, of all but fillers."""

    first: int = 0
    end: int = 0
    digests: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def note(self, record: BusRecord, way: Way) -> None:
        """Take in a record of it."""
        if (record.key, record.value) != (FILLER.key, FILLER.value):
            self.digests[record.offset] = put_of(record).digest(way)


class Carrying:
    """One topic on its way: what an earlier run has written is compared, the rest is to be written.

    Of a packed topic `places` has the old offsets, in order.
    """

    def __init__(self, topic: str, way: Way, there: There) -> None:
        self.places: list[int] = []
        self._topic = topic
        self._way = way
        self._there = there
        self._next = 0

    def take(self, offset: int, put: Put) -> Iterator[Put]:
        """What is to be written once `put` is to follow, which lies at `offset` in the old topic.

        Raises:
            MoveRefused: something else lies there.
        """
        if self._way is Way.PACKED:
            self.places.append(offset)
        place = self._next if self._way is Way.PACKED else offset
        yield from self.fill(place)
        if place >= self._there.end:
            yield put
        elif place >= self._there.first and self._there.digests.get(place) != put.digest(self._way):
            raise self._different(place)
        self._next = place + 1

    def fill(self, end: int) -> Iterator[Put]:
        """The fillers that are to be written before `end`.

        Raises:
            MoveRefused: something else lies there.
        """
        there = self._there
        for place in range(max(self._next, there.first), min(end, there.end)):
            if place in there.digests:
                raise self._different(place)
        for _ in range(max(self._next, there.end), end):
            yield FILLER
        self._next = max(self._next, end)

    def finish(self) -> None:
        """Make sure that nothing follows. Raises MoveRefused."""
        if self._there.end > self._next:
            raise self._different(self._next)

    def _different(self, place: int) -> MoveRefused:
        return MoveRefused(
            f"the new cluster's {self._topic} holds at offset {place} what the old one's does not: it is in use, or one"
            " was compacted since an earlier move was interrupted; make the new cluster anew, and move to that"
        )


def place_of(places: Sequence[int], offset: int) -> int:
    """Where a reader that stood at `offset` of the old topic stands in the packed one, of which these are `places`."""
    return bisect_left(places, offset)


# -- ledgers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of the topics on both clusters, by name."""

    old: Mapping[str, str]
    new: Mapping[str, str]


class LedgerCarried:
    """A lane's ledger with the new ids of alert topics and inboxes; all else in it stays as it is."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._positions: dict[str, str] = {}

    def take(self, record: BusRecord) -> Put | None:
        """What a record of the old ledger is in the new one; None if it is of a topic that there is no more."""
        put, name = put_of(record), (record.key or b"").decode()
        if name.startswith(POSITION_PREFIX):
            return self._position(put, name)
        if put.value is None:
            return put
        if name.startswith(INBOX_PREFIX):
            inbox, topic = decode_inbox(put.value), inbox_topic(name.removeprefix(INBOX_PREFIX))
            return put._replace(value=encode_inbox(replace(inbox, topic_id=self._new_id(topic, inbox.topic_id))))
        if name.startswith(SIGHT_PREFIX):
            topic_id, _, told = put.value.decode().rpartition("/")
            topic_id = self._new_id(inbox_topic(name.removeprefix(SIGHT_PREFIX)), topic_id)
            return put._replace(value=f"{topic_id}/{told}".encode())
        return put

    def _position(self, put: Put, name: str) -> Put | None:
        # an id is Base64, in which a slash is a letter
        topic_id, _, topic = name.removeprefix(POSITION_PREFIX).rpartition("/")
        if put.value is not None:
            self._positions[topic] = topic_id
        if self._ids.old.get(topic) != topic_id:
            return None
        new = self._ids.new[topic]
        value = None if put.value is None else encode_position(replace(decode_position(put.value), topic_id=new))
        return put._replace(key=f"{POSITION_PREFIX}{new}/{topic}".encode(), value=value)

    def _new_id(self, topic: str, topic_id: str) -> str:
        """The id that stands for `topic_id`: an older one of that name stands for nothing there either."""
        return self._ids.new[topic] if self._ids.old.get(topic) == topic_id else topic_id

    def finish(self) -> None:
        """Make sure that the lane goes on on the old cluster, too.

        Raises:
            MoveRefused: its last position is in an alert topic that was deleted and made again.
        """
        for topic, topic_id in self._positions.items():
            if self._ids.old.get(topic, topic_id) != topic_id:
                raise MoveRefused(
                    f"{topic} of the old cluster was deleted and made again, which stops its lane; the log of the"
                    " fan-out says what to do there first"
                )
