"""Reads what the exchange last told a member of its own sight. It keeps no place in the inbox."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from tocsin.consumers.copies import CopyVerifier
from tocsin.consumers.directory_reader import DirectoryReader, wall_clock_ms
from tocsin.consumers.errors import InboxError
from tocsin.consumers.kafka import KafkaReader
from tocsin.consumers.lane_records import SIGHT_PREFIX
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord, Reader, ReadFailed
from tocsin.schemas.directory import VersionFloor
from tocsin.schemas.errors import Rejection
from tocsin.schemas.names import DIRECTORY_TOPIC, inbox_topic
from tocsin.schemas.records import Sight

_STILL_MAX_S: Final = 10.0
_POLL_S: Final = 0.2


def read_sight(
    bundle: Bundle, *, reader: Reader | None = None, directory: Reader | None = None, state: Path | None = None
) -> dict[str, Sight]:
    """Jurisdiction -> which of its alert topics `bundle`'s member may be given, signed by the exchange.

    A jurisdiction that is missing has never told it of any. `reader` and `directory` read the inbox and the topic
    `directory`, from Kafka by default.

    Raises:
        InboxError: the inbox cannot be read, or what stands there of its sight does not verify.
        DirectoryUnreadable: the directory cannot be read.
    """
    reader = reader or KafkaReader(bundle.kafka_config(), inbox_topic(bundle.member), None)
    directory = directory or KafkaReader(bundle.kafka_config(), DIRECTORY_TOPIC, None)
    floor = VersionFloor(state or bundle.path / "directory-version")
    members = DirectoryReader(directory, bundle.coalition, bundle.roots, floor, wall_clock_ms)
    try:
        told = _last_of_each(reader, bundle.member)
        members.read_to_end()
    finally:
        reader.close()
        members.close()
    if members.directory is None or not members.in_force():
        raise InboxError("no directory is in force; ask the secretariat")
    verifier = CopyVerifier(bundle.coalition, bundle.member, members.directory)
    return dict(sorted((one["jurisdiction"], one) for one in (_checked(verifier, record) for record in told)))


def _last_of_each(reader: Reader, member: str) -> list[BusRecord]:
    """The newest record under each key of this kind, up to the end of the inbox."""
    found: dict[bytes, BusRecord] = {}
    moved_at = time.monotonic()
    try:
        end = reader.end(_STILL_MAX_S)
        while (reader.position or 0) < end:
            record = reader.poll(_POLL_S)
            if record is not None:
                moved_at = time.monotonic()
                if (record.key or b"").startswith(SIGHT_PREFIX.encode()):
                    found[record.key or b""] = record
            elif time.monotonic() - moved_at > _STILL_MAX_S:
                raise InboxError(f"{inbox_topic(member)}: nothing came for {_STILL_MAX_S:.0f} s; is the broker up?")
    except ReadFailed as failure:
        raise InboxError(f"{inbox_topic(member)}: {failure.detail}; ask the secretariat") from failure
    return [record for record in found.values() if record.value is not None]


def _checked(verifier: CopyVerifier, record: BusRecord) -> Sight:
    try:
        received = verifier.check(record)
    except Rejection as refusal:
        raise InboxError(f"{record.topic}/{record.offset}: {refusal}; tell the secretariat") from refusal
    if received.sight is None:
        raise InboxError(f"{record.topic}/{record.offset}: says nothing of sight under its key; tell the secretariat")
    return received.sight
