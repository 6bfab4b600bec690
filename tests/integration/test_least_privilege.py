"""Each login of the example policy is tried against every topic, group, transactional id and command of a real broker.

What is expected is written here from the policy's words, not from what they are compiled to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import yaml
from confluent_kafka import ElectionType, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.attempts import ANSWER_S, SILENT, Attempts, refusal
from tests.world import World, wait_until
from tocsin.deploy.policy.acls import read_acls
from tocsin.schemas.bundle import KafkaConfig

POLICY: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "deploy" / "policies" / "coalition.yaml").read_text()
)
MEMBERS: dict[str, dict[str, Any]] = POLICY["members"]
MEMBERS["bank-de"]["logins"] = {"officer": "audit"}
LANES = ("ch", "de", "fr", "gb", "se", "us")
LABELS = ("clear", "green", "amber", "amber-strict")
FANOUT, SEALER, AUDITOR, SHIPPER, OFFICER = "fanout", "sealer", "auditor", "shipper", "bank-de.officer"
SECRETARIAT, DRIFT = "policy", "drift"
SERVICES = (FANOUT, SEALER, AUDITOR, SHIPPER, SECRETARIAT, DRIFT)
LOGINS = (*MEMBERS, *SERVICES, OFFICER)
UNLISTED = "a-topic-without-acls"
OTHERS = (
    UNLISTED,
    "directory",
    "audit.checkpoints",
    "audit.policy",
    "audit.acls",
    "audit.access",
    "__consumer_offsets",
)


class Rights(NamedTuple):
    """What a login may read and write, of what it may know that it is there; and what else it may do to that."""

    reads: set[str]
    writes: set[str]
    knows: frozenset[str] = frozenset()
    does: frozenset[str] = frozenset()


def _rights(login: str) -> Rights:
    if login in SERVICES:
        return _rights_of_a_service(login)
    if login == OFFICER:
        return Rights({"audit.de", "audit.acls", "audit.checkpoints", "directory"}, set())
    member = MEMBERS[login]
    published = {
        f"alerts.{member['jurisdiction']}.{kind}.{label}" for kind in member.get("publishes", ()) for label in LABELS
    }
    if member["role"] == "secretariat":
        published = _alert_topics()
    own = {f"inbox.{login}", f"outbox.{login}"}
    return Rights({*own, "directory", "audit.checkpoints"}, {f"outbox.{login}", *published})


def _rights_of_a_service(login: str) -> Rights:
    lanes = {f"audit.{lane}" for lane in LANES}
    ledgers = {f"ledger.{lane}" for lane in LANES}
    outboxes = {f"outbox.{member}" for member in MEMBERS}
    made = frozenset(_all_topics() - {UNLISTED, "__consumer_offsets"})
    said = {"directory", "audit.policy"}
    match login:
        case "fanout":
            reads = {*_alert_topics(), *ledgers, *outboxes, "directory", "audit.acls", "audit.checkpoints"}
            return Rights(reads, {*ledgers, *(f"inbox.{member}" for member in MEMBERS), *lanes, "audit.acls"})
        case "sealer":
            return Rights({*lanes, "audit.policy", "audit.access", "audit.checkpoints"}, {"audit.checkpoints"})
        case "shipper":
            return Rights({"audit.access"}, {"audit.access"})
        case "auditor":
            audits = {"audit.policy", "audit.acls", "audit.access", "audit.checkpoints"}
            return Rights({*lanes, *audits, *outboxes, "directory"}, set(), frozenset(_alert_topics()))
        case "drift":
            return Rights(said, set(), made, frozenset({"DESCRIBE_CONFIGS"}))
        case _:
            return Rights(said, said, made, frozenset({"CREATE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"}))


def _alert_topics() -> set[str]:
    return {topic for topic in _all_topics() if topic.startswith("alerts.")}


def _all_topics() -> set[str]:
    kinds = ("merchant-terminated", "descriptor-reused", "site-taken-down")
    alerts = {f"alerts.{lane}.{kind}.{label}" for lane in LANES for kind in kinds for label in LABELS}
    of_lanes = {f"{what}.{lane}" for what in ("ledger", "audit") for lane in LANES}
    of_members = {f"{what}.{member}" for what in ("inbox", "outbox") for member in MEMBERS}
    return {*alerts, *of_lanes, *of_members, *OTHERS}


@pytest.fixture(scope="module")
def coalition(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The example policy on a broker of its own, with a record in each topic."""
    world = World(tmp_path_factory.mktemp("coalition") / "home", POLICY)
    try:
        world.up()
        admin = world.admin()
        admin.create_topics([NewTopic(UNLISTED, 1, 1)])[UNLISTED].result(ANSWER_S)
        everything = Attempts(world.cluster.admin_config(), "x")
        # the first use of groups makes __consumer_offsets
        for name in [f"{login}.x" for login in LOGINS]:
            wait_until(partial(_committed, everything, name), ANSWER_S, f"a commit in {name}")
        ours = _all_topics() - {"__consumer_offsets"}
        assert everything.written(ours) == ours
        yield world
    finally:
        world.down()


