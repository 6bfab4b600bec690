"""Hygiene of schemas: what hostile bytes could be made to cost, and that a published version never changes.

Forbidden, each for a measured reason: recursion (a few kilobytes end the process), maps, array items of no size
(a few bytes take gigabytes), `decimal` on bytes (minutes of CPU), floats, and nesting deeper than 8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, Final

from tocsin.schemas.catalog import ALL, Schema

DEPTH_MAX: Final = 8
_FORBIDDEN: Final = {
    "map": "maps are not allowed",
    "float": "floats are not allowed",
    "double": "floats are not allowed",
}


def published() -> Mapping[str, str]:
    """The SHA-256 of every published schema, by file name."""
    found: dict[str, str] = json.loads((files("tocsin.schemas") / "avsc" / "published.json").read_text())
    return found


def lint_all() -> list[str]:
    """What is wrong with the schemas of this release, a line each; empty when nothing is."""
    wrong = [line for schema in ALL for line in lint(json.loads(schema.text), f"{schema.subject}.v{schema.version}")]
    return wrong + _changed()


def _changed() -> list[str]:
    known = published()
    wrong: list[str] = []
    for schema in ALL:
        name = _file(schema)
        if name not in known:
            wrong.append(f"{name}: not in published.json; add its SHA-256 when it is released: {schema.sha256}")
        elif known[name] != schema.sha256:
            wrong.append(f"{name}: changed after it was published; add a new version instead")
    gone = set(known) - {_file(schema) for schema in ALL}
    return wrong + [f"{name}: published, and missing from this release" for name in sorted(gone)]


def _file(schema: Schema) -> str:
    return f"{schema.subject}.v{schema.version}.avsc"


def lint(node: Any, where: str) -> Iterator[str]:
    """What is wrong with one schema, a line each."""
    yield from _lint(node, where, {}, ())


def _lint(node: Any, where: str, named: dict[str, Any], inside: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, list):
        for option in node:
            yield from _lint(option, where, named, inside)
    elif isinstance(node, str):
        yield from _lint_name(node, where, named, inside)
    else:
        yield from _lint_type(node, where, named, inside)


def _lint_name(name: str, where: str, named: dict[str, Any], inside: tuple[str, ...]) -> Iterator[str]:
    if name in _FORBIDDEN:
        yield f"{where}: {_FORBIDDEN[name]}"
    elif name in inside:
        yield f"{where}: {name} contains itself"
    elif name in named and named[name]["type"] == "record":
        yield from _lint_fields(named[name], where, named, inside)


def _lint_type(node: dict[str, Any], where: str, named: dict[str, Any], inside: tuple[str, ...]) -> Iterator[str]:
    kind = node["type"]
    if node.get("logicalType") == "decimal":
        yield f"{where}: decimal is not allowed"
    if kind in ("record", "enum"):
        named[node["name"]] = node
    if kind == "record":
        yield from _lint_fields(node, where, named, inside)
    elif kind == "array":
        if _may_be_empty(node["items"], named):
            yield f"{where}: array items that may have no size"
        yield from _lint(node["items"], where, named, inside)
    elif kind != "enum":
        yield from _lint(kind, where, named, inside)


def _lint_fields(node: dict[str, Any], where: str, named: dict[str, Any], inside: tuple[str, ...]) -> Iterator[str]:
    if len(inside) >= DEPTH_MAX:
        yield f"{where}: deeper than {DEPTH_MAX}"
        return
    for field in node["fields"]:
        yield from _lint(field["type"], f"{where}.{field['name']}", named, (*inside, node["name"]))


def _may_be_empty(items: Any, named: dict[str, Any]) -> bool:
    """Whether a value can take no bytes: null, or a record of nothing but such."""
    if isinstance(items, str):
        return items == "null" or (items in named and _may_be_empty(named[items], named))
    if isinstance(items, list) or items["type"] != "record":
        return not isinstance(items, list) and items["type"] == "null"
    return all(_may_be_empty(field["type"], named) for field in items["fields"])
