"""The three alerts as pydantic models: the Python face of the Avro schemas, checked by the same rules as the fan-out's.

Times are aware datetimes here and milliseconds since 1970 in Avro; dates are days.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SerializationInfo,
    model_validator,
)

from tocsin.schemas.catalog import Schema, schema
from tocsin.schemas.codec import encode
from tocsin.schemas.errors import Rejection
from tocsin.schemas.guard import check_content
from tocsin.schemas.names import AlertTopic, AlertType, Tlp
from tocsin.schemas.semantics import check_semantics

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.date()


def _from_millis(value: object) -> object:
    return _EPOCH + timedelta(milliseconds=value) if type(value) is int else value


def _whole_millis(value: datetime) -> datetime:
    """Avro keeps milliseconds; so an alert equals what is read back."""
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _to_millis(value: datetime, info: SerializationInfo) -> int | str:
    return (value - _EPOCH) // timedelta(milliseconds=1) if info.mode == "python" else value.isoformat()


def _from_days(value: object) -> object:
    return _EPOCH_DAY + timedelta(days=value) if type(value) is int else value


def _to_days(value: date, info: SerializationInfo) -> int | str:
    return (value - _EPOCH_DAY).days if info.mode == "python" else value.isoformat()


Time = Annotated[
    AwareDatetime, BeforeValidator(_from_millis), AfterValidator(_whole_millis), PlainSerializer(_to_millis)
]
Day = Annotated[date, BeforeValidator(_from_days), PlainSerializer(_to_days)]

Rail = Literal["CARD", "SEPA", "EWALLET", "PREPAID", "CRYPTO", "MOBILE"]
FieldMatch = Literal["N", "E", "P"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CaseRef(_Model):
    """An opaque reference in another system."""

    system: Literal["SIENA", "ICCAM", "CYBERTIP", "IWF", "MATCH", "VMSS", "NATIONAL", "INTERNAL"]
    ref: str


class Related(_Model):
    """A link to another lineage."""

    lineage_id: str
    relation: Literal["CAUSED_BY", "SAME_MERCHANT", "SAME_SITE", "SUPERSEDES"]


class Header(_Model):
    """What every alert says about itself."""

    alert_id: str
    lineage_id: str
    revision: int = 1
    status: Literal["ACTIVE", "CORRECTED", "DISPUTED", "RETRACTED"] = "ACTIVE"
    status_reason: Literal["ERROR", "FALSE_POSITIVE", "ERASURE", "COURT_ORDER", "LE_REQUEST", "DUPLICATE"] | None = None
    publisher: str
    jurisdiction: str
    tlp: Literal["CLEAR", "GREEN", "AMBER", "AMBER_STRICT"]
    handling: tuple[Literal["H0", "H1", "H2", "H3"], ...] = ()
    handling_note: str | None = None
    observed_at: Time
    published_at: Time
    expires_at: Time
    purposes: tuple[Literal["CSE_DISRUPTION", "ONBOARDING_SCREENING", "FRAUD_PREVENTION", "LE_INVESTIGATION"], ...]
    legal_basis: Literal[
        "GDPR_6_1_C",
        "GDPR_6_1_E",
        "GDPR_6_1_F",
        "ART10_NATIONAL_LAW",
        "OFFICIAL_AUTHORITY",
        "LED",
        "US_314B",
        "OTHER",
    ]
    basis_ref: str | None = None
    data_categories: tuple[
        Literal["BUSINESS", "SOLE_TRADER", "PRINCIPAL_TOKEN", "ACCOUNT_TOKEN", "CRIMINAL_OFFENCE"], ...
    ]
    notify_subject: Literal["MAY", "MUST_NOT"] = "MUST_NOT"
    evidence_kind: Literal[
        "TEST_PURCHASE",
        "HOTLINE_ASSESSMENT",
        "SCHEME_NOTICE",
        "ACQUIRER_MONITORING",
        "LE_REQUEST",
        "MEMBER_REPORT",
        "AUTOMATED_MATCH",
    ]
    confidence: int
    human_reviewed: bool
    case_refs: tuple[CaseRef, ...] = ()
    related: tuple[Related, ...] = ()
    token_key_id: str
    norm_version: str = "dn1"
    test: bool = False
    note: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _tlp_white(cls, data: Any) -> Any:
        """`TLP:WHITE` of TLP 1.0 is read as CLEAR, and a `TLP:` in front is dropped."""
        if isinstance(data, dict) and isinstance(data.get("tlp"), str):
            label = data["tlp"].upper().removeprefix("TLP:").replace("+", "_").replace("-", "_")
            data = {**data, "tlp": "CLEAR" if label == "WHITE" else label}
        return data


class Acquirer(_Model):
    """An acquirer: `ica` (Mastercard) or `bid` (Visa) at least."""

    ica: str | None = None
    bid: str | None = None
    country: str | None = None


class Payfac(_Model):
    """A payment facilitator and its submerchant."""

    id: str
    submerchant_token: str | None = None


class TerminationReason(_Model):
    """A scheme's own reason; never a closed enum."""

    scheme: Literal["MATCH", "VMSS", "COALITION"]
    code: str
    label: str


