"""The schemas that others publish are as they published them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "published"


def test_every_schema_is_what_its_project_published() -> None:
    """By the hash beside its origin; none is without one."""
    said = dict(
        re.findall(r"^\| `([^`]+)` \|.* `([0-9a-f]{64})` \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    )
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.iterdir()}
    assert said == {name: digest for name, digest in there.items() if name != "README.md"}
