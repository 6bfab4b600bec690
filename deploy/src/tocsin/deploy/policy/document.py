"""The policy: members, agreements, transfer matrix, prohibitions and what must never happen, checked. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from tocsin.deploy.policy.retention import Retention
from tocsin.deploy.policy.words import remedy, respelled
from tocsin.deploy.policy.yaml_file import Place
from tocsin.schemas.errors import NameInvalid
from tocsin.schemas.header import LegalBasis, Purpose
from tocsin.schemas.names import AlertTopic, AlertType, Tlp, jurisdiction, member_id

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
Plane = Literal["private", "police"]
POLICE: Role = "police"

Mechanism = Literal[
    "EEA", "ADEQUACY", "SCC", "BCR", "DEROGATION", "NATIONAL_LAW", "LED", "LED_SAFEGUARDS", "INTERNATIONAL_AGREEMENT"
]
"""By what an alert may leave a jurisdiction: GDPR chapter V, for the police the LED's (EU 2016/680) chapter V."""


def _checked(rule: Callable[[str], str]) -> AfterValidator:
    def fits(text: str) -> bool:
        try:
            return bool(rule(text))
        except NameInvalid:
            return False

    def check(text: str) -> str:
        try:
            return rule(text)
        except NameInvalid as error:
            problem = str(error)
            raise ValueError(problem if "; " in problem else f"{problem}; {respelled(text, fits)}") from error

    return AfterValidator(check)


def _alert_topic(text: str) -> str:
    try:
        return AlertTopic.parse(text).name
    except NameInvalid as error:
        place = text.split(".")[1] if text.count(".") else ""
        known = [AlertTopic(place, kind, tlp).name for kind in AlertType for tlp in Tlp]
        shape = "write alerts.<jurisdiction>.<type>.<tlp>"
        raise ValueError(f"{text!r} is no alert topic; {remedy(text, known, shape)}") from error


def _moment(value: object, check: ValidatorFunctionWrapHandler) -> date | datetime:
    try:
        found: date | datetime = check(value)
    except ValidationError as error:
        what = "is neither a day nor a time with its zone; write 2026-11-23, or 2026-11-23T15:00:00Z"
        raise ValueError(f"{value} {what}") from error
    return found


MemberId = Annotated[str, _checked(member_id)]
Jurisdiction = Annotated[str, _checked(jurisdiction)]
AlertTopicName = Annotated[str, AfterValidator(_alert_topic)]
# three letters at least, so that no group can be taken for a jurisdiction
GroupName = Annotated[str, Field(pattern=r"^[a-z0-9-]{3,40}$")]
Id = Annotated[str, Field(pattern=r"^[a-z0-9-]{2,60}$")]
Suffix = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
Text = Annotated[str, Field(min_length=1, max_length=280)]
CONTACT: Final = r"^([^@\s]{1,64}@[^@\s]{1,255}|\+[0-9]{7,15})$"
PUBLIC_KEY: Final = r"^[0-9a-f]{64}$"
Contact = Annotated[str, Field(pattern=CONTACT)]
PublicKey = Annotated[str, Field(pattern=PUBLIC_KEY)]
Some = Annotated[tuple[str, ...], Field(min_length=1)]

Moment = Annotated[date | AwareDatetime, WrapValidator(_moment)]
"""A day, which counts as a whole and in UTC, or a time with its zone."""


