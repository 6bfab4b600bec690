"""A member is suspended, taken back, or leaves. What is to end ends first, and all of it is in the journal before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tocsin.deploy.errors import MemberRefused
from tocsin.deploy.members.desk import Desk
from tocsin.deploy.policy.acls import create_acls
from tocsin.deploy.policy.apply import Applied, said_clearly
from tocsin.deploy.policy.document import POLICE
from tocsin.deploy.policy.journal import Change, Kind, Step, acl_name, read_journal, write
from tocsin.deploy.policy.rows import barring_rows
from tocsin.deploy.policy.users import Credential, delete_credentials, scram_users, set_users
from tocsin.schemas.bundle import PASSWORD, TOKEN_KEYS, Bundle
from tocsin.schemas.tokens import Plane, TokenKey
from tocsin.schemas.uuid7 import uuid7


@dataclass(frozen=True, slots=True)
class Left:
    """What became of a member's leaving: new token keys, sealed for those who stay; `dropped` are no longer in use."""

    applied: Applied
    sealed: Sequence[Path]
    dropped: Sequence[TokenKey]


def suspend(desk: Desk, name: str, *, by: str, why: str, lock_out: bool = False) -> Applied:
    """End a member's sight and publishing at once, then say so in the directory.

    With `lock_out` its passwords are deleted too: sessions that are open end within `connections.max.reauth.ms`.

    Raises:
        MemberRefused: it is no member, or has left. Nothing was changed.
        PolicyNotApplied: the cluster refused a part; running it again is safe.
    """
    with said_clearly("the cluster refused"):
        _bar(desk, Kind.SUSPENDED, name, by=by, why=why, locked=desk.logins(name) if lock_out else ())
        return desk.apply(name, by)[1]


def _bar(desk: Desk, kind: Kind, name: str, *, by: str, why: str, locked: Sequence[str] = ()) -> None:
    """Put it on record, then deny the member all alerts, whatever else is granted."""
    rows = [row for login in desk.logins(name) for row in barring_rows(login)]
    if kind is Kind.SUSPENDED:
        _insist_it_stays(desk, name)
    steps = [Step("CREATE", "ACL", acl_name(row), (f"{name} is {kind.value.lower()}: {why}",)) for row in rows]
    steps += [Step("DELETE", "USER", login) for login in locked]
    _write(desk, kind, name, by, why, steps)
    create_acls(desk.admin, rows)
    if locked:
        users = scram_users(desk.admin)
        delete_credentials(desk.admin, [(login, one) for login in locked for one in users.get(login, ())])


def _insist_it_stays(desk: Desk, name: str) -> None:
    if desk.member(name).status == "withdrawn" or read_journal(desk.admin_bundle).standing.get(name) == "withdrawn":
        raise MemberRefused(f"{name} has left, and ids are never used again")


def _write(desk: Desk, kind: Kind, name: str, by: str, why: str, steps: Sequence[Step] = ()) -> None:
    now = datetime.now(UTC)
    write(
        desk.admin_bundle,
        Change(change_id=str(uuid7()), kind=kind, at=now, by=by, why=why, member=name, steps=tuple(steps)),
    )


def resume(desk: Desk, name: str, *, by: str, why: str) -> Applied:
    """Take a suspended member back, with the sight that the policy gives it, and its passwords.

    Raises:
        MemberRefused: it is no member, has left, or the policy files themselves suspend it. Nothing was changed.
        PlanRefused: somebody's word is needed for its sight. It is on record as resumed; plan, approve and apply.
        PolicyNotApplied: the cluster refused a part; running it again is safe.
    """
    if not desk.member(name).active:
        raise MemberRefused(f"the policy says that {name} is {desk.member(name).status}; change its status there")
    with said_clearly("the cluster refused"):
        _insist_it_stays(desk, name)
        _write(desk, Kind.RESUMED, name, by, why)
        _, applied = desk.apply(name, by, approved=True)
        users = scram_users(desk.admin)
        set_users(desk.admin, {login: _credential(desk, login) for login in _logins_made(desk, name) - users.keys()})
        return applied


def _logins_made(desk: Desk, name: str) -> set[str]:
    return {login for login in desk.logins(name) if (desk.store.member(login) / PASSWORD).exists()}


def _credential(desk: Desk, login: str) -> Credential:
    return Credential(Bundle.load(desk.store.member(login)).config.mechanism, desk.store.passwords(login).current)


def offboard(desk: Desk, name: str, *, by: str, why: str) -> Left:
    """Let a member leave for good: its sight ends, it is withdrawn, and who stays gets token keys that it never had.

    It is still sent withdrawal notices, so its logins stay. Again, it changes no token keys, and seals them again.

    Raises:
        MemberRefused: it is no member. Nothing was changed.
        PolicyNotApplied: the cluster refused a part; running it again is safe.
    """
    planes: Sequence[Plane] = ("police", "private") if desk.member(name).role == POLICE else ("private",)
    with said_clearly("the cluster refused"):
        _bar(desk, Kind.WITHDRAWN, name, by=by, why=why)
        dropped = desk.store.change_token_keys(planes, name)
        application, applied = desk.apply(name, by)
        desk.store.give_token_keys(application.policy)
    staying = [
        one
        for one, member in application.policy.members.items()
        if member.status != "withdrawn" and one in desk.policy.members and desk.store.member_keys(one) is not None
    ]
    sealed = [path for one in staying for path in seal_token_keys(desk, one)]
    return Left(applied, sealed, dropped)


def seal_token_keys(desk: Desk, name: str) -> list[Path]:
    """Seal a member's token keys for it, vouched for by its password."""
    passwords = {login: desk.store.passwords(login).current for login in desk.logins(name)}
    return [*desk.seal(name, [TOKEN_KEYS], vouching=passwords, kind="token-keys")]
