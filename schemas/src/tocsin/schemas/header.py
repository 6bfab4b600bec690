"""The header: what every alert says about itself. Field meanings are in the `.avsc` files, rules in `semantics`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from tocsin.schemas.model_types import Model, Time

StatusReason = Literal["ERROR", "FALSE_POSITIVE", "ERASURE", "COURT_ORDER", "LE_REQUEST", "DUPLICATE"]
"""Why a revision is not ACTIVE."""

Purpose = Literal["CSE_DISRUPTION", "ONBOARDING_SCREENING", "FRAUD_PREVENTION", "LE_INVESTIGATION"]
"""What an alert may be used for (GDPR 5(1)(b))."""

LegalBasis = Literal[
    "GDPR_6_1_C",
    "GDPR_6_1_E",
    "GDPR_6_1_F",
    "ART10_NATIONAL_LAW",
    "OFFICIAL_AUTHORITY",
    "LED",
    "US_314B",
    "OTHER",
]
"""By what law it may be shared."""


class CaseRef(Model):
    """An opaque reference in another system."""

    system: Literal["SIENA", "ICCAM", "CYBERTIP", "IWF", "MATCH", "VMSS", "NATIONAL", "INTERNAL"]
    ref: str


class Related(Model):
    """A link to another lineage."""

    lineage_id: str
    relation: Literal["CAUSED_BY", "SAME_MERCHANT", "SAME_SITE", "SUPERSEDES"]


class Header(Model):
    """What every alert says about itself."""

    alert_id: str
    lineage_id: str
    revision: int = 1
    status: Literal["ACTIVE", "CORRECTED", "DISPUTED", "RETRACTED"] = "ACTIVE"
    status_reason: StatusReason | None = None
    publisher: str
    jurisdiction: str
    tlp: Literal["CLEAR", "GREEN", "AMBER", "AMBER_STRICT"]
    handling: tuple[Literal["H0", "H1", "H2", "H3"], ...] = ()
    handling_note: str | None = None
    observed_at: Time
    published_at: Time
    expires_at: Time
    purposes: tuple[Purpose, ...]
    legal_basis: LegalBasis
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