class Faults(ValueError):
    """What is wrong between parts of the policy, each with its place."""

    def __init__(self, faults: Iterable[tuple[Place, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{'.'.join(map(str, place))}: {text}" for place, text in self.faults))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)


class Timed(_Part):
    """What counts for a time only. Days belong to it whole; a time given for its end does not."""

    valid_from: Moment | None = None
    """From when it counts: a day, as a whole and in UTC, or a time with its zone. Left out: it always has."""
    valid_to: Moment | None = None
    """Until when: a day counts to its end, a time does not count itself. Left out: without end."""

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.begins and self.ends and self.ends <= self.begins:
            ends_first = f"{self.valid_to} lies before valid_from {self.valid_from}; swap or correct them"
            raise Faults([(("valid_to",), ends_first)])
        return self

    @property
    def begins(self) -> datetime | None:
        """From when it counts; None: always has."""
        return None if self.valid_from is None else _start(self.valid_from)

    @property
    def ends(self) -> datetime | None:
        """From when it no longer counts; None: never."""
        if self.valid_to is None or isinstance(self.valid_to, datetime):
            return self.valid_to
        return _start(self.valid_to) + timedelta(days=1)

    def in_force(self, now: datetime) -> bool:
        """Whether it counts at `now`."""
        return (self.begins is None or self.begins <= now) and (self.ends is None or now < self.ends)


def _start(moment: Moment) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time(), UTC)


class Wish(_Part):
    """What a member asks for: everything it may see, or named types, jurisdictions and labels (left out = any)."""

    everything: bool = False
    """All that the member may see. Either this, or some of the next three."""
    types: tuple[AlertType, ...] = Field(default=(), min_length=1)
    """Only these types of alert."""
    jurisdictions: tuple[Jurisdiction, ...] = Field(default=(), min_length=1)
    """Only alerts of these jurisdictions."""
    tlps: tuple[Tlp, ...] = Field(default=(), min_length=1)
    """Only these labels."""
    own: bool = False
    """The member's own alerts too."""

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        named = bool(self.types or self.jurisdictions or self.tlps)
        if self.everything and named:
            raise ValueError("asks for everything, and by name; keep one of the two")
        if not (self.everything or named):
            raise ValueError("asks for nothing; write `everything: true`, or name types, jurisdictions or tlps")
        return self


class Member(_Part):
    """An organisation. `publishes` are the alert types that it may write in its jurisdiction.

    `logins` are Kafka users beside its own, `<member>.<suffix>`: one that may only publish, one that may only receive,
    one that may read the record of its jurisdiction.
    """

    role: Role
    """What it is in the coalition. Only `police` is on the police plane; the `secretariat` revises for anyone."""
    jurisdiction: Jurisdiction
    """Whose law governs it and what it publishes: ISO 3166-1 alpha-2 in lower case, or `eu`."""
    contacts: tuple[Contact, ...] = ()
    """E-mail addresses, or telephone numbers that begin with `+`."""
    publishes: tuple[AlertType, ...] = ()
    """The types of alert that it may publish, of its own jurisdiction."""
    logins: dict[Suffix, Literal["publish", "receive", "audit"]] = {}
    """Kafka users beside its own, by suffix: `soc: receive` is the user `<member>.soc`, which may only receive; one
    that may `audit` reads the record of its member's jurisdiction, and nothing else."""
    status: Status = "active"
    """Only an `active` member is given alerts and may publish; the others are still sent withdrawal notices."""
    subscription: Wish | None = None
    """What it asks for, until it says so itself. Left out: nothing."""

    @property
    def plane(self) -> Plane:
        """What law a transfer to it comes under."""
        return "police" if self.role == POLICE else "private"

    @property
    def active(self) -> bool:
        """Whether it may be given alerts and may publish."""
        return self.status == "active"


class Parties(_Part):
    """Members by name, role, jurisdiction or group; a member must match every list that is given."""

    members: tuple[MemberId, ...] = Field(default=(), min_length=1)
    """These members."""
    roles: tuple[Role, ...] = Field(default=(), min_length=1)
    """Members with one of these roles."""
    jurisdictions: tuple[str, ...] = Field(default=(), min_length=1)
    """Members of these jurisdictions, or of the jurisdictions of these groups."""
    outside: tuple[str, ...] = Field(default=(), min_length=1)
    """Members of any jurisdiction but these, or those of these groups."""
    without: tuple[MemberId, ...] = ()
    """Members that are left out, whatever else matches."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.members or self.roles or self.jurisdictions or self.outside):
            raise ValueError("an empty audience is nobody, not everybody; name members, roles or jurisdictions")
        return self


class Agreement(Timed):
    """Who may see which alerts of which jurisdictions, up to which label, for what and by what law.

    `direct` lets the parties' own clients read the alert topics, past the fan-out and its audit.
    """

    id: Id
    """Its name: in plans, and in the reason of each ACL that it comes to."""
    alerts_of: Some
    """Jurisdictions, or groups of them, whose alerts are shared."""
    to: Parties
    """Who may see them."""
    types: tuple[AlertType, ...] = Field(min_length=1)
    """Which types of alert."""
    up_to: Tlp
    """The most closed label; all more open ones are shared too."""
    purposes: tuple[Purpose, ...] = Field(min_length=1)
    """What they may be used for."""
    legal_basis: LegalBasis
    """By what law they may be shared."""
    basis_ref: Text | None = None
    """Where that stands: a law, a contract."""
    direct: bool = False
    """The parties' own clients may read the alert topics, past the fan-out and its audit."""


class Transfer(Timed):
    """A row of the transfer matrix: by what alerts of some jurisdictions may reach others' members. No row = denied."""

    source: Some = Field(alias="from")
    """Jurisdictions, or groups, that alerts leave."""
    to: Some
    """Jurisdictions, or groups, whose members they reach."""
    plane: Plane
    """Whom the row is for: `police` for members with that role, `private` for all others."""
    mechanism: Mechanism
    """By what law they may leave."""
    reference: Text
    """What is cited for it: a decision, a contract."""

    @property
    def text(self) -> str:
        """As it is cited: `ADEQUACY (EU) 2021/1772`."""
        return f"{self.mechanism} {self.reference}"


class Reach(_Part):
    """Alerts of some jurisdictions (left out = any), types (any), labels above one (all), and members."""

    id: Id
    """Its name."""
    alerts_of: tuple[str, ...] = Field(default=(), min_length=1)
    """Jurisdictions, or groups, whose alerts are meant. Left out: any."""
    types: tuple[AlertType, ...] = Field(default=(), min_length=1)
    """Which types of alert. Left out: any."""
    above: Tlp | None = None
    """Only labels more closed than this one. Left out: all."""
    to: Parties
    """The members that are meant."""

    @property
    def labels(self) -> tuple[Tlp, ...]:
        """The labels that are meant."""
        return tuple(Tlp) if self.above is None else tuple(Tlp)[len(self.above.and_below()) :]

    @model_validator(mode="after")
    def _some_label(self) -> Self:
        if not self.labels:
            raise Faults([(("above",), f"no label is above {self.above}; name a more open one, or remove the key")])
        return self


class Prohibition(Reach, Timed):
    """What nobody may be given whatever agreements, or hand-made ACLs, say: compiled to DENY."""

    reason: Text
    """Why: a law, an order of a court."""


class Invariant(Reach):
    """What must never be so, by any ACL: a prohibition forbids it, an invariant finds it out."""

    says: Text
    """The sentence that must hold."""


class Expectation(_Part):
    """A test of the policy: that a member sees a topic, or does not, and by which agreement."""

    member: MemberId
    """Who."""
    topic: AlertTopicName
    """An alert topic: `alerts.<jurisdiction>.<type>.<tlp>`."""
    sees: bool
    """Whether it must see it, or must not."""
    by: Id | None = None
    """The agreement that must give it."""


class Approvals(_Part):
    """Whose signed word a plan that widens sight needs: of so many of these people, by their public keys in hex."""

    widening: int = Field(ge=0)
    """How many must approve a plan by which somebody gains sight. 0: nobody."""
    approvers: dict[Suffix, PublicKey] = {}
    """Who may, with the public key of each: Ed25519, 64 hex digits."""


class Quota(_Part):
    """How much each login of a member may use of each broker; what is left out is not bounded."""

    producer_byte_rate: int | None = Field(default=None, gt=0)
    """Bytes a second that it may write."""
    consumer_byte_rate: int | None = Field(default=None, gt=0)
    """Bytes a second that it may read."""
    request_percentage: int | None = Field(default=None, gt=0)
    """Percent of the time of one request thread."""


class Quotas(_Part):
    """What every member may use at most. Services of the exchange have none."""

    default: Quota = Quota()
    """What every member may use, unless it is said of it below."""
    members: dict[MemberId, Quota] = {}
    """What single members may use; a bound that is left out here is the default's."""


class Policy(_Part):
    """All files of a policy as one."""

    coalition: str = Field(pattern=r"^[a-z0-9-]{2,40}$")
    """The coalition's name, which every signature carries."""
    roots: int = Field(default=1, ge=1, le=16)
    """How many root keys sign the directory."""
    roots_threshold: int = Field(default=1, ge=1)
    """How many of the root keys' signatures make it valid."""
    groups: dict[GroupName, Annotated[tuple[Jurisdiction, ...], Field(min_length=1)]] = {}
    """Names for several jurisdictions, to be used wherever one may stand."""
    members: dict[MemberId, Member] = Field(min_length=1)
    """The organisations of the coalition, by id. Ids are never used again."""
    agreements: tuple[Agreement, ...] = ()
    """Who shares what with whom. Nothing else gives sight."""
    transfers: tuple[Transfer, ...] = ()
    """By what alerts may cross borders. What has no row stays at home, whatever an agreement says."""
    prohibitions: tuple[Prohibition, ...] = ()
    """What nobody may be given, whatever agreements or hand-made ACLs say."""
    invariants: tuple[Invariant, ...] = ()
    """What must never be so; tried whenever the policy is checked or planned."""
    tests: tuple[Expectation, ...] = ()
    """Who must see what, and who must not; tried whenever the policy is checked or planned."""
    approvals: Approvals = Approvals(widening=0)
    """Whose signed word a plan needs before it is applied. Left out: nobody's."""
    quotas: Quotas = Quotas()
    """How much members may use of the brokers. Left out: as much as there is."""
    retention: Retention = Retention()
    """For how long topics are kept. Left out: for as long as the defaults say."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if faults := [*self._faults()]:
            raise Faults(faults)
        return self

    def _faults(self) -> Iterator[tuple[Place, str]]:
        if self.roots_threshold > self.roots:
            yield ("roots_threshold",), f"more than roots ({self.roots}), so no directory could be valid; lower it"
        if self.approvals.widening > len(self.approvals.approvers):
            yield ("approvals", "widening"), "more than approvers, so no plan could be approved; add some or lower it"
        yield from ((("retention", *place), text) for place, text in self.retention.faults())
        yield from _Names(self).faults()

    @property
    def sha256(self) -> str:
        """Names what the files say, however they are written: the hex digest of their content in canonical JSON."""
        # without defaults, so that a release that knows more keys takes the same files for the same policy
        content = json.dumps(self.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def jurisdictions(self) -> tuple[str, ...]:
        """Every jurisdiction that has a member, sorted: each is a lane."""
        return tuple(sorted({member.jurisdiction for member in self.members.values()}))

    def expand(self, names: Iterable[str]) -> set[str]:
        """Jurisdictions, with groups replaced by theirs."""
        return {one for name in names for one in self.groups.get(name, (name,))}

    def matching(self, parties: Parties) -> Iterator[str]:
        """The members that `parties` names."""
        places, outside = self.expand(parties.jurisdictions), self.expand(parties.outside)
        for name, member in self.members.items():
            if (
                name not in parties.without
                and (not parties.members or name in parties.members)
                and (not parties.roles or member.role in parties.roles)
                # not `places`: what a group expands to must never decide whether there is a condition
                and (not parties.jurisdictions or member.jurisdiction in places)
                and member.jurisdiction not in outside
            ):
                yield name

    def topics(self, reach: Reach) -> Iterator[AlertTopic]:
        """The alert topics that there are of what `reach` names."""
        named = self.expand(reach.alerts_of)
        for place in self.jurisdictions():
            if reach.alerts_of and place not in named:
                continue
            for kind in reach.types or AlertType:
                for tlp in reach.labels:
                    yield AlertTopic(place, kind, tlp)


class _Names:
    """Whether what parts of a policy name is there."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._lanes = {*policy.jurisdictions()}
        self._places = {*policy.groups, *self._lanes}

    def faults(self) -> Iterator[tuple[Place, str]]:
        """What is named and not there, or there twice."""
        policy = self._policy
        for key in ("agreements", "prohibitions", "invariants"):
            yield from self._twice(key)
            for index, part in enumerate(getattr(policy, key)):
                yield from self._unknown_places((key, index, "alerts_of"), part.alerts_of)
                yield from self._unknown_parties((key, index, "to"), part.to)
        for index, transfer in enumerate(policy.transfers):
            yield from self._unknown_places(("transfers", index, "from"), transfer.source)
            yield from self._unknown_places(("transfers", index, "to"), transfer.to)
        for index, test in enumerate(policy.tests):
            yield from self._untestable(("tests", index), test)
        for name in policy.quotas.members:
            if name not in policy.members:
                yield ("quotas", "members", name), self._no_member(name)

    def _twice(self, key: str) -> Iterator[tuple[Place, str]]:
        seen: set[str] = set()
        for index, part in enumerate(getattr(self._policy, key)):
            if part.id in seen:
                yield (key, index, "id"), f"another of the {key} is called {part.id}; rename one of them"
            seen.add(part.id)

    def _unknown_places(self, place: Place, names: Iterable[str]) -> Iterator[tuple[Place, str]]:
        for at, name in enumerate(names):
            if name not in self._places:
                fix = remedy(name, self._places)
                yield (*place, at), f"{name!r} is no group, nor the jurisdiction of a member; {fix}"

    def _unknown_parties(self, place: Place, parties: Parties) -> Iterator[tuple[Place, str]]:
        yield from self._unknown_places((*place, "jurisdictions"), parties.jurisdictions)
        yield from self._unknown_places((*place, "outside"), parties.outside)
        for key in ("members", "without"):
            for at, name in enumerate(getattr(parties, key)):
                if name not in self._policy.members:
                    yield (*place, key, at), self._no_member(name)

    def _no_member(self, name: str) -> str:
        return f"{name!r} is no member; {remedy(name, self._policy.members, 'add it under members')}"

    def _untestable(self, place: Place, test: Expectation) -> Iterator[tuple[Place, str]]:
        if test.member not in self._policy.members:
            yield (*place, "member"), self._no_member(test.member)
        if AlertTopic.parse(test.topic).jurisdiction not in self._lanes:
            fix = f"write one of {', '.join(sorted(self._lanes))}"
            yield (*place, "topic"), f"no member is of this jurisdiction, so there is no {test.topic}; {fix}"
        if test.by is not None and all(test.by != one.id for one in self._policy.agreements):
            fix = remedy(test.by, [one.id for one in self._policy.agreements])
            yield (*place, "by"), f"{test.by!r} is no agreement; {fix}"
        if test.by is not None and not test.sees:
            yield (*place, "by"), "what is not seen is seen by no agreement; remove it"
