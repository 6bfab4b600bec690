"""Later revisions of a lineage: what they say, and their numbers. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from pydantic import ValidationError

from tocsin.producers.errors import AlertRefused
from tocsin.schemas.header import StatusReason
from tocsin.schemas.models import MODELS, Alert
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.semantics import expiry_cap_ms
from tocsin.schemas.uuid7 import uuid7

_SINCE: Final = datetime(2020, 1, 1, tzinfo=UTC)
# a retraction holds no token, so none can be of this key
_NO_TOKEN_KEY: Final = "none"  # noqa: S105  # a key's name
_FROM_AUTHORITIES: Final = ("COURT_ORDER", "LE_REQUEST")


def clock_revision(now: datetime) -> int:
    """Seconds since 2020: above every revision numbered so before, with no state that could be lost."""
    return int((now - _SINCE).total_seconds())


def retraction(
    topic: AlertTopic,
    publisher: str,
    lineage_id: str,
    reason: StatusReason,
    *,
    revision: int,
    now: datetime,
    test: bool,
    note: str | None,
) -> Alert:
    """The RETRACTED revision of a lineage, of which nothing but its name and topic need be known.

    The header speaks of the retraction: telling everyone who was told is a legal duty (GDPR article 19), and it states
    no data. It lives as long as an alert of its type can, so that it outlives every revision that it withdraws.

    Raises:
        AlertRefused: it breaks a rule.
    """
    cap = timedelta(milliseconds=expiry_cap_ms(topic.type.value, relapsed=True))
    header: dict[str, Any] = {
        "alert_id": str(uuid7()),
        "lineage_id": lineage_id,
        "revision": revision,
        "status": "RETRACTED",
        "status_reason": reason,
        "publisher": publisher,
        "jurisdiction": topic.jurisdiction,
        "tlp": topic.tlp.value,
        "observed_at": now,
        "published_at": now,
        "expires_at": now + cap,
        "purposes": ["CSE_DISRUPTION"],
        "legal_basis": "GDPR_6_1_C",
        "basis_ref": "GDPR article 19",
        "data_categories": [],
        "evidence_kind": "LE_REQUEST" if reason in _FROM_AUTHORITIES else "MEMBER_REPORT",
        "confidence": 100,
        "human_reviewed": False,
        "token_key_id": _NO_TOKEN_KEY,
        "test": test,
        "note": note,
    }
    try:
        return MODELS[topic.type.value].model_validate({"header": header, "details": None})
    except ValidationError as error:
        raise AlertRefused(_first(error)) from None


def _first(error: ValidationError) -> str:
    """`field: rule`, without content."""
    fault = error.errors(include_input=False)[0]
    field = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def revised(
    alert: Alert, status: Literal["CORRECTED", "DISPUTED"], reason: StatusReason, *, revision: int, now: datetime
) -> Alert:
    """`alert` as a later revision, published now; unchecked."""
    changes = {
        "alert_id": str(uuid7()),
        "revision": revision,
        "status": status,
        "status_reason": reason,
        "published_at": now,
    }
    return alert.model_copy(update={"header": alert.header.model_copy(update=changes)})
