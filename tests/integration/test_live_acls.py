"""Reading the ACLs of a real broker, and what its clients may really do, beside what we say they may."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicCollection, TopicPartition
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
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from tests.acl_cases import LOCALHOST, NAMES, PRINCIPALS, Case, cases
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.consumers.acl_client import acl_client
from tocsin.consumers.acl_reader import TopicAcls, read_topic_acls
from tocsin.consumers.errors import AclsNotUnderstood, AclsUnreadable, TooManyAcls
from tocsin.deploy.cluster.local import LocalCluster

SETS = 50
SEED = 20_260_602
ANSWER_S = 15.0
PASSWORD = "only for this cluster"  # noqa: S105  # of a broker that lives as long as this test

# Kafka takes no two topics that differ in `.` and `_` only, and SCRAM users have names, here in ASCII
TOPICS = tuple(name for name in NAMES if "_" not in name)
LOGINS = tuple(
    who.removeprefix("User:") for who in PRINCIPALS if who.startswith("User:") and who != "User:" and who.isascii()
)
TOPIC_OPERATIONS = frozenset(
    {"READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"}
)
# an answer without rows is no answer, so there is always one
BASE = AclRow("TOPIC", "base", "LITERAL", "User:nobody", "*", "READ", "ALLOW")
_ANY: Any = None  # no condition
_ALL_OF_TOPICS = AclBindingFilter(
    ResourceType.TOPIC, _ANY, ResourcePatternType.ANY, _ANY, _ANY, AclOperation.ANY, AclPermissionType.ANY
)


class Broker:
    """A broker with one record in each topic, users, and no ACLs on topics but those that a test sets."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.admin = AdminClient(cluster.admin_config())
        self._admins = {login: AdminClient(self.config(login)) for login in LOGINS}

    def prepare(self) -> None:
        """Create topics, users, and the right on groups that consumers need."""
        _wait(self.admin.create_topics([NewTopic(name, 1, 1) for name in TOPICS]))
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        users: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(login, scram, PASSWORD.encode()) for login in LOGINS
        ]
        _wait(self.admin.alter_user_scram_credentials(users))
        _wait(self.admin.create_acls([_binding(AclRow("GROUP", "*", "LITERAL", "User:*", "*", "READ", "ALLOW"))]))
        assert set(self._write(self.cluster.admin_config()).values()) == {True}

    def config(self, login: str) -> dict[str, Any]:
        """The settings of one user's clients."""
        return {**self.cluster.admin_config(), "sasl.username": login, "sasl.password": PASSWORD}

    def set_acls(self, rows: Iterable[AclRow]) -> list[AclRow]:
        """Make `rows` and BASE all ACLs on topics, and return what is read back: the one broker there is has them."""
        wanted = {BASE, *rows}
        _wait(self.admin.delete_acls([_ALL_OF_TOPICS]))
        _wait(self.admin.create_acls([_binding(row) for row in wanted]))
        deadline = time.monotonic() + ANSWER_S
        while set(found := self._read()) != wanted:
            assert time.monotonic() < deadline, f"read {found}, wanted {wanted}"
            time.sleep(0.02)
        return found

    def _read(self) -> list[AclRow]:
        try:
            return read_topic_acls(self.admin, timeout_s=ANSWER_S)
        except AclsUnreadable:  # between delete and create there is none
            return []

    def described(self, login: str) -> dict[str, frozenset[str]]:
        """The topics that `login` sees, each with all that it may do there, as the broker says."""
        asked: dict[str, Any] = self._admins[login].describe_topics(
            TopicCollection(list(TOPICS)), include_authorized_operations=True, request_timeout=ANSWER_S
        )
        found: dict[str, frozenset[str]] = {}
        for name, future in asked.items():
            try:
                found[name] = frozenset(operation.name for operation in future.result().authorized_operations)
            except KafkaException as refusal:
                _granted(refusal.args[0])
        return found

    def readable(self, login: str, topics: Iterable[str]) -> set[str]:
        """The topics among `topics` (all visible to `login`) from which a consumer got a record."""
        answers: dict[str, bool] = {}
        wanted = set(topics)
        consumer = Consumer({**self.config(login), "group.id": "probe", "enable.auto.commit": False})
        try:
            consumer.assign([TopicPartition(topic, 0, 0) for topic in wanted])
            deadline = time.monotonic() + ANSWER_S
            while answers.keys() != wanted:
                assert time.monotonic() < deadline, f"{login}: no answer about {wanted - answers.keys()}"
                for message in consumer.consume(100, 0.05):
                    answers[message.topic() or "?"] = _granted(message.error())
        finally:
            consumer.close()
        return {topic for topic, read in answers.items() if read}

    def writable(self, login: str) -> set[str]:
        """The topics to which a producer could append a record."""
        return {topic for topic, written in self._write(self.config(login)).items() if written}

    @staticmethod
    def _write(config: dict[str, Any]) -> dict[str, bool]:
        answers: dict[str, bool] = {}

        def note(error: Any, message: Message) -> None:
            answers[message.topic() or "?"] = _granted(error)

        producer = Producer(config)
        for topic in TOPICS:
            producer.produce(topic, b"a record", on_delivery=note)
        assert producer.flush(ANSWER_S) == 0
        return answers


def _granted(error: Any) -> bool:
    assert error is None or error.name() == "TOPIC_AUTHORIZATION_FAILED", error
    return error is None


