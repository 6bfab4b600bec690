"""Milliseconds since 1970, which records carry, as people and policies know times: in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(millis: int) -> datetime:
    """The time that so many milliseconds since 1970 are."""
    return datetime.fromtimestamp(millis / 1_000, UTC)


def moment_text(millis: int) -> str:
    """The same as it is shown, to the second: `2026-11-23T15:00:00+00:00`."""
    return moment(millis).isoformat(timespec="seconds")
