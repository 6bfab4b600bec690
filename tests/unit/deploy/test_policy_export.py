"""An exported policy means the ACLs that it is compiled to, read back by readers that know the other tools only."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field
from typer.testing import CliRunner

from tests.unit.deploy.test_policy import EXAMPLE, random_policy
from tocsin.consumers.acl import AclRow
from tocsin.deploy.cli import app
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.compile import Desired, Grant, compile_policy
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.export import kafka_acls, resource_name, strimzi
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.quotas import quotas_of
from tocsin.deploy.policy.rows import SERVICE_ROWS

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
ONLY_NINE = {"producer_byte_rate": 9}
# RFC 1123, as the API server checks names and the values of labels
Name = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=63)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Metadata(_Strict):
    name: Name
    labels: dict[Literal["strimzi.io/cluster"], Label] = Field(min_length=1)


class _TopicSpec(_Strict):
    topicName: str  # noqa: N815  # Strimzi's spelling, here and below
    partitions: int = Field(ge=1)
    replicas: int = Field(ge=1, le=32767)
    config: dict[str, str]


class _KafkaTopic(_Strict):
    apiVersion: Literal["kafka.strimzi.io/v1"]  # noqa: N815
    kind: Literal["KafkaTopic"]
    metadata: _Metadata
    spec: _TopicSpec


class _NamedResource(_Strict):
    type: Literal["topic", "group", "transactionalId"]
    name: str
    patternType: Literal["literal", "prefix"]  # noqa: N815


class _ClusterResource(_Strict):
    type: Literal["cluster"]


class _Rule(_Strict):
    type: Literal["allow", "deny"]
    resource: _NamedResource | _ClusterResource
    operations: list[
        Literal[
            "Read",
            "Write",
            "Create",
            "Delete",
            "Alter",
            "Describe",
            "ClusterAction",
            "AlterConfigs",
            "DescribeConfigs",
            "IdempotentWrite",
            "All",
        ]
    ] = Field(min_length=1)
    host: str


class _Authentication(_Strict):
    type: Literal["scram-sha-512"]


class _Authorization(_Strict):
    type: Literal["simple"]
    acls: list[_Rule]


class _Quotas(_Strict):
    producerByteRate: int | None = Field(default=None, ge=0)  # noqa: N815
    consumerByteRate: int | None = Field(default=None, ge=0)  # noqa: N815
    requestPercentage: int | None = Field(default=None, ge=0)  # noqa: N815


class _UserSpec(_Strict):
    authentication: _Authentication
    authorization: _Authorization
    quotas: _Quotas | None = None


class _KafkaUser(_Strict):
    """The fields of Strimzi 1.2's CustomResourceDefinition that are exported, and no other."""

    apiVersion: Literal["kafka.strimzi.io/v1"]  # noqa: N815
    kind: Literal["KafkaUser"]
    metadata: _Metadata
    spec: _UserSpec


def _resources(text: str) -> tuple[list[_KafkaTopic], list[_KafkaUser]]:
    documents = [*yaml.load_all(text, Loader=yaml.CSafeLoader)]
    topics = [_KafkaTopic.model_validate(one) for one in documents if one["kind"] == "KafkaTopic"]
    users = [_KafkaUser.model_validate(one) for one in documents if one["kind"] != "KafkaTopic"]
    for names in ([one.metadata.name for one in topics], [one.metadata.name for one in users]):
        assert len({*names}) == len(names), "a later resource would replace an earlier one"
    return topics, users


_STRIMZI_KINDS = {"topic": "TOPIC", "group": "GROUP", "transactionalId": "TRANSACTIONAL_ID"}


def _strimzi_rows(users: list[_KafkaUser]) -> Iterator[AclRow]:
    """As the user operator makes ACLs of its resources."""
    for user in users:
        for rule in user.spec.authorization.acls:
            if isinstance(rule.resource, _ClusterResource):
                what = ("CLUSTER", "kafka-cluster", "LITERAL")
            else:
                pattern = {"literal": "LITERAL", "prefix": "PREFIXED"}[rule.resource.patternType]
                what = (_STRIMZI_KINDS[rule.resource.type], rule.resource.name, pattern)
            for operation in rule.operations:
                yield AclRow(*what, f"User:{user.metadata.name}", rule.host, _upper(operation), rule.type.upper())


def _upper(operation: str) -> str:
    """`AlterConfigs`, as tools have it, in Kafka's other writing: `ALTER_CONFIGS`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()


@pytest.mark.parametrize("seed", range(120))
def test_strimzi_resources_mean_the_compiled_acls(seed: int) -> None:
    """Every field is one of Strimzi's, every login a KafkaUser, every topic a KafkaTopic with its settings."""
    desired = compile_policy(random_policy(seed), NOW)
    topics, users = _resources(strimzi(desired, cluster="efc", brokers=3))
    rows = [*_strimzi_rows(users)]
    assert {*rows} == desired.rows
    assert len(rows) == len(desired.rows)
    assert [user.metadata.name for user in users] == [*desired.logins]
    wanted = [(one.name, {**one.config, "min.insync.replicas": "2"}) for one in desired.topics]
    assert [(one.spec.topicName, one.spec.config) for one in topics] == wanted
    assert {(one.spec.partitions, one.spec.replicas) for one in topics} == {(1, 3)}


