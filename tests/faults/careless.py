"""Applies policies carelessly: what replaces a row comes after it has gone, or sight of everything for a moment."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import tocsin.deploy.policy.apply as applying
from tocsin.consumers.acl import AclRow
from tocsin.deploy import cli
from tocsin.deploy.policy.changes import AclChanges, acl_changes


def _late(*words: Any) -> AclChanges:
    changes = acl_changes(*words)
    return replace(changes, replacing=(), new=(*changes.replacing, *changes.new))


def _wide(live: Collection[AclRow], wanted: Collection[AclRow], *words: Any) -> AclChanges:
    changes = acl_changes(live, wanted, *words)
    everything = AclRow("TOPIC", "alerts.", "PREFIXED", "User:reader-00", "192.0.2.1", "READ", "ALLOW")
    return replace(changes, replacing=(everything,), lifted=(*changes.lifted, everything))


def main() -> None:
    """Run the command; its first word says which way."""
    ways: dict[str, Any] = {"late": _late, "wide": _wide}
    setattr(applying, "acl_changes", ways[sys.argv.pop(1)])  # noqa: B010  # it is not the module's own
    cli.main()
