"""What JSON Schema (2020-12) says of a value: the keywords that our schemas use, and an error for any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

_SAYS_NOTHING = {"title", "description", "default", "$defs", "$schema", "$id", "discriminator"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}


_OF_OBJECTS = {"properties", "additionalProperties", "propertyNames", "patternProperties", "required"}


def wrong(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, at: str = "") -> Iterator[str]:
    """What is wrong with `value`, each with its place; nothing where it is valid."""
    top = root or schema
    for keyword, rule in schema.items():
        if keyword == "$ref":
            yield from wrong(value, top["$defs"][rule.removeprefix("#/$defs/")], top, at)
        elif keyword == "anyOf":
            if all([*wrong(value, one, top, at)] for one in rule):
                yield f"{at}: {value!r} is none of {rule}"
        elif keyword in _OF_OBJECTS:
            if isinstance(value, dict):
                yield from _wrong_object(value, keyword, schema, top, at)
        elif keyword == "items":
            for index, item in enumerate(value if isinstance(value, list) else ()):
                yield from wrong(item, rule, top, f"{at}/{index}")
        elif keyword not in _SAYS_NOTHING and not _HOLDS[keyword](rule, value):
            yield f"{at}: {value!r} against {keyword} {rule}"


def _wrong_object(
    value: Mapping[str, Any], keyword: str, schema: Mapping[str, Any], top: Mapping[str, Any], at: str
) -> Iterator[str]:
    rule = schema[keyword]
    if keyword == "required":
        yield from (f"{at}: {name} is missing" for name in rule if name not in value)
        return
    for name, part in value.items():
        parts = _parts(name, part, keyword, schema)
        if parts is None:
            yield f"{at}: no key {name}"
            continue
        for one, against in parts:
            yield from wrong(one, against, top, f"{at}/{name}")


def _parts(
    name: str, value: Any, keyword: str, schema: Mapping[str, Any]
) -> list[tuple[Any, Mapping[str, Any]]] | None:
    """What is to be checked of one key by one keyword; None: there may be no such key."""
    rule = schema[keyword]
    if keyword == "propertyNames":
        return [(name, rule)]
    patterns = [
        (value, one) for pattern, one in schema.get("patternProperties", {}).items() if re.search(pattern, name)
    ]
    if keyword == "patternProperties":
        return patterns
    if name in schema.get("properties", {}):
        return [(value, rule[name])] if keyword == "properties" else []
    if keyword == "properties" or patterns or rule is True:
        return []
    return None if rule is False else [(value, rule)]


def _has_format(name: str, value: Any) -> bool:
    parse: Callable[[str], object] = {"date": date.fromisoformat, "date-time": datetime.fromisoformat}[name]
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _of(*kinds: type) -> Callable[[Callable[[Any, Any], bool]], Callable[[Any, Any], bool]]:
    """A rule for values of these types, which any other value keeps."""
    return lambda holds: lambda rule, value: not isinstance(value, kinds) or holds(rule, value)


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda rule, value: isinstance(value, _TYPES[rule]) and (rule == "boolean" or not isinstance(value, bool)),
    "enum": lambda rule, value: value in rule,
    "const": lambda rule, value: bool(value == rule),
    "pattern": _of(str)(lambda rule, value: re.search(rule, value) is not None),
    "minLength": _of(str)(lambda rule, value: len(value) >= rule),
    "maxLength": _of(str)(lambda rule, value: len(value) <= rule),
    "minItems": _of(list)(lambda rule, value: len(value) >= rule),
    "minProperties": _of(dict)(lambda rule, value: len(value) >= rule),
    "minimum": _of(int, float)(lambda rule, value: value >= rule),
    "maximum": _of(int, float)(lambda rule, value: value <= rule),
    "exclusiveMinimum": _of(int, float)(lambda rule, value: value > rule),
    "format": _of(str)(_has_format),
}
