"""What an alert must satisfy beyond its schema.

One source of rules, on plain records: the fan-out runs them on every alert, and the models when an alert is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from tocsin.schemas.errors import Reason, Rejection

Record = Mapping[str, Any]

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_TOKEN: Final = re.compile(r"[a-z0-9-]{1,32}:[0-9a-f]{64}").fullmatch
_KEY_ID: Final = re.compile(r"[a-z0-9-]{1,32}").fullmatch
_MEMBER: Final = re.compile(r"[a-z0-9-]{2,40}").fullmatch
_JURISDICTION: Final = re.compile(r"[a-z]{2}").fullmatch
_COUNTRY: Final = re.compile(r"[A-Z]{2}").fullmatch
_DIGITS4: Final = re.compile(r"[0-9]{4}").fullmatch
_DIGITS8: Final = re.compile(r"[0-9]{8}").fullmatch
_NUMBER: Final = re.compile(r"[0-9]{1,11}").fullmatch

_DAY_MS: Final = 86_400_000
# a member's clock and the broker's
AHEAD_MS_MAX: Final = 10 * 60_000
_YEAR_MS: Final = 366 * _DAY_MS
CASE_REF_LENGTH_MAX: Final = 64
MCCS_MAX: Final = 5
PRINCIPALS_MAX: Final = 5
PERCENT_MAX: Final = 100
# What a date can say: 1970 to 9999 in milliseconds, years 1 to 9999 in days. Beyond it, readers' date types fail.
TIME_MS_MAX: Final = 253_402_300_799_999
DAY_MIN: Final = -719_162
DAY_MAX: Final = 2_932_896


def _need(holds: object, field: str, rule: str) -> None:
    if not holds:
        raise Rejection(Reason.INVALID, f"{field}: {rule}")


def check_semantics(subject: str, record: Record) -> None:
    """Check an alert of `subject`.

    Raises:
        Rejection: INVALID, with field and rule.
    """
    header, details = record["header"], record["details"]
    _check_header(header)
    _need(
        (details is None) == (header["status"] == "RETRACTED"), "details", "null exactly when the status is RETRACTED"
    )
    _check_expiry(subject, header, details)
    if details is not None:
        _DETAILS[subject](details, f"{header['token_key_id']}:")


def check_published(header: Record, at_ms: int) -> None:
    """The alert says that it was published at broker time `at_ms`, or before: its life is counted from then.

    Raises:
        Rejection: INVALID, when it is further ahead than clocks may differ.
    """
    _need(header["published_at"] <= at_ms + AHEAD_MS_MAX, "header.published_at", "more than 10 minutes ahead")


def _check_header(header: Record) -> None:
    _need(_UUID(header["alert_id"]), "header.alert_id", "a UUID in lower case")
    _need(_UUID(header["lineage_id"]), "header.lineage_id", "a UUID in lower case")
    _need(header["revision"] >= 1, "header.revision", "1 or more")
    _need(header["status"] == "ACTIVE" or header["status_reason"], "header.status_reason", "required unless ACTIVE")
    _need(_MEMBER(header["publisher"]), "header.publisher", "a member id")
    _need(_JURISDICTION(header["jurisdiction"]), "header.jurisdiction", "two lower-case letters")
    _need(len(header["handling"]) == len(set(header["handling"])), "header.handling", "each code once")
    _need("H3" not in header["handling"] or header["handling_note"], "header.handling_note", "required with H3")
    _need(header["observed_at"] >= 0, "header.observed_at", "1970 or later")
    _need(header["observed_at"] <= header["published_at"], "header.observed_at", "not after published_at")
    _need(header["expires_at"] <= TIME_MS_MAX, "header.expires_at", "9999 or earlier")
    _need(header["purposes"], "header.purposes", "one at least")
    _need(0 <= header["confidence"] <= PERCENT_MAX, "header.confidence", "0 to 100")
    _need(_KEY_ID(header["token_key_id"]), "header.token_key_id", "1 to 32 of a-z, 0-9 and '-'")
    _need(_KEY_ID(header["norm_version"]), "header.norm_version", "1 to 32 of a-z, 0-9 and '-'")
    _check_basis(header)
    for case in header["case_refs"]:
        _need(len(case["ref"]) <= CASE_REF_LENGTH_MAX, "header.case_refs.ref", "at most 64 characters")
    for link in header["related"]:
        _need(_UUID(link["lineage_id"]), "header.related.lineage_id", "a UUID in lower case")


def _check_basis(header: Record) -> None:
    """Stating an offence needs official authority, or national law under GDPR article 10, which must be cited."""
    basis = header["legal_basis"]
    _need(basis != "ART10_NATIONAL_LAW" or header["basis_ref"], "header.basis_ref", "required with ART10_NATIONAL_LAW")
    if "CRIMINAL_OFFENCE" in header["data_categories"]:
        _need(
            basis in ("ART10_NATIONAL_LAW", "OFFICIAL_AUTHORITY"),
            "header.legal_basis",
            "CRIMINAL_OFFENCE needs ART10_NATIONAL_LAW or OFFICIAL_AUTHORITY",
        )


def expiry_cap_ms(subject: str, *, relapsed: bool = False) -> int:
    """The longest life of an alert: 5 years, 24 months, 12 months (36 if the site relapsed); a year is 366 days."""
    years = {"merchant-terminated": 5, "descriptor-reused": 2, "site-taken-down": 3 if relapsed else 1}
    return years[subject] * _YEAR_MS


def _check_expiry(subject: str, header: Record, details: Record | None) -> None:
    # a retraction carries no details, so it may still be that of a site that relapsed
    relapsed = details is None or details.get("relapse_count", 0) > 0
    life = header["expires_at"] - header["published_at"]
    _need(life > 0, "header.expires_at", "after published_at")
    cap = expiry_cap_ms(subject, relapsed=relapsed)
    _need(life <= cap, "header.expires_at", f"at most {cap // _DAY_MS} days after published_at")


def _tokens(details: Record, fields: Sequence[str], key: str) -> None:
    for field in fields:
        for token in details[field]:
            _token(token, f"details.{field}", key)


def _token(value: str | None, field: str, key: str) -> None:
    """`key` is the header's token key id and a colon: one alert has tokens of one key, whose end is the end of all."""
    if value is not None:
        _need(_TOKEN(value), field, "a token, <key id>:<64 hex digits>")
        _need(value.startswith(key), field, "a token of another key than header.token_key_id")


