"""A page wakes who is on call, a ticket waits: amtool says where each alert goes."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.observe.prometheus import OBSERVE
from tests.observe.queries import rules
from tests.observe.tools import run_tool

CONFIG = OBSERVE / "alertmanager.yaml"
SECRETARIAT = {"TocsinBreakGlass", "TocsinPolicyDrift", "TocsinLogRefused", "TocsinWitnessFork"}


def _receivers(labels: dict[str, str]) -> list[str]:
    words = [f"{name}={value}" for name, value in labels.items()]
    return run_tool("amtool", "config", "routes", "test", f"--config.file={CONFIG}", *words).strip().split(",")


def test_the_configuration_is_sound() -> None:
    """As Alertmanager reads it."""
    assert "3 receivers" in run_tool("amtool", "check-config", CONFIG)


def test_every_rule_reaches_somebody() -> None:
    """By its severity; what only the secretariat may decide reaches it too."""
    for rule in rules():
        severity = rule["labels"]["severity"]
        found = _receivers({"alertname": rule["alert"], "severity": severity})
        expected = ["on-call"] if severity == "page" else ["queue"]
        assert found == (["secretariat", *expected] if rule["alert"] in SECRETARIAT else expected), rule["alert"]


def test_what_is_inhibited_is_a_rule() -> None:
    """A name that is misspelt there would inhibit nothing."""
    names = {rule["alert"] for rule in rules()}
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    matchers = [
        one for rule in config["inhibit_rules"] for key in ("source", "target") for one in rule[f"{key}_matchers"]
    ]
    for matcher in matchers:
        _, _, pattern = matcher.partition("=~")
        for one in pattern.strip('"').split("|"):
            assert any(re.fullmatch(one, name) for name in names), one
