"""The policy: members, agreements and subscriptions, checked. Errors name file, line and remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.yaml_file import Place, YamlFile, read_yaml
from tocsin.schemas.errors import NameInvalid
from tocsin.schemas.names import AlertType, Tlp, jurisdiction, member_id

Role = Literal[
    "bank",
    "scheme",
    "acquirer",
    "processor",
    "e-wallet",
    "isp",
    "host",
    "registrar",
    "hotline",
    "police",
    "secretariat",
]
Status = Literal["active", "suspended", "withdrawn"]


def _checked(rule: Callable[[str], str]) -> AfterValidator:
    def check(text: str) -> str:
        try:
            return rule(text)
        except NameInvalid as error:
            raise ValueError(str(error)) from error

    return AfterValidator(check)


MemberId = Annotated[str, _checked(member_id)]
Jurisdiction = Annotated[str, _checked(jurisdiction)]
# three letters at least, so that no group can be taken for a jurisdiction
GroupName = Annotated[str, Field(pattern=r"^[a-z0-9-]{3,40}$")]


class Faults(ValueError):
    """What is wrong between parts of the policy, each with its place."""

    def __init__(self, faults: Iterable[tuple[Place, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{'.'.join(map(str, place))}: {text}" for place, text in self.faults))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Wish(_Part):
    """What a member asks for: everything it may see, or named types, jurisdictions and labels (left out = any)."""

    everything: bool = False
    types: tuple[AlertType, ...] = Field(default=(), min_length=1)
    jurisdictions: tuple[Jurisdiction, ...] = Field(default=(), min_length=1)
    tlps: tuple[Tlp, ...] = Field(default=(), min_length=1)
    own: bool = False

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if self.everything == bool(self.types or self.jurisdictions or self.tlps):
            raise ValueError("say either `everything: true`, or some of types, jurisdictions and tlps")
        return self


class Member(_Part):
    """An organisation. `publishes` are the alert types that it may write in its jurisdiction."""

    role: Role
    jurisdiction: Jurisdiction
    publishes: tuple[AlertType, ...] = ()
    status: Status = "active"
    subscription: Wish | None = None


class Parties(_Part):
    """Members by name, role, jurisdiction or group; a member must match every list that is given."""

    members: tuple[MemberId, ...] = Field(default=(), min_length=1)
    roles: tuple[Role, ...] = Field(default=(), min_length=1)
    jurisdictions: tuple[str, ...] = Field(default=(), min_length=1)
    without: tuple[MemberId, ...] = ()

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.members or self.roles or self.jurisdictions):
            raise ValueError("name members, roles or jurisdictions: an empty audience is nobody, not everybody")
        return self


class Agreement(_Part):
    """Who may see which alerts of which jurisdictions, up to which label.

    `direct` lets the parties' own clients read the alert topics, past the fan-out and its audit.
    """

    id: str = Field(pattern=r"^[a-z0-9-]{2,60}$")
    alerts_of: tuple[str, ...] = Field(min_length=1)
    to: Parties
    types: tuple[AlertType, ...] = Field(min_length=1)
    up_to: Tlp
    direct: bool = False
    valid_from: date | None = None
    valid_to: date | None = None

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError(f"valid_to {self.valid_to} lies before valid_from {self.valid_from}; swap or correct them")
        return self

    def in_force(self, today: date) -> bool:
        """Whether it counts on `today`; both dates belong to it."""
        return (self.valid_from is None or self.valid_from <= today) and (
            self.valid_to is None or today <= self.valid_to
        )


class Policy(_Part):
    """All files of a policy as one."""

    coalition: str = Field(pattern=r"^[a-z0-9-]{2,40}$")
    roots: int = Field(default=1, ge=1, le=16, description="How many root keys sign the directory.")
    roots_threshold: int = Field(default=1, ge=1)
    groups: dict[GroupName, Annotated[tuple[Jurisdiction, ...], Field(min_length=1)]] = {}
    members: dict[MemberId, Member] = Field(min_length=1)
    agreements: tuple[Agreement, ...] = ()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if faults := [*self._faults()]:
            raise Faults(faults)
        return self

    def _faults(self) -> Iterator[tuple[Place, str]]:
        if self.roots_threshold > self.roots:
            yield ("roots_threshold",), f"more than roots ({self.roots}), so no directory could be valid; lower it"
        seen: set[str] = set()
        for index, agreement in enumerate(self.agreements):
            place: Place = ("agreements", index)
            if agreement.id in seen:
                yield (*place, "id"), f"another agreement is called {agreement.id}; every id stands once"
            seen.add(agreement.id)
            yield from self._unknown_names(agreement, place)

    def _unknown_names(self, agreement: Agreement, place: Place) -> Iterator[tuple[Place, str]]:
        places = {*self.groups, *self.jurisdictions()}
        named: list[tuple[Place, tuple[str, ...], Iterable[str], str]] = [
            (("alerts_of",), agreement.alerts_of, places, "group, nor the jurisdiction of a member; correct it"),
            (("to", "jurisdictions"), agreement.to.jurisdictions, places, "group, nor a member's jurisdiction"),
            (("to", "members"), agreement.to.members, self.members, "member; add it under members"),
            (("to", "without"), agreement.to.without, self.members, "member; add it under members"),
        ]
        for key, names, known, text in named:
            for at, name in enumerate(names):
                if name not in known:
                    yield (*place, *key, at), f"{name!r} is no {text}"

    def jurisdictions(self) -> tuple[str, ...]:
        """Every jurisdiction that has a member, sorted: each is a lane."""
        return tuple(sorted({member.jurisdiction for member in self.members.values()}))

    def expand(self, names: tuple[str, ...]) -> set[str]:
        """Jurisdictions, with groups replaced by theirs."""
        return {one for name in names for one in self.groups.get(name, (name,))}

    def matching(self, parties: Parties) -> Iterator[str]:
        """The members that `parties` names."""
        places = self.expand(parties.jurisdictions)
        for name, member in self.members.items():
            if (
                name not in parties.without
                and (not parties.members or name in parties.members)
                and (not parties.roles or member.role in parties.roles)
                # not `places`: what a group expands to must never decide whether there is a condition
                and (not parties.jurisdictions or member.jurisdiction in places)
            ):
                yield name


# -- reading ---------------------------------------------------------------------------------------------------------


def read_policy(*paths: Path) -> Policy:
    """The policy in YAML files: their members, groups and agreements together; all else stands in one of them.

    Raises:
        PolicyInvalid: naming file, line and remedy, one line for each fault.
    """
    merged = _Merged()
    for path in paths:
        merged.add(read_yaml(path))
    try:
        return Policy.model_validate(merged.content)
    except ValidationError as error:
        raise PolicyInvalid("\n".join(merged.explain(error))) from error


class _Merged:
    """Several files as one, and which file and line each part came from."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}
        self._files: list[YamlFile] = []
        self._origin: dict[Place, tuple[YamlFile, Place]] = {}

    def add(self, file: YamlFile) -> None:
        """Add a file. Raises PolicyInvalid."""
        if not isinstance(file.content, dict):
            raise PolicyInvalid(f"{file.where(())}: a policy has keys: coalition, members, agreements")
        self._files.append(file)
        for key, value in file.content.items():
            if key in ("members", "groups") and isinstance(value, dict):
                for name, part in value.items():
                    self._put((key, str(name)), file, (key, str(name)))
                    self.content.setdefault(key, {})[name] = part
            elif key == "agreements" and isinstance(value, list):
                together = self.content.setdefault(key, [])
                for index in range(len(value)):
                    self._put((key, len(together) + index), file, (key, index))
                together.extend(value)
            else:
                self._put((str(key),), file, (str(key),))
                self.content[str(key)] = value

    def _put(self, place: Place, file: YamlFile, there: Place) -> None:
        if place in self._origin:
            first, at = self._origin[place]
            raise PolicyInvalid(f"{file.where(there)}: {place[-1]!r} stands at {first.where(at)} already; keep one")
        self._origin[place] = file, there

    def explain(self, error: ValidationError) -> Iterator[str]:
        """One line for each fault: `file:line: place: what to do`."""
        for one in error.errors():
            loc = tuple(part for part in one["loc"] if part != "[key]")
            cause = one.get("ctx", {}).get("error")
            faults = cause.faults if isinstance(cause, Faults) else [((), _remedy(one["type"], one["msg"]))]
            for place, text in faults:
                whole = (*loc, *place)
                yield f"{self._where(whole)}: {'.'.join(map(str, whole)) or 'policy'}: {text}"

    def _where(self, place: Place) -> str:
        for length in (2, 1):
            if place[:length] in self._origin:
                file, there = self._origin[place[:length]]
                return file.where((*there, *place[length:]))
        return ", ".join(str(file.path) for file in self._files)


_REMEDIES = {
    "extra_forbidden": "no such key here; correct its spelling or remove it",
    "missing": "is missing; add it",
    "too_short": "is empty, which could be read as nobody or as everybody; name some, or remove the key",
}


def _remedy(kind: str, message: str) -> str:
    return _REMEDIES.get(kind) or message.removeprefix("Value error, ")
