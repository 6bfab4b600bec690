"""Hygiene of schemas: what hostile bytes could be made to cost, and that a published version never changes.

Forbidden, each for a measured reason: recursion (a few kilobytes end the process), maps, array items of no size
(a few bytes take gigabytes), `decimal` on bytes (minutes of CPU), floats, and nesting deeper than 8. Unions are
`[null, X]` with the default null and nothing else, which is what `strict` reads and what can be left out later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any, Final

from tocsin.schemas.catalog import ALL, Schema

DEPTH_MAX: Final = 8
_FORBIDDEN: Final = {
    "map": "maps are not allowed",
    "float": "floats are not allowed",
    "double": "floats are not allowed",
    "fixed": "fixed is not allowed; use bytes",
}
_NULL_AND_ONE: Final = 2


def published() -> Mapping[str, str]:
    """The SHA-256 of every published schema, by file name."""
    found: dict[str, str] = json.loads((files("tocsin.schemas") / "avsc" / "published.json").read_text())
    return found


def lint_all() -> list[str]:
    """What is wrong with the schemas of this release, a line each; empty when nothing is."""
    wrong = [line for schema in ALL for line in lint(json.loads(schema.text), f"{schema.subject}.v{schema.version}")]
    names = [file.name for file in (files("tocsin.schemas") / "avsc").iterdir() if file.name.endswith(".avsc")]
    return wrong + check_published(ALL, published()) + check_files(names, ALL)


def check_published(schemas: Iterable[Schema], pins: Mapping[str, str]) -> list[str]:
    """Where the schemas differ from what was published: a changed file would be two schemas under one id."""
    left, wrong = dict(pins), list[str]()
    for schema in schemas:
        pin = left.pop(_file(schema), None)
        if pin is None:
            wrong.append(
                f"{_file(schema)}: not in published.json; add its SHA-256 when it is released: {schema.sha256}"
            )
        elif pin != schema.sha256:
            wrong.append(f"{_file(schema)}: changed after it was published; add a new version instead")
    return wrong + [f"{name}: published, and missing from this release" for name in left]


def check_files(names: Iterable[str], schemas: Iterable[Schema]) -> list[str]:
    """Files that no id stands for."""
    known = {_file(schema) for schema in schemas}
    return [f"{name}: has no id; add it to the table in catalog.py" for name in sorted(names) if name not in known]


def _file(schema: Schema) -> str:
    return f"{schema.subject}.v{schema.version}.avsc"


def lint(node: Any, where: str) -> Iterator[str]:
    """What is wrong with one schema, a line each."""
    yield from _lint(node, where, {}, ())


def _lint(node: Any, where: str, named: dict[str, Any], inside: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, list):
        if len(node) != _NULL_AND_ONE or node[0] != "null":
            yield f"{where}: a union other than [null, X]"
        for option in node[1:]:
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
        if len(inside) >= DEPTH_MAX:
            yield f"{where}: deeper than {DEPTH_MAX}"
        else:
            yield from _lint(node["items"], where, named, (*inside, "[]"))
    elif kind != "enum":
        yield from _lint(kind, where, named, inside)


def _lint_fields(node: dict[str, Any], where: str, named: dict[str, Any], inside: tuple[str, ...]) -> Iterator[str]:
    if len(inside) >= DEPTH_MAX:
        yield f"{where}: deeper than {DEPTH_MAX}"
        return
    for field in node["fields"]:
        if isinstance(field["type"], list) and field.get("default", "") is not None:
            yield f"{where}.{field['name']}: optional, and without the default null"
        yield from _lint(field["type"], f"{where}.{field['name']}", named, (*inside, node["name"]))


def _may_be_empty(items: Any, named: dict[str, Any]) -> bool:
    """Whether a value can take no bytes: null, or a record of nothing but such."""
    if isinstance(items, str):
        return items == "null" or (items in named and _may_be_empty(named[items], named))
    if isinstance(items, list) or items["type"] != "record":
        return not isinstance(items, list) and items["type"] == "null"
    return all(_may_be_empty(field["type"], named) for field in items["fields"])
