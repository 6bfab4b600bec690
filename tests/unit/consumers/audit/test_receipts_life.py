"""Receipts over long random lives of a lane: nothing is found of an honest one, and what is planted is found."""

from __future__ import annotations

from typing import cast

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.unit.consumers.lane_world import LIFE_MS, MEMBERS, READERS, TOPICS, LaneWorld, alert
from tests.unit.consumers.test_lane_model import LaneLife
from tocsin.consumers.audit.given import Decisions
from tocsin.consumers.audit.receipts import Found, compare
from tocsin.consumers.lane_transaction import Copy
from tocsin.consumers.receipts import Item, Receipt, item_of
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.records import Decision

READ = st.tuples(st.sampled_from(MEMBERS), st.integers(1, 6))


class Mailbox:
    """An inbox that is compacted and made anew, and its reader, which tells of what it reads."""

    def __init__(self, member: str) -> None:
        self.member = member
        self.receipts: dict[str, Receipt] = {}
        self.made = 0
        self._begin = 0
        self._gone: set[int] = set()

    def anew(self) -> None:
        """What lay in it is gone."""
        self.made += 1
        self._begin = 0
        self._gone.clear()

    def compact(self, copies: list[Copy]) -> None:
        """Only the newest record under each key is left."""
        last = {copy.key: offset for offset, copy in enumerate(copies)}
        self._gone |= {offset for offset, copy in enumerate(copies) if last[copy.key] != offset}

    def read(self, copies: list[Copy], most: int, now_ms: int, *, loses: bool = False) -> None:
        """Read on, and tell of it unless the receipt is lost: then there is a gap."""
        end = min(len(copies), self._begin + most)
        items = [
            item
            for offset in range(self._begin, end)
            if offset not in self._gone
            for item in [_item(copies[offset], offset)]
            if item is not None
        ]
        begin, self._begin = self._begin, end
        if items and not loses:
            series = f"{self.member}-{self.made}"
            made = Receipt(self.member, "g", series, begin, end - 1, tuple(items), now_ms, now_ms, now_ms, now_ms)
            self.receipts[made.name] = made


def _item(copy: Copy, offset: int) -> Item | None:
    return item_of(BusRecord(copy.topic, offset, copy.key, copy.value, tuple(copy.headers), 0))


def compared(world: LaneWorld, boxes: dict[str, Mailbox]) -> list[Found]:
    """What is found."""
    decisions = Decisions()
    for decision in world.audit:
        decisions.add(cast("Decision", decision))
    receipts = [receipt for box in boxes.values() for receipt in box.receipts.values()]
    return compare(decisions, receipts, clocks_ms=0)[0]


class ReceiptsLife(LaneLife):
    """The life of a lane, whose members read their inboxes now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes = {member: Mailbox(member) for member in map(str, MEMBERS)}
        self._matters = 0

    @rule(topic=st.sampled_from(TOPICS), one=READ, loses=st.booleans())
    def new_matter(self, topic: str, one: tuple[str, int], *, loses: bool) -> None:
        """Something that nobody revises is published, and delivered where that can be; a member reads."""
        self._matters += 1
        ends = self.world.now_ms + 100 * LIFE_MS
        self.world.publish(topic, alert(f"matter-{self._matters}", expires_at=ends))
        self.work()
        self._read(*one, loses=loses)

    @rule(member=st.sampled_from(READERS))
    def remake_and_work(self, member: str) -> None:
        """An inbox is made anew, and that is noticed."""
        self.remake_inbox(member)
        self.work()

    @rule(one=READ)
    def read_inbox(self, one: tuple[str, int]) -> None:
        """A member reads some records and tells of them."""
        self._read(*one)

    @rule()
    def read_all(self) -> None:
        """All read all."""
        for member in MEMBERS:
            self._read(member, 1_000)

    @rule(one=READ)
    def lose_receipt(self, one: tuple[str, int]) -> None:
        """A member reads, and its receipt is lost."""
        self._read(*one, loses=True)

    @rule(member=st.sampled_from(MEMBERS))
    def compact(self, member: str) -> None:
        """Kafka compacts an inbox."""
        self._sync()
        self.boxes[member].compact(self.world.inboxes[member])

    def _read(self, member: str, most: int, *, loses: bool = False) -> None:
        self._sync()
        self.boxes[member].read(self.world.inboxes[member], most, self.world.now_ms, loses=loses)
        # what is decided from now on is decided later than that
        self.world.now_ms += 1

    def _sync(self) -> None:
        for member, times in self.world.made.items():
            if self.boxes[member].made != times:
                self.boxes[member].anew()

    @invariant()
    def nothing_is_found(self) -> None:
        """Whatever happened, the exchange kept to its decisions."""
        assert compared(self.world, self.boxes) == []

    def teardown(self) -> None:
        """At the end all read all."""
        super().teardown()
        self.read_all()
        self.nothing_is_found()


TestReceiptsLife = ReceiptsLife.TestCase
TestReceiptsLife.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, derandomize=True, phases=[Phase.generate]
)
