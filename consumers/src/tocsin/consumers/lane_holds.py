"""What a lane keeps, instead of erasing it, while a legal hold is on it. Pure.

Members lose it as ever: a hold is on the exchange's own copy, which no member reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from tocsin.consumers.entry import ERASED, Entry
from tocsin.consumers.holds import HoldKind, Published
from tocsin.consumers.lane_records import record_decision
from tocsin.consumers.lane_transaction import Context, Transaction


def keep(tx: Transaction, context: Context, entry: Entry) -> None:
    """Keep the revision `entry`, which is about to be replaced or ended, under each legal hold on it.

    Nothing of it may be owed any more: who is owed a copy has not been given it.
    """
    if not entry.value:
        return
    for hold in context.holds.on(HoldKind.LEGAL, _published(entry)):
        tx.held[f"{hold.name}/{entry.key}/{entry.revision}"] = replace(entry, given=())
        tx.seq += 1
        record_decision(tx, context, "HELD", entry, detail=hold.name)


def erase_lifted(tx: Transaction, context: Context, held: Mapping[str, Entry], most: int) -> None:
    """Erase up to `most` revisions that were kept under holds which a secretariat has lifted."""
    lifted = ((name, entry) for name, entry in held.items() if _hold_of(name) in context.holds.lifted)
    for name, entry in islice(lifted, most):
        tx.held[name] = None
        tx.seq += 1
        record_decision(tx, context, "LIFTED", entry, detail=_hold_of(name))


def _published(entry: Entry) -> Published:
    """The revision, and who was given this very one: who was given an earlier one may not have been."""
    given = {
        member
        for one in entry.given
        if one.revision == entry.revision
        for member, rule in zip(one.members, one.rules, strict=True)
        if rule != ERASED
    }
    return Published(entry.key, entry.topic, entry.offset, entry.appended_at, given)


def _hold_of(name: str) -> str:
    member, hold_id, _ = name.split("/", 2)
    return f"{member}/{hold_id}"
