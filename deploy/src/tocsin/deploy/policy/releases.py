"""How many live alerts those who gain sight would be given: read off the ledgers before it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from tocsin.consumers.ledger import Ledger
from tocsin.consumers.withdrawals_reader import lanes, read_ledgers
from tocsin.deploy.policy.journal import Step
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import AlertTopic


class LiveAlerts:
    """The live alerts of one lane by topic. `apply` takes the records of its ledger in; no more is kept of them."""

    def __init__(self, now: datetime) -> None:
        self._now_ms = round(now.timestamp() * 1_000)
        self._ledger = Ledger()
        self._topics: dict[str, str] = {}

    def apply(self, record: BusRecord) -> None:
        """Take one record of the ledger in."""
        key = record.key or b""
        self._ledger.apply(key, record.value)
        name = key.decode()
        head = self._ledger.entries.head(name)
        if head is None:
            self._topics.pop(name, None)
            return
        if head.live(self._now_ms):
            self._topics[name] = head.topic
        else:
            self._topics.pop(name, None)
        del self._ledger.entries[name]

    def counts(self) -> Counter[str]:
        """How many there are of each topic."""
        return Counter(self._topics.values())


def count_releases(admin_bundle: Bundle, gains: Iterable[Step], now: datetime) -> dict[str, int]:
    """Member -> how many live alerts are of topics that it gains sight of, at most: some may be its own.

    Raises:
        TopicsUnreadable: a ledger cannot be read now.
    """
    pairs = [step.name.split(" ") for step in gains if step.what == "SIGHT"]
    places = {AlertTopic.parse(topic).jurisdiction for _, topic in pairs}.intersection(lanes(admin_bundle))
    live = {place: LiveAlerts(now) for place in places}
    read_ledgers(admin_bundle, {place: one.apply for place, one in live.items()})
    of_topic = sum((one.counts() for one in live.values()), Counter[str]())
    found: Counter[str] = Counter()
    for member, topic in pairs:
        found[member] += of_topic[topic]
    return dict(sorted((member, count) for member, count in found.items() if count))
