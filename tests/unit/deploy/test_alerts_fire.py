"""Each alert rule fires when it should, says what it should, and is quiet otherwise: promtool works it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observe.cases import CASES, Case, Series
from tests.observe.prometheus import OBSERVE
from tests.observe.queries import rules
from tests.observe.tools import run_tool

ALERTS = OBSERVE / "alerts.yaml"
BY_NAME = {rule["alert"]: rule for rule in rules()}


def _told(case: Case) -> dict[str, Any]:
    rule = BY_NAME[case.alert]
    annotations = {"summary": case.summary, "runbook_url": rule["annotations"]["runbook_url"]}
    return {"exp_labels": {**case.labels, **rule["labels"]}, "exp_annotations": annotations}


@dataclass(slots=True)
class _Group:
    """Cases that can be tried on one set of series, since no two are about the same metric."""

    at: int
    metrics: set[str] = field(default_factory=set[str])
    series: dict[str, str] = field(default_factory=dict[str, str])
    expected: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def _tests(cases: Iterable[tuple[Case, Series, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """What promtool is to try: the alerts upon these series are these. Each test of its costs half a second."""
    groups: list[_Group] = []
    for case, series, told in cases:
        metrics = {name.partition("{")[0] for name in series}
        fitting = (one for one in groups if one.at == case.at and not one.metrics & metrics)
        group = next(fitting, None)
        if group is None:
            groups.append(group := _Group(case.at))
        group.metrics |= metrics
        group.series |= series
        group.expected.append({"eval_time": f"{case.at}m", "alertname": case.alert, "exp_alerts": told})
    return [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in one.series.items()],
            "alert_rule_test": one.expected,
        }
        for one in groups
    ]


def _run(folder: Path, cases: Iterable[tuple[Case, Series, list[dict[str, Any]]]]) -> str:
    path = folder / "alerts_test.yaml"
    whole = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": _tests(cases)}
    path.write_text(yaml.safe_dump(whole))
    return run_tool("promtool", "test", "rules", path)


def test_every_rule_fires_and_is_quiet(tmp_path: Path) -> None:
    """Each upon its two sets of series."""
    quiet: list[tuple[Case, Series, list[dict[str, Any]]]] = [(case, case.quiet, []) for case in CASES]
    assert "SUCCESS" in _run(tmp_path, [*((case, case.fires, [_told(case)]) for case in CASES), *quiet])


def test_every_rule_has_a_case() -> None:
    """One that is never tried is not there."""
    assert {case.alert for case in CASES} == {*BY_NAME}


def test_a_rule_that_does_not_fire_is_found(tmp_path: Path) -> None:
    """The check above would not let it pass, either way."""
    missed, needless = CASES[0], CASES[-1]
    with pytest.raises(AssertionError) as found:
        _run(tmp_path, [(missed, missed.quiet, [_told(missed)]), (needless, needless.fires, [])])
    assert f"alertname: {missed.alert}" in str(found.value)
    assert f"alertname: {needless.alert}" in str(found.value)


def test_the_configuration_and_the_rules_are_sound() -> None:
    """As Prometheus itself reads them."""
    assert "SUCCESS" in run_tool("promtool", "check", "config", OBSERVE / "prometheus.yaml")
    assert f"{len(BY_NAME) + 6} rules found" in run_tool("promtool", "check", "rules", ALERTS)
