"""What an alert must satisfy beyond its schema: every rule bites, at its edge, and names its field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.schemas.samples import DAY_MS, NOW_MS, SUBJECTS, TOKEN, UUID, put, sample
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.semantics import TIME_MS_MAX, check_published, check_semantics

MERCHANT, DESCRIPTOR, SITE = SUBJECTS


@pytest.mark.parametrize("subject", SUBJECTS)
def test_samples_and_retractions_pass(subject: str) -> None:
    """A full alert passes, and so does one retracted with a reason and without details."""
    check_semantics(subject, sample(subject))
    retracted = put(put(sample(subject), "header.status", "RETRACTED"), "header.status_reason", "ERROR")
    check_semantics(subject, {**retracted, "details": None})


HEADER_CASES: list[tuple[str, Any, str]] = [
    ("header.alert_id", UUID.upper(), "header.alert_id"),
    ("header.alert_id", UUID + "\n", "header.alert_id"),
    ("header.lineage_id", "x", "header.lineage_id"),
    ("header.revision", 0, "header.revision"),
    ("header.status", "CORRECTED", "header.status_reason"),
    ("header.publisher", "Bank", "header.publisher"),
    ("header.publisher", "b", "header.publisher"),
    ("header.jurisdiction", "DE", "header.jurisdiction"),
    ("header.handling", ["H1", "H1"], "header.handling"),
    ("header.handling_note", None, "header.handling_note"),
    ("header.handling_note", "", "header.handling_note"),
    ("header.observed_at", -1, "header.observed_at"),
    ("header.observed_at", NOW_MS + 1, "header.observed_at"),
    ("header.expires_at", NOW_MS, "header.expires_at"),
    ("header.purposes", [], "header.purposes"),
    ("header.legal_basis", "ART10_NATIONAL_LAW", "header.basis_ref"),
    ("header.data_categories", ["BUSINESS", "CRIMINAL_OFFENCE"], "header.legal_basis"),
    ("header.confidence", -1, "header.confidence"),
    ("header.confidence", 101, "header.confidence"),
    ("header.case_refs.0.ref", "x" * 65, "header.case_refs.ref"),
    ("header.related.0.lineage_id", "x", "header.related.lineage_id"),
    ("header.token_key_id", "K", "header.token_key_id"),
    ("header.token_key_id", "", "header.token_key_id"),
    ("header.norm_version", "x" * 33, "header.norm_version"),
    ("details", None, "details"),
]
DETAILS_CASES: list[tuple[str, str, Any]] = [
    (MERCHANT, "reasons", []),
    (MERCHANT, "mid_tokens", []),
    (MERCHANT, "descriptors", []),
    (MERCHANT, "payfac", None),
    (MERCHANT, "mccs", ["5967"] * 6),
    (MERCHANT, "mccs", ["596"]),
    (MERCHANT, "mccs", ["٥٩٦٧"]),
    (MERCHANT, "principal_tokens", [TOKEN] * 6),
    (MERCHANT, "terminated_at", 2_932_897),
    (MERCHANT, "contract_start", -719_163),
    (MERCHANT, "country", "DEU"),
    (MERCHANT, "acquirer.bid", "1234567"),
    (MERCHANT, "acquirer.ica", "123456789012"),
    (MERCHANT, "acquirer.ica", "٣"),
    (MERCHANT, "acquirer.country", "de"),
    (MERCHANT, "payfac.submerchant_token", "x"),
    (MERCHANT, "dba_token", "x:" + "0" * 63),
    *((MERCHANT, f"{kind}_tokens", ["x:" + "G" * 64]) for kind in ("mid", "domain", "sld", "phone", "email")),
    *((MERCHANT, f"{kind}_tokens", ["Shop"]) for kind in ("account", "tax", "principal")),
    (MERCHANT, "descriptors.0.key_token", "BLUE SHOP"),
    (MERCHANT, "descriptors.0.skeleton_token", "BLUE SHOP"),
    (MERCHANT, "descriptors.0.cut_tokens", ["BLUE SHOP"]),
    (DESCRIPTOR, "prior.lineage_id", "x"),
    (DESCRIPTOR, "prior.acquirer_country", "d"),
    (DESCRIPTOR, "observed.acquirer.bid", "x"),
    (DESCRIPTOR, "observed.payfac.submerchant_token", "x"),
    (DESCRIPTOR, "observed.mid_token", "x"),
    (DESCRIPTOR, "observed.country", "France"),
    (DESCRIPTOR, "observed.mcc", "59670"),
    (DESCRIPTOR, "descriptor.key_token", "x"),
    (DESCRIPTOR, "descriptor.skeleton_token", "x"),
    (DESCRIPTOR, "match_count", 2),
    (DESCRIPTOR, "first_seen", -1),
    (DESCRIPTOR, "last_seen", NOW_MS - 10 * DAY_MS),
    (DESCRIPTOR, "last_seen", TIME_MS_MAX + 1),
    (DESCRIPTOR, "sightings", 0),
    (SITE, "url_tokens", []),
    (SITE, "url_tokens", ["example.top/a"]),
    (SITE, "domain_token", "example.top"),
    (SITE, "sld_token", "example"),
    (SITE, "host_country", "Netherlands"),
    (SITE, "reported_at", -1),
    (SITE, "lea_notified_at", NOW_MS - 10 * DAY_MS),
    (SITE, "removed_at", NOW_MS - 7 * DAY_MS),
    (SITE, "confirmed_down_at", TIME_MS_MAX + 1),
    (SITE, "notices_sent", -1),
    (SITE, "relapse_count", -1),
    (SITE, "payment_links.0.lineage_id", "x"),
    (SITE, "payment_links.0.mid_token", "x"),
]


def _refused(subject: str, record: dict[str, Any]) -> str:
    """The field that the refusal names."""
    with pytest.raises(Rejection) as refusal:
        check_semantics(subject, record)
    assert refusal.value.reason is Reason.INVALID
    field, _, rule = refusal.value.detail.partition(": ")
    assert rule
    return field


@pytest.mark.parametrize(("path", "value", "field"), HEADER_CASES)
def test_rules_of_the_header(path: str, value: Any, field: str) -> None:
    """One change breaks one rule, which names its field."""
    record = put(sample(SITE), path, value)
    if field == "header.basis_ref":
        record = put(record, "header.basis_ref", None)
    assert _refused(SITE, record) == field


@pytest.mark.parametrize(("subject", "path", "value"), DETAILS_CASES)
def test_rules_of_the_details(subject: str, path: str, value: Any) -> None:
    """One change breaks one rule, which names the changed field."""
    path = f"details.{path}"
    field = ".".join(part for part in path.split(".") if not part.isdecimal())
    assert _refused(subject, put(sample(subject), path, value)) == field


@pytest.mark.parametrize("basis", ["ART10_NATIONAL_LAW", "OFFICIAL_AUTHORITY"])
def test_an_offence_may_be_stated_with_authority(basis: str) -> None:
    """CRIMINAL_OFFENCE passes under the two legal bases that allow it."""
    record = put(put(sample(SITE), "header.data_categories", ["CRIMINAL_OFFENCE"]), "header.legal_basis", basis)
    check_semantics(SITE, record)


def test_an_acquirer_has_one_id_at_least() -> None:
    """Either id is enough; none is not."""
    for missing in ("ica", "bid"):
        record = put(sample(MERCHANT), f"details.acquirer.{missing}", None)
        check_semantics(MERCHANT, record)
    other = put(record, "details.acquirer.ica", None)
    assert _refused(MERCHANT, other) == "details.acquirer"


@pytest.mark.parametrize(
    ("subject", "relapses", "days"),
    [(MERCHANT, 0, 5 * 366), (DESCRIPTOR, 0, 2 * 366), (SITE, 0, 366), (SITE, 1, 3 * 366)],
)
def test_life_is_capped_by_type(subject: str, relapses: int, days: int) -> None:
    """An alert may live as long as its type's cap, and not a millisecond more."""
    record = sample(subject)
    if subject == SITE:
        record["details"]["relapse_count"] = relapses
    check_semantics(subject, put(record, "header.expires_at", NOW_MS + days * DAY_MS))
    assert _refused(subject, put(record, "header.expires_at", NOW_MS + days * DAY_MS + 1)) == "header.expires_at"