class Descriptor(_Model):
    """A statement descriptor as tokens."""

    key_token: str
    skeleton_token: str
    cut_tokens: tuple[str, ...] = ()
    aggregator: str | None = None
    kind: Literal["STATIC", "SOFT", "DYNAMIC_PREFIX"] = "STATIC"


class MerchantTerminatedDetails(_Model):
    """Contractual facts about a terminated merchant, identifiers as tokens."""

    subject_category: Literal[
        "MERCHANT",
        "PAYMENT_FACILITATOR",
        "ISO",
        "MARKETPLACE",
        "STAGED_DIGITAL_WALLET_OPERATOR",
        "SPONSORED_MERCHANT",
    ] = "MERCHANT"
    reasons: tuple[TerminationReason, ...]
    terminated_at: Day
    contract_start: Day | None = None
    decided_by: Literal["ACQUIRER", "MERCHANT", "SCHEME", "AUTHORITY"]
    acquirer: Acquirer
    mid_tokens: tuple[str, ...]
    payfac: Payfac | None = None
    mccs: tuple[str, ...] = ()
    dba_token: str | None = None
    descriptors: tuple[Descriptor, ...]
    domain_tokens: tuple[str, ...] = ()
    sld_tokens: tuple[str, ...] = ()
    phone_tokens: tuple[str, ...] = ()
    email_tokens: tuple[str, ...] = ()
    account_tokens: tuple[str, ...] = ()
    tax_tokens: tuple[str, ...] = ()
    principal_tokens: tuple[str, ...] = ()
    country: str
    rails: tuple[Rail, ...] = ()
    listed_on: tuple[Literal["MATCH", "VMSS"], ...] = ()


class Prior(_Model):
    """The lineage that was met again."""

    lineage_id: str
    acquirer_country: str | None = None


class Observed(_Model):
    """Where a descriptor was seen."""

    acquirer: Acquirer
    mid_token: str | None = None
    payfac: Payfac | None = None
    mcc: str | None = None
    country: str
    rail: Rail


class ObservedDescriptor(_Model):
    """The descriptor that was seen, as tokens."""

    key_token: str
    skeleton_token: str
    aggregator: str | None = None


class FieldMatches(_Model):
    """Per-field match indicators as VMSS has them: N none, E exact, P partial."""

    descriptor: FieldMatch = "N"
    dba: FieldMatch = "N"
    domain: FieldMatch = "N"
    phone: FieldMatch = "N"
    email: FieldMatch = "N"
    account: FieldMatch = "N"
    principal: FieldMatch = "N"
    address: FieldMatch = "N"
    tax_id: FieldMatch = "N"
    mcc: FieldMatch = "N"
    payfac: FieldMatch = "N"


