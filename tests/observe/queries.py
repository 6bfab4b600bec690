"""Every question that the dashboards and the alert rules ask, as Prometheus is asked it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from tests.observe.prometheus import OBSERVE
from tocsin.deploy.observing.boards import BOARDS

# what Grafana puts in for its own variables; four scrapes
_GRAFANA: Final = {"$__rate_interval": "4s", "$__range": "1m", "$lane": ".*", "$member": ".*"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of one panel; `when` is the alert without whose fault nothing answers."""

    board: str
    panel: str
    expr: str
    when: str


def asked() -> Iterator[Asked]:
    """All queries of all dashboards."""
    for board in BOARDS:
        for panel in board.panels:
            for query in panel.queries:
                yield Asked(board.uid, panel.title, as_asked(query.expr), query.when)


def as_asked(expr: str) -> str:
    """A query with all of its variables put in: every lane, every member."""
    for name, value in _GRAFANA.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    groups = yaml.safe_load((OBSERVE / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def recorded() -> dict[str, str]:
    """What is worked out for the alert rules beforehand, by its name."""
    groups = yaml.safe_load((OBSERVE / "alerts.yaml").read_text())["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}


def metrics_in(expr: str) -> set[str]:
    """The names of the metrics that a question is about, by way of what is recorded too."""
    for name, of in recorded().items():
        expr = expr.replace(name, of)
    return set(re.findall(r"\b(?:tocsin|kafka|process)_[a-z0-9_]+|\bup\b", expr))
