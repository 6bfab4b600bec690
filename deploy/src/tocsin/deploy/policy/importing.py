"""A first policy from the ACLs that a cluster has: the same sight, and TODO where a person must say why. Pure.

Nobody is given more than the ACLs give now. What a policy cannot say is left out, and named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.policy.compile import member_of
from tocsin.deploy.policy.document import POLICE
from tocsin.deploy.policy.imported import TODO, Imported, Known
from tocsin.deploy.policy.levels import Kind, above, beneath, beyond, together, up_to
from tocsin.deploy.policy.prove import ELSEWHERE
from tocsin.deploy.policy.rows import (
    ANY_HOST,
    AUDITING,
    PUBLISHING,
    RECEIVING,
    SERVICE_ROWS,
    USER,
    barring_rows,
    officer_rows,
    own_rows,
    publishing_row,
)
from tocsin.schemas.directory import SECRETARIAT_ROLE
from tocsin.schemas.errors import NameInvalid
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic, AlertType, Tlp, inbox_topic, is_valid, member_id


def import_acls(
    rows: Collection[AclRow], topics: Iterable[str], coalition: str = TODO, known: Mapping[str, Known] | None = None
) -> Imported:
    """The policy by whose ACLs the members among `rows` would see what they see now, of the lanes among `topics`."""
    return _Importer(rows, topics, known or {}).imported(coalition)


class _Importer:
    """What one set of ACLs means."""

    def __init__(self, rows: Collection[AclRow], topics: Iterable[str], known: Mapping[str, Known]) -> None:
        self._rows = sorted(rows, key=lambda row: (row.principal, row.resource_type, row.name, row.text()))
        self._there = frozenset(rows)
        self._acls = AclSet(rows)
        self._known = known
        self._lanes = sorted({lane for topic in topics if (lane := _lane(topic)) is not None})
        self._kinds: list[Kind] = [(place, kind) for place in self._lanes for kind in AlertType]

    def imported(self, coalition: str) -> Imported:
        members = {member: self._member(member) for member in self._logins}
        content = {
            "coalition": coalition,
            "members": members,
            "agreements": [*self._agreements()],
            "transfers": [*self._transfers()],
            "prohibitions": [*self._prohibitions()],
        }
        return Imported(content, tuple(self._asks(coalition)), tuple(self._left()))

    # -- members -----------------------------------------------------------------------------------------------------

    @cached_property
    def _logins(self) -> dict[str, list[str]]:
        """The logins of every member: who may read its inbox, or may publish; its own first."""
        principals = {row.principal.removeprefix(USER) for row in self._rows if row.principal.startswith(USER)}
        members = {member_of(login) for login in principals if self._reads_inbox(login) or self._writes(login)}
        return {
            member: [member, *sorted(login for login in principals if login.startswith(f"{member}."))]
            for member in sorted(members)
            if is_valid(member_id, member)
        }

    def _reads_inbox(self, login: str) -> bool:
        row = AclRow("TOPIC", inbox_topic(member_of(login)), "LITERAL", f"{USER}{login}", ANY_HOST, "READ", "ALLOW")
        return row in self._there

    def _writes(self, login: str) -> list[Kind]:
        return [one for one in self._kinds if publishing_row(login, *one) in self._there]

    def _member(self, member: str) -> dict[str, Any]:
        place = self._places[member]
        publishes = [kind.value for at, kind in self._publishing(member) if at == place]
        logins = {login.removeprefix(f"{member}."): self._work(login) for login in self._logins[member][1:]}
        return {
            "role": self._role(member),
            "jurisdiction": place,
            **({"publishes": publishes} if publishes and not self._is_secretariat(member) else {}),
            **({"logins": logins} if logins else {}),
            **({"status": "suspended"} if self._is_barred(member) else {}),
        }

    def _role(self, member: str) -> str:
        if member in self._known:
            return self._known[member].role
        return SECRETARIAT_ROLE if self._is_secretariat(member) else TODO

    @cached_property
    def _places(self) -> dict[str, str]:
        """Each member's jurisdiction: as known, or the only one that it publishes in or reads the record of."""
        found: dict[str, str] = {}
        for member in self._logins:
            publishing = {place for place, _ in self._publishing(member)}
            audited = {place for login in self._logins[member] for place in self._audited(login)}
            only = next((place for places in (publishing, audited) if len(places) == 1 for place in places), TODO)
            found[member] = self._known[member].jurisdiction if member in self._known else only
        return found

    def _plane(self, member: str) -> str:
        role = self._role(member)
        return TODO if role == TODO else "police" if role == POLICE else "private"

    def _is_secretariat(self, member: str) -> bool:
        if member in self._known:
            return self._known[member].role == SECRETARIAT_ROLE
        return len(self._lanes) > 1 and self._writes(member) == self._kinds

    def _is_barred(self, member: str) -> bool:
        return all(row in self._there for row in barring_rows(member))

    def _publishing(self, member: str) -> list[Kind]:
        publishers = [login for login in self._logins[member] if self._work(login) in PUBLISHING]
        return sorted({one for login in publishers for one in self._writes(login)})

    def _work(self, login: str) -> str:
        if login == member_of(login):
            return "all"
        if self._reads_inbox(login):
            return "receive"
        return AUDITING if self._audited(login) else "publish"

    def _audited(self, login: str) -> list[str]:
        """The jurisdictions whose record a login may read."""
        return [place for place in self._lanes if all(row in self._there for row in officer_rows(login, place))]

    # -- sight -------------------------------------------------------------------------------------------------------

    @cached_property
    def _sight(self) -> dict[str, dict[Kind, set[Tlp]]]:
        return {member: self._labels([member], DELIVERY_HOST) for member in self._logins}

    @cached_property
    def _direct(self) -> dict[str, dict[Kind, set[Tlp]]]:
        """What all of a member's clients that may receive, may read by themselves."""
        return {
            member: self._labels([login for login in logins if self._work(login) in RECEIVING], ELSEWHERE)
            for member, logins in self._logins.items()
        }

    def _labels(self, logins: Collection[str], host: str) -> dict[Kind, set[Tlp]]:
        """Of each kind the labels that every one of `logins` may READ."""
        return {
            one: {tlp for tlp in Tlp if all(self._may_read(login, host, AlertTopic(*one, tlp)) for login in logins)}
            for one in self._kinds
        }

    def _may_read(self, login: str, host: str, topic: AlertTopic) -> bool:
        return self._acls.decide(f"{USER}{login}", host, "READ", "TOPIC", topic.name).allowed

    def _agreements(self) -> Iterator[dict[str, Any]]:
        direct = {member: up_to(labels) for member, labels in self._direct.items()}
        seen = {
            # what an agreement gives directly, it gives
            member: {one: top for one, top in up_to(labels).items() if top != direct[member].get(one)}
            for member, labels in self._sight.items()
        }
        number = 0
        for reach, more in ((direct, {"direct": True}), (seen, {})):
            for members, places, types, level in together(reach):
                number += 1
                yield {
                    "id": f"imported-{number}",
                    "alerts_of": places,
                    "types": [kind.value for kind in types],
                    "up_to": level.value,
                    "to": {"members": members},
                    "purposes": [TODO],
                    "legal_basis": TODO,
                    **more,
                }

    def _transfers(self) -> Iterator[dict[str, Any]]:
        """By what alerts cross borders: a row for each destination, and for each member whose own is not known."""
        found: dict[tuple[str, str, str], set[str]] = {}
        for member, labels in self._sight.items():
            to, plane = self._places[member], self._plane(member)
            abroad = {place for place, _ in up_to(labels)} - {to}
            if abroad:
                whose = f", for {member}" if TODO in (to, plane) else ""
                found.setdefault((to, plane, whose), set()).update(abroad)
        for (to, plane, whose), places in sorted(found.items()):
            row = {"from": sorted(places), "to": [to], "plane": plane, "mechanism": TODO}
            yield {**row, "reference": f"imported{whose}; to be named"}

    # -- prohibitions ------------------------------------------------------------------------------------------------

    @cached_property
    def _denied(self) -> dict[str, dict[Kind, set[Tlp]]]:
        """What every login is forbidden to read."""
        rows: dict[str, list[AclRow]] = {login: [] for logins in self._logins.values() for login in logins}
        for row in self._rows:
            if self._forbids(row):
                rows.setdefault(row.principal.removeprefix(USER), []).append(row)
        return {login: self._labels_on(some) for login, some in rows.items()}

    def _labels_on(self, rows: Collection[AclRow]) -> dict[Kind, set[Tlp]]:
        return {
            one: {tlp for tlp in Tlp if any(_is_on(row, AlertTopic(*one, tlp).name) for row in rows)}
            for one in self._kinds
        }

    def _forbids(self, row: AclRow) -> bool:
        what = (row.permission, row.resource_type, row.operation, row.host)
        barred = row.name == "alerts." and self._is_barred(member_of(row.principal.removeprefix(USER)))
        return what == ("DENY", "TOPIC", "READ", ANY_HOST) and row.name.startswith("alerts.") and not barred

    def _prohibitions(self) -> Iterator[dict[str, Any]]:
        denied = {member: above(self._denied[member]) for member in self._logins}
        for number, (members, places, types, level) in enumerate(together(denied), 1):
            yield {
                "id": f"imported-{number}",
                "alerts_of": places,
                **({} if len(types) == len(AlertType) else {"types": [kind.value for kind in types]}),
                **({} if level is None else {"above": level.value}),
                "to": {"members": members},
                "reason": "imported, a DENY; to be named",
            }

    # -- what is not said --------------------------------------------------------------------------------------------

    def _asks(self, coalition: str) -> Iterator[str]:
        if coalition == TODO:
            yield "coalition: its name, which signatures carry"
        for member in self._logins:
            if self._role(member) == TODO:
                yield f"members.{member}.role: ACLs do not say it"
            if self._places[member] == TODO:
                yield f"members.{member}.jurisdiction: {self._why_nowhere(member)}"
        yield "purposes and legal_basis of each agreement, mechanism and reference of each transfer"

    def _why_nowhere(self, member: str) -> str:
        places = sorted({place for place, _ in self._publishing(member)})
        return f"it publishes in {', '.join(places)}" if places else "it publishes nothing, which would tell"

    def _left(self) -> Iterator[str]:
        if not self._logins:
            yield f"nobody: no login {USER}<member> may READ inbox.<member>, or publish"
        for row in self._rows:
            if not self._is_said(row):
                yield f"{row.text()} ({row.resource_type.lower()})"
        for member in self._logins:
            yield from self._left_of(member)

    def _left_of(self, member: str) -> Iterator[str]:
        for name in beyond(self._sight[member], up_to(self._sight[member])):
            yield f"{USER}{member} sees {name}, but not all more open labels; up_to cannot say this"
        readable = self._labels([member], ELSEWHERE)
        for name in beyond(readable, up_to(self._direct[member])):
            yield f"{USER}{member} may read {name} itself; not all of its logins may, or not all more open labels"
        denied = self._denied[member]
        for name in beneath(denied, above(denied)):
            yield f"DENY READ {USER}{member} {name}, but not all less open labels; above cannot say this"

    def _is_said(self, row: AclRow) -> bool:
        """Whether the policy has something from `row`; what of it is missing, `_left_of` says."""
        login = row.principal.removeprefix(USER)
        member = member_of(login)
        if login in SERVICE_ROWS:
            return row in {*SERVICE_ROWS[login](self._lanes)}
        if row.principal == login or login not in self._logins.get(member, ()):
            return False
        if row.permission == "DENY":
            return self._is_denial_said(row, member, login)
        own = {*own_rows(member, login), *officer_rows(login, self._places[member])}
        return row in own or self._is_publishing(row, member, login) or _is_reading(row, login)

    def _is_denial_said(self, row: AclRow, member: str, login: str) -> bool:
        if row in {*barring_rows(login)} and self._is_barred(member):
            return True
        mine, whole = self._denied[login], self._denied[member]
        return self._forbids(row) and all(mine[one] <= whole[one] for one in self._kinds)

    def _is_publishing(self, row: AclRow, member: str, login: str) -> bool:
        place = self._places[member]
        return self._work(login) in PUBLISHING and any(
            row == publishing_row(login, *one) and (one[0] == place or self._is_secretariat(member))
            for one in self._kinds
        )


def _lane(topic: str) -> str | None:
    try:
        return AlertTopic.parse(topic).jurisdiction
    except NameInvalid:
        return None


def _is_on(row: AclRow, topic: str) -> bool:
    return topic == row.name or (row.pattern == "PREFIXED" and topic.startswith(row.name))


def _is_reading(row: AclRow, login: str) -> bool:
    hosts = (DELIVERY_HOST, ANY_HOST) if login == member_of(login) else (ANY_HOST,)
    return (row.resource_type, row.operation) == ("TOPIC", "READ") and (
        row.name.startswith("alerts.") and row.host in hosts
    )
