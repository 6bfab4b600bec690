"""Avro in Confluent framing: 0x00, four bytes of schema id, the record.

`decode` is for records that our own code wrote. `decode_strict` is for everybody else's. Both read with the decoders of
`strict`, which accept what mainstream Avro writers produce and nothing more, at a cost bounded by the value's size.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from typing import Any, Final

import fastavro

from tocsin.schemas.catalog import Schema, schema_by_id
from tocsin.schemas.errors import Reason, Rejection, UnknownSchema
from tocsin.schemas.strict import Decoder, compile_decoder

VALUE_BYTES_MAX: Final = 65_536
_HEAD: Final = struct.Struct(">BI")

Record = dict[str, Any]


def encode(schema: Schema, record: Mapping[str, Any]) -> bytes:
    """The framed bytes of `record`. Raises ValueError (or a subclass) when it does not fit the schema."""
    out = BytesIO()
    out.write(_HEAD.pack(0, schema.id))
    fastavro.schemaless_writer(out, schema.parsed, record)
    return out.getvalue()


def schema_of(value: bytes) -> Schema:
    """The schema that the frame names.

    Raises:
        Rejection: UNDECODABLE without a frame, UNKNOWN_SCHEMA for an id that is not in this release.
    """
    if len(value) < _HEAD.size or value[0] != 0:
        raise Rejection(Reason.UNDECODABLE, "value: no Confluent frame (0x00, 4 bytes of schema id)")
    try:
        return schema_by_id(_HEAD.unpack_from(value)[1])
    except UnknownSchema as error:
        raise Rejection(Reason.UNKNOWN_SCHEMA, str(error)) from None


def decode(value: bytes) -> tuple[Schema, Record]:
    """Schema and record of a value that our own code wrote, of whatever size.

    Raises:
        UnknownSchema, Rejection: it did not.
    """
    found = schema_by_id(_HEAD.unpack_from(value)[1])
    return found, _read(value, found)


def decode_strict(value: bytes, *, bytes_max: int = VALUE_BYTES_MAX) -> tuple[Schema, Record]:
    """Schema and record of a stranger's value.

    Raises:
        Rejection: TOO_LARGE, UNKNOWN_SCHEMA, UNDECODABLE or NOT_CANONICAL.
    """
    if len(value) > bytes_max:
        raise Rejection(Reason.TOO_LARGE, f"value: more than {bytes_max} bytes")
    found = schema_of(value)
    return found, _read(value, found)


def content_of(value: bytes | None, kind: Schema, *, bytes_max: int = VALUE_BYTES_MAX) -> Record | None:
    """What a stranger's value says, as `decode_strict` reads it; None of one that is no record of this kind."""
    try:
        if value is None or schema_of(value) is not kind:
            return None
        return decode_strict(value, bytes_max=bytes_max)[1]
    except Rejection:
        return None


@cache
def _decoder(schema: Schema) -> Decoder:
    return compile_decoder(schema.parsed)


def _read(value: bytes, schema: Schema) -> Record:
    try:
        return _decoder(schema)(value, _HEAD.size)
    except (IndexError, UnicodeDecodeError) as error:
        what = "cut short" if isinstance(error, IndexError) else "a string is not UTF-8"
        raise Rejection(Reason.UNDECODABLE, f"value: not {schema.subject}: {what}") from None
