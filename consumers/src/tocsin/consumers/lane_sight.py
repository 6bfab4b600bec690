"""A lane tells each member which of its alert topics that member may be given. Pure.

A member's login may not read ACLs. So it is told in its inbox, under a key of its own, whenever that changes. What
it was told is in the ledger, with the inbox that it was told in: a take-over tells nobody again, and an inbox that was
made anew is told anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

from tocsin.consumers.lane_records import sight_told
from tocsin.consumers.lane_transaction import Context, Transaction
from tocsin.schemas.names import AlertTopic, AlertType, Tlp

TOLD_MAX: Final = 50
"""In one transaction: each inbox is a partition to write to, and alerts wait meanwhile."""


def tell_sight(tx: Transaction, context: Context, lane: str, told: Mapping[str, str], copies_max: int) -> None:
    """Tell whoever has been `told` something else, unless its inbox refuses: it is told once that takes copies again.

    Like a test of the line it is never owed.
    """
    seen = sight_of(context, lane)
    for member, topic_id in context.inboxes.items():
        topics = seen.get(member, [])
        word = f"{topic_id}/{hashlib.sha256(' '.join(topics).encode()).hexdigest()}"
        before = told.get(member)
        if member not in context.directory.members or member in tx.mark.behind or before == word:
            continue
        if not topics and (before is None or not before.startswith(f"{topic_id}/")):
            continue  # it was never told of any: there is nothing to take back
        if len(tx.copies) >= copies_max or len(tx.sights) >= TOLD_MAX:
            return
        tx.copies.append(sight_told(lane, context, member, topics))
        tx.sights[member] = word


def sight_of(context: Context, lane: str) -> dict[str, list[str]]:
    """Which alert topics of `lane` each member may be given, in order; members that may be given none are left out."""
    found: dict[str, list[str]] = {}
    for topic in _topics(lane):
        for member in context.sight.readers(topic, context.directory):
            found.setdefault(member, []).append(topic)
    return found


def _topics(lane: str) -> Iterator[str]:
    return (AlertTopic(lane, kind, tlp).name for kind in _KINDS for tlp in Tlp)


_KINDS: Final = sorted(AlertType)
