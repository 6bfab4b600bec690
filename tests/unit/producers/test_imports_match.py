"""Import of Mastercard MATCH v3 AddMerchant requests."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.producers.imports_support import accepted, context, example, profile, read, refused, token
from tocsin.producers.imports import Accepted, Row
from tocsin.schemas.models import MerchantTerminated
from tocsin.schemas.tokens import TokenKind

PROFILE = profile("match-acquirer-de")
CONTENT = "Zanzibar Quux"  # nothing like it may appear in a refusal


def _request(**changes: object) -> dict[str, Any]:
    merchant: dict[str, Any] = {
        "Name": "Blue Lagoon Media Ltd",
        "DoingBusinessAsName": "BLUE LAGOON MEDIA",
        "MerchantId": "00012ab",
        "MerchantCategory": "5967",
        "Address": {"Line1": "1 Example Street", "City": "London", "PostalCode": "EX1 1EX", "Country": "GBR"},
        "PhoneNumber": "2079460123",
        "CATFlag": "N",
        "DateOpened": "03/14/2025",
        "DateClosed": "11/19/2026",
        "ReasonCode": "13",
    }
    merchant.update(changes)
    return {"AddMerchantRequest": {"AcquirerId": "1996", "Merchant": merchant}}


def _read(content: object, *, later: int = 0) -> list[Row]:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read(raw, PROFILE, context(later=later))


def _alert(row: Row) -> MerchantTerminated:
    assert isinstance(row, Accepted), row
    return cast("MerchantTerminated", row.alert)


def test_the_example_file_is_reported_row_by_row() -> None:
    """Six requests become alerts, two are refused with line, field and reason, and what is left out is named."""
    rows = read(example("match-acquirer-de.json"), PROFILE, context())

    assert [row.line for row in accepted(rows)] == [2, 49, 110, 141, 173, 235]
    assert refused(rows) == [
        (204, "Merchant.MerchantCategory", "MCC: not 4 digits of the ISO 18245, Visa or Mastercard list"),
        (266, "Merchant.DateClosed", "before DateOpened"),
    ]
    assert {row.line: len(row.left_out) for row in accepted(rows)} == {2: 0, 49: 0, 110: 0, 141: 2, 173: 2, 235: 0}


def test_a_request_becomes_tokens() -> None:
    """Every identifier of the request is there as the token of its canonical form, and none in clear."""
    request = _request(
        Url=["www.BlueLagoon-Media.example/join"],
        AltPhoneNumber="+1 (800) 555-0142",
        NationalTaxId="12-345",
        Principal=[{"FirstName": "Alex", "LastName": "Sample"}],
        Comments=CONTENT,
    )
    (row,) = _read(request)
    details = _alert(row).details

    assert details is not None
    assert details.mid_tokens == (token(TokenKind.MERCHANT, "1996:00012AB"),)
    assert details.phone_tokens == (token(TokenKind.PHONE, "+442079460123"), token(TokenKind.PHONE, "+18005550142"))
    assert details.domain_tokens == (token(TokenKind.DOMAIN, "bluelagoon-media.example"),)
    assert details.sld_tokens == (token(TokenKind.SLD_LABEL, "bluelagoon-media"),)
    assert details.tax_tokens == (token(TokenKind.TAX, "GB:national:12345"),)
    assert details.dba_token == token(TokenKind.DBA, "BLUELAGOONMEDIA")
    assert details.descriptors[0].key_token == token(TokenKind.DESCRIPTOR, "BLUELAGOONMEDIA")
    assert details.descriptors[0].skeleton_token == token(TokenKind.DESCRIPTOR_SKELETON, "BLUELAGONMEDIA")
    assert token(TokenKind.DESCRIPTOR, "BLUELAGOONMEDI") in details.descriptors[0].cut_tokens
    text = _alert(row).model_dump_json().upper()
    assert not [word for word in ("LAGOON", "2079460123", "00012AB", "SAMPLE", CONTENT.upper()) if word in text]


def test_what_the_request_says_and_what_the_profile_adds() -> None:
    """Facts of the request, header of the profile, no token for a principal without a birth date."""
    (row,) = _read(_request(Principal=[{"FirstName": "Alex", "LastName": "Sample"}]))
    alert = _alert(row)
    details = alert.details

    assert details is not None
    assert (details.terminated_at, details.contract_start) == (date(2026, 11, 19), date(2025, 3, 14))
    assert details.reasons[0].model_dump() == {"scheme": "MATCH", "code": "13", "label": "Illegal Transactions"}
    assert (details.acquirer.ica, details.acquirer.country, details.country) == ("1996", "DE", "GB")
    assert (details.mccs, details.listed_on, details.principal_tokens) == (("5967",), ("MATCH",), ())
    assert (alert.header.publisher, alert.topic.name) == ("acquirer-de", "alerts.de.merchant-terminated.amber")
    assert (alert.header.evidence_kind, alert.header.confidence) == ("TEST_PURCHASE", 95)
    assert (alert.header.token_key_id, alert.header.norm_version) == ("k2026q4", "dn1")


def test_the_own_name_stands_in_for_a_missing_dba() -> None:
    """Without DoingBusinessAsName, Name is the descriptor, and there is no DBA token."""
    (row,) = _read(_request(DoingBusinessAsName=""))
    details = _alert(row).details

    assert details is not None
    assert details.descriptors[0].key_token == token(TokenKind.DESCRIPTOR, "BLUELAGOONMEDIA")
    assert details.dba_token is None


@pytest.mark.parametrize(
    "content",
    [
        _request(),
        [_request()],
        _request()["AddMerchantRequest"],
        [_request()["AddMerchantRequest"]],
        b"\xef\xbb\xbf" + json.dumps(_request()).encode(),
        json.dumps([_request()], indent=2).replace("\n", "\r\n").encode(),
    ],
    ids=["wrapped", "list", "bare", "list of bare", "BOM", "CRLF"],
)
def test_every_published_shape_is_read(content: object) -> None:
    """One request or an array, with or without the wrapper, with or without BOM and CRLF."""
    assert [type(row) for row in _read(content)] == [Accepted]


def test_the_same_listing_is_the_same_alert_and_a_changed_one_a_new_revision() -> None:
    """Lineage by acquirer and merchant id; the idempotency key by what is said; revisions rise over time."""
    first, again, changed, other = (
        accepted(_read(request, later=at))[0]
        for at, request in (
            (0, _request()),
            (60, _request()),
            (60, _request(ReasonCode="03")),
            (60, _request(MerchantId="00013")),
        )
    )

    assert first.idempotency_key == again.idempotency_key
    assert first.alert.header.lineage_id == changed.alert.header.lineage_id != other.alert.header.lineage_id
    assert first.idempotency_key != changed.idempotency_key
    assert first.alert.header.revision < changed.alert.header.revision


def test_one_merchant_twice_in_a_file_has_two_revisions_or_one_key() -> None:
    """Within one file a changed repetition rises too, and an equal one is the same alert."""
    rows = accepted(_read([_request(), _request(), _request(ReasonCode="03")]))

    assert rows[0].idempotency_key == rows[1].idempotency_key != rows[2].idempotency_key
    assert [row.alert.header.revision - rows[0].alert.header.revision for row in rows] == [0, 0, 1]


def test_a_lineage_cannot_be_computed_without_the_token_key() -> None:
    """It stands in clear in every copy, so it must not be a plain hash of a merchant id, nor shared by publishers."""
    one = accepted(read(json.dumps(_request()).encode(), PROFILE, context("acquirer-de")))[0]
    other = accepted(read(json.dumps(_request()).encode(), PROFILE, context("bank-de")))[0]

    assert one.alert.header.lineage_id != other.alert.header.lineage_id
    assert one.alert.header.lineage_id[14] == "8"


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"MerchantId": None}, "Merchant.MerchantId", "required"),
        ({"MerchantId": 12}, "Merchant.MerchantId", "a text is needed"),
        ({"MerchantId": CONTENT * 2}, "Merchant.MerchantId", "merchant id: up to 15 ASCII characters"),
        ({"Name": ""}, "Merchant.Name", "required"),
        ({"DoingBusinessAsName": "日本語"}, "Merchant.DoingBusinessAsName", "descriptor: no letters or digits"),
        ({"DoingBusinessAsName": CONTENT * 30}, "Merchant.DoingBusinessAsName", "longer than 256"),
        ({"Name": f"{CONTENT}\0"}, "Merchant.Name", "control characters"),
        ({"Name": f"{CONTENT}\ud800"}, "Merchant.Name", "not UTF-8"),
        ({"Name": CONTENT * 1000}, "Merchant.Name", "longer than 4096"),
        ({"MerchantCategory": CONTENT}, "Merchant.MerchantCategory", "MCC"),
        ({"PhoneNumber": None}, "Merchant.PhoneNumber", "required"),
        ({"CATFlag": CONTENT}, "Merchant.CATFlag", "one of Y, N"),
        ({"DateClosed": "2026-11-19"}, "Merchant.DateClosed", "MM/DD/YYYY"),
        ({"DateClosed": "02/30/2026"}, "Merchant.DateClosed", "MM/DD/YYYY"),
        ({"DateClosed": "01/01/2031"}, "Merchant.DateClosed", "in the future"),
        ({"ReasonCode": "4"}, "Merchant.ReasonCode", "two digits"),
        ({"Address": None}, "Merchant.Address", "an object"),
        ({"Address": {"Country": "XXX"}}, "Merchant.Address.Country", "ISO 3166-1"),
        ({"Url": CONTENT}, "Merchant.Url", "an array"),
        ({"Url": [1]}, "Merchant.Url", "a text"),
        ({"Principal": [CONTENT]}, "Merchant.Principal", "an object"),
        ({"Principal": [{}] * 6}, "Merchant.Principal", "at most 5"),
    ],
)
def test_a_wrong_field_refuses_the_row_by_name(changes: dict[str, object], field: str, reason: str) -> None:
    """Field and rule, never the content; the rows around it are not touched."""
    rows = _read([_request(), _request(**changes), _request(MerchantId="2")])

    ((line, found_field, found_reason),) = refused(rows)
    assert (line, found_field, reason in found_reason) == (1, field, True), found_reason
    assert len(accepted(rows)) == 2
    assert "Zanzibar" not in found_field + found_reason


def test_an_optional_value_that_cannot_be_used_is_left_out_by_name() -> None:
    """A nonsense telephone number would link strangers; a masked tax id is none; unknown fields are counted."""
    (row,) = accepted(
        _read(_request(PhoneNumber="0000000000", NationalTaxId="*****", Url=["not a url"], **{CONTENT: "x"}))
    )

    assert row.left_out == (
        "Merchant.PhoneNumber: phone: not a number of its country",
        "Merchant.NationalTaxId: tax id: masked, or without letters and digits",
        "Merchant.Url: domain: not a domain name",
        "Merchant: 1 field(s) that AddMerchant v3 does not have",
    )


@pytest.mark.parametrize(
    ("content", "rows_accepted", "reason"),
    [
        (b"[" + json.dumps(_request()).encode() + b", {oops", 1, "not JSON; nothing from this line on was read"),
        (b"[" + json.dumps(_request()).encode(), 1, "the array is not closed"),
        (b"[" * 100_000, 0, "the array is not closed"),
        (b'{"a":' * 100_000, 0, "nested too deeply"),
        (b'{"AddMerchantRequest": 7}', 0, "an object is needed"),
        (b'{"AddMerchantRequest": {"AcquirerId": ' + b"9" * 10_000 + b"}}", 0, "a text is needed"),
        (b'{"AddMerchantRequest": {"AcquirerId": "1", "AcquirerId": "2"}}', 0, "a key stands twice"),
        ("{}".encode("utf-16"), 0, "UTF-16"),
        (b"NaN", 0, "an object is needed"),
        (b'"text"', 0, "an object is needed"),
        (b"\x00\x01\x02", 0, "not JSON"),
    ],
)
def test_a_hostile_file_is_refused_and_nothing_crashes(content: bytes, rows_accepted: int, reason: str) -> None:
    """What was read before stays; what is wrong is reported once."""
    rows = _read(content)

    assert len(accepted(rows)) == rows_accepted
    assert [reason in found for _, _, found in refused(rows)] == [True]


def test_bytes_that_are_not_utf8_spoil_their_own_request_only() -> None:
    """Latin-1 in one request of a UTF-8 file refuses that one."""
    wrong = json.dumps(_request(Name="caf@")).encode().replace(b"caf@", b"caf\xe9")
    rows = _read(b"[" + wrong + b"," + json.dumps(_request(MerchantId="2")).encode() + b"]")

    assert refused(rows) == [(1, "Merchant.Name", "not UTF-8")]
    assert len(accepted(rows)) == 1


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_crash_it(content: bytes) -> None:
    """Whatever the file holds, it ends in rows."""
    assert accepted(_read(content)) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(_request()["AddMerchantRequest"]["Merchant"])), JSON)
def test_no_value_of_any_field_crashes_it(field: str, value: object) -> None:
    """One row goes in, one comes out."""
    assert len(_read(_request(**{field: value}))) == 1
