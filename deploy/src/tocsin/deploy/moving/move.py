"""Moves an exchange to a new cluster: topics with other ids, in which all that is said of offsets stays true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import NamedTuple

from confluent_kafka import KafkaException

from tocsin.deploy.errors import MoveRefused
from tocsin.deploy.moving.carried import (
    INBOXES,
    LEDGERS,
    Carrying,
    Ids,
    LedgerCarried,
    Way,
    place_of,
    put_of,
)
from tocsin.deploy.moving.clusters import New, Old
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord

Said = Callable[[str], None]
"""Is told what is being done."""


class MovedTopic(NamedTuple):
    """A topic of the new cluster: how it was carried, from where to where it reaches, and what this run has written."""

    topic: str
    way: str
    first: int
    end: int
    written: int


def move(old: Bundle, new: Bundle, said: Said) -> list[MovedTopic]:
    """Close the exchange of `old` to all who write, and carry it to `new`, where no policy was applied yet.

    Both bundles are the administrators'. Where it was interrupted, it is run again.

    Raises:
        MoveRefused: not there, or not yet.
        TopicsUnreadable, PolicyNotApplied: a cluster does not answer; it is run again.
    """
    try:
        with closing(Old(old)) as source, closing(New(new)) as target:
            return carry(source, target, said)
    except KafkaException as failure:
        raise MoveRefused(f"a cluster refused, or did not answer: {failure.args[0]}; try again") from failure


def carry(source: Old, target: New, said: Said) -> list[MovedTopic]:
    """The same between clusters that are connected already. Raises as `move`, and KafkaException."""
    return _Move(source, target, said).run()


class _Move:
    def __init__(self, source: Old, target: New, said: Said) -> None:
        self._source = source
        self._target = target
        self._said = said
        self._ways = source.ways()
        self._written: Counter[str] = Counter()
        self._carryings: dict[str, Carrying] = {}
        self._ledgers: dict[str, LedgerCarried] = {}

    def run(self) -> list[MovedTopic]:
        if self._source.cluster_id() == self._target.cluster_id():
            raise MoveRefused("both are the same cluster")
        if not self._ways:
            raise MoveRefused("the old cluster has no topic of an exchange")
        self._refuse_strange()
        self._source.check_no_fanout()
        self._said("closing the old cluster")
        self._source.close_to_writers()
        self._source.check_still(self._ways)
        firsts, ends = self._source.bounds(self._ways)
        self._target.make(self._source.settings(self._ways), self._ways)
        self._prepare()
        self._said("carrying its records")
        self._source.read(
            {topic: firsts[topic] for topic, way in self._ways.items() if way is not Way.BEGUN}, self._take
        )
        begins = self._finish(firsts, ends)
        self._source.check_still(self._ways)
        if self._source.bounds(self._ways)[1] != ends:
            raise MoveRefused("somebody wrote to the old cluster meanwhile; try again")
        self._target.begin_at(begins)
        self._stand()
        return self._moved()

    def _refuse_strange(self) -> None:
        strange = sorted(self._target.ways().keys() - self._ways.keys())
        if strange:
            raise MoveRefused(f"the new cluster has {strange[0]}, and the old one has not: it is in use already")

    def _prepare(self) -> None:
        self._said("reading the new cluster")
        there = self._target.there(self._ways)
        self._carryings = {topic: Carrying(topic, way, there[topic]) for topic, way in self._ways.items()}
        ids = Ids(self._source.ids(self._ways), self._target.ids(self._ways))
        self._ledgers = {topic: LedgerCarried(ids) for topic in self._ways if topic.startswith(LEDGERS)}

    def _take(self, record: BusRecord) -> None:
        topic, ledger = record.topic, self._ledgers.get(record.topic)
        put = put_of(record) if ledger is None else ledger.take(record)
        if put is not None:
            self._written[topic] += self._target.write(topic, self._carryings[topic].take(record.offset, put))

    def _finish(self, firsts: Mapping[str, int], ends: Mapping[str, int]) -> dict[str, int]:
        """Fill up what is not packed. Returns the offset at which each of those that are deleted by age is to begin."""
        for ledger in self._ledgers.values():
            ledger.finish()
        begins: dict[str, int] = {}
        for topic, way in self._ways.items():
            carrying, end = self._carryings[topic], ends[topic]
            if way is Way.BEGUN:
                self._said(f"looking for the end of {topic}")
                end = begins[topic] = self._source.after_last(topic, firsts[topic], end)
            elif way is Way.WHOLE and not topic.startswith("outbox."):
                begins[topic] = firsts[topic]
            if way is not Way.PACKED:
                self._written[topic] += self._target.write(topic, carrying.fill(end))
            carrying.finish()
        self._target.flush()
        return begins

    def _stand(self) -> None:
        """Let members' readers stand in their new inboxes where they stood in the old ones."""
        inboxes = {topic for topic in self._ways if topic.startswith(INBOXES)}
        self._target.stand(
            {
                group: {
                    topic: place_of(self._carryings[topic].places, offset)
                    for topic, offset in stands.items()
                    if topic in inboxes
                }
                for group, stands in self._source.inbox_places().items()
            }
        )

    def _moved(self) -> list[MovedTopic]:
        firsts, ends = self._target.bounds(self._ways)
        return [
            MovedTopic(topic, way.value, firsts[topic], ends[topic], self._written[topic])
            for topic, way in sorted(self._ways.items())
        ]