def _wait(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result(ANSWER_S)


def _binding(row: AclRow) -> AclBinding:
    return AclBinding(
        ResourceType[row.resource_type],
        row.name,
        ResourcePatternType[row.pattern],
        row.principal,
        row.host,
        AclOperation[row.operation],
        AclPermissionType[row.permission],
    )


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of this module's own: its ACLs say anything about anyone."""
    cluster = LocalCluster(tmp_path_factory.mktemp("acls") / "home")
    try:
        cluster.up()
        prepared = Broker(cluster)
        prepared.prepare()
        yield prepared
    finally:
        cluster.down(purge=True)


def _live_cases() -> Iterator[Case]:
    """Random sets with something to find: several rows that librdkafka can write, and a user who can log in."""
    for case in cases(SEED, 1_000):
        rows = [row for row in case.rows if row.resource_type == "TOPIC" and row.operation in AclOperation.__members__]
        if len(rows) >= 4 and _logins(case):
            yield Case(rows, case.questions)


def _logins(case: Case) -> list[str]:
    return sorted({question.principal.removeprefix("User:") for question in case.questions} & set(LOGINS))


def test_clients_may_do_what_we_say(broker: Broker) -> None:
    """For 50 random sets, read back from the broker: what each login is told, reads and writes is what we expect."""
    outcomes: list[bool] = []
    for case in islice(_live_cases(), SETS):
        acls = AclSet(broker.set_acls(case.rows))
        for login in _logins(case):
            expected = {topic: _allowed(acls, login, topic) for topic in TOPICS}
            visible = {topic: allowed for topic, allowed in expected.items() if "DESCRIBE" in allowed}
            context = f"{login}: {sorted(row.text() for row in case.rows)}"
            assert broker.described(login) == visible, context
            # clients ask for metadata first, so that without DESCRIBE they neither read nor write
            assert broker.readable(login, visible) == {t for t in visible if "READ" in visible[t]}, context
            assert broker.writable(login) == {t for t in visible if "WRITE" in visible[t]}, context
            outcomes += [operation in expected[topic] for topic in TOPICS for operation in TOPIC_OPERATIONS]
    assert len(outcomes) >= SETS * len(TOPICS) * len(TOPIC_OPERATIONS)
    assert 0.1 < sum(outcomes) / len(outcomes) < 0.9


def _allowed(acls: AclSet, login: str, topic: str) -> frozenset[str]:
    return frozenset(
        operation
        for operation in TOPIC_OPERATIONS
        if acls.decide(f"User:{login}", LOCALHOST, operation, "TOPIC", topic).allowed
    )


def test_rows_of_unknown_kind_are_refused(broker: Broker) -> None:
    """An operation that the client library has no name for stops the reading: its row could be a DENY."""
    broker.set_acls([])
    settings = broker.cluster.admin().path / "client.properties"
    arguments = [str(settings), broker.cluster.bootstrap, "alerts.us", "User:bank-fr", "TWO_PHASE_COMMIT"]
    subprocess.run(
        [sys.executable, "-m", "tests.java_acl", *arguments], cwd=Path(__file__).parents[2], check=True, timeout=60
    )
    with pytest.raises(AclsNotUnderstood, match=r"alerts\.us.*User:bank-fr.*UNKNOWN"):
        _read_until_refused(broker)
    acls = TopicAcls(acl_client(broker.cluster.admin_config()))
    for _ in range(2):
        with pytest.raises(AclsNotUnderstood, match=r"alerts\.us.*User:bank-fr.*UNKNOWN"):
            acls.read()


def _read_until_refused(broker: Broker) -> None:
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        read_topic_acls(broker.admin)
        time.sleep(0.02)


def test_too_many_rows_are_refused(broker: Broker) -> None:
    """One row over the limit is refused, the limit itself is not."""
    rows = [AclRow("TOPIC", name, "LITERAL", "User:x", "*", "READ", "ALLOW") for name in ("a", "b")]
    broker.set_acls(rows)
    assert set(read_topic_acls(broker.admin, rows_max=3)) == {BASE, *rows}
    with pytest.raises(TooManyAcls, match="3 ACL rows"):
        read_topic_acls(broker.admin, rows_max=2)


def test_what_is_read_again_is_the_very_same_set_until_a_row_changes(broker: Broker) -> None:
    """Nothing is made of an answer that is the one before; one row more, or one less, is seen at once."""
    rows = [AclRow("TOPIC", f"a{number}", "PREFIXED", "User:ü", "192.0.2.1", "READ", "DENY") for number in range(300)]
    acls = TopicAcls(acl_client(broker.cluster.admin_config()))
    for now in (rows, rows[1:], [*rows[1:], replace(rows[0], host="*")], rows):
        broker.set_acls(now)
        first = acls.read()
        assert set(first.rows) == {BASE, *now}
        assert acls.read() is first


def test_login_that_may_not_ask_is_told_what_it_needs(broker: Broker) -> None:
    """Without DESCRIBE on the cluster Kafka refuses, which librdkafka tells as "no rows": never taken for an answer."""
    broker.set_acls([])
    with pytest.raises(AclsUnreadable, match="DESCRIBE on CLUSTER"):
        read_topic_acls(AdminClient(broker.config(LOGINS[0])))


def test_no_answer_is_unreadable() -> None:
    """A broker that is not there makes the ACLs unreadable in the time given."""
    admin = AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    began = time.monotonic()
    with pytest.raises(AclsUnreadable):
        read_topic_acls(admin, timeout_s=0.5)
    assert time.monotonic() - began < 3
