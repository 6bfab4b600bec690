"""The sealed logs of an exchange: one for each topic of its record, all signed by the sealer's key. Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from tocsin.consumers.audit.facts import sealed_offset
from tocsin.consumers.audit.note import Verifier
from tocsin.consumers.audit.tiles import TILE_WIDTH, Fetch, read_bundle
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.directory import Directory
from tocsin.schemas.names import ACCESS_AUDIT_TOPIC, POLICY_AUDIT_TOPIC, audit_topic, is_valid, jurisdiction

SEALER: Final = "sealer"
"""Whose the key is in the directory, and the service's login."""
_LANES: Final = audit_topic("")


def is_lane_record(topic: str) -> bool:
    """Whether a topic has the decisions of a jurisdiction."""
    lane = topic.removeprefix(_LANES)
    return lane != topic and is_valid(jurisdiction, lane)


def is_sealed(topic: str) -> bool:
    """Whether a topic is sealed: decisions, policy changes, and the brokers' log of who touched topics."""
    return topic in (POLICY_AUDIT_TOPIC, ACCESS_AUDIT_TOPIC) or is_lane_record(topic)


def origin_of(coalition: str, topic: str) -> str:
    """The origin of the log that seals a topic, which is the name of its key too."""
    return f"{coalition}.tocsin/{topic}"


def index_of(offset: int, size: int, fetch: Fetch) -> int | None:
    """Which entry of a log of `size` is the seal of the record at `offset`; None when none is. Reads O(log n) files.

    Raises:
        LogInvalid, NoteInvalid: the log's files are not those of such a log.
    """

    def sealed(index: int) -> int:
        return sealed_offset(read_bundle(index // TILE_WIDTH, size, fetch)[index % TILE_WIDTH])

    found = bisect_left(range(size), offset, key=sealed)
    return found if found < size and sealed(found) == offset else None


def log_keys(directory: Directory, topic: str) -> list[Verifier]:
    """The keys that may sign the heads of a topic's log, by the directory; the newest first.

    Raises:
        NoteInvalid: the directory has no key of a sealer.
    """
    keys = sorted(
        (key for key in directory.keys.values() if key.member == SEALER and not key.revoked),
        key=lambda key: key.valid_from,
        reverse=True,
    )
    if not keys:
        raise NoteInvalid("the directory has no key of the sealer; run `tocsin policy apply`, which makes it known")
    return [Verifier(origin_of(directory.coalition, topic), key.public) for key in keys]
