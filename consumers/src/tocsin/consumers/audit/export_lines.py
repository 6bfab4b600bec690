"""Records of a topic as lines of text, one JSON object each, in one form only: so a line and its meaning are one. Pure.

    {"offset":7,"timestamp":1767225600000,"key":null,"value":"AAAA...","headers":[["dsse-keyid","c2U="]]}

Bytes are base64; the timestamp is the broker's, milliseconds since 1970.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Final, NamedTuple, TypeAlias

from tocsin.schemas.bus import BusRecord

LINE_BYTES_MAX: Final = 16_000_000
"""No record of an exchange is longer; a longer line is read in pieces, of which none is a record."""

_NUMBER: Final = rb"(0|[1-9][0-9]{0,18})"
_BYTES: Final = rb'(null|"[A-Za-z0-9+/]*={0,2}")'
_LINE: Final = re.compile(
    rb'\{"offset":%b,"timestamp":%b,"key":%b,"value":%b,"headers":(\[.*\])\}\n' % (_NUMBER, _NUMBER, _BYTES, _BYTES)
)
_NULL: Final = b"null"
_NO_HEADERS: Final = b"[]"
# the last digit before one "=" has 2 unused bits, before two of them 4: there is one way to write them
_LAST_OF: Final = {1: frozenset(b"AEIMQUYcgkosw048"), 2: frozenset(b"AQgw")}


class Unreadable(NamedTuple):
    """A line that is no record."""

    why: str


Line: TypeAlias = BusRecord | Unreadable
"""What stands in a line of a topic's file."""


def encode_line(record: BusRecord) -> bytes:
    """The line of a record, its newline at the end."""
    headers = _NO_HEADERS
    if record.headers:
        pairs = [[name, None if content is None else _text(content).decode()] for name, content in record.headers]
        headers = json.dumps(pairs, separators=(",", ":")).encode()
    return b'{"offset":%d,"timestamp":%d,"key":%b,"value":%b,"headers":%b}\n' % (
        record.offset,
        record.appended_ms,
        _quoted(record.key),
        _quoted(record.value),
        headers,
    )


def _quoted(content: bytes | None) -> bytes:
    return _NULL if content is None else b'"%b"' % _text(content)


def _text(content: bytes) -> bytes:
    return binascii.b2a_base64(content, newline=False)


def decode_line(topic: str, line: bytes) -> Line:
    """What a line says, if it is written as `encode_line` writes it."""
    parts = _LINE.fullmatch(line)
    if parts is None:
        return Unreadable("not a record as an export writes it")
    offset, timestamp, key, value, headers = parts.groups()
    try:
        found = BusRecord(topic, int(offset), _bytes(key), _bytes(value), (), int(timestamp))
        if headers == _NO_HEADERS:
            return found
        return _with_headers(found, json.loads(headers), line)
    except ValueError:
        return Unreadable("something in it is not base64, or not written in the one way that an export has")


def _bytes(quoted: bytes) -> bytes | None:
    if quoted == _NULL:
        return None
    content = binascii.a2b_base64(quoted[1:-1], strict_mode=True)
    padding = (-len(content)) % 3
    if padding and quoted[-2 - padding] not in _LAST_OF[padding]:
        raise ValueError("unused bits are set")
    return content


def _with_headers(record: BusRecord, pairs: object, line: bytes) -> Line:
    if not isinstance(pairs, list):
        raise ValueError("headers are a list")  # noqa: TRY004  # of the text, not of a caller
    headers: list[tuple[str, bytes | None]] = []
    for pair in pairs:
        match pair:
            case [str(name), None]:
                headers.append((name, None))
            case [str(name), str(content)]:
                headers.append((name, binascii.a2b_base64(content.encode(), strict_mode=True)))
            case _:
                raise ValueError("a header is its name and its bytes")
    found = BusRecord(record.topic, record.offset, record.key, record.value, tuple(headers), record.appended_ms)
    if encode_line(found) != line:
        raise ValueError("written in another way")
    return found
