"""What the models are built from: a frozen base, and times that are numbers in Avro.

Times are aware datetimes here and milliseconds since 1970 in Avro; dates are days.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SerializationInfo,
)

from tocsin.schemas.semantics import DAY_MAX, DAY_MIN, TIME_MS_MAX

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.date()


def _from_millis(value: object) -> object:
    if type(value) is not int:
        return value
    if not 0 <= value <= TIME_MS_MAX:
        raise ValueError("milliseconds since 1970, up to the end of 9999")
    return _EPOCH + timedelta(milliseconds=value)


def _whole_millis(value: datetime) -> datetime:
    """Avro keeps milliseconds; so an alert equals what is read back."""
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _to_millis(value: datetime, info: SerializationInfo) -> int | str:
    return (value - _EPOCH) // timedelta(milliseconds=1) if info.mode == "python" else value.isoformat()


def _from_days(value: object) -> object:
    if type(value) is not int:
        return value
    if not DAY_MIN <= value <= DAY_MAX:
        raise ValueError("days since 1970, in the years 1 to 9999")
    return _EPOCH_DAY + timedelta(days=value)


def _to_days(value: date, info: SerializationInfo) -> int | str:
    return (value - _EPOCH_DAY).days if info.mode == "python" else value.isoformat()


Time = Annotated[
    AwareDatetime, BeforeValidator(_from_millis), AfterValidator(_whole_millis), PlainSerializer(_to_millis)
]
Day = Annotated[date, BeforeValidator(_from_days), PlainSerializer(_to_days)]


class Model(BaseModel):
    """Frozen, and no field but those named."""

    model_config = ConfigDict(frozen=True, extra="forbid")