def _day(value: int | None, field: str) -> None:
    _need(value is None or DAY_MIN <= value <= DAY_MAX, field, "a day of the years 1 to 9999")


def _country(value: str | None, field: str) -> None:
    _need(value is None or _COUNTRY(value), field, "ISO 3166-1 alpha-2 in upper case")


def _acquirer(acquirer: Record, field: str) -> None:
    _need(acquirer["ica"] or acquirer["bid"], field, "ica or bid is needed")
    _need(acquirer["ica"] is None or _NUMBER(acquirer["ica"]), f"{field}.ica", "a number of up to 11 digits")
    _need(acquirer["bid"] is None or _DIGITS8(acquirer["bid"]), f"{field}.bid", "8 digits")
    _country(acquirer["country"], f"{field}.country")


def _payfac(payfac: Record | None, field: str, key: str) -> None:
    if payfac is not None:
        _token(payfac["submerchant_token"], f"{field}.submerchant_token", key)


_TOKEN_LISTS: Final = tuple(
    f"{kind}_tokens" for kind in ("mid", "domain", "sld", "phone", "email", "account", "tax", "principal")
)


def _merchant_terminated(details: Record, key: str) -> None:
    _need(details["reasons"], "details.reasons", "one at least")
    _need(details["mid_tokens"], "details.mid_tokens", "one at least")
    _need(details["descriptors"], "details.descriptors", "one at least")
    sponsored = details["subject_category"] == "SPONSORED_MERCHANT"
    _need(not sponsored or details["payfac"], "details.payfac", "required for SPONSORED_MERCHANT")
    _need(len(details["mccs"]) <= MCCS_MAX, "details.mccs", "at most 5")
    _need(all(_DIGITS4(mcc) for mcc in details["mccs"]), "details.mccs", "4 digits each")
    _need(len(details["principal_tokens"]) <= PRINCIPALS_MAX, "details.principal_tokens", "at most 5")
    _day(details["terminated_at"], "details.terminated_at")
    _day(details["contract_start"], "details.contract_start")
    _acquirer(details["acquirer"], "details.acquirer")
    _payfac(details["payfac"], "details.payfac", key)
    _country(details["country"], "details.country")
    _token(details["dba_token"], "details.dba_token", key)
    _tokens(details, _TOKEN_LISTS, key)
    for descriptor in details["descriptors"]:
        _descriptor(descriptor, "details.descriptors", key)
        for token in descriptor["cut_tokens"]:
            _token(token, "details.descriptors.cut_tokens", key)