def test_times_end_with_9999() -> None:
    """The last millisecond that a date can say is allowed, the next one is not."""
    record = put(sample(SITE), "header.published_at", TIME_MS_MAX - 1)
    check_semantics(SITE, put(record, "header.expires_at", TIME_MS_MAX))
    assert _refused(SITE, put(record, "header.expires_at", TIME_MS_MAX + 1)) == "header.expires_at"


def test_steps_left_out_are_skipped() -> None:
    """The steps of a takedown rise over those that are known."""
    record = sample(SITE)
    for step in ("lea_notified_at", "notice_sent_at", "first_contact_at", "confirmed_down_at"):
        put(record, f"details.{step}", None)
    check_semantics(SITE, record)
    assert _refused(SITE, put(record, "details.removed_at", NOW_MS - 10 * DAY_MS)) == "details.removed_at"


def _tokens(value: Any, path: str) -> Iterator[str]:
    """The path of every token in a record."""
    if value == TOKEN:
        yield path
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, item in items:
        yield from _tokens(item, f"{path}.{key}")


TOKENS = [(subject, path) for subject in SUBJECTS for path in _tokens(sample(subject)["details"], "details")]


def test_the_samples_have_every_token_field() -> None:
    """What the next test says of every token, it says of these."""
    assert {subject: sum(one == subject for one, _ in TOKENS) for subject in SUBJECTS} == {
        MERCHANT: 13,
        DESCRIPTOR: 4,
        SITE: 4,
    }


@pytest.mark.parametrize(("subject", "path"), TOKENS)
@pytest.mark.parametrize("key", ["k2027q1", "k2026q", "k2026q44", "2026q4"])
def test_a_token_of_another_key_than_the_header_names(subject: str, path: str, key: str) -> None:
    """Destroying the named key must shred every token of the alert; the whole key id counts, not its beginning."""
    field = ".".join(part for part in path.split(".") if not part.isdecimal())
    with pytest.raises(Rejection, match=r"a token of another key than header\.token_key_id") as refusal:
        check_semantics(subject, put(sample(subject), path, f"{key}:{TOKEN.partition(':')[2]}"))
    assert refusal.value.reason is Reason.INVALID
    assert refusal.value.detail.partition(": ")[0] == field


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_header_that_names_another_key_than_the_tokens(subject: str) -> None:
    """The same, from the other side."""
    assert _refused(subject, put(sample(subject), "header.token_key_id", "k2027q1")).startswith("details.")


def test_an_alert_may_be_published_ten_minutes_ahead_and_no_more() -> None:
    """Clocks differ; a time of one's own choice would move the end of an alert's life."""
    header = sample(SITE)["header"]
    for at_ms in (NOW_MS, NOW_MS + 400 * DAY_MS, NOW_MS - 600_000):
        check_published(header, at_ms)
    with pytest.raises(Rejection, match=r"header\.published_at: more than 10 minutes ahead") as refusal:
        check_published(header, NOW_MS - 600_001)
    assert refusal.value.reason is Reason.INVALID
