"""One valid record of each alert, as plain data that a test may change."""

from __future__ import annotations

import copy
from typing import Any, Final

UUID: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
TOKEN: Final = "k2026q4:" + "0123456789abcdef" * 4
NOW_MS: Final = 1_795_000_000_000
DAY_MS: Final = 86_400_000

_HEADER: Final[dict[str, Any]] = {
    "alert_id": UUID,
    "lineage_id": UUID,
    "revision": 1,
    "status": "ACTIVE",
    "status_reason": None,
    "publisher": "acquirer-de",
    "jurisdiction": "de",
    "tlp": "AMBER",
    "handling": ["H1", "H3"],
    "handling_note": "Ask first.",
    "observed_at": NOW_MS - DAY_MS,
    "published_at": NOW_MS,
    "expires_at": NOW_MS + 300 * DAY_MS,
    "purposes": ["CSE_DISRUPTION", "FRAUD_PREVENTION"],
    "legal_basis": "GDPR_6_1_F",
    "basis_ref": "Art. 6(1)(f), assessment 12",
    "data_categories": ["BUSINESS"],
    "notify_subject": "MUST_NOT",
    "evidence_kind": "TEST_PURCHASE",
    "confidence": 90,
    "human_reviewed": True,
    "case_refs": [{"system": "MATCH", "ref": "M-2026-000123"}],
    "related": [{"lineage_id": UUID, "relation": "SAME_SITE"}],
    "token_key_id": "k2026q4",
    "norm_version": "dn1",
    "test": False,
    "note": "Terminated after a test purchase.",
}
_ACQUIRER: Final = {"ica": "12345", "bid": "10012345", "country": "DE"}
_PAYFAC: Final = {"id": "PF-1", "submerchant_token": TOKEN}
_DETAILS: Final[dict[str, dict[str, Any]]] = {
    "merchant-terminated": {
        "subject_category": "SPONSORED_MERCHANT",
        "reasons": [{"scheme": "MATCH", "code": "13", "label": "Illegal Transactions"}],
        "terminated_at": 20_700,
        "contract_start": 19_000,
        "decided_by": "ACQUIRER",
        "acquirer": _ACQUIRER,
        "mid_tokens": [TOKEN],
        "payfac": _PAYFAC,
        "mccs": ["5967", "7273"],
        "dba_token": TOKEN,
        "descriptors": [
            {
                "key_token": TOKEN,
                "skeleton_token": TOKEN,
                "cut_tokens": [TOKEN],
                "aggregator": "PAYPAL",
                "kind": "STATIC",
            }
        ],
        "domain_tokens": [TOKEN],
        "sld_tokens": [TOKEN],
        "phone_tokens": [TOKEN],
        "email_tokens": [TOKEN],
        "account_tokens": [TOKEN],
        "tax_tokens": [TOKEN],
        "principal_tokens": [TOKEN],
        "country": "DE",
        "rails": ["CARD", "SEPA"],
        "listed_on": ["MATCH"],
    },
    "descriptor-reused": {
        "prior": {"lineage_id": UUID, "acquirer_country": "DE"},
        "observed": {
            "acquirer": _ACQUIRER,
            "mid_token": TOKEN,
            "payfac": _PAYFAC,
            "mcc": "5967",
            "country": "FR",
            "rail": "CARD",
        },
        "descriptor": {"key_token": TOKEN, "skeleton_token": TOKEN, "aggregator": "SUMUP"},
        "match_class": "NORMALISED",
        "field_matches": {
            "descriptor": "E",
            "dba": "N",
            "domain": "P",
            "phone": "N",
            "email": "N",
            "account": "N",
            "principal": "N",
            "address": "N",
            "tax_id": "N",
            "mcc": "E",
            "payfac": "N",
        },
        "match_count": 3,
        "same_acquirer": False,
        "first_seen": NOW_MS - 9 * DAY_MS,
        "last_seen": NOW_MS - DAY_MS,
        "sightings": 2,
        "days_since_termination": 12,
        "retro": False,
        "review_state": "NEW",
    },
    "site-taken-down": {
        "url_tokens": [TOKEN],
        "domain_token": TOKEN,
        "sld_token": TOKEN,
        "tld": "top",
        "registrar_iana_id": 1068,
        "host_asn": 4_200_000_000,
        "host_country": "NL",
        "action_by_role": "HOST",
        "method": "CONTENT_REMOVED",
        "domain_status": "clientHold",
        "access_method": "COMPROMISED_WEBSERVER",
        "state": "CONFIRMED_DOWN",
        "reported_at": NOW_MS - 9 * DAY_MS,
        "lea_notified_at": NOW_MS - 8 * DAY_MS,
        "notice_sent_at": NOW_MS - 7 * DAY_MS,
        "first_contact_at": NOW_MS - 6 * DAY_MS,
        "removed_at": NOW_MS - 5 * DAY_MS,
        "confirmed_down_at": NOW_MS - 4 * DAY_MS,
        "notices_sent": 1,
        "relapse_count": 0,
        "commercial": True,
        "payment_links": [{"rail": "CARD", "lineage_id": UUID, "mid_token": TOKEN}],
        "hidden_service": False,
    },
}
SUBJECTS: Final = tuple(_DETAILS)


def sample(subject: str) -> dict[str, Any]:
    """A valid alert with every field filled in."""
    return copy.deepcopy({"header": _HEADER, "details": _DETAILS[subject]})


def put(record: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`record` with the value at `path` (`details.reasons.0.code`) replaced."""
    *way, last = (int(part) if part.isdecimal() else part for part in path.split("."))
    node: Any = record
    for part in way:
        node = node[part]
    node[last] = value
    return record
