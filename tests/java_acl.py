"""Creates ACLs that librdkafka cannot write, with Kafka's Java client, in a process of its own (see oracle.py)."""

from __future__ import annotations

import sys
from typing import Any

from tests.oracle import start_jvm

_COMMON = "org.apache.kafka.common"


def main() -> None:
    """Create one ACL on a topic: `client.properties bootstrap topic principal operation`."""
    settings, bootstrap, topic, principal, operation = sys.argv[1:]
    java = start_jvm()
    properties = java("java.util.Properties")()
    with java("java.io.FileInputStream")(settings) as stream:
        properties.load(stream)
    properties.put("bootstrap.servers", bootstrap)
    with java("org.apache.kafka.clients.admin.Admin").create(properties) as admin:
        binding = _binding(java, topic, principal, operation)
        admin.createAcls(java("java.util.List").of(binding)).all().get()


def _binding(java: Any, topic: str, principal: str, operation: str) -> Any:
    literal = java(f"{_COMMON}.resource.PatternType").LITERAL
    pattern = java(f"{_COMMON}.resource.ResourcePattern")(
        java(f"{_COMMON}.resource.ResourceType").TOPIC, topic, literal
    )
    entry = java(f"{_COMMON}.acl.AccessControlEntry")(
        principal,
        "*",
        java(f"{_COMMON}.acl.AclOperation").valueOf(operation),
        java(f"{_COMMON}.acl.AclPermissionType").ALLOW,
    )
    return java(f"{_COMMON}.acl.AclBinding")(pattern, entry)


if __name__ == "__main__":
    main()
