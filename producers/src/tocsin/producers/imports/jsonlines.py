"""Our own JSON lines: one alert model on each line, its header filled in from the profile. Format: docs/imports.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, cast

from tocsin.producers.imports.clear import refuse_unknown, with_tokens
from tocsin.producers.imports.fields import Fields, as_fields, decode_json, lines, refuse_repeated
from tocsin.producers.imports.maker import AlertMaker
from tocsin.producers.imports.rows import Refused, Row, RowRefused
from tocsin.schemas.names import AlertType
from tocsin.schemas.watch_list import merchant

_LINE: Final = frozenset({"type", "lineage", "header", "details"})
_LINEAGE: Final = frozenset({"source", "key"})
_SOURCES: Final = ("jsonlines", "match", "takedown")


def read_json_lines(stream: BinaryIO, maker: AlertMaker) -> Iterator[Row]:
    """The rows of a file of JSON lines."""
    for line, text in lines(stream):
        try:
            if isinstance(text, RowRefused):
                raise text
            yield _alert(line, text, maker)
        except RowRefused as refusal:
            yield Refused(line, refusal.field, refusal.reason)


def _alert(line: int, text: str, maker: AlertMaker) -> Row:
    value, end = decode_json(text, len(text) - len(text.lstrip()))
    if text[end:].strip():
        raise RowRefused("", "more than one JSON value on the line")
    refuse_repeated(value)
    fields = as_fields(value, "")
    refuse_unknown(fields, _LINE)
    header = (
        cast("dict[str, Any]", dict(fields.fields("header").values)) if fields.values.get("header") is not None else {}
    )
    _check_own(header, maker)
    given = tuple(header)
    header["lineage_id"] = header.get("lineage_id") or _lineage_id(fields, value, maker)
    header.setdefault("observed_at", maker.context.now)
    return maker.accept(line, _type(fields, maker), header, _details(fields, maker), given=given)


def _details(fields: Fields, maker: AlertMaker) -> dict[str, Any] | None:
    if fields.values.get("details") is None:
        return None
    return cast("dict[str, Any]", with_tokens(fields.fields("details").values, "details", maker))


def _type(fields: Fields, maker: AlertMaker) -> AlertType:
    default = maker.profile.jsonlines.type
    if default is not None and fields.text_or_none("type") is None:
        return default
    return AlertType(fields.choice("type", tuple(AlertType)))


def _check_own(header: dict[str, Any], maker: AlertMaker) -> None:
    """What is signed with this member's key must be this member's."""
    context = maker.context
    for name, own in (("publisher", context.publisher), ("jurisdiction", context.jurisdiction)):
        if header.get(name, own) != own:
            raise RowRefused(f"header.{name}", "not this member's")


def _lineage_id(fields: Fields, value: object, maker: AlertMaker) -> str:
    """By the line's own key for the matter, or that of another import, or else by all that the line says."""
    if fields.values.get("lineage") is None:
        content = json.dumps(value, sort_keys=True).encode()
        return maker.lineage_id("jsonlines", "sha256:" + hashlib.sha256(content).hexdigest())
    lineage = fields.fields("lineage")
    refuse_unknown(lineage, _LINEAGE)
    source = lineage.choice("source", _SOURCES) if "source" in lineage.values else "jsonlines"
    key = lineage.form("key", merchant) if source == "match" else lineage.text("key")
    return maker.lineage_id(source, key)
