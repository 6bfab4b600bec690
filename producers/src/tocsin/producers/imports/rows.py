"""What becomes of each row of an imported file: accepted or refused, never nothing and never a crash."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from tocsin.schemas.errors import Rejection
from tocsin.schemas.models import Alert


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row that became an alert.

    `idempotency_key` is the same for the same row read again, so `Publisher.publish` makes it the same alert.
    `left_out` names optional fields whose value could not be used, with the reason: `Merchant.Url: not a URL`.
    """

    line: int
    alert: Alert
    idempotency_key: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that became nothing. `field` is the source's name for it, empty for the row as a whole.

    Neither holds content of the file.
    """

    line: int
    field: str
    reason: str


Row = Accepted | Refused


class RowRefused(Exception):
    """A row cannot become an alert."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def refusal_of(error: ValidationError | Rejection) -> RowRefused:
    """The field and the rule of a model's error. An unknown field's name is content, so only its place is told."""
    if isinstance(error, Rejection):
        field, _, rule = error.detail.partition(": ")
        return RowRefused(field, rule)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "value_error":
        field, _, rule = first["msg"].removeprefix("Value error, ").partition(": ")
        return RowRefused(field, rule)
    place = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]
    reason = "a field that the schema does not have" if first["type"] == "extra_forbidden" else first["msg"]
    return RowRefused(".".join(str(part) for part in place), reason)
