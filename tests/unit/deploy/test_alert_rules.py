"""The alert rules speak of metrics and pages that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tocsin.consumers.metrics import FanoutMetrics, SealerMetrics, ShipperMetrics, WithdrawalsMetrics
from tocsin.deploy.policy.watching import PolicyMetrics

ROOT = Path(__file__).parents[3]
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/observe/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
METRICS = {
    family.name
    for metrics in (FanoutMetrics(), SealerMetrics(), ShipperMetrics(), WithdrawalsMetrics(), PolicyMetrics())
    for family in metrics.registry.collect()
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule(rule: dict[str, Any]) -> None:
    """Its metrics exist, and its runbook has the section that it names."""
    named = set(re.findall(r"tocsin_[a-z_]+", rule["expr"]))
    assert named
    assert named <= METRICS
    page, _, section = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert section in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
