"""What a custom resource definition lets an object hold; strictly: a field that it does not name is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import yaml
from jsonschema.validators import validator_for

Thing = dict[str, Any]


def schema_of(definition: Path) -> Thing:
    """The schema of version v1 in the file of a definition."""
    whole = next(yaml.load_all(definition.read_text(), Loader=yaml.CSafeLoader))
    schema: Thing = next(one for one in whole["spec"]["versions"] if one["name"] == "v1")["schema"]["openAPIV3Schema"]
    # what every object has besides
    schema["properties"] |= {name: {} for name in ("apiVersion", "kind", "metadata")}
    _close(schema)
    return schema


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    elif isinstance(schema, dict):
        open_one = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
        if schema.get("type") == "object" and "properties" in schema and not open_one:
            schema["additionalProperties"] = False
        for one in schema.values():
            _close(one)


def errors(thing: Thing, schema: Thing) -> list[str]:
    """What is wrong with an object, each with its place."""
    made_for = validator_for(schema, default=jsonschema.Draft202012Validator)
    return [f"{one.json_path}: {one.message}" for one in made_for(schema).iter_errors(thing)]
