"""Watch-lists in clear become the tokens under which alerts may know the same things."""

from __future__ import annotations

import pytest

from tocsin.schemas.errors import IdentifierInvalid
from tocsin.schemas.tokens import TokenKey
from tocsin.schemas.watch_list import watch_tokens

NEW, OLD = TokenKey("k2026", "private", b"n" * 32), TokenKey("k2025", "private", b"o" * 32)


@pytest.mark.parametrize(
    ("line", "kind", "canonical"),
    [
        ("domain:Example.COM", "domain", "example.com"),
        ("mid:ab12:000123", "mid", "AB12:000123"),
        ("email:Shop@Example.com", "email", "shop@example.com"),
        ("phone_e164:+44 20 7946 0958", "phone_e164", "+442079460958"),
        ("descriptor:PAYPAL *MIDNIGHT VIDEO", "descriptor", "MIDNIGHTVIDEO"),
        ("descriptor:PAYPAL *MIDNIGHT VIDEO", "descriptor_skel", "MIDNIGHTVIDEO"),
    ],
)
def test_each_kind_has_its_token_under_every_live_key(line: str, kind: str, canonical: str) -> None:
    """In its canonical form."""
    found = watch_tokens(["# ours", "", f"  {line} "], (NEW, OLD))
    assert {NEW.token(kind, canonical), OLD.token(kind, canonical)} <= found


def test_a_descriptor_is_watched_for_in_its_cut_forms() -> None:
    """An alert may know only what a scheme left of it."""
    raw = "MIDNIGHT VIDEO ENTERTAINMENT"
    assert NEW.token("descriptor", "MIDNIGHTVIDEOENTERT") in watch_tokens([f"descriptor:{raw}"], (NEW,))


@pytest.mark.parametrize("line", ["example.com", "shoe:size", "domain:some where!", "descriptor:PAYPAL", "mid:12345"])
def test_what_has_no_form_is_named_by_its_line_only(line: str) -> None:
    """The value never stands in the message."""
    with pytest.raises(IdentifierInvalid, match=r"^line 2: ") as refusal:
        watch_tokens(["domain:example.com", line], (NEW,))
    assert line.partition(":")[2] not in str(refusal.value) or not line.partition(":")[2]