def _committed(attempts: Attempts, group: str) -> bool:
    return refusal(partial(attempts.commit, group, UNLISTED)) is None


@pytest.fixture(scope="module")
def logins(coalition: World) -> dict[str, Attempts]:
    """The clients of every login."""
    return {login: Attempts(_config(coalition, login), f"{login}.probe") for login in LOGINS}


def _config(world: World, login: str) -> KafkaConfig:
    return (world.service(login) if login in SERVICES else world.member(login)).kafka_config()


def test_the_trial_covers_every_topic_there_is(coalition: World) -> None:
    """The topics written down here are the broker's: none is left untried."""
    assert set(coalition.topics("")) == _all_topics()


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_reads_and_writes_what_is_its_own_and_nothing_else(logins: dict[str, Attempts], login: str) -> None:
    """Against every topic: what the broker tells, what can be fetched, committed and appended."""
    reads, writes, knows, does = _rights(login)
    mine, topics = logins[login], _all_topics()
    assert mine.told(topics) == {
        topic: frozenset(
            {"DESCRIBE", *does, *(["READ"] if topic in reads else []), *(["WRITE"] if topic in writes else [])}
        )
        for topic in reads | writes | knows
    }
    assert mine.read(topics) == reads
    assert mine.committed(topics) == reads
    assert mine.written(topics) == writes


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_uses_groups_of_its_own_prefix_and_no_other(logins: dict[str, Attempts], login: str) -> None:
    """Every login's groups, their names without the dot, and names of nobody."""
    names = {*chain.from_iterable((one, f"{one}.", f"{one}.x") for one in LOGINS), "fanout.lanes", "x"}
    mine = logins[login]
    assert mine.groups(names, _readable(login)) == {name for name in names if name.startswith(f"{login}.")}


@pytest.mark.parametrize("login", LOGINS)
def test_only_the_fanout_begins_transactions(logins: dict[str, Attempts], login: str) -> None:
    """A member has no transactional id, not even under its own name; the fan-out has its own and no others."""
    mine = logins[login]
    names = (f"{login}.0", "fanout.se.0") if login != FANOUT else ("fanout.se.0", "fanout", "bank-fr.0")
    assert [name for name in names if mine.begins(name)] == (["fanout.se.0"] if login == FANOUT else [])


# -- commands --------------------------------------------------------------------------------------------------------

_ANY: Any = None  # no condition; the library's annotation forgets that it may be left out
_EVERY_ACL = AclBindingFilter(
    ResourceType.ANY, _ANY, ResourcePatternType.ANY, _ANY, _ANY, AclOperation.ANY, AclPermissionType.ANY
)


