"""Reading what strangers wrote: typed access to untrusted fields, bounded lines, JSON that keeps what is wrong."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final, TypeVar, cast

from tocsin.producers.imports.rows import RowRefused
from tocsin.schemas.errors import IdentifierInvalid

LINE_SIZE_BYTES_MAX: Final = 1 << 20
TEXT_LENGTH_MAX: Final = 4096
_NUMBER_LENGTH_MAX: Final = 19

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one object of a row; `path` is what stands before their names in a refusal.

    An empty string counts as missing. Every method raises RowRefused.
    """

    values: Mapping[str, object]
    path: str = ""

    def name_of(self, name: str) -> str:
        """The field's full name."""
        return f"{self.path}.{name}" if self.path else name

    def text(self, name: str) -> str:
        """A required text."""
        found = self.text_or_none(name)
        if found is None:
            raise RowRefused(self.name_of(name), "required")
        return found

    def text_or_none(self, name: str) -> str | None:
        """An optional text."""
        return checked_text(self.values.get(name), self.name_of(name))

    def form(self, name: str, form: Callable[[str], T]) -> T:
        """The canonical form of a required text."""
        return canonical(form, self.text(name), self.name_of(name))

    def fields(self, name: str) -> Fields:
        """A required object."""
        return as_fields(self.values.get(name), self.name_of(name))

    def items(self, name: str) -> list[object]:
        """An optional array; a missing one is empty."""
        found = self.values.get(name)
        if found is None:
            return []
        if not isinstance(found, list):
            raise RowRefused(self.name_of(name), "an array is needed")
        return cast("list[object]", found)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """A required text out of a list."""
        found = self.text(name)
        if found not in allowed:
            raise RowRefused(self.name_of(name), f"one of {', '.join(allowed)}")
        return found

    def time(self, name: str) -> datetime:
        """A required time."""
        return canonical(aware_time, self.text(name), self.name_of(name))

    def time_or_none(self, name: str) -> datetime | None:
        """An optional time."""
        return self.time(name) if self.text_or_none(name) is not None else None

    def number_or_none(self, name: str) -> int | None:
        """An optional whole number of up to 10 digits."""
        found = self.text_or_none(name)
        if found is None:
            return None
        if not (found.isascii() and found.isdigit()) or len(found) > 10:  # noqa: PLR2004  # an AS number has 10 at most
            raise RowRefused(self.name_of(name), "a whole number")
        return int(found)


def canonical(form: Callable[[str], T], value: str, field: str) -> T:
    """`form(value)`, its errors naming `field`."""
    try:
        return form(value)
    except IdentifierInvalid as error:
        raise RowRefused(field, str(error)) from error


def checked_text(value: object, field: str) -> str | None:
    """`value` as text without outer spaces, None if it is missing or empty."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise RowRefused(field, "a text is needed")
    if len(value) > TEXT_LENGTH_MAX:
        raise RowRefused(field, f"longer than {TEXT_LENGTH_MAX} characters")
    kinds = {unicodedata.category(char) for char in value}
    if "Cs" in kinds:
        raise RowRefused(field, "not UTF-8")
    if "Cc" in kinds:
        raise RowRefused(field, "control characters")
    return value.strip() or None


def aware_time(text: str) -> datetime:
    """A time in ISO 8601 with its offset. Raises IdentifierInvalid."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise IdentifierInvalid("time: ISO 8601, like 2026-11-23T09:30:00Z") from error
    if found.tzinfo is None:
        raise IdentifierInvalid("time: an offset is needed, like Z or +01:00")
    return found


def as_fields(value: object, path: str) -> Fields:
    """An object's fields."""
    if not isinstance(value, dict):
        raise RowRefused(path, "an object is needed")
    return Fields(cast("dict[str, object]", value), path)


def lines(stream: BinaryIO) -> Iterator[tuple[int, str | RowRefused]]:
    """The lines of a file with their numbers from 1, without line ends; blank lines are left out.

    A line that is too long or not UTF-8 comes as its refusal, and the next one is read as if nothing had happened.
    """
    number = 0
    while raw := stream.readline(LINE_SIZE_BYTES_MAX + 1):
        number += 1
        if len(raw) > LINE_SIZE_BYTES_MAX:
            _skip_line(stream, raw)
            yield number, RowRefused("", f"longer than {LINE_SIZE_BYTES_MAX} bytes")
            continue
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
        except UnicodeDecodeError:
            yield number, RowRefused("", "not UTF-8")
            continue
        if text.strip():
            yield number, text


def _skip_line(stream: BinaryIO, raw: bytes) -> None:
    while raw and not raw.endswith(b"\n"):
        raw = stream.readline(LINE_SIZE_BYTES_MAX)


def csv_values(line: str, delimiter: str) -> list[str]:
    """The values of one line of CSV. No value holds a line break: an open quote would swallow the rows after it."""
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise RowRefused("", "not CSV: check its quotes") from error


class Repeated(dict[str, object]):
    """An object in which a key stands twice: which one counts is anybody's guess."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(found)


def _integer(text: str) -> int | float:
    """Python refuses to read numbers of thousands of digits; nothing here needs more than 64 bits."""
    return int(text) if len(text) <= _NUMBER_LENGTH_MAX else float("inf")


DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)


def decode_json(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at `start`, and where it ends.

    Raises:
        RowRefused: it is not JSON, or nested too deeply.
    """
    try:
        return DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise RowRefused("", "nested too deeply") from error
    except ValueError as error:
        raise RowRefused("", "not JSON") from error


def refuse_repeated(value: object) -> None:
    """Refuse a JSON value with an object in which a key stands twice."""
    if isinstance(value, Repeated):
        raise RowRefused("", "a key stands twice in one object")
    if isinstance(value, dict):
        refuse_repeated(list(cast("dict[str, object]", value).values()))
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            refuse_repeated(one)
