"""The alert rules speak of metrics and pages that there are, and the runbook of commands that there are."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.observe.prometheus import OBSERVE, PRODUCT, quicker
from tests.observe.queries import asked, metrics_in, rules
from tests.observe.runbook import KAFKA_TOOLS, PARTS, Section, sections
from tocsin.consumers.metric_table import TABLE, Kind
from tocsin.deploy.cli import app

RULES = rules()
SECTIONS = sections()
METRICS = {metric.name for metric in TABLE} | {
    f"{metric.name}_{part}" for metric in TABLE if metric.kind is Kind.HISTOGRAM for part in ("bucket", "count", "sum")
}

# files that the manual's words stand for
_THERE = {"policy.yaml": str(OBSERVE / "alerts.yaml"), "WITNESS": str(OBSERVE)}


def _ours(expr: str) -> set[str]:
    return {name for name in metrics_in(expr) if name.startswith("tocsin_")}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule(rule: dict[str, Any]) -> None:
    """Its metrics exist, and the runbook has its section."""
    assert metrics_in(rule["expr"])
    assert _ours(rule["expr"]) <= METRICS
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert rule["alert"] in SECTIONS


def test_every_panel_is_about_metrics_that_there_are() -> None:
    """Those of the brokers are tried on brokers."""
    assert {name for one in asked() for name in _ours(one.expr)} <= METRICS


def test_every_section_is_about_a_rule() -> None:
    """In the order of the rules."""
    assert [*SECTIONS] == [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: section.name)
def test_a_section(section: Section) -> None:
    """It says what it means, what to do and whom to wake, and its first command is one of ours, or of Kafka's."""
    assert tuple(section.parts) == PARTS
    program, *words = section.command
    if program in KAFKA_TOOLS:
        assert words[0] in KAFKA_TOOLS[program].verbs
        return
    assert program == "tocsin"
    command, rest = typer.main.get_command(app), words
    context = typer.Context(command, info_name="tocsin")
    while rest and (inner := getattr(command, "commands", {}).get(rest[0])):
        command, rest = inner, rest[1:]
        context = typer.Context(command, info_name=command.name, parent=context)
    assert not hasattr(command, "commands"), shlex.join(words)
    command.parse_args(context, [_THERE.get(word, word) for word in rest])


def test_a_misspelt_command_is_found() -> None:
    """The check above would not let it pass."""
    wrong = Section("x", dict.fromkeys(PARTS, ""), ["tocsin", "policy", "drift", "--evry", "1"])
    with pytest.raises(Exception, match="evry"):
        test_a_section(wrong)


def test_quicker_rules_are_the_same_but_for_their_times() -> None:
    """Waits, ranges and ages are divided; nothing else is touched."""
    made = quicker(
        {"groups": [{"name": "g", "rules": [{"alert": "A", "for": "5m", "expr": "rate(a[1h]) > 6 and b > 10 * 60"}]}]},
        60,
    )
    [rule] = made["groups"][0]["rules"]
    assert (rule["for"], rule["expr"]) == ("5s", "rate(a[60s]) > 6 and b > 10")


def test_every_age_in_a_rule_can_be_made_quicker() -> None:
    """Seconds that `time()` is compared with are written as a product; else `make observe` would wait for days."""
    for rule in RULES:
        if "time()" in rule["expr"]:
            assert rule["expr"].count("time()") <= len(PRODUCT.findall(rule["expr"]))


def test_prometheus_scrapes_every_service() -> None:
    """Each at a port of its own, on this machine."""
    config = yaml.safe_load(Path(OBSERVE / "prometheus.yaml").read_text())
    targets = [one for job in config["scrape_configs"] for each in job["static_configs"] for one in each["targets"]]
    assert len({*targets}) == len(config["scrape_configs"])
    assert all(one.startswith("127.0.0.1:") for one in targets)
