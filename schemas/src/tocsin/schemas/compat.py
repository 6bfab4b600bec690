"""FULL_TRANSITIVE compatibility: every version of a schema can read what every other version wrote.

The rules are those of Avro's schema resolution that our schemas use: fields are matched by name, a field that only one
side has needs a default, an enum's symbols stay, and a type only changes where Avro promotes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from typing import Any, Final

from tocsin.schemas.catalog import ALL

_PROMOTIONS: Final = {("int", "long"), ("string", "bytes"), ("bytes", "string")}


def check_all() -> list[str]:
    """What is incompatible between any two versions of any subject, a line each."""
    wrong: list[str] = []
    for subject in sorted({schema.subject for schema in ALL}):
        versions = [schema for schema in ALL if schema.subject == subject]
        for writer, reader in permutations(versions, 2):
            found = cannot_read(json.loads(writer.text), json.loads(reader.text))
            wrong += [f"{subject}: v{reader.version} cannot read v{writer.version}: {line}" for line in found]
    return wrong


def cannot_read(writer: Any, reader: Any) -> list[str]:
    """Why `reader` cannot read what `writer` wrote, a line each; empty when it can."""
    return list(_compare(_expand(writer, {}), _expand(reader, {}), ""))


def _expand(node: Any, named: dict[str, Any]) -> Any:
    """The schema with names replaced by what they name; our schemas do not recur."""
    if isinstance(node, list):
        return [_expand(option, named) for option in node]
    if isinstance(node, str):
        return named.get(node, {"type": node})
    if isinstance(node["type"], dict):
        return _expand(node["type"], named)
    if node["type"] == "record":
        fields = [{**field, "type": _expand(field["type"], named)} for field in node["fields"]]
        named[node["name"]] = {**node, "fields": fields}
        return named[node["name"]]
    if node["type"] == "array":
        return {"type": "array", "items": _expand(node["items"], named)}
    if node["type"] == "enum":
        named[node["name"]] = node
    return node


def _compare(writer: Any, reader: Any, where: str) -> Iterator[str]:
    if isinstance(writer, list):
        for option in writer:
            yield from _compare(option, reader, where)
    elif isinstance(reader, list):
        if not any(not list(_compare(writer, option, where)) for option in reader):
            yield f"{where or 'schema'}: no branch takes {writer['type']}"
    elif writer["type"] != reader["type"]:
        if (writer["type"], reader["type"]) not in _PROMOTIONS:
            yield f"{where or 'schema'}: {writer['type']} is not {reader['type']}"
    elif writer.get("name") != reader.get("name"):
        yield f"{where or 'schema'}: {writer.get('name')} is not {reader.get('name')}"
    elif writer.get("logicalType") != reader.get("logicalType"):
        # Avro would read it, and a time would become a number, or a day a moment
        yield f"{where or 'schema'}: {writer.get('logicalType')} is not {reader.get('logicalType')}"
    else:
        yield from _compare_same(writer, reader, where)


def _compare_same(writer: Any, reader: Any, where: str) -> Iterator[str]:
    if writer["type"] == "record":
        written = {field["name"]: field["type"] for field in writer["fields"]}
        for field in reader["fields"]:
            place = f"{where}.{field['name']}".lstrip(".")
            if field["name"] in written:
                yield from _compare(written[field["name"]], field["type"], place)
            elif "default" not in field:
                yield f"{place}: new, and without a default"
    elif writer["type"] == "array":
        yield from _compare(writer["items"], reader["items"], where)
    elif writer["type"] == "enum":
        lost = set(writer["symbols"]) - set(reader["symbols"])
        if lost and "default" not in reader:
            yield f"{where}: unknown symbols {sorted(lost)}"
