"""The directory document: who the members are and which keys are theirs, signed by the root keys, in the topic.

Its predecessor is carried over (versions, older keys), so it is believed only when the root keys have signed it: who
can write to the topic must not get a key of theirs signed by us.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tocsin.deploy.errors import PolicyInvalid, PolicyNotApplied
from tocsin.deploy.policy.document import Member, Policy
from tocsin.deploy.policy.records import Published, append_all, read_all
from tocsin.deploy.policy.secrets import MemberKey, RootKey
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.directory import (
    EXCHANGE,
    Directory,
    DirectoryKey,
    DirectoryMember,
    Roots,
    open_directory,
    sign_directory,
)
from tocsin.schemas.errors import DirectoryInvalid
from tocsin.schemas.names import DIRECTORY_TOPIC
from tocsin.schemas.signing import SIGNATURE_HEADER, SigningKey

DAY_MS: Final = 86_400_000
KEY_LIFE_MS: Final = 366 * DAY_MS
DIRECTORY_LIFE_MS: Final = 90 * DAY_MS
# members' clocks may be behind ours
CLOCK_SLACK_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Current:
    """The directory in force, and how many root keys have signed it."""

    directory: Directory
    signatures: int


def newest(records: Iterable[Published], policy: Policy, roots: Sequence[RootKey]) -> Current | None:
    """The highest version among `records` that `roots` have signed, expired or not; None when there are no records.

    Raises:
        PolicyNotApplied: there are records, and none is signed by enough of these root keys.
    """
    pinned = Roots(tuple(root.public.hex() for root in roots), policy.roots_threshold)
    found: list[Current] = []
    refused = ""
    for record in records:
        try:
            # expiry is not asked about: an expired directory still has the versions and keys to go on from
            opened = open_directory(record.value, record.headers, pinned, coalition=policy.coalition, now_ms=0)
            found.append(Current(opened, sum(name == SIGNATURE_HEADER for name, _ in record.headers)))
        except DirectoryInvalid as error:
            refused = str(error)
    if refused and not found:
        raise PolicyNotApplied(
            f"{refused}; put the root keys that signed it into roots/, or, to add a root key, raise `roots` in one"
            " application and `roots_threshold` in the next"
        )
    return max(found, key=lambda one: one.directory.version, default=None)


def successor(
    policy: Policy,
    keys: Iterable[MemberKey],
    current: Current | None,
    now_ms: int,
    *,
    signatures_min: int | None = None,
) -> Directory | None:
    """The next document, in which `keys` count.

    None while the current one says the same, is signed by enough root keys (all that the policy has, if not said
    otherwise), and is not half expired.
    """
    before = current.directory if current else None
    document = Directory(
        coalition=policy.coalition,
        version=before.version + 1 if before else 1,
        issued_at=now_ms,
        expires_at=now_ms + DIRECTORY_LIFE_MS,
        members=_members(policy, before),
        keys=_keys(keys, before, now_ms),
    )
    if current is None or current.directory.expires_at - now_ms < DIRECTORY_LIFE_MS // 2:
        return document
    same = current.directory.members == document.members and current.directory.keys == document.keys
    return None if same and current.signatures >= (signatures_min or policy.roots) else document


def stay_withdrawn(policy: Policy, current: Current | None) -> Policy:
    """`policy` with those whom it no longer names: withdrawn, still told of withdrawals.

    Raises:
        PolicyInvalid: it names as active who has left: ids are never used again.
    """
    found = current.directory.members if current else {}
    back = [
        name
        for name, one in policy.members.items()
        if one.status != "withdrawn" and name in found and found[name].status == "WITHDRAWN"
    ]
    if back:
        raise PolicyInvalid(f"members.{back[0]}: has left, and ids are never used again; give it another")
    left = {
        name: Member.model_validate({"role": one.role, "jurisdiction": one.jurisdiction, "status": "withdrawn"})
        for name, one in found.items()
        if name not in policy.members and name != EXCHANGE
    }
    return policy.model_copy(update={"members": {**policy.members, **left}}) if left else policy


def would_be(policy: Policy, directory: Directory) -> Directory:
    """`directory` with the members that it would have once `policy` is applied. Nothing signs it."""
    return replace(directory, members=_members(policy, directory))


def _members(policy: Policy, before: Directory | None) -> dict[str, DirectoryMember]:
    """The policy's members, and those that it no longer names: withdrawn, since ids are never used again."""
    gone = {name: replace(one, status="WITHDRAWN") for name, one in (before.members if before else {}).items()}
    named = {
        name: DirectoryMember(name, one.role, one.jurisdiction, one.status.upper())
        for name, one in policy.members.items()
    }
    return {**gone, **named, EXCHANGE: DirectoryMember(EXCHANGE, "exchange", "eu", "ACTIVE")}


def _keys(keys: Iterable[MemberKey], before: Directory | None, now_ms: int) -> dict[str, DirectoryKey]:
    known = dict(before.keys) if before else {}
    for key in keys:
        if key.key_id not in known:
            known[key.key_id] = DirectoryKey(
                key.key_id, key.member, key.public, now_ms - CLOCK_SLACK_MS, now_ms + KEY_LIFE_MS
            )
        known[key.key_id] = _ended(known[key.key_id], key)
    return known


def _ended(known: DirectoryKey, key: MemberKey) -> DirectoryKey:
    """`known` with the end that it has got since; what is revoked stays so, and no end is put off."""
    if key.ends_ms is not None:
        known = replace(known, valid_to=min(known.valid_to, key.ends_ms))
    return known if key.trusted is None else replace(known, revoked=True, trusted=dict(key.trusted))


# -- the topic -------------------------------------------------------------------------------------------------------


def read_published(admin_bundle: Bundle) -> list[Published]:
    """All records of the topic, oldest first; none while it has just been made. Raises PolicyNotApplied."""
    return read_all(admin_bundle, DIRECTORY_TOPIC)


def publish(admin_bundle: Bundle, document: Directory, roots: Sequence[SigningKey]) -> None:
    """Sign `document` and append it to the topic. Raises PolicyNotApplied."""
    value, headers = sign_directory(document, roots)
    append_all(admin_bundle, DIRECTORY_TOPIC, DIRECTORY_TOPIC, [Published(value, headers)])
