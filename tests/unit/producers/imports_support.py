"""What the tests of imports share: a member, its keys, its clock, and the example files."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tocsin.producers.imports import Accepted, Context, Profile, Refused, Row, read_rows
from tocsin.schemas.tokens import TokenKey, TokenKind

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"
KEY = TokenKey("k2026q4", "private", b"\0" * 31 + b"\1")
NOW = datetime(2026, 11, 23, 13, tzinfo=UTC)


def context(member: str = "acquirer-de", jurisdiction: str = "de", *, later: int = 0) -> Context:
    """A member's context, `later` seconds after NOW."""
    return Context(member, jurisdiction, (KEY,), NOW + timedelta(seconds=later))


def profile(name: str) -> Profile:
    """An example's profile."""
    return Profile.load(EXAMPLES / f"{name}.toml")


def example(name: str) -> bytes:
    """An example file."""
    return (EXAMPLES / name).read_bytes()


def token(kind: TokenKind, canonical: str) -> str:
    """The token that the examples' key makes."""
    return KEY.token(kind, canonical)


def read(content: bytes, using: Profile, who: Context) -> list[Row]:
    """All rows of a file."""
    return list(read_rows(io.BytesIO(content), using, who))


def accepted(rows: list[Row]) -> list[Accepted]:
    """The accepted rows."""
    return [row for row in rows if isinstance(row, Accepted)]


def refused(rows: list[Row]) -> list[tuple[int, str, str]]:
    """Line, field and reason of the refused rows."""
    return [(row.line, row.field, row.reason) for row in rows if isinstance(row, Refused)]
