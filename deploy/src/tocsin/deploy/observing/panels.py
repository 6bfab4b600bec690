"""Dashboards as values, and Grafana's JSON of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

COLUMNS: Final = 24
_GREEN, _AMBER, _RED = "green", "orange", "red"
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
# of Grafana 11; it migrates older files by itself
_SCHEMA_VERSION: Final = 39


class Show(StrEnum):
    """How a panel shows what it finds."""

    LINES = "timeseries"
    FIGURE = "stat"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Query:
    """One question, and what its answers are called. `when` names the fault without which nothing answers."""

    expr: str
    legend: str = ""
    when: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. From `amber` and `red` upwards its values are bad; downwards, where `low` is.

    `runbook` is a section of docs/runbook.md.
    """

    title: str
    says: str
    queries: Sequence[Query]
    unit: str = "short"
    show: Show = Show.LINES
    amber: float | None = None
    red: float | None = None
    low: bool = False
    runbook: str = ""
    width: int = 12
    height: int = 7


@dataclass(frozen=True, slots=True)
class Variable:
    """What the reader chooses: any of the values that `label` has in `metric`."""

    name: str
    metric: str
    label: str
    one: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. `uid` is its file's name too."""

    uid: str
    title: str
    says: str
    panels: Sequence[Panel]
    variables: Sequence[Variable] = ()


def grafana(board: Board) -> dict[str, Any]:
    """The board as Grafana imports it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.says,
        "tags": ["tocsin"],
        "schemaVersion": _SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "links": [{"type": "dashboards", "tags": ["tocsin"], "title": "Tocsin", "asDropdown": True, "keepTime": True}],
        "templating": {"list": [_source(), _docs(), *map(_variable, board.variables)]},
        "panels": [
            _panel(number, panel, place)
            for number, (panel, place) in enumerate(zip(board.panels, _places(board.panels), strict=True), start=1)
        ],
    }


def _places(panels: Sequence[Panel]) -> list[dict[str, int]]:
    """Row by row, from left to right."""
    places: list[dict[str, int]] = []
    x = y = row_height = 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        places.append({"x": x, "y": y, "w": panel.width, "h": panel.height})
        x, row_height = x + panel.width, max(row_height, panel.height)
    return places


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    link = {"title": "What to do", "url": f"${{docs}}#{panel.runbook}", "targetBlank": True}
    return {
        "id": number,
        "type": panel.show.value,
        "title": panel.title,
        "description": panel.says,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "links": [link] if panel.runbook else [],
        "targets": [_target(chr(ord("A") + at), query, panel.show) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.show],
        "transformations": [{"id": "merge", "options": {}}] if panel.show is Show.TABLE else [],
    }


def _target(ref: str, query: Query, show: Show) -> dict[str, Any]:
    table = show is Show.TABLE
    return {
        "refId": ref,
        "datasource": _DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": show is not Show.LINES,
        "range": show is Show.LINES,
        "format": "table" if table else "time_series",
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": _GREEN, "value": None}]
    bounds = [(panel.amber, _AMBER), (panel.red, _RED)]
    if panel.low:
        # the worst is below the lowest bound, and each bound begins what is better
        better = [(panel.red, _AMBER if panel.amber is not None else _GREEN), (panel.amber, _GREEN)]
        steps, bounds = [{"color": _RED, "value": None}], better
    steps += [{"color": color, "value": bound} for bound, color in bounds if bound is not None]
    marked = panel.amber is not None or panel.red is not None
    custom = {"fillOpacity": 10, "showPoints": "never", "thresholdsStyle": {"mode": "line" if marked else "off"}}
    return {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if panel.show is Show.LINES or not marked else "thresholds"},
        "custom": custom if panel.show is Show.LINES else {},
    }


_OPTIONS: Final[dict[Show, dict[str, Any]]] = {
    Show.LINES: {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    Show.FIGURE: {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "area"},
    Show.TABLE: {"showHeader": True},
}


def _source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _docs() -> dict[str, Any]:
    """Where the runbook is; a coalition that keeps its manual elsewhere sets it once."""
    return {"name": "docs", "type": "textbox", "query": "docs/runbook.md", "label": "Runbook"}


def _variable(one: Variable) -> dict[str, Any]:
    question = f"label_values({one.metric}, {one.label})"
    return {
        "name": one.name,
        "type": "query",
        "label": one.name,
        "datasource": _DATASOURCE,
        "query": {"query": question, "refId": one.name},
        "definition": question,
        "refresh": 2,
        "sort": 1,
        "multi": not one.one,
        "includeAll": not one.one,
        "allValue": None if one.one else ".*",
        "current": {} if one.one else {"text": "All", "value": "$__all"},
    }