def test_strimzi_resources_have_the_quotas() -> None:
    """Of every login of a member, and of no service."""
    member = {"role": "bank", "jurisdiction": "de", "logins": {"soc": "receive"}}
    policy = Policy.model_validate(
        {
            "coalition": "t1",
            "members": {"aa": member, "bb": {**member, "logins": {}}},
            "quotas": {"default": {"consumer_byte_rate": 7, "request_percentage": 50}, "members": {"aa": ONLY_NINE}},
        }
    )
    desired = compile_policy(policy, NOW)
    _, users = _resources(strimzi(desired, cluster="efc", brokers=1, quotas=quotas_of(policy)))
    assert {user.metadata.name: user.spec.quotas for user in users} == {
        **dict.fromkeys(SERVICE_ROWS),
        "aa": _Quotas(producerByteRate=9, consumerByteRate=7, requestPercentage=50),
        "aa.soc": _Quotas(producerByteRate=9, consumerByteRate=7, requestPercentage=50),
        "bb": _Quotas(consumerByteRate=7, requestPercentage=50),
    }


def _odd(member: str) -> Desired:
    return compile_policy(
        Policy.model_validate({"coalition": "t1", "members": {member: {"role": "bank", "jurisdiction": "de"}}}), NOW
    )


@pytest.mark.parametrize("member", ["-a", "a-", "--"])
def test_a_login_that_kubernetes_cannot_name_is_refused(member: str) -> None:
    """Under another name it would be another user."""
    with pytest.raises(PolicyInvalid, match=f"login '{member}' cannot be a KafkaUser"):
        strimzi(_odd(member), cluster="efc", brokers=1)


def test_a_topic_that_kubernetes_cannot_name_has_a_resource_of_another_name() -> None:
    """Its own, for each topic another one, and always the same."""
    names = ["inbox.-a", "inbox.a-", "inbox.a", "inbox_a", "Inbox.a", "...", "a" * 254, f"{'a' * 254}b"]
    made = [resource_name(name) for name in names]
    assert made[2] == "inbox.a"
    assert len({*made}) == len(names)
    for name in made:
        _Metadata.model_validate({"name": name, "labels": {"strimzi.io/cluster": "efc"}})
    assert made == [resource_name(name) for name in names]


_SCRIPT_KINDS = {"--topic": "TOPIC", "--group": "GROUP", "--transactional-id": "TRANSACTIONAL_ID"}


def _script_rows(script: str) -> Iterator[AclRow]:
    """As kafka-acls.sh makes ACLs of its options: of everything that is named with everything."""
    for line in script.splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] != ["acls", "--add"]:
            continue
        rest = iter(words[2:])
        options = [(word, "" if word == "--cluster" else next(rest)) for word in rest]
        given: dict[str, list[str]] = {}
        for name, value in options:
            given.setdefault(name, []).append(value)
        [permission] = [word for word in ("allow", "deny") if f"--{word}-principal" in given]
        [pattern], hosts = given["--resource-pattern-type"], given[f"--{permission}-host"]
        resources = [(_SCRIPT_KINDS[name], value) for name, value in options if name in _SCRIPT_KINDS]
        resources += [("CLUSTER", "kafka-cluster")] if "--cluster" in given else []
        principals = given[f"--{permission}-principal"]
        for (kind, name), who, host, what in product(resources, principals, hosts, given["--operation"]):
            yield AclRow(kind, name, pattern.upper(), who, host, _upper(what), permission.upper())


@pytest.mark.parametrize("seed", range(120))
def test_the_script_means_the_compiled_acls(seed: int) -> None:
    """A host is always given, so that nothing is granted to every host by leaving it out; what denies comes first."""
    desired = compile_policy(random_policy(seed), NOW)
    script = kafka_acls(desired, brokers=1)
    rows = [*_script_rows(script)]
    assert {*rows} == desired.rows
    assert len(rows) == len(desired.rows)
    denies = [row.permission == "DENY" for row in rows]
    assert denies == sorted(denies, reverse=True)
    made = [shlex.split(line) for line in script.splitlines() if line.startswith("topics --")]
    assert [words[words.index("--topic") + 1] for words in made] == [topic.name for topic in desired.topics]


def test_no_command_line_is_too_long() -> None:
    """The example's longest is within what every system takes for one command."""
    script = kafka_acls(compile_policy(read_policy(EXAMPLE), NOW), brokers=3)
    assert max(map(len, script.splitlines())) < 20_000


def test_what_a_shell_would_read_otherwise_is_quoted() -> None:
    """A star is no file name, and a name is never a command."""
    row = AclRow("TOPIC", "a b;$(x)'\"", "LITERAL", "User:a b", "*", "READ", "ALLOW")
    assert [row] == [*_script_rows(kafka_acls(Desired(NOW, (), (), (Grant(row, ()),), ()), brokers=1))]


def test_the_command_writes_files(tmp_path: Path) -> None:
    """Strimzi's resources need the name of the Kafka resource: with another label nobody reads them."""
    out = tmp_path / "resources.yaml"
    words = ["policy", "export", str(EXAMPLE), "--out", str(out)]
    strimzis = [*words, "--format", "strimzi"]
    assert CliRunner().invoke(app, strimzis).exit_code == 2
    assert CliRunner().invoke(app, [*strimzis, "--cluster", "efc"]).exit_code == 0
    topics, _ = _resources(out.read_text())
    assert topics[0].metadata.labels == {"strimzi.io/cluster": "efc"}
    assert CliRunner().invoke(app, [*words, "--format", "kafka-acls"]).exit_code == 0
    assert out.read_text().startswith("#!/bin/sh\n")
