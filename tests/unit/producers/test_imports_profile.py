"""Import profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.producers.imports_support import EXAMPLES, KEY, NOW, context, example, profile, read
from tocsin.producers.errors import ImportFailed
from tocsin.producers.imports import Accepted, Context, Profile
from tocsin.schemas.tokens import TokenKey

TEXT = (EXAMPLES / "match-acquirer-de.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "match"', 'source = "excel"', "source"),
        ('tlp = "AMBER"', 'tlp = "RED"', "tlp"),
        ("confidence = 95", 'confidence = "very"', "confidence"),
        ("confidence = 95", 'publisher = "bank-de"', "publisher cannot be set"),
        ('"BUSINESS"', '"GOSSIP"', "data_categories"),
        ('acquirer_country = "DE"', 'acquirer_country = "Germany"', "match.acquirer_country"),
        ('decided_by = "ACQUIRER"', 'decidedby = "ACQUIRER"', "match.decidedby"),
        ("[header]", "[header", "not TOML"),
    ],
)
def test_a_wrong_profile_is_refused_naming_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    """The message says where to look."""
    path = tmp_path / "profile.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new), "utf-8")

    with pytest.raises(ImportFailed, match=message) as failure:
        Profile.load(path)

    assert str(path) in str(failure.value)


def test_a_missing_profile_says_how_to_name_one(tmp_path: Path) -> None:
    """The option is in the message."""
    with pytest.raises(ImportFailed, match="--profile"):
        Profile.load(tmp_path / "none.toml")


def test_every_row_of_the_whole_file_follows_the_profile() -> None:
    """Expiry and test flag of the profile are in every alert."""
    using = profile("match-acquirer-de")
    using = using.model_copy(update={"expires_after_days": 30, "header": {**using.header, "test": True}})

    rows = [row for row in read(example("match-acquirer-de.json"), using, context()) if isinstance(row, Accepted)]

    assert {(row.alert.header.expires_at - row.alert.header.published_at).days for row in rows} == {30}
    assert all(row.alert.header.test for row in rows)


def test_new_tokens_are_under_the_newest_key_and_lineages_stay_under_the_oldest() -> None:
    """After a key's year a listing keeps its lineage, and its revision has tokens of the new key."""
    newer = TokenKey("k2027", "private", b"\7" * 32)
    using = profile("match-acquirer-de")

    before, after = (
        next(row for row in read(example("match-acquirer-de.json"), using, who) if isinstance(row, Accepted))
        for who in (context(), Context("acquirer-de", "de", (newer, KEY), NOW))
    )

    assert before.alert.header.lineage_id == after.alert.header.lineage_id
    assert (before.alert.header.token_key_id, after.alert.header.token_key_id) == ("k2026q4", "k2027")
    assert before.idempotency_key != after.idempotency_key


@pytest.mark.parametrize(
    ("change", "who", "message"),
    [
        ({"token_key": "k1999"}, context(), "token_key: no such key; token-keys.json has k2026q4"),
        ({"lineage_key": "k1999"}, context(), "lineage_key"),
        ({}, context(jurisdiction="fr"), "jurisdiction: this member's is fr"),
        ({}, Context("acquirer-de", "de", (), NOW), "no token key"),
    ],
)
def test_a_profile_that_does_not_fit_the_member_fails_before_any_row(
    change: dict[str, str], who: Context, message: str
) -> None:
    """A wrong setting is one error, not one for each row."""
    with pytest.raises(ImportFailed, match=message):
        read(b"[]", profile("match-acquirer-de").model_copy(update=change), who)
