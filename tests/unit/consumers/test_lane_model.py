"""The lane against a model, over long random lives: records, rights, inboxes, aborts and take-overs in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.consumers.lane_world import LIFE_MS, MEMBERS, PUBLISHERS, READERS, TOPICS, LaneWorld, alert
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.holds import Hold, HoldKind, Holds
from tocsin.consumers.subscriptions import Subscription
from tocsin.schemas.errors import Reason, Rejection

LINEAGES = st.sampled_from(["one", "two", "three"])
PLACES = st.tuples(st.sampled_from(MEMBERS), st.sampled_from(TOPICS))
STATUSES = st.sampled_from(["ACTIVE", "ACTIVE", "CORRECTED", "RETRACTED"])
WISHES = st.builds(
    Subscription,
    member=st.sampled_from(MEMBERS),
    everything=st.booleans(),
    types=st.sampled_from([frozenset[str](), frozenset({"site-taken-down"})]),
    jurisdictions=st.sampled_from([frozenset[str](), frozenset({"de"}), frozenset({"fr"})]),
    tlps=st.sampled_from([frozenset[str](), frozenset({"GREEN"})]),
    own=st.booleans(),
)
HOLDS = st.builds(
    Hold,
    member=st.just("sec"),
    hold_id=st.sampled_from(["a", "b"]),
    kind=st.sampled_from(HoldKind),
    publisher=st.one_of(st.none(), st.sampled_from(PUBLISHERS)),
    lineage_id=st.one_of(st.none(), LINEAGES),
    since=st.dictionaries(st.sampled_from(TOPICS), st.integers(0, 4), max_size=1),
    lifted=st.sampled_from([False, False, True]),
    recipient=st.one_of(st.none(), st.sampled_from(MEMBERS)),
    published_from=st.one_of(st.none(), st.integers(NOW_MS - 1, NOW_MS + 2 * LIFE_MS)),
    published_to=st.one_of(st.none(), st.integers(NOW_MS, NOW_MS + 2 * LIFE_MS)),
).filter(lambda hold: hold.fault() is None)


class LaneLife(RuleBasedStateMachine):
    """Each committed transaction is checked as it is written (`LaneWorld.append`), and the rest at the end."""

    @initialize(grants=st.sets(PLACES, min_size=6), copies_max=st.sampled_from([1, 3, 100]), wishes=st.lists(WISHES))
    def begin(self, grants: set[tuple[str, str]], copies_max: int, wishes: list[Subscription]) -> None:
        """A coalition."""
        asking = {wish.member: wish for wish in wishes}
        self.world = LaneWorld(grants, copies_max=copies_max, asking=asking)
        for number, topic in enumerate(TOPICS):
            self.world.publish(topic, alert(f"first-{number}"))

    # -- members publish ---------------------------------------------------------------------------------------------

    @rule(
        topic=st.sampled_from(TOPICS),
        lineage=LINEAGES,
        publisher=st.sampled_from(PUBLISHERS),
        revision=st.integers(1, 4),
        status=STATUSES,
        content=st.sampled_from(["x", "y"]),
        life=st.sampled_from([LIFE_MS, 100 * LIFE_MS, 100 * LIFE_MS]),
    )
    def publish(self, topic: str, lineage: str, life: int, **what: Any) -> None:
        """New, replayed, stale, conflicting: which of them it is depends on what was there."""
        self.world.publish(topic, alert(lineage, expires_at=self.world.now_ms + life, **what))

    @rule(topic=st.sampled_from(TOPICS), signer=st.sampled_from([None, *PUBLISHERS]))
    def foul(self, topic: str, signer: str | None) -> None:
        """A record that verification rejects."""
        self.world.publish(topic, Rejection(Reason.CONTENT, "header.note: a link", signer=signer))

    # -- rights, standing and wishes change --------------------------------------------------------------------------

    @rule(place=PLACES)
    def grant_or_revoke(self, place: tuple[str, str]) -> None:
        """One ACL appears or goes."""
        self.world.grants ^= {place}

    @rule()
    def look(self) -> None:
        """The ACLs are read once more."""
        self.world.look()

    @rule(member=st.sampled_from(READERS), status=st.sampled_from(["ACTIVE", "ACTIVE", "SUSPENDED"]))
    def standing(self, member: str, status: str) -> None:
        """A new directory."""
        self.world.standing(member, status)

    @precondition(lambda self: len(self.world.audit) % 3 == 0)
    @rule(wish=WISHES)
    def ask(self, wish: Subscription) -> None:
        """A member changes its mind."""
        self.world.ask(wish)

    @precondition(lambda self: len(self.world.audit) % 3 == 2)
    @rule(holds=st.lists(HOLDS, max_size=2, unique_by=lambda hold: hold.hold_id))
    def hold(self, holds: list[Hold]) -> None:
        """The secretariat puts something on hold, or lifts it, or its outbox is gone."""
        self.world.holds = Holds(holds)

    @rule(ms=st.sampled_from([1, LIFE_MS]))
    def wait(self, ms: int) -> None:
        """Time passes; some alerts expire."""
        self.world.now_ms += ms

    # -- inboxes fail ------------------------------------------------------------------------------------------------

    @rule(member=st.sampled_from(MEMBERS))
    def deny_inbox(self, member: str) -> None:
        """An inbox refuses, or takes copies again."""
        self.world.denied ^= {member}

    @rule(member=st.sampled_from(MEMBERS))
    def delete_inbox(self, member: str) -> None:
        """An inbox is gone, or is there again."""
        self.world.gone ^= {member}

    @precondition(lambda self: len(self.world.audit) % 3 == 1)
    @rule(member=st.sampled_from(READERS))
    def remake_inbox(self, member: str) -> None:
        """An inbox is deleted and made again."""
        self.world.remake(member)

    # -- the lane works ----------------------------------------------------------------------------------------------

    @rule(topics=st.permutations(TOPICS), most=st.integers(1, 5))
    def read(self, topics: list[str], most: int) -> None:
        """Fetch some records, topics in any order."""
        self.world.read(topics, most)

    @rule(decide_max=st.integers(0, 5), lineages_max=st.integers(1, 3))
    def step(self, decide_max: int, lineages_max: int) -> None:
        """One transaction."""
        self.world.step(decide_max, lineages_max)

    @rule()
    def work(self) -> None:
        """What a worker does while all is quiet."""
        self.world.read()
        self.world.step()
        self.world.step()

    @rule()
    def work_on(self) -> None:
        """The same, as the likelier of all rules."""
        self.work()

    @rule()
    def pay_refusing(self) -> None:
        """The debts of those that are behind."""
        self.world.pay_refusing()

    @rule(share=st.floats(0, 1))
    def take_over(self, share: float) -> None:
        """The process is killed between two transactions; part of the ledger has been compacted."""
        self.world.take_over(int(share * len(self.world.ledger)))

    @rule(decide_max=st.integers(0, 5))
    def killed_before_the_commit(self, decide_max: int) -> None:
        """Nothing of the transaction was written."""
        self.world.read()
        self.world.make(decide_max)
        self.world.take_over()

    @rule(decide_max=st.integers(0, 5))
    def killed_after_the_commit(self, decide_max: int) -> None:
        """All of it was written, and the process never heard of it."""
        self.world.read()
        context, tx = self.world.make(decide_max)
        if not {copy.member for copy in tx.copies} & self.world.denied:
            self.world.append(context, tx)
        self.world.take_over()

    @precondition(lambda self: not self.world.denied)
    @rule()
    def come_to_rest(self) -> None:
        """In the middle of life, too."""
        self.world.rest()
        self.world.check_rest()

    @invariant()
    def ledger_says_what_the_lane_knows(self) -> None:
        """The ledger topic says all that the lane knows."""
        self.world.check_take_over()

    def teardown(self) -> None:
        """Whatever happened: in the end everybody has what it may have, once."""
        self.world.rest()
        self.world.check_rest()


LaneLife.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    # a failure is there in seconds; add Phase.shrink, and some minutes, for its shortest form
    phases=[Phase.generate],
)
TestLaneLife = LaneLife.TestCase
