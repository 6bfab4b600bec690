"""What a policy compiles to, in the forms of other tools: Strimzi's resources, and a script for Kafka's own. Pure.

Both hold topics and ACLs. Passwords are in neither: under Strimzi the user operator makes them, and the script makes no
users.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import yaml

from tocsin.consumers.acl import AclRow
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.compile import Desired, Topic, replication
from tocsin.deploy.policy.rows import USER
from tocsin.deploy.policy.topics import MIN_ISR

# Strimzi 1.0 removed v1beta2; v1 has been there since 0.49
API_VERSION: Final = "kafka.strimzi.io/v1"
# a command line is bounded, a coalition is not
NAMES_MAX: Final = 200

# a DNS subdomain (RFC 1123), which names of Kubernetes resources are
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_NAME_MAX: Final = 253


class Format(StrEnum):
    """`--format`."""

    STRIMZI = "strimzi"
    KAFKA_ACLS = "kafka-acls"


def _settings(topic: Topic, brokers: int) -> dict[str, str]:
    return {**topic.config, MIN_ISR: str(replication(brokers)[1])}


# -- Strimzi ---------------------------------------------------------------------------------------------------------

_KINDS: Final = {"TOPIC": "topic", "GROUP": "group", "TRANSACTIONAL_ID": "transactionalId", "CLUSTER": "cluster"}
_STRIMZI_PATTERNS: Final = {"LITERAL": "literal", "PREFIXED": "prefix"}


def strimzi(
    desired: Desired, *, cluster: str, brokers: int, quotas: Mapping[str, Mapping[str, int]] = MappingProxyType({})
) -> str:
    """KafkaTopic and KafkaUser resources, YAML, for the Kafka resource `cluster` of so many brokers.

    `quotas` are bounds of logins, by Kafka's names.

    Raises:
        PolicyInvalid: a login cannot be the name of a Kubernetes resource.
    """
    topics = [_kafka_topic(topic, cluster, brokers) for topic in desired.topics]
    users = [_kafka_user(login, desired.rows, cluster, quotas.get(login, {})) for login in desired.logins]
    return yaml.dump_all([*topics, *users], Dumper=yaml.CSafeDumper, sort_keys=False, explicit_start=True, width=120)


def _resource(kind: str, name: str, cluster: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"strimzi.io/cluster": cluster}}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": {**spec}}


def _kafka_topic(topic: Topic, cluster: str, brokers: int) -> dict[str, Any]:
    spec = {
        "topicName": topic.name,
        "partitions": 1,
        "replicas": replication(brokers)[0],
        "config": _settings(topic, brokers),
    }
    return _resource("KafkaTopic", resource_name(topic.name), cluster, spec)


def resource_name(topic: str) -> str:
    """The name of a topic's resource: its own where Kubernetes takes it, else one made from it."""
    if _is_name(topic):
        return topic
    words = re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-")[:100]
    return f"{words}-{hashlib.sha256(topic.encode()).hexdigest()[:12]}".lstrip("-")


def _is_name(text: str) -> bool:
    return len(text) <= _NAME_MAX and _NAME.fullmatch(text) is not None


def _kafka_user(login: str, rows: Iterable[AclRow], cluster: str, bounds: Mapping[str, int]) -> dict[str, Any]:
    # the resource's name is the user's; there is no field for another
    if not _is_name(login):
        raise PolicyInvalid(
            f"login {login!r} cannot be a KafkaUser: Kubernetes wants letters or digits at both ends of each word of a"
            f" name; rename it, or use --format {Format.KAFKA_ACLS}"
        )
    own = [row for row in rows if row.principal == f"{USER}{login}"]
    spec = {
        "authentication": {"type": "scram-sha-512"},
        # without any rule too: without authorization its ACLs would not be the operator's to keep empty
        "authorization": {"type": "simple", "acls": [*_rules(own)]},
        **({"quotas": {_lower_camel(key): bound for key, bound in bounds.items()}} if bounds else {}),
    }
    return _resource("KafkaUser", login, cluster, spec)


def _rules(rows: Iterable[AclRow]) -> Iterator[dict[str, Any]]:
    operations: dict[tuple[str, str, str, str, str], list[str]] = {}
    for row in rows:
        key = (row.permission, row.resource_type, row.name, row.pattern, row.host)
        operations.setdefault(key, []).append(_camel(row.operation))
    for permission, kind, name, pattern, host in sorted(operations):
        resource = {"type": _KINDS[kind]}
        if kind != "CLUSTER":  # there is one, which has no name here
            resource |= {"name": name, "patternType": _STRIMZI_PATTERNS[pattern]}
        found = sorted(operations[permission, kind, name, pattern, host])
        yield {"type": permission.lower(), "resource": resource, "operations": found, "host": host}


def _lower_camel(key: str) -> str:
    first, *more = key.split("_")
    return "".join([first, *(word.capitalize() for word in more)])


def _camel(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_"))


# -- Kafka's own tools -----------------------------------------------------------------------------------------------

_OPTIONS: Final = {"TOPIC": "--topic", "GROUP": "--group", "TRANSACTIONAL_ID": "--transactional-id"}

_HEAD: Final = """\
#!/bin/sh
# Topics and ACLs of a policy, made by `tocsin policy export`. Nothing is deleted. Run it again after a failure.
#   BOOTSTRAP=host:port CONFIG=client.properties sh FILE
set -eu
: "${BOOTSTRAP:?set it to host:port of a broker}" "${CONFIG:?set it to the properties of an administrator}"
topics() { kafka-topics.sh --bootstrap-server "$BOOTSTRAP" --command-config "$CONFIG" "$@"; }
acls() { kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config "$CONFIG" "$@"; }

"""


def kafka_acls(desired: Desired, *, brokers: int) -> str:
    """A shell script that makes the topics and ACLs with kafka-topics.sh and kafka-acls.sh."""
    commands = [*(_topic_command(topic, brokers) for topic in desired.topics), *_acl_commands(desired.rows)]
    return _HEAD + "".join(f"{shlex.join(words)}\n" for words in commands)


def _topic_command(topic: Topic, brokers: int) -> list[str]:
    settings = [word for key, value in _settings(topic, brokers).items() for word in ("--config", f"{key}={value}")]
    made = ["topics", "--create", "--if-not-exists", "--topic", topic.name]
    return [*made, "--partitions", "1", "--replication-factor", str(replication(brokers)[0]), *settings]


def _acl_commands(rows: Iterable[AclRow]) -> Iterator[list[str]]:
    """One command for all rows of a login that differ in the resource's name only: each takes the tool a second."""
    names: dict[tuple[str, str, str, str, str, str], list[str]] = {}
    for row in rows:
        key = (row.permission, row.principal, row.host, row.operation, row.resource_type, row.pattern)
        names.setdefault(key, []).append(row.name)
    # a DENY first: nobody sees for a moment what he must not
    for permission, principal, host, operation, kind, pattern in sorted(names, key=lambda key: (key[0] != "DENY", key)):
        word = permission.lower()
        who = ["--add", f"--{word}-principal", principal, f"--{word}-host", host, "--operation", _camel(operation)]
        how = ["--resource-pattern-type", pattern.lower()]
        found = sorted(names[permission, principal, host, operation, kind, pattern])
        for part in _parts(found):
            yield ["acls", *who, *how, *_resources(kind, part)]


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), NAMES_MAX):
        yield names[start : start + NAMES_MAX]


def _resources(kind: str, names: Sequence[str]) -> list[str]:
    if kind == "CLUSTER":
        return ["--cluster"]
    return [word for name in names for word in (_OPTIONS[kind], name)]
