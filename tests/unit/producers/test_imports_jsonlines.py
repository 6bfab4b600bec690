"""Import of our own JSON lines."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.producers.imports_support import accepted, context, example, profile, read, refused, token
from tocsin.producers.imports import Row
from tocsin.schemas.models import DescriptorReused
from tocsin.schemas.tokens import TokenKind

PROFILE = profile("descriptors-bank-fr")
CONTENT = "Zanzibar"


def _line() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(example("descriptors-bank-fr.jsonl").splitlines()[0]))


def _read(*lines: object, later: int = 0) -> list[Row]:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return read(b"\n".join(raw), PROFILE, context("bank-fr", "fr", later=later))


def test_the_example_file_is_reported_row_by_row() -> None:
    """Three sightings become alerts, one is refused with line, field and reason."""
    rows = _read(example("descriptors-bank-fr.jsonl"))

    assert [row.line for row in accepted(rows)] == [1, 2, 4]
    assert refused(rows) == [(3, "details.match_count", "the number of E and P in field_matches")]


def test_clear_values_become_tokens() -> None:
    """`raw` and `clear` stand for tokens, and the line wins over the profile."""
    rows = accepted(_read(example("descriptors-bank-fr.jsonl")))
    alert = cast("DescriptorReused", rows[0].alert)

    assert alert.details is not None
    assert alert.details.descriptor.key_token == token(TokenKind.DESCRIPTOR, "BLUELAGOONMEDI")
    assert alert.details.descriptor.aggregator == "paypal"
    assert alert.details.observed.mid_token == token(TokenKind.MERCHANT, "20417:774100012345")
    assert (alert.header.confidence, rows[2].alert.header.confidence) == (80, 65)
    assert "LAGOON" not in alert.model_dump_json()


@pytest.mark.parametrize(
    ("clear", "kind", "canonical"),
    [
        ({"clear": "phone_e164", "value": "020 7946 0123", "region": "GB"}, TokenKind.PHONE, "+442079460123"),
        ({"clear": "iban", "value": "GB82 WEST 1234 5698 7654 32"}, TokenKind.IBAN, "GB82WEST12345698765432"),
        ({"clear": "email", "value": "A@B.example"}, TokenKind.EMAIL, "a@b.example"),
        ({"clear": "tax", "value": "1-2", "country": "DE", "scheme": "vat"}, TokenKind.TAX, "DE:vat:12"),
        (
            {"clear": "principal", "surname": "Müller", "given": "Kim Jo", "born": "1970-01-31"},
            TokenKind.PRINCIPAL,
            "MULLER|KIM|1970-01-31",
        ),
        ({"clear": "descriptor", "value": "BLUE LAGOON LTD"}, TokenKind.DESCRIPTOR, "BLUELAGOON"),
    ],
)
def test_every_kind_of_clear_value_has_its_token(clear: dict[str, str], kind: TokenKind, canonical: str) -> None:
    """Any token of the model may be written as what it is made of."""
    line = _line()
    line["details"]["observed"]["mid_token"] = clear

    (row,) = accepted(_read(line))

    alert = cast("DescriptorReused", row.alert)
    assert alert.details is not None
    assert alert.details.observed.mid_token == token(kind, canonical)


def test_a_whole_alert_goes_through_unchanged() -> None:
    """What an alert's own JSON says is what is read, so exported alerts can be published again."""
    (row,) = accepted(_read(_line()))
    whole = {"type": "descriptor-reused", **json.loads(row.alert.model_dump_json())}

    (again,) = accepted(_read(whole, later=3600))

    assert again.alert == row.alert


def test_a_retraction_names_the_listing_that_it_withdraws() -> None:
    """By source and key, so it has the lineage of a MATCH import and a higher revision than any before it."""
    using = profile("match-acquirer-de")
    (listed, *_) = accepted(read(example("match-acquirer-de.json"), using, context()))
    retraction = {
        "type": "merchant-terminated",
        "lineage": {"source": "match", "key": "1996:000000412077"},
        "header": {"status": "RETRACTED", "status_reason": "ERROR"},
    }
    lines = PROFILE.model_copy(update={"jurisdiction": "de"})

    (row,) = accepted(read(json.dumps(retraction).encode(), lines, context(later=5)))

    assert row.alert.details is None
    assert row.alert.header.lineage_id == listed.alert.header.lineage_id
    assert row.alert.header.revision > listed.alert.header.revision


