"""Brings a cluster to what the policy says: topics, users, ACLs, bundles, directory. Applying twice changes nothing.

Sight that is to end, ends first, and nothing that is not ours is deleted (see `changes`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.errors import PolicyNotApplied
from tocsin.deploy.policy.acls import WAIT_S, create_acls, delete_acls, read_acls
from tocsin.deploy.policy.changes import AclChanges, acl_changes
from tocsin.deploy.policy.compile import FANOUT, compile_policy
from tocsin.deploy.policy.directory import Current, newest, publish, read_published, successor
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.secrets import SecretStore
from tocsin.deploy.policy.sight import SightChange, sight_changes
from tocsin.deploy.policy.topics import Topics
from tocsin.schemas.bundle import CA, PASSWORD, Bundle, BundleConfig
from tocsin.schemas.directory import EXCHANGE
from tocsin.schemas.files import read_secret
from tocsin.schemas.names import DIRECTORY_TOPIC
from tocsin.schemas.signing import SigningKey

SCRAM_ITERATIONS: Final = 4096


@dataclass(slots=True)
class Applied:
    """What one application did, or would do; `sight`, of a plan only, is who gains and who loses it thereby."""

    topics_created: list[str] = field(default_factory=list[str])
    topics_configured: list[str] = field(default_factory=list[str])
    users_set: list[str] = field(default_factory=list[str])
    acls_created: list[AclRow] = field(default_factory=list[AclRow])
    acls_removed: list[AclRow] = field(default_factory=list[AclRow])
    directory_version: int = 0
    directory_changed: bool = False
    warnings: list[str] = field(default_factory=list[str])
    sight: list[SightChange] = field(default_factory=list[SightChange])

    @property
    def changed(self) -> bool:
        """Whether anything was different."""
        return bool(
            self.topics_created
            or self.topics_configured
            or self.users_set
            or self.acls_created
            or self.acls_removed
            or self.directory_changed
        )


def apply_policy(policy: Policy, admin_bundle: Bundle, home: Path) -> Applied:
    """Apply `policy` to the cluster of `admin_bundle`; secrets go under `home`.

    Raises:
        PolicyInvalid: it asks for more than a cluster can hold.
        PolicyNotApplied: the cluster refused a part, or does not show it afterwards. Applying again is safe.
    """
    try:
        return _Application(policy, admin_bundle, SecretStore(home)).run()
    except KafkaException as failure:
        raise PolicyNotApplied(f"the cluster refused: {failure.args[0]}; applying again is safe") from failure


def plan_policy(policy: Policy, admin_bundle: Bundle, home: Path) -> Applied:
    """What applying `policy` now would do to topics, users, ACLs and sight; nothing is changed.

    Raises:
        PolicyInvalid, PolicyNotApplied: as applying it would.
    """
    try:
        return _Application(policy, admin_bundle, SecretStore(home)).plan()
    except KafkaException as failure:
        raise PolicyNotApplied(f"the cluster cannot be asked: {failure.args[0]}") from failure


class _Application:
    def __init__(self, policy: Policy, admin_bundle: Bundle, store: SecretStore) -> None:
        self._policy = policy
        self._admin_bundle = admin_bundle
        self._store = store
        self._admin = AdminClient(admin_bundle.kafka_config())
        self._desired = compile_policy(policy, datetime.now(UTC).date())
        self._applied = Applied(warnings=[*self._desired.warnings])

    @cached_property
    def _roots(self) -> list[SigningKey]:
        # not before they are needed: they are made when missing, and a plan of a new cluster makes nothing
        return self._store.roots(self._policy.roots)

    def plan(self) -> Applied:
        topics = Topics(self._admin)
        topics.plan(self._desired.topics)
        self._note_topics(topics)
        self._applied.users_set = sorted({*self._desired.logins} - _scram_users(self._admin))
        members = self._members(self._current_directory() if DIRECTORY_TOPIC in topics else None)
        live = read_acls(self._admin)
        self._changes(live, members)
        after = (live - {*self._applied.acls_removed}) | {*self._applied.acls_created}
        seen = self._desired.alert_topics
        self._applied.sight = [*sight_changes(AclSet(live), AclSet(after), self._desired, members, seen)]
        return self._applied

    def _members(self, current: Current | None) -> set[str]:
        # a withdrawn member's rows are still ours to remove
        return {*self._policy.members, *(current.directory.members if current else ())}

    def _changes(self, live: set[AclRow], members: set[str]) -> AclChanges:
        changes = acl_changes(live, self._desired.rows, members)
        self._applied.acls_removed = [*changes.gone]
        self._applied.acls_created = [*changes.replacing, *changes.new]
        return changes

    def run(self) -> Applied:
        topics = Topics(self._admin)
        current = self._current_directory() if DIRECTORY_TOPIC in topics else None
        changes = self._changes(read_acls(self._admin), self._members(current))
        create_acls(self._admin, changes.replacing)
        delete_acls(self._admin, changes.gone)
        self._apply_topics(topics)
        self._apply_directory(self._apply_bundles(), current)
        create_acls(self._admin, changes.new)
        return self._applied

    def _current_directory(self) -> Current | None:
        return newest(read_published(self._admin_bundle), self._policy, self._roots)

    def _apply_topics(self, topics: Topics) -> None:
        topics.apply(self._desired.topics)
        self._note_topics(topics)

    def _note_topics(self, topics: Topics) -> None:
        self._applied.topics_created = topics.created
        self._applied.topics_configured = topics.configured
        self._applied.warnings += topics.warnings

    def _apply_bundles(self) -> dict[str, SigningKey]:
        """Bundles, keys and Kafka users of all members and of the fan-out. Returns the signing keys by owner."""
        ca_pem = (self._admin_bundle.path / CA).read_bytes()
        known = _scram_users(self._admin)
        keys: dict[str, SigningKey] = {}
        passwords: dict[str, str] = {}
        for folder, config in self._bundles():
            bundle, fresh = self._store.bundle(folder, config, ca_pem)
            keys[config.member] = self._store.signing_key(folder, config.member)
            if fresh or config.login not in known:
                passwords[config.login] = read_secret(bundle.path / PASSWORD).decode().strip()
        _set_users(self._admin, passwords)
        self._applied.users_set = list(passwords)
        self._store.give_token_keys(self._policy)
        return keys

    def _bundles(self) -> Iterator[tuple[Path, BundleConfig]]:
        yield self._store.service(FANOUT), self._bundle_config(FANOUT, EXCHANGE, "exchange", "eu")
        for name, one in self._policy.members.items():
            yield self._store.member(name), self._bundle_config(name, name, one.role, one.jurisdiction)

    def _bundle_config(self, login: str, member: str, role: str, place: str) -> BundleConfig:
        return BundleConfig(
            coalition=self._policy.coalition,
            member=member,
            login=login,
            role=role,
            jurisdiction=place,
            bootstrap=self._admin_bundle.config.bootstrap,
            roots=tuple(root.public.hex() for root in self._roots),
            roots_threshold=self._policy.roots_threshold,
        )

    def _apply_directory(self, keys: Mapping[str, SigningKey], current: Current | None) -> None:
        document = successor(self._policy, keys, current, time.time_ns() // 1_000_000)
        if document is not None:
            publish(self._admin_bundle, document, self._roots)
            self._applied.directory_version, self._applied.directory_changed = document.version, True
        elif current is not None:
            self._applied.directory_version = current.directory.version


def _scram_users(admin: AdminClient) -> set[str]:
    described: Any = admin.describe_user_scram_credentials()
    return set(described.result(WAIT_S))


def _set_users(admin: AdminClient, passwords: Mapping[str, str]) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
    changes: list[Any] = [
        UserScramCredentialUpsertion(login, info, password.encode()) for login, password in passwords.items()
    ]
    if changes:
        for future in admin.alter_user_scram_credentials(changes).values():
            future.result(WAIT_S)