def _grant(login: str) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC,
        "alerts.",
        ResourcePatternType.PREFIXED,
        f"User:{login}",
        "*",
        AclOperation.ALL,
        AclPermissionType.ALLOW,
    )


def _setting(kind: ResourceType, name: str, key: str, value: str) -> ConfigResource:
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    return ConfigResource(kind, name, incremental_configs=[entry])


def _readable(login: str) -> str:
    return min(_rights(login).reads)


# a topic to which a command is tried
OWN = {
    FANOUT: "ledger.se",
    SEALER: "audit.checkpoints",
    AUDITOR: "audit.se",
    SHIPPER: "audit.access",
    OFFICER: "audit.de",
    SECRETARIAT: "audit.policy",
    DRIFT: "audit.policy",
}
# what their work is; whoever may change ACLs and passwords can become anybody (docs/policy.md)
MAY: dict[str, set[str]] = {
    DRIFT: {"read settings"},
    SECRETARIAT: {
        *("create an inbox", "read settings", "set retention", "grant itself", "delete every ACL", "elect a leader"),
        *("set its password", "set the administrator's password"),
    },
}


def _commands(admin: AdminClient, login: str, own: str) -> dict[str, Callable[[], Any]]:
    """Whatever changes a cluster, on what is the login's own (`own` is a topic) and on what is not."""
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    return {
        "create a topic": lambda: admin.create_topics([NewTopic(f"{login}.x", 1, 1)]),
        "create an inbox": lambda: admin.create_topics([NewTopic("inbox.x", 1, 1)]),
        "delete its topic": lambda: admin.delete_topics([own]),
        "delete a record of its topic": lambda: admin.delete_records([TopicPartition(own, 0, 1)]),
        "delete the directory": lambda: admin.delete_topics(["directory"]),
        "empty the directory": lambda: admin.delete_records([TopicPartition("directory", 0, 1)]),
        "add partitions": lambda: admin.create_partitions([NewPartitions(own, 2)]),
        "read settings": lambda: admin.describe_configs([ConfigResource(ResourceType.TOPIC, own)]),
        "set retention": lambda: admin.incremental_alter_configs(
            [_setting(ResourceType.TOPIC, own, "retention.ms", "1")]
        ),
        "set a broker's setting": lambda: admin.incremental_alter_configs(
            [_setting(ResourceType.BROKER, "1", "log.cleaner.threads", "2")]
        ),
        "grant itself": lambda: admin.create_acls([_grant(login)]),
        "delete every ACL": lambda: admin.delete_acls([_EVERY_ACL]),
        "set its password": lambda: admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(login, scram, b"x")]
        ),
        "set the administrator's password": lambda: admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion("admin", scram, b"x")]
        ),
        "elect a leader": lambda: {"": admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(own, 0)])},
        "delete its group": lambda: admin.delete_consumer_groups([f"{login}.probe"]),
    }


@pytest.mark.parametrize("login", LOGINS)
def test_no_login_changes_the_cluster(coalition: World, logins: dict[str, Attempts], login: str) -> None:
    """Topics, records, settings, ACLs, passwords, leaders and groups: each command is refused, nothing is different."""
    mine = logins[login]
    own = OWN.get(login, f"outbox.{login}")
    mine.groups([mine.group], _readable(login))  # so that there is a group to delete
    before = _state(coalition)
    commands = _commands(mine.admin, login, own)
    tried = commands.keys() - MAY.get(login, set())
    answers = {name: refusal(partial(_ask, commands[name])) for name in tried}
    refused = {"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"}
    # of what it may not even know, the client library itself says that it is not there
    refused.add("_NOENT")
    assert {name: answer for name, answer in answers.items() if answer not in refused} == {}
    assert _state(coalition) == before


def _ask(call: Callable[[], dict[Any, Any]]) -> None:
    for future in call().values():
        future.result(ANSWER_S)


