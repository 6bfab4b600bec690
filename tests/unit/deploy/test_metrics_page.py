"""The manual's tables of metrics are those of the code.

To write them anew after a change:

    TOCSIN_GOLDEN=write pytest tests/unit/deploy/test_metrics_page.py && git diff docs/metrics.md
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tocsin.deploy.observing.page import tables, with_tables

PAGE = Path(__file__).parents[3] / "docs/metrics.md"


def test_the_page_has_the_tables_of_the_code() -> None:
    """Each metric is there with its labels, its unit and what it says."""
    page = PAGE.read_text()
    if os.environ.get("TOCSIN_GOLDEN") == "write":
        PAGE.write_text(with_tables(page))
    assert with_tables(page) == PAGE.read_text()
    assert "| `tocsin_copies_total` | counter | `lane` |" in tables()


def test_a_page_without_marks_is_refused() -> None:
    """Or its tables would grow old without a word."""
    with pytest.raises(ValueError, match="lacks"):
        with_tables("# Metrics\n")
