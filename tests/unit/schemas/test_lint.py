"""Schema hygiene and compatibility: ours are sound, and each rule bites."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tocsin.schemas.catalog import schema
from tocsin.schemas.compat import cannot_read, check_all
from tocsin.schemas.lint import lint, lint_all


def _record(kind: Any, **field: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": "f", "type": kind, **field}]}


def test_ours_are_sound() -> None:
    """The schemas of this release pass."""
    assert lint_all() == []
    assert check_all() == []


@pytest.mark.parametrize(
    "kind",
    [
        ["null", "R"],
        {"type": "map", "values": "string"},
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}},
        {"type": "bytes", "logicalType": "decimal", "precision": 9},
        "double",
    ],
)
def test_each_rule_bites(kind: Any) -> None:
    """Recursion, maps, items of no size, decimals and floats are found."""
    assert list(lint(_record(kind), "x"))


def test_depth_bites() -> None:
    """Nine records inside each other are too deep."""
    node: Any = "string"
    for level in range(10):
        node = {"type": "record", "name": f"L{level}", "fields": [{"name": "f", "type": node}]}
    assert list(lint(node, "x"))


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (_record("string"), _record("int")),
        (_record("long"), _record("int")),
        (
            _record({"type": "enum", "name": "E", "symbols": ["A", "B"]}),
            _record({"type": "enum", "name": "E", "symbols": ["A"]}),
        ),
        ({"type": "record", "name": "R", "fields": []}, _record("string")),
        (_record(["null", "string"]), _record("string")),
    ],
)
def test_incompatible_changes_are_found(writer: Any, reader: Any) -> None:
    """A reader that cannot take what the writer wrote is named."""
    assert cannot_read(writer, reader)


def test_compatible_changes_pass() -> None:
    """A new field with a default, and a promotion, are fine."""
    assert cannot_read({"type": "record", "name": "R", "fields": []}, _record(["null", "string"], default=None)) == []
    assert cannot_read(_record("int"), _record("long")) == []
    text = json.loads(schema("merchant-terminated").text)
    assert cannot_read(text, text) == []
