"""What is logged of an error that nobody foresaw."""

from __future__ import annotations

from tocsin.consumers.errors import where


def test_an_error_is_told_by_name_and_place_and_not_by_what_it_says() -> None:
    """Its causes, too: what they say may be content."""
    secret, told = "4929 content", ""
    try:
        try:
            int(secret)
        except ValueError as cause:
            raise KeyError(secret) from cause
    except KeyError as failure:
        told = where(failure)
    assert secret not in told
    assert told.startswith("KeyError at test_errors.py:")
    assert "; because of ValueError at test_errors.py:" in told
