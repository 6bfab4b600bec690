"""The details of each type of alert, identifiers as tokens."""

from __future__ import annotations

from typing import Literal

from tocsin.schemas.model_types import Day, Model, Time

Rail = Literal["CARD", "SEPA", "EWALLET", "PREPAID", "CRYPTO", "MOBILE"]
FieldMatch = Literal["N", "E", "P"]


class Acquirer(Model):
    """An acquirer: `ica` (Mastercard) or `bid` (Visa) at least."""

    ica: str | None = None
    bid: str | None = None
    country: str | None = None


class Payfac(Model):
    """A payment facilitator and its submerchant."""

    id: str
    submerchant_token: str | None = None


class TerminationReason(Model):
    """A scheme's own reason; never a closed enum."""

    scheme: Literal["MATCH", "VMSS", "COALITION"]
    code: str
    label: str


class Descriptor(Model):
    """A statement descriptor as tokens."""

    key_token: str
    skeleton_token: str
    cut_tokens: tuple[str, ...] = ()
    aggregator: str | None = None
    kind: Literal["STATIC", "SOFT", "DYNAMIC_PREFIX"] = "STATIC"


class MerchantTerminatedDetails(Model):
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


class Prior(Model):
    """The lineage that was met again."""

    lineage_id: str
    acquirer_country: str | None = None


class Observed(Model):
    """Where a descriptor was seen."""

    acquirer: Acquirer
    mid_token: str | None = None
    payfac: Payfac | None = None
    mcc: str | None = None
    country: str
    rail: Rail


class ObservedDescriptor(Model):
    """The descriptor that was seen, as tokens."""

    key_token: str
    skeleton_token: str
    aggregator: str | None = None


class FieldMatches(Model):
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


class DescriptorReusedDetails(Model):
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


class PaymentLink(Model):
    """How a site was paid."""

    rail: Rail
    lineage_id: str | None = None
    mid_token: str | None = None


class SiteTakenDownDetails(Model):
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
