"""Decoders for strangers' bytes, one per schema, made from the schema as Python source when it is loaded.

One pass reads the record and proves its form. It accepts what mainstream Avro writers produce, arrays in blocks of
negative count included (Go's hamba/avro writes them); it refuses what only an attacker writes: trailing bytes, overlong
numbers, numbers beyond their type, indexes out of range, booleans other than 0 and 1, blocks of another size than they
say. Its cost is bounded by the value's size: every array item takes a byte at least (`lint` sees to that), and nothing
is allocated by a length before the bytes are there.

Source and not closures, because a call per field is most of what a field costs: 2 to 3 times as fast, measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tocsin.schemas.errors import Reason, Rejection

Decoder = Callable[[bytes, int], dict[str, Any]]

_INDENT: Final = "    "
_INT_BITS: Final = 32
_LONG_BITS: Final = 64
_VARINT_BYTES_MAX: Final = 10
_BOOLEANS: Final = {0: False, 1: True}


def compile_decoder(schema: Any) -> Decoder:
    """A function of (data, at) that reads one record of `schema` from `data[at:]`, to its last byte.

    The function raises Rejection: UNDECODABLE when the bytes are no such record, NOT_CANONICAL when they are one in a
    form that no mainstream writer produces. It may raise IndexError and UnicodeDecodeError for UNDECODABLE, too.
    `schema` is parsed JSON that passes `lint`.
    """
    maker = _Maker()
    result = maker.value(schema, 1)
    source = ["def decode(data, at):", *maker.lines, f"{_INDENT}finish(data, at)", f"{_INDENT}return {result}"]
    scope: dict[str, Any] = {**maker.constants, **_HELPERS}
    exec(compile("\n".join(source), f"<decoder of {schema['name']}>", "exec"), scope)  # noqa: S102  # from our own schema
    decode: Decoder = scope["decode"]
    return decode


def _finish(data: bytes, at: int) -> None:
    if at > len(data):
        raise IndexError
    if at < len(data):
        raise _not_canonical("trailing bytes")


def _not_canonical(what: str) -> Rejection:
    return Rejection(Reason.NOT_CANONICAL, f"value: {what}")


def _undecodable(what: str) -> Rejection:
    return Rejection(Reason.UNDECODABLE, f"value: {what}")


def _raw(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned varint of 64 bits and where it ends."""
    raw = shift = 0
    start = at
    while (byte := data[at]) > 0x7F:  # noqa: PLR2004  # the high bit says that more bytes follow
        raw |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if at - start == _VARINT_BYTES_MAX:
            raise _not_canonical("an overlong number")
    if byte == 0 and shift:
        raise _not_canonical("an overlong number")
    raw |= byte << shift
    if raw >> _LONG_BITS:
        raise _not_canonical("a number beyond 64 bits")
    return raw, at + 1


