"""All members: who they are, how they stand, which keys are theirs, and what they have been given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tocsin.deploy.members.desk import Desk
from tocsin.deploy.moments import moment
from tocsin.deploy.policy.apply import Application
from tocsin.deploy.policy.compile import logins
from tocsin.deploy.policy.secrets import MemberKey
from tocsin.deploy.policy.users import scram_users
from tocsin.schemas.bundle import SIGNING_KEY
from tocsin.schemas.directory import Directory, DirectoryKey


def roll(desk: Desk) -> list[dict[str, Any]]:
    """One row for each member of the policy, and of those that have left. Raises KafkaException, PolicyNotApplied."""
    application = Application(desk.policy, desk.admin_bundle, desk.home)
    directory = application.directory.directory if application.directory else None
    users = scram_users(desk.admin)
    keys = _keys(directory, desk.store.known_keys(desk.policy))
    rows: list[dict[str, Any]] = []
    for name, member in application.policy.members.items():
        there = [login for login in logins(application.policy, name) if login in users]
        rows.append(
            {
                "member": name,
                "role": member.role,
                "jurisdiction": member.jurisdiction,
                "status": member.status,
                "keys": "; ".join(keys.get(name, ())) or None,
                "logins": ", ".join(there) or None,
                "bundle": _bundle(desk, name),
            }
        )
    return rows


def _keys(directory: Directory | None, ours: Iterable[MemberKey]) -> dict[str, list[str]]:
    """Member -> its keys and until when they count."""
    known = directory.keys if directory else {}
    found: dict[str, list[str]] = {}
    for key in known.values():
        found.setdefault(key.member, []).append(f"{key.key_id} {_validity(key)}")
    for mine in ours:
        if mine.key_id not in known:
            found.setdefault(mine.member, []).append(f"{mine.key_id} not in the directory yet")
    return found


def _validity(key: DirectoryKey) -> str:
    if key.revoked:
        return "revoked"
    begins, ends = (moment(ms).date() for ms in (key.valid_from, key.valid_to))
    return f"{begins} to {ends}"


def _bundle(desk: Desk, name: str) -> str | None:
    if desk.store.member_keys(name) is not None:
        return "sealed: the member has its keys"
    made_here = (desk.store.member(name) / SIGNING_KEY).exists()
    return "open: its keys were made here" if made_here else None
