"""Policies as files, on a real Kafka."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from tests.world import agreement
from tocsin.deploy.cli import app
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.policy.acls import read_acls
from tocsin.deploy.policy.apply import plan_policy
from tocsin.deploy.policy.compile import compile_policy
from tocsin.deploy.policy.policy_files import read_policy

# one jurisdiction, so that there are few topics: each takes Kafka's own tool a second
POLICY = {
    "coalition": "test",
    "members": {
        "hotline-se": {
            "role": "hotline",
            "jurisdiction": "se",
            "publishes": ["site-taken-down"],
            "logins": {"out": "publish", "in": "receive"},
        },
        "reader-se": {"role": "isp", "jurisdiction": "se"},
        "away-se": {"role": "isp", "jurisdiction": "se", "status": "suspended"},
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
    for name, main_class in TOOLS.items():
        tool = folder / name
        tool.write_text(f'#!/bin/sh\nexec {shlex.join([*cluster._java, main_class])} "$@"\n')
        tool.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "BOOTSTRAP": cluster.bootstrap,
        "CONFIG": str(cluster.admin().path / "client.properties"),
    }


def test_the_exported_script_makes_the_compiled_topics_and_acls(cluster: LocalCluster, tmp_path: Path) -> None:
    """Run with Kafka's own tools on an empty Kafka, it leaves nothing to change; and run again, it changes nothing."""
    file, script = tmp_path / "policy.yaml", tmp_path / "make.sh"
    file.write_text(yaml.safe_dump(POLICY))
    words = ["policy", "export", str(file), "--format", "kafka-acls", "--brokers", "1", "--out", str(script)]
    assert CliRunner().invoke(app, words).exit_code == 0
    environment = _with_tools(cluster, tmp_path)
    admin = AdminClient(cluster.admin_config())
    assert read_acls(admin) == set()
    policy = read_policy(file)
    subprocess.run(["sh", script], env=environment, check=True, capture_output=True)
    assert read_acls(admin) == compile_policy(policy, datetime.now(UTC)).rows
    planned = plan_policy(policy, cluster.admin(), cluster.home)
    assert [step for step in planned.steps if step.what in ("TOPIC", "ACL")] == []
    acls = tmp_path / "acls.sh"
    acls.write_text("".join(line for line in script.open() if not line.startswith("topics --")))
    subprocess.run(["sh", acls], env=environment, check=True, capture_output=True)
    assert read_acls(admin) == compile_policy(policy, datetime.now(UTC)).rows
