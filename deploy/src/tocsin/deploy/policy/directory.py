"""The directory document: who the members are and which keys are theirs, signed by the root keys, in the topic.

Its predecessor is carried over (versions, older keys), so it is believed only when the root keys have signed it: who
can write to the topic must not get a key of theirs signed by us.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tocsin.deploy.errors import PolicyNotApplied
from tocsin.deploy.policy.acls import WAIT_S
from tocsin.deploy.policy.document import Policy
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.directory import (
    EXCHANGE,
    Directory,
    DirectoryKey,
    DirectoryMember,
    Roots,
    open_directory,
    sign_directory,
)
from tocsin.schemas.errors import DirectoryInvalid
from tocsin.schemas.names import DIRECTORY_TOPIC
from tocsin.schemas.signing import SIGNATURE_HEADER, Headers, SigningKey

DAY_MS: Final = 86_400_000
KEY_LIFE_MS: Final = 366 * DAY_MS
DIRECTORY_LIFE_MS: Final = 90 * DAY_MS
# members' clocks may be behind ours
CLOCK_SLACK_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Published:
    """A record of the topic."""

    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class Current:
    """The directory in force, and how many root keys have signed it."""

    directory: Directory
    signatures: int


def newest(records: Iterable[Published], policy: Policy, roots: Sequence[SigningKey]) -> Current | None:
    """The highest version among `records` that `roots` have signed, expired or not; None when there are no records.

    Raises:
        PolicyNotApplied: there are records, and none is signed by enough of these root keys.
    """
    pinned = Roots(tuple(root.public.hex() for root in roots), policy.roots_threshold)
    found: list[Current] = []
    refused = ""
    for record in records:
        try:
            # expiry is not asked about: an expired directory still has the versions and keys to go on from
            opened = open_directory(record.value, record.headers, pinned, coalition=policy.coalition, now_ms=0)
            found.append(Current(opened, sum(name == SIGNATURE_HEADER for name, _ in record.headers)))
        except DirectoryInvalid as error:
            refused = str(error)
    if refused and not found:
        raise PolicyNotApplied(
            f"{refused}; put the root keys that signed it into roots/, or, to add a root key, raise `roots` in one"
            " application and `roots_threshold` in the next"
        )
    return max(found, key=lambda one: one.directory.version, default=None)


def successor(policy: Policy, keys: Mapping[str, SigningKey], current: Current | None, now_ms: int) -> Directory | None:
    """The next document for `keys` (owner -> key).

    None while the current one says the same, is signed by as many root keys as the policy has, and is not half expired.
    """
    before = current.directory if current else None
    document = Directory(
        coalition=policy.coalition,
        version=before.version + 1 if before else 1,
        issued_at=now_ms,
        expires_at=now_ms + DIRECTORY_LIFE_MS,
        members=_members(policy, before),
        keys=_keys(keys, before, now_ms),
    )
    if current is None or current.directory.expires_at - now_ms < DIRECTORY_LIFE_MS // 2:
        return document
    same = current.directory.members == document.members and current.directory.keys == document.keys
    return None if same and current.signatures >= policy.roots else document


def _members(policy: Policy, before: Directory | None) -> dict[str, DirectoryMember]:
    """The policy's members, and those that it no longer names: withdrawn, since ids are never used again."""
    gone = {name: replace(one, status="WITHDRAWN") for name, one in (before.members if before else {}).items()}
    named = {
        name: DirectoryMember(name, one.role, one.jurisdiction, one.status.upper())
        for name, one in policy.members.items()
    }
    return {**gone, **named, EXCHANGE: DirectoryMember(EXCHANGE, "exchange", "eu", "ACTIVE")}


def _keys(keys: Mapping[str, SigningKey], before: Directory | None, now_ms: int) -> dict[str, DirectoryKey]:
    known = dict(before.keys) if before else {}
    for owner, key in keys.items():
        if key.key_id not in known:
            known[key.key_id] = DirectoryKey(
                key.key_id, owner, key.public, now_ms - CLOCK_SLACK_MS, now_ms + KEY_LIFE_MS
            )
    return known


# -- the topic -------------------------------------------------------------------------------------------------------


def read_published(admin_bundle: Bundle) -> list[Published]:
    """All records of the topic, oldest first; none while it has just been made.

    Raises:
        PolicyNotApplied: not read to its end in time.
    """
    consumer = Consumer(
        {
            **admin_bundle.kafka_config(),
            "group.id": "admin.directory",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        consumer.assign([TopicPartition(DIRECTORY_TOPIC, 0, 0)])
        return _to_end(consumer)
    finally:
        consumer.close()


def _to_end(consumer: Consumer) -> list[Published]:
    found: list[Published] = []
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        error = message.error() if message else None
        if message is None or (error and error.code() in _NO_LEADER_YET):
            continue
        if error and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name
            return found
        if error:
            raise KafkaException(error)
        pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
        headers = [(name, content) for name, content in pairs if content is not None]
        found.append(Published(message.value() or b"", headers))
    raise PolicyNotApplied(f"{DIRECTORY_TOPIC} could not be read to its end in {WAIT_S:.0f} s; run the command again")


def publish(admin_bundle: Bundle, document: Directory, roots: Sequence[SigningKey]) -> None:
    """Sign `document` and append it to the topic.

    Raises:
        PolicyNotApplied: not acknowledged.
    """
    value, headers = sign_directory(document, roots)
    producer = Producer({**admin_bundle.kafka_config(), "enable.idempotence": True})
    failures: list[KafkaError] = []
    producer.produce(
        DIRECTORY_TOPIC,
        value,
        DIRECTORY_TOPIC.encode(),
        headers=cast("Any", headers),
        on_delivery=lambda error, _: failures.append(error) if error else None,
    )
    if producer.flush(WAIT_S) or failures:
        raise PolicyNotApplied(f"the directory was not published: {failures or 'no answer in time'}; run it again")


_NO_LEADER_YET: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  # librdkafka's name
)
