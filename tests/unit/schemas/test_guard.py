"""The content guard: what must not travel is found in every free field, and what may travel is let through."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.schemas.samples import SUBJECTS, put, sample
from tocsin.schemas.catalog import schema
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.guard import check_content, check_text

VISA = "4111111111111111"


def _rule(text: str) -> str | None:
    refusal = _refusal(lambda: check_text("field", text))
    if refusal is None:
        return None
    assert refusal.reason is Reason.CONTENT
    assert text not in str(refusal)
    return refusal.detail.removeprefix("field: ")


def _refusal(check: Callable[[], None]) -> Rejection | None:
    try:
        check()
    except Rejection as refusal:
        return refusal
    return None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (VISA, "card number"),
        ("4111 1111 1111 1111", "card number"),
        ("paid with 4111-1111-1111-1111.", "card number"),
        ("4111.1111.1111.1111", "card number"),
        ("4111 1111 1111 1111 12/27", "card number"),
        ("4111 1111 1111 1111 123", "card number"),
        ("20 4111 1111 1111 1111", "card number"),
        ("378282246310005", "card number"),
        ("3782 822463 10005", "card number"),
        ("4222222222222", "card number"),
        ("6304000000000000000", "card number"),
        ("４１１１１１１１１１１１１１１１", "card number"),  # noqa: RUF001  # full-width digits
        ("4111\u200b1111\u200b1111\u200b1111", "card number"),
        ("4111\u00a01111\u00a01111\u00a01111", "card number"),
        ("see https://example.top/a", "URL"),
        ("HTTP://example.top", "URL"),
        ("hxxp://example.top", "URL"),
        ("ftp://x", "URL"),
        ("www.example.top", "URL"),
        ("ｗｗｗ．example.top", "URL"),  # noqa: RUF001  # full-width letters
        ("abcdef.onion", "onion address"),
        ("abc.ONION/x", "onion address"),
        ("mail a.b+c@example.co.uk", "e-mail address"),
        ("data:image/png;base64,AAAA", "data: URI"),
        ("data:,x", "data: URI"),
        ("A" * 257, "base64 over 256 characters"),
        ("A" * 281, "longer than 280 characters"),
        ("x\x1b[31m", "control character"),
        ("4111\x001111\x001111\x001111", "control character"),
    ],
)
def test_what_must_not_travel(text: str, rule: str) -> None:
    """Each is refused by its rule, also in full-width letters or with invisible characters in between."""
    assert _rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "Terminated 2026-11-20, MATCH listed on 2026-11-23.",
        "1234567890123456",
        "4111111111111112",
        "7" + VISA[1:],
        "1" + VISA,
        VISA + "0000",
        "12345678901234567890123456789",
        "a@b",
        "at 10:30: see annex",
        "ratio 1:2",
        "metadata: none, really",
        "onion soup, 3.5 kg",
        "A" * 256,
        "word " * 56,
        "Grüße aus Köln\nsecond line",
        "",
    ],
)
def test_what_may_travel(text: str) -> None:
    """Dates, other numbers, and words that only look alike pass."""
    assert _rule(text) is None


def _texts(node: Any, path: str = "") -> list[str]:
    """The paths of all strings of a record."""
    if isinstance(node, dict):
        return [found for name, value in node.items() for found in _texts(value, f"{path}.{name}".lstrip("."))]
    if isinstance(node, list):
        return [found for at, value in enumerate(node) for found in _texts(value, f"{path}.{at}")]
    return [path] if isinstance(node, str) else []


def _enums(subject: str) -> set[str]:
    return {
        symbol
        for group in re.findall(r'"symbols": (\[.*?\])', schema(subject).text, re.DOTALL)
        for symbol in json.loads(group)
    }


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_free_field_is_checked(subject: str) -> None:
    """A card number is found in every string but enums, tokens and ids, and the message names the field."""
    symbols, checked = _enums(subject), set[str]()
    for path in _texts(sample(subject)):
        record = put(sample(subject), path, VISA)
        name = re.sub(r"\.\d+", "", path)
        node: Any = sample(subject)
        for part in path.split("."):
            node = node[int(part) if part.isdecimal() else part]
        exempt = re.search(r"_tokens?$|\.(alert_id|lineage_id|publisher|jurisdiction)$", name) or node in symbols
        if exempt:
            check_content(subject, record)
        else:
            with pytest.raises(Rejection, match=f"^content: {name}: card number$"):
                check_content(subject, record)
            checked.add(name)
    assert checked > {"header.note", "header.basis_ref", "header.case_refs.ref", "header.norm_version"}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_samples_and_retractions_pass(subject: str) -> None:
    """Full alerts and alerts without details are clean."""
    check_content(subject, sample(subject))
    check_content(subject, {**sample(subject), "details": None})


@given(text=st.text(max_size=300))
def test_the_quick_look_misses_nothing(text: str) -> None:
    """An alert is refused exactly when one of its texts is, whatever is looked at first."""
    record = put(sample("site-taken-down"), "header.note", text)
    refusal = _refusal(lambda: check_content("site-taken-down", record))
    assert (refusal and refusal.detail.removeprefix("header.note: ")) == _rule(text)


@given(
    digits=st.integers(2 * 10**12, 6 * 10**18).map(str),
    before=st.sampled_from(["", "no. ", "x", "12 "]),
    after=st.sampled_from(["", ".", " 12/27", "x"]),
)
def test_every_card_number_is_found(digits: str, before: str, after: str) -> None:
    """Any number of 13 to 19 digits that begins with 2 to 6 and is made Luhn-valid is found."""
    head = digits[0] if digits[0] in "23456" else "5"
    body = head + digits[1:-1]
    doubled = sum(sum(divmod(2 * int(d), 10)) for d in body[::-2]) + sum(int(d) for d in body[-2::-2])
    assert _rule(before + body + str(-doubled % 10) + after) == "card number"


@pytest.mark.parametrize(
    "text", ["1 " * 140, "a" * 280, "a@" * 140, "a." * 140, "4.1-" * 70, "data:" * 56, "aaa:/" * 56]
)
def test_cost_is_bounded(text: str) -> None:
    """As many awkward texts as fit in 64 KiB take under two seconds."""
    refs = [{"system": "IWF", "ref": text} for _ in range(65_536 // len(text))]
    record = put(sample("site-taken-down"), "header.case_refs", refs)
    started = time.process_time()
    _refusal(lambda: check_content("site-taken-down", record))
    assert time.process_time() - started < 2
