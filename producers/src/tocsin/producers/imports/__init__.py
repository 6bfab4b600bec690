"""Import of files: each row becomes an alert or a refusal. Formats and profiles: docs/imports.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, Final

from tocsin.producers.imports.jsonlines import read_json_lines
from tocsin.producers.imports.maker import AlertMaker, Context
from tocsin.producers.imports.match import read_match
from tocsin.producers.imports.profile import Profile, Source
from tocsin.producers.imports.rows import Accepted, Refused, Row
from tocsin.producers.imports.takedown import read_takedowns

__all__ = ["Accepted", "Context", "Profile", "Refused", "Row", "read_rows"]

_READERS: Final[Mapping[Source, Callable[[BinaryIO, AlertMaker], Iterator[Row]]]] = {
    "match": read_match,
    "takedown": read_takedowns,
    "jsonlines": read_json_lines,
}


def read_rows(stream: BinaryIO, profile: Profile, context: Context) -> Iterator[Row]:
    """The rows of a file in the format that the profile names, in their order.

    Whatever the file holds, every row comes out once, Accepted or Refused; no row's content is in a refusal.

    Raises:
        ImportFailed: at once, when the profile does not fit this member.
    """
    return _READERS[profile.source](stream, AlertMaker(profile, context))
