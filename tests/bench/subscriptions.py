"""What the decision on one alert costs among ten and among ten thousand subscriptions of which the same ones match.

`python -m tests.bench.subscriptions`; pure, no Kafka.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console

from tests.unit.consumers.lane_world import MERCHANT, alert, rule_of
from tests.unit.schemas.samples import NOW_MS, TOKEN, sample
from tocsin.consumers.acl import AclSet
from tocsin.consumers.holds import Holds
from tocsin.consumers.lane import Lane
from tocsin.consumers.lane_transaction import Context, Source
from tocsin.consumers.ledger import Ledger
from tocsin.consumers.sight import Sight, Snapshot
from tocsin.consumers.subscriptions import Subscription, Subscriptions
from tocsin.schemas.directory import Directory, DirectoryMember

FEW, MANY = 10, 10_000
ALERTS: Final = 1_000
ROUNDS: Final = 5
MEMBERS: Final = 200
# of the sample alert
MATCHING: Final[tuple[dict[str, frozenset[Any]], ...]] = (
    {"tokens": frozenset({TOKEN})},
    {"countries": frozenset({"DE"})},
    {"mccs": frozenset({"5967"}), "countries": frozenset({"DE"})},
    {"reasons": frozenset({"MATCH:13"})},
)
# narrower than what they share with the alert
BESIDE: Final[tuple[dict[str, frozenset[Any]], ...]] = ({}, *MATCHING[1:])


def asked(count: int) -> Iterator[Subscription]:
    """`count` subscriptions of many members; ten match the sample alert, the others watch tokens of their own."""
    for number in range(count):
        parts = MATCHING[number % len(MATCHING)] if number < FEW else BESIDE[number % len(BESIDE)]
        own = {} if number < FEW else {"tokens": frozenset({f"own:{number}", f"own:{number}b"})}
        member = f"m{number % MEMBERS}"
        wanted: dict[str, Any] = {**parts, **own}
        yield Subscription(member, everything=False, subscription_id=f"s{number}", **wanted)


def cost_us(count: int) -> float:
    """Microseconds of CPU for each decision, the best of some rounds."""
    members = {f"m{n}": DirectoryMember(f"m{n}", "bank", "de", "ACTIVE") for n in range(MEMBERS)}
    acls = AclSet(rule_of(member, MERCHANT) for member in members)
    seen = Snapshot(acls, acls.digest(), 0.0, NOW_MS)
    context = Context(
        sight=Sight(seen, seen),
        directory=Directory("test", 1, NOW_MS, NOW_MS + 10**9, members, {}),
        subscriptions=Subscriptions(asked(count)),
        disputes=(),
        holds=Holds(),
        inboxes={},
        gains_max=lambda _member: 0,
        now_ms=NOW_MS,
        worker="w",
        notary=lambda _subject, _notice: (b"", ()),
        secret=b"",
        head=None,
    )
    return min(_round(context) for _ in range(ROUNDS + 1)) / ALERTS * 1e6


def _round(context: Context) -> float:
    """Seconds of CPU for all alerts; each is looked into anew."""
    lane = Lane("de", Ledger())
    alerts = [alert(f"l{n}")._replace(record=sample("merchant-terminated")) for n in range(ALERTS)]
    tx = lane.begin(context)
    # worked out once per change, not per alert
    lane.audience(MERCHANT, context).for_alert("acquirer-de", alerts[0].record)
    began = time.process_time()
    for offset, one in enumerate(alerts):
        lane.decide(tx, context, Source(MERCHANT, "id", 0, offset, NOW_MS), one, one.sha256)
    spent = time.process_time() - began
    given = [len(entry.given[0].members) for entry in tx.entries.values() if entry is not None]
    assert given == [FEW] * ALERTS, "another number matches"
    return spent


def main() -> None:
    """Show it."""
    few, many = cost_us(FEW), cost_us(MANY)
    Console().print(f"{few:.1f} us an alert among {FEW} subscriptions, {many:.1f} among {MANY}: {many / few:.2f} times")


if __name__ == "__main__":
    main()