def _descriptor(descriptor: Record, field: str, key: str) -> None:
    _token(descriptor["key_token"], f"{field}.key_token", key)
    _token(descriptor["skeleton_token"], f"{field}.skeleton_token", key)


def _descriptor_reused(details: Record, key: str) -> None:
    observed = details["observed"]
    _need(_UUID(details["prior"]["lineage_id"]), "details.prior.lineage_id", "a UUID in lower case")
    _country(details["prior"]["acquirer_country"], "details.prior.acquirer_country")
    _acquirer(observed["acquirer"], "details.observed.acquirer")
    _payfac(observed["payfac"], "details.observed.payfac", key)
    _token(observed["mid_token"], "details.observed.mid_token", key)
    _country(observed["country"], "details.observed.country")
    _need(observed["mcc"] is None or _DIGITS4(observed["mcc"]), "details.observed.mcc", "4 digits")
    _descriptor(details["descriptor"], "details.descriptor", key)
    hits = sum(match != "N" for match in details["field_matches"].values())
    _need(details["match_count"] == hits, "details.match_count", "the number of E and P in field_matches")
    _need(details["first_seen"] >= 0, "details.first_seen", "1970 or later")
    _need(details["first_seen"] <= details["last_seen"], "details.last_seen", "not before first_seen")
    _need(details["last_seen"] <= TIME_MS_MAX, "details.last_seen", "9999 or earlier")
    _need(details["sightings"] >= 1, "details.sightings", "1 or more")


_STEPS: Final = (
    "reported_at",
    "lea_notified_at",
    "notice_sent_at",
    "first_contact_at",
    "removed_at",
    "confirmed_down_at",
)


def _site_taken_down(details: Record, key: str) -> None:
    _need(details["url_tokens"], "details.url_tokens", "one at least")
    _tokens(details, ("url_tokens",), key)
    _token(details["domain_token"], "details.domain_token", key)
    _token(details["sld_token"], "details.sld_token", key)
    _country(details["host_country"], "details.host_country")
    times = [(step, details[step]) for step in _STEPS if details[step] is not None]
    _need(details["reported_at"] >= 0, "details.reported_at", "1970 or later")
    _need(times[-1][1] <= TIME_MS_MAX, f"details.{times[-1][0]}", "9999 or earlier")
    for (_, earlier), (step, later) in pairwise(times):
        _need(earlier <= later, f"details.{step}", "not before the step that precedes it")
    _need(details["notices_sent"] >= 0, "details.notices_sent", "0 or more")
    _need(details["relapse_count"] >= 0, "details.relapse_count", "0 or more")
    for link in details["payment_links"]:
        _need(link["lineage_id"] is None or _UUID(link["lineage_id"]), "details.payment_links.lineage_id", "a UUID")
        _token(link["mid_token"], "details.payment_links.mid_token", key)


_DETAILS: Final[Mapping[str, Callable[[Record, str], None]]] = {
    "merchant-terminated": _merchant_terminated,
    "descriptor-reused": _descriptor_reused,
    "site-taken-down": _site_taken_down,
}
