"""Walks Avro bytes along their schema and refuses every form that no mainstream writer produces."""

from __future__ import annotations

from typing import Any, Final

from tocsin.schemas.errors import Reason, Rejection

_VARINT_BYTES: Final = {"int": 5, "long": 10}


def walk(data: memoryview, schema: Any) -> None:
    """Check that `data` is one value of `schema`, to its last byte.

    Raises:
        Rejection: NOT_CANONICAL, naming what is wrong.
    """
    walker = _Walker(data)
    walker.value(schema, {})
    if walker.at != len(data):
        raise _odd("trailing bytes")


def _odd(what: str) -> Rejection:
    return Rejection(Reason.NOT_CANONICAL, f"value: {what}")


class _Walker:
    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def value(self, schema: Any, named: dict[str, Any]) -> None:
        if isinstance(schema, list):
            schema = schema[self._index(len(schema), "union index")]  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(schema, str):
            schema = named.get(schema, {"type": schema})
        kind: str = schema["type"]
        if "name" in schema:
            named[schema["name"]] = schema
        if kind == "record":
            for field in schema["fields"]:
                self.value(field["type"], named)
        elif kind == "array":
            self._blocks(schema["items"], named)
        elif kind == "enum":
            self._index(len(schema["symbols"]), "enum index")
        else:
            self._primitive(kind)

    def _primitive(self, kind: str) -> None:
        if kind == "boolean":
            if self._bytes(1)[0] > 1:
                raise _odd("a boolean that is neither 0 nor 1")
        elif kind in _VARINT_BYTES:
            self._varint(kind)
        elif kind == "string":
            self._text()
        elif kind == "bytes":
            self._bytes(self._length())

    def _blocks(self, items: Any, named: dict[str, Any]) -> None:
        while (count := self._varint("long")) != 0:
            end = None
            if count < 0:
                end = self._length() + self.at
            for _ in range(abs(count)):
                before = self.at
                self.value(items, named)
                if self.at == before:
                    raise _odd("an array item of no size")
            if end is not None and end != self.at:
                raise _odd("a block whose size is not its items'")

    def _index(self, count: int, what: str) -> int:
        index = self._varint("int")
        if not 0 <= index < count:
            raise _odd(f"{what} out of range")
        return index

    def _length(self) -> int:
        length = self._varint("long")
        if length < 0:
            raise _odd("a negative length")
        return length

    def _text(self) -> None:
        try:
            bytes(self._bytes(self._length())).decode("utf-8")
        except UnicodeDecodeError:
            raise _odd("a string that is not UTF-8") from None

    def _bytes(self, count: int) -> memoryview:
        end = self.at + count
        if end > len(self.data):
            raise _odd("cut short")
        found = self.data[self.at : end]
        self.at = end
        return found

    def _varint(self, kind: str) -> int:
        result = shift = 0
        while True:
            byte = self._bytes(1)[0]
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004  # the high bit says that more bytes follow
                break
            if shift >= 7 * _VARINT_BYTES[kind]:
                raise _odd("an overlong number")
        if byte == 0 and shift > 7:  # noqa: PLR2004  # a last byte of 0 adds nothing
            raise _odd("an overlong number")
        return (result >> 1) ^ -(result & 1)