def _state(world: World) -> tuple[object, ...]:
    admin = world.admin()
    return frozenset(read_acls(admin)), tuple(world.topics(""))


ON_CLUSTER = {FANOUT: {"DESCRIBE"}, DRIFT: {"DESCRIBE"}, SECRETARIAT: {"DESCRIBE", "ALTER"}}


@pytest.mark.parametrize("login", LOGINS)
def test_only_those_who_work_with_acls_are_shown_them(
    coalition: World, logins: dict[str, Attempts], login: str
) -> None:
    """DESCRIBE on the cluster is all that fan-out and drift have there, and more than a member has."""
    admin = logins[login].admin
    allowed = admin.describe_cluster(include_authorized_operations=True).result(ANSWER_S).authorized_operations
    assert {operation.name for operation in allowed or ()} == ON_CLUSTER.get(login, set())
    rows = admin.describe_acls(_EVERY_ACL).result(ANSWER_S)  # a refusal looks like no rows
    assert len(rows) == (len(read_acls(coalition.admin())) if login in ON_CLUSTER else 0)


def test_a_topic_without_acls_is_nobodys(coalition: World, logins: dict[str, Attempts]) -> None:
    """`allow.everyone.if.no.acl.found` cannot be read back through Kafka's API; a topic without ACLs tells."""
    assert not [row for row in read_acls(coalition.admin()) if UNLISTED.startswith(row.name)]
    assert [login for login in LOGINS if logins[login].told([UNLISTED])] == []


# -- logging in ------------------------------------------------------------------------------------------------------


def _strangers(world: World) -> dict[str, dict[str, Any]]:
    """Connections that must not be let in, each one change away from one that is."""
    good = dict(_config(world, "bank-fr"))
    without = {key: value for key, value in good.items() if not key.startswith("sasl.")}
    other = _config(world, "bank-de")["sasl.password"]
    controller = world.cluster.controllers
    return {
        "a wrong password": {**good, "sasl.password": "wrong"},
        "another's password": {**good, "sasl.password": other},
        "a login that is not there": {**good, "sasl.username": "bank-xx"},
        "another's name": {**good, "sasl.username": "bank-de"},
        "the administrator's name": {**good, "sasl.username": "admin"},
        "no login": {**without, "security.protocol": "SSL"},
        "the password in plain words": {**good, "sasl.mechanism": "PLAIN"},
        "a weaker mechanism": {**good, "sasl.mechanism": "SCRAM-SHA-256"},
        "no TLS": {**without, "security.protocol": "PLAINTEXT"},
        "a login without TLS": {**good, "security.protocol": "SASL_PLAINTEXT"},
        "the controllers' door": {**good, "bootstrap.servers": controller},
        "the controllers' door without a certificate": {
            **without,
            "security.protocol": "SSL",
            "bootstrap.servers": controller,
        },
    }


def test_nobody_comes_in_without_its_own_password_and_tls(coalition: World) -> None:
    """Wrong, another's or no password, no TLS, the controllers' port: all are refused, and the right way is open."""
    good = AdminClient(cast("dict[str, Any]", _config(coalition, "bank-fr")))
    assert good.list_topics(timeout=ANSWER_S).topics
    errors: dict[str, str] = {}
    clients = {name: _knocking(config, name, errors) for name, config in _strangers(coalition).items()}

    def all_refused() -> bool:
        for client in clients.values():
            client.poll(0)
        return errors.keys() == clients.keys()

    wait_until(all_refused, ANSWER_S, f"refused: {errors}")
    for name, client in clients.items():
        assert refusal(partial(client.list_topics, timeout=0.1)) is not None, name


def _knocking(config: dict[str, Any], name: str, errors: dict[str, str]) -> Producer:
    def note(error: Any) -> None:
        errors.setdefault(name, str(error))

    return Producer({**config, "error_cb": note, "reconnect.backoff.ms": 100}, logger=SILENT)
