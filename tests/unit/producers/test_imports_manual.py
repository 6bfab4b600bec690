"""The manual of imports says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.unit.producers.imports_support import accepted, context, profile, read
from tocsin.producers.imports.match import KNOWN_FIELDS
from tocsin.producers.imports.profile import HEADER_FIELDS, MatchDefaults, Profile
from tocsin.producers.imports.takedown import OPTIONAL, REQUIRED
from tocsin.schemas.tokens import TokenKind

MANUAL = (Path(__file__).parents[3] / "docs" / "imports.md").read_text("utf-8")
NAMES = set(re.findall(r"`\[?([A-Za-z_0-9.]+)\]?`", MANUAL)) | set(re.findall(r'"clear": "([a-z0-9_]+)"', MANUAL))


def test_every_key_column_field_and_kind_is_in_the_manual() -> None:
    """Nothing can be set or is read that the manual does not name."""
    names = {*REQUIRED, *OPTIONAL, *HEADER_FIELDS, *Profile.model_fields, *MatchDefaults.model_fields, *TokenKind}

    assert (names | KNOWN_FIELDS) - NAMES - {"Address"} == set()


def test_the_manuals_retraction_is_read() -> None:
    """The line that the manual shows withdraws a listing."""
    (line,) = re.findall(r'^    (\{"type".*)$', MANUAL, re.MULTILINE)

    (row,) = accepted(read(line.encode(), profile("descriptors-bank-fr"), context("bank-fr", "fr")))

    assert row.alert.header.status == json.loads(line)["header"]["status"] == "RETRACTED"