def test_a_line_without_a_key_is_its_own_lineage_and_the_same_when_read_again() -> None:
    """Re-reading a file publishes nothing twice, hours later too."""
    line = _line()
    del line["lineage"]
    (first,), (again,) = accepted(_read(line)), accepted(_read(line, later=7200))

    assert first.idempotency_key == again.idempotency_key
    assert first.alert.header.lineage_id == again.alert.header.lineage_id


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        (("header",), {"publisher": "bank-de"}, "header.publisher", "not this member's"),
        (("header",), {"jurisdiction": "de"}, "header.jurisdiction", "not this member's"),
        (("header",), {"tlp": "RED"}, "header.tlp", "Input should be"),
        (("header",), {CONTENT: 1}, "header", "a field that the schema does not have"),
        (("header",), {"note": "see https://a.example/Zanzibar"}, "header.note", "URL"),
        (("header",), {"note": "\ud800"}, "", "cannot be encoded"),
        (("header",), [], "header", "an object is needed"),
        (("details",), CONTENT, "details", "an object is needed"),
        (("details", "sightings"), 10**18, "", "cannot be encoded"),
        (("details", "sightings"), 10**30, "details.sightings", "Input should be"),
        (("details", "match_class"), CONTENT, "details.match_class", "Input should be"),
        (("details", "descriptor"), {"raw": 7}, "details.descriptor.raw", "a text is needed"),
        (("details", "descriptor"), {"raw": "日本語"}, "details.descriptor", "no letters or digits"),
        (("details", "observed", "mid_token"), {"clear": CONTENT}, "details.observed.mid_token.clear", "one of"),
        (("details", "observed", "mid_token"), CONTENT, "details.observed.mid_token", "a token"),
        (
            ("details", "observed", "mid_token"),
            {"clear": "iban", "value": CONTENT},
            "details.observed.mid_token",
            "IBAN",
        ),
        (("type",), CONTENT, "type", "one of"),
        (("lineage",), {"key": ""}, "lineage.key", "required"),
        (("lineage",), {"source": "match", "key": CONTENT}, "lineage.key", "merchant id"),
        ((CONTENT,), 1, "", "a field other than details, header, lineage, type"),
    ],
)
def test_a_wrong_field_refuses_its_line_by_name(path: tuple[str, ...], value: object, field: str, reason: str) -> None:
    """Field and rule, never the content; the other lines are read."""
    wrong = _line()
    inner = wrong
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value

    rows = _read(_line(), wrong, _line())

    ((line, found_field, found_reason),) = refused(rows)
    assert (line, found_field, reason in found_reason) == (2, field, True), found_reason
    assert len(accepted(rows)) == 2
    assert CONTENT not in found_field + found_reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"{} {}", "more than one JSON value"),
        (b'{"type": "descriptor-reused", "type": "descriptor-reused"}', "a key stands twice"),
        (b'{"details": [{"a": 1, "a": 2}]}', "a key stands twice"),
        (b"[]", "an object is needed"),
        (b"\xff\xfe{\0}\0", "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"\0", "not JSON"),
        (b"x" * 2_000_000, "longer than"),
    ],
)
def test_a_hostile_line_is_refused_and_the_next_one_read(line: bytes, reason: str) -> None:
    """Nothing crashes, nothing is lost."""
    rows = _read(line, _line())

    ((number, _, found),) = refused(rows)
    assert (number, reason in found) == (1, True)
    assert [row.line for row in accepted(rows)] == [2]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["clear", "raw", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([("header",), ("details",), ("lineage",), ("type",), ("details", "descriptor")]), JSON)
def test_no_value_of_any_field_crashes_it(path: tuple[str, ...], value: object) -> None:
    """One line goes in, one row comes out."""
    line = _line()
    inner = line
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value

    assert len(_read(line)) == 1
