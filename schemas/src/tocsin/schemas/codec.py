"""Avro in Confluent framing: 0x00, four bytes of schema id, the record.

`decode` is for records that our own code wrote. `decode_strict` is for everybody else's: it accepts what mainstream
Avro writers produce and nothing more, and its cost is bounded by the value's size.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

import fastavro

from tocsin.schemas.catalog import Schema, schema_by_id
from tocsin.schemas.errors import Reason, Rejection, UnknownSchema
from tocsin.schemas.walker import walk

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
    """Schema and record of a value that our own code wrote."""
    schema = schema_by_id(_HEAD.unpack_from(value)[1])
    return schema, _read(value, schema)


def _read(value: bytes, schema: Schema) -> Record:
    source = BytesIO(value)
    source.seek(_HEAD.size)
    return fastavro.schemaless_reader(source, schema.parsed, None)  # type: ignore[return-value]


def decode_strict(value: bytes, *, bytes_max: int = VALUE_BYTES_MAX) -> tuple[Schema, Record]:
    """Schema and record of a stranger's value.

    Re-encoding to the same bytes is the quick proof that nothing odd is in it. Where the bytes differ, a bounded walker
    decides: arrays in blocks of negative count are what Go's hamba/avro writes; trailing bytes, overlong varints,
    indexes out of range and booleans other than 0 and 1 are what only an attacker writes.

    Raises:
        Rejection: TOO_LARGE, UNKNOWN_SCHEMA, UNDECODABLE or NOT_CANONICAL.
    """
    if len(value) > bytes_max:
        raise Rejection(Reason.TOO_LARGE, f"value: more than {bytes_max} bytes")
    schema = schema_of(value)
    try:
        record = _read(value, schema)
        same = encode(schema, record) == value
    except Exception as error:  # noqa: BLE001  # fastavro raises whatever the bytes make it raise
        raise Rejection(Reason.UNDECODABLE, f"value: not {schema.subject} ({type(error).__name__})") from None
    if not same:
        walk(memoryview(value)[_HEAD.size :], schema.parsed)
    return schema, record
