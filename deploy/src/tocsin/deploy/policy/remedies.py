"""What pydantic finds in a policy, in plain words, each with what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from tocsin.deploy.policy.document import CONTACT, PUBLIC_KEY, Policy
from tocsin.deploy.policy.words import remedy, respelled, said
from tocsin.deploy.policy.yaml_file import Place


def in_plain_words(error: ErrorDetails) -> str:
    """What is wrong; what to do."""
    kind, message = error["type"], error["msg"]
    if kind in _TEXTS:
        return _TEXTS[kind].format(said=said(error["input"]), **_context(error))
    return _EXPLAINED[kind](error) if kind in _EXPLAINED else _with_remedy(message.removeprefix("Value error, "))


def _context(error: ErrorDetails) -> dict[str, Any]:
    return error.get("ctx", {})


def _with_remedy(text: str) -> str:
    return text if "; " in text else f"{text}; correct it"


_TEXTS: Final[Mapping[str, str]] = {
    "too_short": "is empty, which could be read as nobody or as everybody; name some, or remove the key",
    "string_too_short": "is empty; write a few words, or remove the key",
    "string_too_long": "is longer than {max_length} characters; shorten it",
    "string_type": "{said} is not text; write text, a number in quotes",
    "bool_type": "{said} is neither true nor false; write one of the two",
    "bool_parsing": "{said} is neither true nor false; write one of the two",
    "int_type": "{said} is no whole number; write its digits",
    "int_parsing": "{said} is no whole number; write its digits",
    "int_from_float": "{said} is no whole number; write its digits",
    "greater_than_equal": "{said} is less than {ge}; write {ge} or more",
    "less_than_equal": "{said} is more than {le}; write {le} or less",
    "dict_type": "{said} is no block of keys; write `key: value` lines, indented under it",
    "model_type": "{said} is no block of keys; write `key: value` lines, indented under it",
    "tuple_type": "{said} is no list; write it in [ ], or each on a line of its own after '- '",
}
_RED: Final = "RED is for named persons and never travels; write AMBER_STRICT or a more open label"


def _unknown_word(error: ErrorDetails) -> str:
    if str(error["input"]).upper().removeprefix("TLP:") == "RED":
        return _RED
    known = re.findall(r"'([^']*)'", _context(error)["expected"])
    return f"{said(error['input'])} is no word for this; {remedy(error['input'], known)}"


def _misspelt(error: ErrorDetails) -> str:
    pattern, word = _context(error)["pattern"], str(error["input"])
    if pattern in _SHAPES:
        return _SHAPES[pattern]
    least, most = re.findall(r"\d+", pattern)[-2:]
    fix = respelled(word, lambda other: re.search(pattern, other) is not None)
    return f"{word!r} is not {least} to {most} of a-z, 0-9 and '-'; {fix}"


_SHAPES: Final = {
    CONTACT: "is no address to reach somebody at; write soc@example.org, or a phone number as +49301234567",
    PUBLIC_KEY: "is no public key; write its 64 digits of 0-9 and a-f",
}


def _unknown_key(error: ErrorDetails) -> str:
    *above, key = error["loc"]
    return f"no such key here; {remedy(key, _keys(_model(tuple(above))), 'correct its spelling or remove it')}"


def _missing(error: ErrorDetails) -> str:
    *above, key = error["loc"]
    known = _words(_model(tuple(above)), str(key))
    return f"is missing; add it, of {', '.join(known)}" if known else "is missing; add it"


_EXPLAINED: Final[Mapping[str, Callable[[ErrorDetails], str]]] = {
    "literal_error": _unknown_word,
    "enum": _unknown_word,
    "string_pattern_mismatch": _misspelt,
    "extra_forbidden": _unknown_key,
    "missing": _missing,
}


# -- what a part of a policy may have --------------------------------------------------------------------------------


def _model(place: Place) -> type[BaseModel]:
    """What kind of part stands at `place`."""
    model: type[BaseModel] = Policy
    for key in place:
        annotation = next((field.annotation for name, field in _fields(model) if name == key), None)
        model = next(_models(annotation), model)
    return model


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    return ((field.alias or name, field) for name, field in model.model_fields.items())


def _keys(model: type[BaseModel]) -> list[str]:
    return [name for name, _ in _fields(model)]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models(one)


def _words(model: type[BaseModel], key: str) -> list[str]:
    """The words that a key may have; none when they are free."""
    annotation = next((field.annotation for name, field in _fields(model) if name == key), None)
    return [*_literals(annotation)]


def _literals(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, str):
        yield annotation
    yield from getattr(annotation, "__members__", {}).values()
    for one in get_args(annotation):
        yield from _literals(one)