def _number(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """A zigzag number of `bits` and where it ends."""
    raw, at = _raw(data, at)
    if raw >> bits:
        raise _not_canonical(f"a number beyond {bits} bits")
    return raw >> 1 ^ -(raw & 1), at


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A length, not negative, and where it ends."""
    found, at = _number(data, at, _LONG_BITS)
    if found < 0:
        raise _undecodable("a negative length")
    return found, at


def _odd(data: bytes, at: int, count: int, what: str) -> Rejection:
    """What is wrong with the byte at `at`, which is none of the `count` that may stand there."""
    if what == "boolean":
        return _not_canonical("a boolean that is neither 0 nor 1")
    index, _ = _number(data, at, _LONG_BITS)
    if index < 0:
        return _not_canonical(f"a negative {what} index")
    return _undecodable(f"{what} index {'out of range' if index >= count else 'not understood'}")


_HELPERS: Final = {
    "number": _number,
    "length": _length,
    "odd": _odd,
    "finish": _finish,
    "not_canonical": _not_canonical,
}


class _Maker:
    """Writes the source. Each method adds lines and returns the variable or expression that holds the value."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self._named: dict[str, Any] = {}
        self._count = 0

    def value(self, schema: Any, depth: int) -> str:
        """Lines for one value."""
        if isinstance(schema, list):
            return self._optional(schema, depth)
        if isinstance(schema, str):
            schema = self._named.get(schema, {"type": schema})
        if "name" in schema:
            self._named[schema["name"]] = schema
        make: Callable[[Any, int], str] = getattr(self, f"_{schema['type']}")
        return make(schema, depth)

    def _line(self, depth: int, *lines: str) -> None:
        self.lines += [_INDENT * depth + line for line in lines]

    def _fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _constant(self, content: Any) -> str:
        name = f"C{len(self.constants)}"
        self.constants[name] = content
        return name

    def _record(self, schema: Any, depth: int) -> str:
        fields = [f"{field['name']!r}: {self.value(field['type'], depth)}" for field in schema["fields"]]
        found = self._fresh()
        self._line(depth, f"{found} = {{{', '.join(fields)}}}")
        return found

    def _optional(self, schema: Any, depth: int) -> str:
        """A union [null, X]."""
        found = self._fresh()
        self._line(depth, "if data[at] == 2:", f"{_INDENT}at += 1")
        inner = self.value(schema[1], depth + 1)
        self._line(depth + 1, f"{found} = {inner}")
        self._line(depth, "elif data[at] == 0:", f"{_INDENT}at += 1", f"{_INDENT}{found} = None")
        self._line(depth, "else:", f"{_INDENT}raise odd(data, at, 2, 'union')")
        return found

    def _choice(self, depth: int, table: dict[int, Any], what: str) -> str:
        """One byte that stands for a value of `table`."""
        found, name = self._fresh(), self._constant(table.get)
        self._line(
            depth,
            f"{found} = {name}(data[at])",
            f"if {found} is None:",
            f"{_INDENT}raise odd(data, at, {len(table)}, {what!r})",
            "at += 1",
        )
        return found

    def _enum(self, schema: Any, depth: int) -> str:
        return self._choice(depth, {2 * index: symbol for index, symbol in enumerate(schema["symbols"])}, "enum")

    def _boolean(self, _schema: Any, depth: int) -> str:
        return self._choice(depth, _BOOLEANS, "boolean")

    def _int(self, _schema: Any, depth: int, bits: int = _INT_BITS) -> str:
        found = self._fresh()
        self._line(
            depth,
            f"{found} = data[at]",
            f"if {found} < 128:",
            f"{_INDENT}{found} = {found} >> 1 ^ -({found} & 1)",
            f"{_INDENT}at += 1",
            "else:",
            f"{_INDENT}{found}, at = number(data, at, {bits})",
        )
        return found

    def _long(self, schema: Any, depth: int) -> str:
        return self._int(schema, depth, _LONG_BITS)

    def _sized(self, depth: int, expression: str) -> str:
        """A length and as many bytes; one byte of length is the common case."""
        found = self._fresh()
        self._line(
            depth,
            "n = data[at]",
            "if n & 129:",
            f"{_INDENT}n, at = length(data, at)",
            "else:",
            f"{_INDENT}n >>= 1",
            f"{_INDENT}at += 1",
            "end = at + n",
            f"{found} = {expression}",
            "at = end",
        )
        return found

    def _string(self, _schema: Any, depth: int) -> str:
        return self._sized(depth, "str(data[at:end], 'utf-8')")

    def _bytes(self, _schema: Any, depth: int) -> str:
        return self._sized(depth, "data[at:end]")

    def _array(self, schema: Any, depth: int) -> str:
        """Blocks up to one of no items. A count below 0 is followed by the block's size in bytes."""
        found, stop = self._fresh(), self._fresh()
        self._line(depth, f"{found} = []", "while data[at]:")
        count = self._long(None, depth + 1)
        self._line(
            depth + 1,
            f"{stop} = None",
            f"if {count} < 0:",
            f"{_INDENT}{stop}, at = length(data, at)",
            f"{_INDENT}{stop} += at",
            f"for _ in range(abs({count})):",
        )
        item = self.value(schema["items"], depth + 2)
        self._line(depth + 2, f"{found}.append({item})")
        self._line(
            depth + 1,
            f"if {stop} is not None and {stop} != at:",
            f"{_INDENT}raise not_canonical('a block whose size is not its items')",
        )
        self._line(depth, "at += 1")
        return found