class DescriptorReusedDetails(_Model):
    """What matched, and where it was seen."""

    prior: Prior
    observed: Observed
    descriptor: ObservedDescriptor
    match_class: Literal["EXACT", "NORMALISED", "TRUNCATED", "SKELETON", "FUZZY", "NONE"]
    field_matches: FieldMatches
    match_count: int
    same_acquirer: bool
    first_seen: Time
    last_seen: Time
    sightings: int
    days_since_termination: int | None = None
    retro: bool = False
    review_state: Literal["NEW", "REVIEWING", "CONFIRMED", "DISMISSED", "MONITORING"] = "NEW"


class PaymentLink(_Model):
    """How a site was paid."""

    rail: Rail
    lineage_id: str | None = None
    mid_token: str | None = None


class SiteTakenDownDetails(_Model):
    """What was removed, by whom and when."""

    url_tokens: tuple[str, ...]
    domain_token: str | None = None
    sld_token: str | None = None
    tld: str | None = None
    registrar_iana_id: int | None = None
    host_asn: int | None = None
    host_country: str | None = None
    action_by_role: Literal["HOST", "REGISTRAR", "REGISTRY", "ISP", "LEA"]
    method: Literal["CONTENT_REMOVED", "HOST_SUSPENDED", "DOMAIN_HOLD", "SINKHOLED", "ACCESS_BLOCKED", "SEIZED"]
    domain_status: str | None = None
    access_method: Literal[
        "CRIMINAL_REGISTRATION", "COMPROMISED_WEBSERVER", "FREE_HOSTING", "HIDDEN_SERVICE", "UNKNOWN"
    ] = "UNKNOWN"
    state: Literal["REMOVED", "CONFIRMED_DOWN", "RELAPSED"]
    reported_at: Time
    lea_notified_at: Time | None = None
    notice_sent_at: Time | None = None
    first_contact_at: Time | None = None
    removed_at: Time
    confirmed_down_at: Time | None = None
    notices_sent: int = 0
    relapse_count: int = 0
    commercial: bool
    payment_links: tuple[PaymentLink, ...] = ()
    hidden_service: bool = False


class _Alert(_Model):
    subject: ClassVar[AlertType]
    header: Header

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        try:
            check_semantics(self.subject.value, self.model_dump())
        except Rejection as refusal:
            raise ValueError(refusal.detail) from refusal
        return self

    @property
    def topic(self) -> AlertTopic:
        """The topic that this alert belongs to."""
        return AlertTopic(self.header.jurisdiction, self.subject, Tlp(self.header.tlp))

    def check_content(self) -> None:
        """Run the content guard.

        Raises:
            Rejection: CONTENT, with field and rule.
        """
        check_content(self.subject.value, self.model_dump())

    def to_avro(self) -> bytes:
        """The framed bytes, as signed and published."""
        return encode(schema(self.subject.value), self.model_dump())


class MerchantTerminated(_Alert):
    """A member ended its contract with a merchant."""

    subject: ClassVar[AlertType] = AlertType.MERCHANT_TERMINATED
    details: MerchantTerminatedDetails | None


class DescriptorReused(_Alert):
    """A terminated merchant's statement descriptor was met again."""

    subject: ClassVar[AlertType] = AlertType.DESCRIPTOR_REUSED
    details: DescriptorReusedDetails | None


class SiteTakenDown(_Alert):
    """A site was taken down."""

    subject: ClassVar[AlertType] = AlertType.SITE_TAKEN_DOWN
    details: SiteTakenDownDetails | None


Alert = MerchantTerminated | DescriptorReused | SiteTakenDown

MODELS: dict[str, type[Alert]] = {
    model.subject.value: model for model in (MerchantTerminated, DescriptorReused, SiteTakenDown)
}


def from_avro(schema: Schema, record: dict[str, Any]) -> Alert:
    """The alert that a decoded record is. Raises pydantic.ValidationError when it breaks a rule."""
    return MODELS[schema.subject].model_validate(record)
