"""Lives of a lane to fold into an index, and the decisions of them as records of a topic."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.unit.consumers.lane_world import LIFE_MS, MEMBERS, PUBLISHERS, READERS, TOPICS, LaneWorld, alert
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.disputes import Disputed
from tocsin.consumers.holds import Hold, HoldKind, Holds
from tocsin.consumers.subscriptions import Subscription
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.errors import Reason, Rejection

LINEAGES: Final = ("one", "two", "three")
AUDIT: Final = "audit.de"
IDS: Final = {AUDIT: "an id", "audit.policy": "another", "outbox.bank-fr": "a third"}


def life(seed: int, steps: int = 120) -> LaneWorld:
    """A lane that publishers, rights, wishes, time and failing inboxes have done things to; now at rest."""
    chance = random.Random(seed)
    places = [(member, topic) for member in MEMBERS for topic in TOPICS]
    asking = {"police-de": Subscription("police-de", everything=False, types=frozenset({"site-taken-down"}))}
    world = LaneWorld(chance.sample(places, 10), asking=asking)
    for _ in range(steps):
        _happen(world, chance, places)
        world.read()
        world.step(chance.randint(0, 3))
        if chance.random() < 0.3:
            world.pay_refusing()
    world.rest()
    world.check_rest()
    return world


def _happen(world: LaneWorld, chance: random.Random, places: list[tuple[str, str]]) -> None:
    what = chance.randrange(10)
    if what < 4:
        _publish(world, chance)
    elif what == 4:
        world.grants ^= {chance.choice(places)}
    elif what == 5:
        world.settle()
    elif what == 6:
        world.denied ^= {chance.choice(READERS)}
    elif what == 7:
        world.now_ms += chance.choice([1, 50, LIFE_MS])
    elif what == 8:
        _dispute_or_hold(world, chance)
    else:
        member = chance.choice(READERS)
        world.standing(member, chance.choice(["ACTIVE", "ACTIVE", "SUSPENDED"]))


def _publish(world: LaneWorld, chance: random.Random) -> None:
    topic = chance.choice(TOPICS)
    if chance.random() < 0.1:
        world.publish(
            topic, Rejection(Reason.CONTENT, "header.note: a link", signer=chance.choice([None, *PUBLISHERS]))
        )
        return
    status = chance.choice(["ACTIVE", "ACTIVE", "CORRECTED", "RETRACTED"])
    expires_at = world.now_ms + chance.choice([LIFE_MS, 100 * LIFE_MS])
    lineage = f"{chance.choice(LINEAGES)}-{chance.randrange(3)}"
    world.publish(
        topic,
        alert(
            lineage,
            chance.randint(1, 5),
            publisher=chance.choice(PUBLISHERS),
            status=status,
            content=chance.choice("xy"),
            expires_at=expires_at,
        ),
    )


def _dispute_or_hold(world: LaneWorld, chance: random.Random) -> None:
    publisher, lineage = chance.choice(PUBLISHERS), f"{chance.choice(LINEAGES)}-{chance.randrange(3)}"
    if chance.random() < 0.5:
        world.disputes = (Disputed(chance.choice(READERS), publisher, lineage, f"d{chance.random()}", "ERROR"),)
    else:
        kind = chance.choice([*HoldKind])
        world.holds = Holds([Hold("sec", "a", kind, publisher, lineage, lifted=chance.random() < 0.5)])


def records(decisions: Iterable[Mapping[str, Any]], topic: str = AUDIT) -> list[BusRecord]:
    """The decisions as they lie in the topic; every seventh offset is taken by a marker."""
    return [
        BusRecord(topic, n + n // 6, None, encode(schema("decision"), one), (), one["decided_at"])
        for n, one in enumerate(decisions)
    ]


def decision(seq: int, kind: str = "ALERT", revision: int = 1, **what: Any) -> dict[str, Any]:
    """A decision on the lineage `hotline-de/one`; `given` are members, under a rule of their name."""
    given = [{"member": member, "rule": f"rule of {member}"} for member in what.pop("given", ())]
    refused = [{"member": member, "reason": reason} for member, reason in what.pop("refused", {}).items()]
    return {
        "seq": seq,
        "kind": kind,
        "outcome": "ACCEPTED",
        "reason": None,
        "detail": None,
        "decided_at": NOW_MS + seq,
        "topic": TOPICS[0],
        "topic_id": "",
        "partition": 0,
        "offset": revision,
        "appended_at": NOW_MS + seq - 1 if kind == "ALERT" else None,
        "sha256": bytes(32),
        "key_id": "k",
        "publisher": "hotline-de",
        "lineage_id": "one",
        "alert_id": None,
        "revision": revision,
        "status": what.pop("status", "ACTIVE"),
        "given": given,
        "refused": refused,
        "erased": [],
        "acl_digest": bytes(32),
        "acl_read_at": NOW_MS + seq,
        "directory_version": 1,
        "worker": "w",
        "salt": bytes(16),
        **what,
    }
