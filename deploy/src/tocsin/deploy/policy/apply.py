"""Brings a cluster to what the policy says: topics, users, ACLs, bundles, directory. Applying twice changes nothing.

Sight that is to end, ends first. Nothing that is not ours is deleted: ours are ALLOW rows of READ from the delivery
host, or of `direct` READ that an applied policy gave.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tocsin.consumers.acl import AclRow
from tocsin.deploy.errors import PolicyNotApplied
from tocsin.deploy.policy.compile import FANOUT, Desired, compile_policy
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.secrets import SecretStore
from tocsin.schemas.bundle import PASSWORD, Bundle, BundleConfig
from tocsin.schemas.codec import decode
from tocsin.schemas.directory import (
    EXCHANGE,
    Directory,
    DirectoryKey,
    DirectoryMember,
    from_record,
    sign_directory,
    to_record,
)
from tocsin.schemas.files import read_secret
from tocsin.schemas.names import DELIVERY_HOST, DIRECTORY_TOPIC
from tocsin.schemas.signing import SigningKey

BATCH = 1_000
WAIT_S = 60.0
KEY_LIFE_MS = 366 * 86_400_000
DIRECTORY_LIFE_MS = 90 * 86_400_000


@dataclass(slots=True)
class Applied:
    """What one application did."""

    topics_created: list[str] = field(default_factory=list[str])
    users_set: list[str] = field(default_factory=list[str])
    acls_created: list[AclRow] = field(default_factory=list[AclRow])
    acls_removed: list[AclRow] = field(default_factory=list[AclRow])
    directory_version: int = 0
    directory_changed: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was different."""
        return bool(
            self.topics_created or self.users_set or self.acls_created or self.acls_removed or self.directory_changed
        )


def apply_policy(policy: Policy, admin_bundle: Bundle, home: Path) -> Applied:
    """Apply `policy` to the cluster of `admin_bundle`; secrets go under `home`.

    Raises:
        PolicyNotApplied: the cluster refused a part, or does not show it afterwards. Applying again is safe.
    """
    desired = compile_policy(policy, datetime.now(UTC).date())
    admin = AdminClient(admin_bundle.kafka_config())
    applied = Applied(warnings=desired.warnings)
    try:
        _apply_acls(admin, desired, applied, ending=True)
        _apply_topics(admin, desired, applied)
        keys = _apply_bundles(admin, policy, admin_bundle, SecretStore(home), applied)
        _apply_directory(admin_bundle, policy, keys, SecretStore(home), applied)
        _apply_acls(admin, desired, applied, ending=False)
    except KafkaException as failure:
        raise PolicyNotApplied(f"the cluster refused: {failure.args[0]}; applying again is safe") from failure
    return applied


def _apply_topics(admin: AdminClient, desired: Desired, applied: Applied) -> None:
    there = set(admin.list_topics(timeout=WAIT_S).topics)
    missing = [topic for topic in desired.topics if topic.name not in there]
    if missing:
        new = [NewTopic(topic.name, num_partitions=1, config=dict(topic.config)) for topic in missing]
        for future in admin.create_topics(new, operation_timeout=WAIT_S).values():
            future.result()
        applied.topics_created = [topic.name for topic in missing]


def _apply_bundles(
    admin: AdminClient, policy: Policy, admin_bundle: Bundle, store: SecretStore, applied: Applied
) -> dict[str, SigningKey]:
    """Bundles, keys and Kafka users of all members and of the fan-out. Returns the signing keys by owner."""
    ca_pem = (admin_bundle.path / "ca.pem").read_bytes()
    roots = tuple(root.public.hex() for root in store.roots(policy.roots))
    known = _scram_users(admin)
    keys: dict[str, SigningKey] = {}
    wanted = [(store.service(FANOUT), FANOUT, EXCHANGE, "exchange", "eu")]
    wanted += [(store.member(name), name, name, one.role, one.jurisdiction) for name, one in policy.members.items()]
    passwords: dict[str, str] = {}
    for folder, login, member, role, place in wanted:
        config = BundleConfig(
            coalition=policy.coalition,
            member=member,
            login=login,
            role=role,
            jurisdiction=place,
            bootstrap=admin_bundle.config.bootstrap,
            roots=roots,
            roots_threshold=policy.roots_threshold,
        )
        bundle, fresh = store.bundle(folder, config, ca_pem)
        keys[member] = store.signing_key(folder, member)
        if fresh or login not in known:
            passwords[login] = read_secret(bundle.path / PASSWORD).decode().strip()
    _set_users(admin, passwords)
    applied.users_set = list(passwords)
    store.give_token_keys(policy)
    return keys


def _scram_users(admin: AdminClient) -> set[str]:
    described: Any = admin.describe_user_scram_credentials()
    return set(described.result(WAIT_S))


def _set_users(admin: AdminClient, passwords: dict[str, str]) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    changes: list[Any] = [
        UserScramCredentialUpsertion(login, info, password.encode()) for login, password in passwords.items()
    ]
    if changes:
        for future in admin.alter_user_scram_credentials(changes).values():
            future.result(WAIT_S)


# -- ACLs ------------------------------------------------------------------------------------------------------------


def _apply_acls(admin: AdminClient, desired: Desired, applied: Applied, *, ending: bool) -> None:
    wanted = {grant.row for grant in desired.grants}
    live = read_acls(admin)
    if ending:
        gone = [row for row in live if row not in wanted and is_ours(row)]
        delete_acls(admin, gone)
        applied.acls_removed = gone
        return
    missing = [row for row in wanted if row not in live]
    for start in range(0, len(missing), BATCH):
        futures: dict[Any, Any] = admin.create_acls([_binding(row) for row in missing[start : start + BATCH]])
        for future in futures.values():
            future.result(WAIT_S)
    applied.acls_created = missing
    _confirm(admin, wanted)


