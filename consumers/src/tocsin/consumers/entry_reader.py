"""Reads lineages from the ledger topic: who they were given to, which many of them share, is decoded once. Pure."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final, cast

import fastavro

from tocsin.consumers.entry import Audience
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode
from tocsin.schemas.records import LedgerEntry

_FRAME_BYTES: Final = 5
_PARSED: Final[dict[str, Any]] = schema("ledger-entry").parsed
# all but the last field, `given`, which the reader leaves unread
_HEAD: Final = fastavro.parse_schema(
    {name: _PARSED[name] for name in ("type", "name")} | {"fields": _PARSED["fields"][:-1]}
)
_ONE, _END = 2, 0  # an array of one item begins with its length, zigzag, and ends with an empty block

Groups = list[tuple[int, int, Audience]]
"""(seq, revision, audience) of each decision that gave a lineage to somebody."""


class EntryReader:
    """Remembers the audiences that it has met."""

    def __init__(self) -> None:
        self._known: dict[bytes, Audience] = {}

    def read(self, value: bytes) -> tuple[LedgerEntry, Groups]:
        """The entry that our own code wrote as `value`, its `given` apart; the record's own is not filled."""
        stream = BytesIO(value)
        stream.seek(_FRAME_BYTES)
        record = cast("LedgerEntry", fastavro.schemaless_reader(stream, _HEAD, None))
        return record, self._groups(value, value[stream.tell() :])

    def _groups(self, value: bytes, rest: bytes) -> Groups:
        if rest[0] == _END:
            return []
        if rest[0] != _ONE:
            return _groups_of(value)
        seq, at = _long(rest, 1)
        revision, at = _long(rest, at)
        audience = self._known.get(rest[at:])
        if audience is None:
            [(_, _, audience)] = _groups_of(value)
            self._known[rest[at:]] = audience
        return [(seq, revision, audience)]


def _groups_of(value: bytes) -> Groups:
    given = cast("LedgerEntry", decode(value)[1])["given"]
    return [(one["seq"], one["revision"], (tuple(one["members"]), tuple(one["rules"]))) for one in given]


def _long(data: bytes, at: int) -> tuple[int, int]:
    """The Avro long at `at`, and where the next field begins."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last byte of a varint
            return (value >> 1) ^ -(value & 1), at
        shift += 7
