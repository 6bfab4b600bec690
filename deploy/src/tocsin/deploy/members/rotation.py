"""A member's next signing key and password: beside the old ones for a while, or in their place at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from tocsin.deploy.errors import MemberRefused
from tocsin.deploy.members.desk import Desk
from tocsin.deploy.members.request import Request
from tocsin.deploy.policy.acls import ANSWERED_S, WAIT_S
from tocsin.deploy.policy.apply import Applied, said_clearly
from tocsin.deploy.policy.member_keys import KnownKey, MemberKeys
from tocsin.deploy.policy.secrets import SecretStore
from tocsin.deploy.policy.users import scram_users
from tocsin.schemas.directory import SECRETARIAT_ROLE
from tocsin.schemas.names import outbox_topic


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was done: the directory, and the sealed bundles with the next passwords."""

    applied: Applied
    sealed: list[Path]


def rotate(
    desk: Desk, name: str, request: Request, *, by: str, overlap: timedelta, trusted: Mapping[str, int] | None = None
) -> Rotated:
    """Let the key of `request` follow the member's, and each of its logins have a second password.

    The old keys count for as long as `overlap`; or, if `trusted` is given, they are revoked, and what they signed
    counts up to these offsets. The old passwords work until `finish`. Again with the same request it takes up what was
    interrupted.

    Raises:
        MemberRefused: the request is not for this member, or the rotation before this one is not finished.
        PolicyNotApplied: the cluster refused a part; running it again is safe.
    """
    desk.check_request(name, request)
    with said_clearly("the cluster refused"):
        _keep_key(desk, name, request, datetime.now(UTC) + overlap, trusted)
        desk.make_bundles(name)
        users = scram_users(desk.admin)
        for login in desk.logins(name):
            desk.store.passwords(login).follow(desk.admin if login in users else None)
        _, applied = desk.apply(name, by, acls=False)
    passwords = {login: desk.store.passwords(login) for login in desk.logins(name)}
    known = {login: one.old or one.current for login, one in passwords.items()}
    return Rotated(applied, [*desk.seal(name, vouching=known)])


def _keep_key(desk: Desk, name: str, request: Request, ends: datetime, trusted: Mapping[str, int] | None) -> None:
    """The new key is known, the old ones have their end; a key that was made here is the member's own from now on."""
    keys = desk.store.member_keys(name) or _from_custody(desk, name, request.sealing)
    if keys.signing[-1].public != request.signing:
        if keys.knows(request.signing):
            raise MemberRefused("that key is an old one of this member's; ask it for a request with a new one")
        _insist_finished(desk, name)
        keys = keys.followed(request.public.hex(), request.sealing, request.at)
    keys = keys.ended(ends) if trusted is None else keys.revoked(dict(trusted))
    desk.store.keep_keys(name, keys)
    for login in desk.logins(name):
        desk.store.forget_keys(login)


def _insist_finished(desk: Desk, name: str) -> None:
    if any(desk.store.passwords(login).old is not None for login in desk.logins(name)):
        raise MemberRefused(
            f"{name} still has the password from before its last rotation; once it uses the new one, run `tocsin member"
            f" rotate {name} --finish`"
        )


def _from_custody(desk: Desk, name: str, sealing: str) -> MemberKeys:
    now = datetime.now(UTC)
    folders = [desk.store.member(login) for login in desk.logins(name)]
    keys = [key for folder in folders for key in SecretStore.keys_in(folder, name)]
    if not keys:
        raise MemberRefused(f"{name} has no key that could be followed; run `tocsin member onboard {name}`")
    return MemberKeys(sealing=sealing, signing=tuple(KnownKey(public=key.public.hex(), since=now) for key in keys))


def finish(desk: Desk, name: str) -> list[str]:
    """Delete the old passwords. Returns the logins that had one. Raises PolicyNotApplied."""
    with said_clearly("the cluster refused"):
        users = scram_users(desk.admin)
        return [login for login in desk.logins(name) if desk.store.passwords(login).finish(desk.admin, users)]


def ends_now(desk: Desk, name: str) -> dict[str, int]:
    """The last offset that there is now of each topic that the member may have signed in, if it has one.

    Raises:
        KafkaException: refused.
    """
    member = desk.member(name)
    prefix = "alerts." if member.role == SECRETARIAT_ROLE else f"alerts.{member.jurisdiction}."
    there = desk.admin.list_topics(timeout=WAIT_S).topics
    topics = [topic for topic in there if topic.startswith(prefix) or topic == outbox_topic(name)]
    latest: Any = OffsetSpec.latest()
    asked: Any = desk.admin.list_offsets({TopicPartition(topic, 0): latest for topic in topics})
    ends = {place.topic: future.result(ANSWERED_S).offset for place, future in asked.items()}
    return {topic: end - 1 for topic, end in sorted(ends.items()) if end > 0}
