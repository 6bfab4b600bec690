"""The keys of a policy file: a JSON Schema for editors, and a reference for people, both made from the models. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from tocsin.deploy.policy.document import Policy


class SchemaFormat(StrEnum):
    """`--format`."""

    JSON = "json"
    MARKDOWN = "markdown"


def policy_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one policy file. No key is required at its top: several files are read as one.

    What depends on more than one key, on other files or on the names that there are, only `tocsin policy check` finds.
    """
    schema = _closed(Policy.model_json_schema(by_alias=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tocsin policy",
        "description": "A policy file. Several files are read as one policy, so each may hold a part of it.",
        **{key: value for key, value in schema.items() if key not in ("title", "description", "required")},
    }


def _closed(part: Any) -> Any:
    """Names that no pattern allows are refused: pydantic leaves them open."""
    if isinstance(part, list):
        return [_closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    more = {"additionalProperties": False} if "patternProperties" in part else {}
    return {**{key: _closed(value) for key, value in part.items()}, **more}


def schema_text() -> str:
    """The schema as it is kept in a file."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


# -- for people ------------------------------------------------------------------------------------------------------


def reference() -> str:
    """Every key, what may stand there and what it means: Markdown."""
    return "\n".join(_reference(policy_schema()))


def _reference(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from _part("A policy file", schema)
    for name, part in schema["$defs"].items():
        if "properties" in part:
            yield from _part(name, part)


def _part(title: str, part: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {title}\n"
    # a docstring's first paragraph says what it is; the keys say the rest
    yield part["description"].partition("\n\n")[0].replace("\n", " ") + "\n"
    yield "| key | value | meaning |"
    yield "|---|---|---|"
    required = part.get("required", ())
    for key, value in part["properties"].items():
        must = "; required" if key in required else ""
        yield f"| `{key}` | {_value(value)}{must} | {value['description']} |"
    yield ""


def _value(schema: Mapping[str, Any]) -> str:
    """What may stand there, in words."""
    if "$ref" in schema:
        return _named(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(word for one in schema["anyOf"] if (word := _value(one)) != "null")
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    return _typed(schema)


def _typed(schema: Mapping[str, Any]) -> str:
    match schema["type"]:
        case "array":
            return f"list of {_value(schema['items'])}"
        case "object":
            return f"by name: {_value(_values(schema))}"
        case "string":
            return {"date": "day", "date-time": "time"}.get(schema.get("format", ""), "text")
        case kind:
            return "`true`, `false`" if kind == "boolean" else str(kind)


def _values(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(schema.get("additionalProperties"), dict):
        found: Mapping[str, Any] = schema["additionalProperties"]
        return found
    [found] = schema["patternProperties"].values()
    return found


def _named(name: str) -> str:
    part = policy_schema()["$defs"][name]
    return f"[{name}](#{name.lower()})" if "properties" in part else _value(part)
