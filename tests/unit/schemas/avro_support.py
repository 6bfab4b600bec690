"""Random records of any of our schemas, and writers of Avro bytes that do what fastavro does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tocsin.schemas.catalog import Schema

INT = (-(2**31), 2**31 - 1)
LONG = (-(2**63), 2**63 - 1)


def records(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Records that fit `schema`, whatever they mean."""
    return _values(schema.parsed, {})


def _values(node: Any, named: dict[str, Any]) -> st.SearchStrategy[Any]:
    if isinstance(node, list):
        return st.none() | _values(node[1], named)
    node = named.get(node, {"type": node}) if isinstance(node, str) else node
    if "name" in node:
        named[node["name"]] = node
    makers: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "record": lambda: st.fixed_dictionaries({f["name"]: _values(f["type"], named) for f in node["fields"]}),
        "array": lambda: st.lists(_values(node["items"], named), max_size=3),
        "enum": lambda: st.sampled_from(node["symbols"]),
        "string": lambda: st.text(max_size=90),
        "bytes": lambda: st.binary(max_size=90),
        "boolean": st.booleans,
        "int": lambda: st.integers(*INT),
        "long": lambda: st.integers(*LONG),
    }
    return makers[node["type"]]()


def number(value: int) -> bytes:
    """A zigzag varint."""
    raw = (value << 1) ^ (value >> 63)
    return varint(raw & (2**64 - 1))


def varint(raw: int, *, bytes_min: int = 1) -> bytes:
    """A varint of `bytes_min` bytes at least: more than are needed make it overlong."""
    out = bytearray()
    while raw > 0x7F or len(out) + 1 < bytes_min:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


Blocks = Callable[[list[bytes]], bytes]


def negative_block(items: list[bytes]) -> bytes:
    """An array as Go's hamba/avro writes it: one block of negative count, with its size in bytes."""
    body = b"".join(items)
    return (number(-len(items)) + number(len(body)) + body if items else b"") + b"\0"


def block_per_item(items: list[bytes]) -> bytes:
    """An array as a streaming writer writes it."""
    return b"".join(number(1) + item for item in items) + b"\0"


def framed(schema: Schema, record: dict[str, Any], blocks: Blocks) -> bytes:
    """The framed bytes of `record` with its arrays written by `blocks`."""
    return b"\0" + schema.id.to_bytes(4, "big") + _bytes(schema.parsed, record, {}, blocks)


def _bytes(node: Any, value: Any, named: dict[str, Any], blocks: Blocks) -> bytes:
    if isinstance(node, list):
        # the type is walked even when the value is None: later fields may name it
        inner = _bytes(node[1], value, named, blocks) if value is not None else _declare(node[1], named)
        return b"\0" if value is None else b"\2" + inner
    node = named.get(node, {"type": node}) if isinstance(node, str) else node
    if "name" in node:
        named[node["name"]] = node
    kind = node["type"]
    if kind == "record":
        return b"".join(_bytes(field["type"], value[field["name"]], named, blocks) for field in node["fields"])
    if kind == "array":
        _declare(node["items"], named)
        return blocks([_bytes(node["items"], item, named, blocks) for item in value])
    return _scalar(node, value)


def _scalar(node: Any, value: Any) -> bytes:
    kind = node["type"]
    if kind == "enum":
        return number(node["symbols"].index(value))
    if kind == "boolean":
        return bytes([value])
    if kind in ("int", "long"):
        return number(value)
    content: bytes = value.encode() if kind == "string" else value
    return number(len(content)) + content


def _declare(node: Any, named: dict[str, Any]) -> bytes:
    if isinstance(node, dict):
        if "name" in node:
            named[node["name"]] = node
        for field in node.get("fields", ()):
            _declare(field["type"], named)
        _declare(node.get("items"), named)
    elif isinstance(node, list):
        for option in node:
            _declare(option, named)
    return b""
