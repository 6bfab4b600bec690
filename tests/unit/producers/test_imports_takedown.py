"""Import of takedowns from CSV."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.producers.imports_support import accepted, context, example, profile, read, refused, token
from tocsin.producers.imports import Profile, Row
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.tokens import TokenKind

PROFILE = profile("takedowns-hotline-se")
WHO = context("hotline-se", "se")
COLUMNS = "reference,urls,action_by_role,method,commercial,reported_at,removed_at"
ROW = "A-1,https://a-site.example/x,HOST,CONTENT_REMOVED,true,2026-11-19T06:00:00Z,2026-11-19T07:00:00Z"
CONTENT = "zanzibar"


def _read(*lines: str, columns: str = COLUMNS, using: Profile = PROFILE) -> list[Row]:
    return read("\n".join((columns, *lines)).encode(), using, WHO)


def _alert(rows: list[Row]) -> SiteTakenDown:
    (row,) = accepted(rows)
    return cast("SiteTakenDown", row.alert)


def test_the_example_file_is_reported_row_by_row() -> None:
    """Six takedowns become alerts, three are refused with line, field and reason."""
    rows = read(example("takedowns-hotline-se.csv"), PROFILE, WHO)

    assert [row.line for row in accepted(rows)] == [2, 3, 4, 6, 8, 10]
    assert refused(rows) == [
        (5, "removed_at", "not before the step that precedes it"),
        (7, "reported_at", "time: an offset is needed, like Z or +01:00"),
        (9, "urls", "required"),
    ]


def test_a_takedown_becomes_tokens() -> None:
    """URL, domain and label are tokens; the TLD and the times are facts; nothing is in clear."""
    rows = read(example("takedowns-hotline-se.csv"), PROFILE, WHO)
    alert = cast("SiteTakenDown", accepted(rows)[0].alert)
    details = alert.details

    assert details is not None
    assert details.url_tokens[0] == token(TokenKind.URL, "https://bluelagoon-media.example/join")
    assert details.domain_token == token(TokenKind.DOMAIN, "bluelagoon-media.example")
    assert details.sld_token == token(TokenKind.SLD_LABEL, "bluelagoon-media")
    assert (details.tld, details.state, details.host_asn) == ("example", "CONFIRMED_DOWN", 64496)
    assert details.payment_links[0].mid_token == token(TokenKind.MERCHANT, "1996:000000412077")
    assert alert.topic.name == "alerts.se.site-taken-down.green"
    assert "lagoon" not in alert.model_dump_json()


def test_the_same_name_under_another_tld_has_the_same_label_token() -> None:
    """A site that hops to another TLD is found by its label."""
    alerts = [
        cast("SiteTakenDown", row.alert) for row in accepted(read(example("takedowns-hotline-se.csv"), PROFILE, WHO))
    ]
    first, hopped = alerts[0].details, alerts[4].details

    assert first is not None
    assert hopped is not None
    assert first.domain_token != hopped.domain_token
    assert first.sld_token == hopped.sld_token


def test_a_hidden_service_and_a_bare_address_are_told_apart() -> None:
    """An onion name is a hidden service; an IP address has no domain."""
    onion = _alert(_read(ROW.replace("a-site.example", "a" * 56 + ".onion"))).details
    address = _alert(_read(ROW.replace("a-site.example", "192.0.2.77"))).details

    assert onion is not None
    assert address is not None
    assert (onion.hidden_service, onion.tld) == (True, "onion")
    assert (address.hidden_service, address.tld, address.domain_token) == (False, None, None)


def test_the_same_reference_is_the_same_lineage() -> None:
    """Confirmed down later: the same lineage, another key; read again: the same key."""
    first, again = accepted(_read(ROW))[0], accepted(_read(ROW))[0]
    later = accepted(_read(ROW + ",2026-11-20T07:00:00Z", columns=COLUMNS + ",confirmed_down_at"))[0]

    assert first.idempotency_key == again.idempotency_key != later.idempotency_key
    assert first.alert.header.lineage_id == later.alert.header.lineage_id


def test_another_delimiter_can_be_named() -> None:
    """Semicolons, quoted values with one inside, a BOM and CRLF."""
    using = PROFILE.model_copy(update={"takedown": PROFILE.takedown.model_copy(update={"delimiter": ";"})})
    text = (COLUMNS + "\r\n" + ROW).replace(",", ";").replace("A-1", '"A;1"').encode("utf-8-sig")

    assert len(accepted(read(text, using, WHO))) == 1


@pytest.mark.parametrize(
    ("old", "new", "field", "reason"),
    [
        ("A-1", "", "reference", "required"),
        ("https://a-site.example/x", f"ftp://{CONTENT}/", "urls", "URL"),
        ("https://a-site.example/x", f"https://{CONTENT}.example/ https://b.example/", "urls", "of one site only"),
        ("HOST", CONTENT, "action_by_role", "HOST"),
        ("true", CONTENT, "commercial", "one of true, false"),
        ("2026-11-19T06:00:00Z", CONTENT, "reported_at", "ISO 8601"),
        ("2026-11-19T06:00:00Z", "", "reported_at", "required"),
        ("2026-11-19T07:00:00Z", "2031-01-01T00:00:00Z", "removed_at", "in the future"),
        ("A-1", '"A-1', "", "not CSV"),
        ("A-1", f"A-1,{CONTENT}", "", "7 values are needed"),
        ("A-1", "A\0-1", "reference", "control characters"),
    ],
)
def test_a_wrong_value_refuses_its_row_by_column(old: str, new: str, field: str, reason: str) -> None:
    """Column and rule, never the content; rows before and after it are read, an open quote swallows nothing."""
    rows = _read(ROW, ROW.replace(old, new), ROW.replace("A-1", "A-3"))

    ((line, found_field, found_reason),) = refused(rows)
    assert (line, found_field, reason in found_reason) == (3, field, True), found_reason
    assert [row.line for row in accepted(rows)] == [2, 4]
    assert CONTENT not in found_field + found_reason


@pytest.mark.parametrize(
    ("columns", "field", "reason"),
    [
        (COLUMNS.removeprefix("reference,"), "reference", "this column is required"),
        (COLUMNS + ",removed_at", "removed_at", "this column stands twice"),
        (f"{COLUMNS},{CONTENT}", "", "column 8 is not known"),
    ],
)
def test_a_wrong_header_line_refuses_every_row(columns: str, field: str, reason: str) -> None:
    """A column that is misspelt would be lost silently, so nothing is read, and each row is counted as refused."""
    rows = _read(ROW, ROW, columns=columns)

    assert refused(rows) == [
        (1, field, f"header line: {reason}"),
        (2, "", "the header line was refused"),
        (3, "", "the header line was refused"),
    ]


def test_bad_and_endless_lines_spoil_only_themselves() -> None:
    """Latin-1 bytes and a line of 3 MB are refused, the rows after them read with their right numbers."""
    content = b"\n".join(
        (COLUMNS.encode(), b"caf\xe9", b"x" * 3_000_000, b"", ROW.encode(), ROW.replace("A-1", "A-2").encode())
    )
    rows = read(content, PROFILE, WHO)

    assert refused(rows) == [(2, "", "not UTF-8"), (3, "", "longer than 1048576 bytes")]
    assert [row.line for row in accepted(rows)] == [5, 6]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_crash_it(content: bytes) -> None:
    """Whatever stands under the header line, every line that is not blank comes out refused."""
    rows = read(COLUMNS.encode() + b"\n" + content, PROFILE, WHO)

    assert accepted(rows) == []
    assert len(rows) <= content.count(b"\n") + 1
