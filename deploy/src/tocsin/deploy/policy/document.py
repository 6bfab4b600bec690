"""The policy file: members, agreements and subscriptions, checked. Errors name file, place and remedy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tocsin.deploy.errors import PolicyInvalid
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


def _checked_member(text: str) -> str:
    try:
        return member_id(text)
    except NameInvalid as error:
        raise ValueError(str(error)) from error


def _checked_jurisdiction(text: str) -> str:
    try:
        return jurisdiction(text)
    except NameInvalid as error:
        raise ValueError(str(error)) from error


MemberId = Annotated[str, AfterValidator(_checked_member)]
Jurisdiction = Annotated[str, AfterValidator(_checked_jurisdiction)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Wish(_Part):
    """What a member asks for: everything it may see, or named types, jurisdictions and labels (empty = any)."""

    everything: bool = False
    types: tuple[AlertType, ...] = ()
    jurisdictions: tuple[Jurisdiction, ...] = ()
    tlps: tuple[Tlp, ...] = ()
    own: bool = False


class Member(_Part):
    """An organisation. `publishes` are the alert types that it may write in its jurisdiction."""

    role: Role
    jurisdiction: Jurisdiction
    publishes: tuple[AlertType, ...] = ()
    status: Literal["active", "suspended", "withdrawn"] = "active"
    subscription: Wish | None = None


class Parties(_Part):
    """Members by name, role, jurisdiction or group; a member must match every list that is not empty."""

    members: tuple[MemberId, ...] = ()
    roles: tuple[Role, ...] = ()
    jurisdictions: tuple[str, ...] = ()
    without: tuple[MemberId, ...] = ()

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.members or self.roles or self.jurisdictions):
            raise ValueError("name members, roles or jurisdictions; an empty audience is nobody, not everybody")
        return self


class Agreement(_Part):
    """Who may see which alerts of which jurisdictions, up to which label."""

    id: str = Field(pattern=r"^[a-z0-9-]{2,60}$")
    alerts_of: tuple[str, ...] = Field(min_length=1)
    to: Parties
    types: tuple[AlertType, ...] = Field(min_length=1)
    up_to: Tlp
    direct: bool = False
    valid_from: date | None = None
    valid_to: date | None = None

    def in_force(self, today: date) -> bool:
        """Whether it counts on `today`."""
        return (self.valid_from is None or self.valid_from <= today) and (
            self.valid_to is None or today <= self.valid_to
        )


class Policy(_Part):
    """The whole file."""

    coalition: str = Field(pattern=r"^[a-z0-9-]{2,40}$")
    roots: int = Field(default=1, ge=1, description="How many root keys sign the directory.")
    roots_threshold: int = Field(default=1, ge=1)
    groups: dict[str, tuple[Jurisdiction, ...]] = {}
    members: dict[MemberId, Member] = Field(min_length=1)
    agreements: tuple[Agreement, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known = {*self.groups, *self.jurisdictions()}
        for agreement in self.agreements:
            for name in (*agreement.alerts_of, *agreement.to.jurisdictions):
                if name not in known:
                    raise ValueError(f"agreement {agreement.id}: {name!r} is no group and no member's jurisdiction")
            for name in (*agreement.to.members, *agreement.to.without):
                if name not in self.members:
                    raise ValueError(f"agreement {agreement.id}: {name!r} is not a member; add it under members")
        if self.roots_threshold > self.roots:
            raise ValueError("roots_threshold is larger than roots")
        return self

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
                and (not places or member.jurisdiction in places)
            ):
                yield name


def read_policy(path: Path) -> Policy:
    """The policy in a YAML file.

    Raises:
        PolicyInvalid: naming file, place and rule.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Policy.model_validate(content)
    except OSError as error:
        raise PolicyInvalid(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyInvalid(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, e['loc'])) or 'policy'}: {e['msg']}" for e in error.errors()]
        raise PolicyInvalid("\n".join(lines)) from error
