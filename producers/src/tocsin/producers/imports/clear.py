"""Clear values in our own JSON lines: where the model has a token, a line may say what the token is to be made of.

`{"clear": <kind>, "value": ...}` stands for a token, `{"raw": <text>}` for the tokens of a descriptor.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any, cast

from tocsin.producers.imports.fields import Fields, canonical
from tocsin.producers.imports.maker import AlertMaker
from tocsin.producers.imports.rows import RowRefused
from tocsin.schemas import identifiers as ids
from tocsin.schemas.errors import IdentifierInvalid
from tocsin.schemas.tokens import TokenKind
from tocsin.schemas.watch_list import FORMS


def _born(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise IdentifierInvalid("principal: the birth date as YYYY-MM-DD") from error


def with_tokens(value: object, path: str, maker: AlertMaker) -> object:
    """`value` with every clear value replaced by its token.

    Raises:
        RowRefused: a clear value has no canonical form; the field is its place.
    """
    if isinstance(value, list):
        return [with_tokens(one, path, maker) for one in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    fields = Fields(cast("dict[str, object]", value), path)
    if "clear" in fields.values:
        return _token(fields, maker)
    if "raw" in fields.values:
        return _descriptor(fields, maker)
    return {name: with_tokens(one, f"{path}.{name}", maker) for name, one in fields.values.items()}


def _token(clear: Fields, maker: AlertMaker) -> str:
    kind = TokenKind(clear.choice("clear", tuple(TokenKind)))
    if kind is TokenKind.PRINCIPAL:
        born = clear.form("born", _born)
        form = partial(ids.principal, given=clear.text("given"), born=born)
        return maker.token(kind, canonical(form, clear.text("surname"), clear.path))
    return maker.token(kind, canonical(_form(kind, clear), clear.text("value"), clear.path))


def _form(kind: TokenKind, clear: Fields) -> Callable[[str], str]:
    if kind is TokenKind.PHONE:
        return partial(ids.phone, region=clear.text_or_none("region"))
    if kind is TokenKind.TAX:
        return partial(ids.tax, country_code=clear.text("country"), scheme=clear.text("scheme"))
    return FORMS[kind]


def _descriptor(fields: Fields, maker: AlertMaker) -> dict[str, Any]:
    """A descriptor that was observed has no cut tokens, one that is shared for matching (`descriptors`) has."""
    tokens = maker.descriptor(fields.text("raw"), fields.path)
    if fields.path.endswith(".descriptor"):
        del tokens["cut_tokens"]
    others = {name: value for name, value in fields.values.items() if name != "raw"}
    return {**tokens, **others}


def refuse_unknown(fields: Fields, known: frozenset[str]) -> None:
    """Refuse an object with a field that is not `known`; its name is content, and is not told."""
    if fields.values.keys() - known:
        raise RowRefused(fields.path, f"a field other than {', '.join(sorted(known))}")