def _confirm(admin: AdminClient, wanted: set[AclRow]) -> None:
    """Read back: an answer to the request does not prove that brokers have it."""
    deadline = time.monotonic() + WAIT_S
    while (absent := wanted - read_acls(admin)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if absent:
        raise PolicyNotApplied(f"{len(absent)} ACLs are not visible yet, e.g. {next(iter(absent)).text()}; apply again")


def is_ours(row: AclRow) -> bool:
    """Whether removing `row` is this tool's business: a grant of sight."""
    return (
        row.resource_type == "TOPIC"
        and row.permission == "ALLOW"
        and row.operation == "READ"
        and row.host == DELIVERY_HOST
        and row.pattern == "LITERAL"
        and row.name.startswith("alerts.")
    )


def read_acls(admin: AdminClient) -> set[AclRow]:
    """Every ACL row of the cluster."""
    nothing: Any = None  # no condition; the library's annotation forgets that it may be left out
    any_row = AclBindingFilter(
        ResourceType.ANY, nothing, ResourcePatternType.ANY, nothing, nothing, AclOperation.ANY, AclPermissionType.ANY
    )
    return {
        AclRow(
            "CLUSTER" if b.restype is ResourceType.BROKER else b.restype.name,
            b.name,
            b.resource_pattern_type.name,
            b.principal,
            b.host,
            b.operation.name,
            b.permission_type.name,
        )
        for b in admin.describe_acls(any_row).result(WAIT_S)
    }


def delete_acls(admin: AdminClient, rows: Sequence[AclRow]) -> None:
    """Delete exactly `rows`."""
    for start in range(0, len(rows), BATCH):
        filters = [_filter(row) for row in rows[start : start + BATCH]]
        futures: dict[Any, Any] = admin.delete_acls(filters)
        for future in futures.values():
            future.result(WAIT_S)


def _resource(row: AclRow) -> ResourceType:
    # librdkafka's name for Kafka's CLUSTER
    return ResourceType.BROKER if row.resource_type == "CLUSTER" else ResourceType[row.resource_type]


def _parts(row: AclRow) -> tuple[Any, ...]:
    return (
        _resource(row),
        row.name,
        ResourcePatternType[row.pattern],
        row.principal,
        row.host,
        AclOperation[row.operation],
        AclPermissionType[row.permission],
    )


def _binding(row: AclRow) -> AclBinding:
    return AclBinding(*_parts(row))


def _filter(row: AclRow) -> AclBindingFilter:
    return AclBindingFilter(*_parts(row))


# -- the directory ---------------------------------------------------------------------------------------------------


def _apply_directory(
    admin_bundle: Bundle, policy: Policy, keys: dict[str, SigningKey], store: SecretStore, applied: Applied
) -> None:
    now_ms = time.time_ns() // 1_000_000
    before = _published_directory(admin_bundle)
    document = _directory(policy, keys, before, now_ms)
    if before is not None and _same(before, document) and before.expires_at - now_ms > DIRECTORY_LIFE_MS // 2:
        applied.directory_version = before.version
        return
    roots = store.roots(policy.roots)
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
        raise PolicyNotApplied(f"the directory was not published: {failures or 'no answer in time'}; apply again")
    applied.directory_version, applied.directory_changed = document.version, True


def _directory(policy: Policy, keys: dict[str, SigningKey], before: Directory | None, now_ms: int) -> Directory:
    members = [
        DirectoryMember(name, one.role, one.jurisdiction, one.status.upper()) for name, one in policy.members.items()
    ]
    members.append(DirectoryMember(EXCHANGE, "exchange", "eu", "ACTIVE"))
    known = dict(before.keys) if before else {}
    for owner, key in keys.items():
        if key.key_id not in known:
            known[key.key_id] = DirectoryKey(key.key_id, owner, key.public, now_ms - 60_000, now_ms + KEY_LIFE_MS)
    return Directory(
        coalition=policy.coalition,
        version=before.version + 1 if before else 1,
        issued_at=now_ms,
        expires_at=now_ms + DIRECTORY_LIFE_MS,
        members={one.member: one for one in members},
        keys=known,
    )


def _same(one: Directory, other: Directory) -> bool:
    return to_record(one)["members"] == to_record(other)["members"] and one.keys == other.keys


def _published_directory(admin_bundle: Bundle) -> Directory | None:
    """The newest document in the topic, as it stands: we are about to sign its successor ourselves."""
    consumer = Consumer({**admin_bundle.kafka_config(), "group.id": "admin.directory", "enable.auto.commit": False})
    try:
        partition = TopicPartition(DIRECTORY_TOPIC, 0)
        end = _end(consumer, partition)
        if end == 0:
            return None
        partition.offset = end - 1
        consumer.assign([partition])
        message = consumer.poll(WAIT_S)
        if message is None or message.error() or message.value() is None:
            raise PolicyNotApplied(f"{DIRECTORY_TOPIC}: its last record cannot be read")
        return from_record(decode(cast("bytes", message.value()))[1])
    finally:
        consumer.close()


_NO_LEADER_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  # librdkafka's name
)


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    """The end of a topic, which may have been created a moment ago and have no leader yet."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return int(consumer.get_watermark_offsets(partition, timeout=WAIT_S)[1])
        except KafkaException as failure:
            if failure.args[0].code() not in _NO_LEADER_YET or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
