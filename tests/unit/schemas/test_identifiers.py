"""Canonical forms of identifiers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.schemas import identifiers as ids
from tocsin.schemas.errors import IdentifierInvalid

Form = Callable[[str], str]


@pytest.mark.parametrize(
    ("form", "value", "canonical"),
    [
        (ids.phone, "+1 (800) 555-0142", "+18005550142"),
        (ids.phone, "+44 20 7946 0123", "+442079460123"),
        (ids.iban, "gb82 west 1234 5698 7654 32", "GB82WEST12345698765432"),
        (ids.lei, "213800wavvops85n2205", "213800WAVVOPS85N2205"),
        (ids.email, " Billing@BlueLagoon.EXAMPLE ", "billing@bluelagoon.example"),
        (ids.email, "info@bücher.example", "info@xn--bcher-kva.example"),
        (ids.domain, "BlueLagoon-Media.Example.", "bluelagoon-media.example"),
        (ids.domain, "bücher.example", "xn--bcher-kva.example"),
        (ids.sld_label, "www.bluelagoon-media.example", "bluelagoon-media"),
        (ids.sld_label, "shop.bluelagoon.co.uk", "bluelagoon"),
        (ids.url, "HTTPS://Www.BlueLagoon.Example:443", "https://www.bluelagoon.example/"),
        (ids.url, "http://a.example/x/../%7euser/%c3%a9?q=%2f#top", "http://a.example/~user/%C3%A9?q=%2F"),
        (ids.url, "http://user:pw@a.example:8080/./é", "http://a.example:8080/%C3%A9"),
        (ids.url, "http://192.0.2.7/x", "http://192.0.2.7/x"),
        (ids.url, "http://[2001:DB8::7]/x", "http://[2001:db8::7]/x"),
        (ids.url, "http://a.example/../..", "http://a.example/"),
        (ids.url_domain, "www.bluelagoon.example/join", "bluelagoon.example"),
        (ids.country, "deu", "DE"),
        (ids.country, "GB", "GB"),
        (ids.mcc, "5967", "5967"),
        (ids.mcc, "3000", "3000"),
        (ids.ica, "1996", "1996"),
        (ids.bid, "10012345", "10012345"),
    ],
)
def test_a_value_has_its_canonical_form(form: Form, value: str, canonical: str) -> None:
    """Ways of writing fall together, and a canonical form is its own canonical form."""
    assert form(value) == canonical
    if form is not ids.sld_label:
        assert form(canonical) == canonical


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (ids.phone, "0800 555 0142"),
        (ids.phone, "+10000000000"),
        (ids.phone, "call me"),
        (ids.iban, "GB82WEST12345698765433"),
        (ids.iban, "GB82"),
        (ids.lei, "213800WAVVOPS85N2206"),
        (ids.email, "nobody"),
        (ids.email, "a b@c.example"),
        (ids.email, "@c.example"),
        (ids.domain, "localhost"),
        (ids.domain, "192.0.2.1"),
        (ids.domain, "-a.example"),
        (ids.domain, "a..example"),
        (ids.domain, "a b.example"),
        (ids.domain, "a" * 64 + ".example"),
        (ids.sld_label, "co.uk"),
        (ids.url, "ftp://a.example/"),
        (ids.url, "/join"),
        (ids.url, "http://"),
        (ids.url, "http://a.example:99999/"),
        (ids.url, "http://[::1"),
        (ids.url, "http://a.example/\x00"),
        (ids.country, "XX"),
        (ids.country, "Germany"),
        (ids.mcc, "0001"),
        (ids.mcc, "597"),
        (ids.ica, "12a"),
        (ids.ica, "١٢٣"),  # digits that are not ASCII
        (ids.bid, "1234567"),
        (ids.country, ""),
    ],
)
def test_a_value_without_canonical_form_is_refused_and_not_repeated(form: Form, value: str) -> None:
    """The error names kind and rule; an error message is no place for an identifier."""
    with pytest.raises(IdentifierInvalid) as failure:
        form(value)

    assert len(value) < 4 or value not in str(failure.value)


def test_a_national_number_needs_its_country() -> None:
    """MATCH gives numbers without country code, and the country elsewhere."""
    assert ids.phone("02079460123", "GB") == "+442079460123"


def test_every_list_of_mccs_counts() -> None:
    """913 codes in the union; the ISO list alone lacks some of Visa's and Mastercard's."""
    codes = [f"{code:04}" for code in range(10_000)]

    assert sum(_has_form(ids.mcc, code) for code in codes) >= 913


def _has_form(form: Form, value: str) -> bool:
    try:
        return form(value) == value
    except IdentifierInvalid:
        return False


def test_a_merchant_id_is_kept_as_it_is_behind_its_acquirer() -> None:
    """Leading zeros are part of a MID; case and DE 42 padding are not."""
    assert ids.merchant_id("1996", "00012ab         "[:15]) == "1996:00012AB"
    with pytest.raises(IdentifierInvalid):
        ids.merchant_id("1996", "1234567890123456")
    with pytest.raises(IdentifierInvalid):
        ids.merchant_id("19:96", "1")


def test_a_tax_id_names_country_and_scheme() -> None:
    """Punctuation does not count; a masked value is no identifier."""
    assert ids.tax("12-345.678 9", "USA", "national") == "US:national:123456789"
    with pytest.raises(IdentifierInvalid):
        ids.tax("*****", "US", "national")
    with pytest.raises(IdentifierInvalid):
        ids.tax("1", "US", "National Tax")


def test_a_principal_is_folded_names_and_a_birth_date() -> None:
    """Accents, case and further given names do not count."""
    assert ids.principal("Müller-Östberg", "José María", date(1970, 1, 31)) == "MULLEROSTBERG|JOSE|1970-01-31"
    with pytest.raises(IdentifierInvalid):
        ids.principal("李", "明", date(1970, 1, 31))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("4111 1111 1111 1111", True),
        ("4111111111111112", False),
        ("1111111111111117", False),
        ("5555-5555-5555-4444", True),
        ("411111111111", False),
        ("４１１１１１１１１１１１１１１１", False),  # noqa: RUF001  # digits that are not ASCII
    ],
)
def test_a_card_number_is_told_from_another_id(value: str, expected: bool) -> None:  # noqa: FBT001  # a figure
    """Length, first digit and Luhn, all three."""
    assert ids.is_card_number(value) is expected


@settings(deadline=None)  # the first call reads tables
@given(st.text(max_size=200))
def test_no_text_crashes_a_canonical_form(text: str) -> None:
    """Whatever comes, there is a canonical form, stable when taken again, or IdentifierInvalid."""
    for form in (ids.phone, ids.iban, ids.lei, ids.email, ids.domain, ids.url, ids.url_domain, ids.country, ids.mcc):
        try:
            canonical = form(text)
        except IdentifierInvalid:
            continue
        assert form(canonical) == canonical


@settings(deadline=None)  # the first call reads tables
@given(st.text(alphabet="ab./%2eE~?#:@[]", max_size=40))
def test_a_url_is_stable(tail: str) -> None:
    """Normalising a URL twice is normalising it once."""
    try:
        canonical = ids.url(f"http://a.example/{tail}")
    except IdentifierInvalid:
        return
    assert ids.url(canonical) == canonical
