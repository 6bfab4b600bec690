"""For how long topics are kept: what a policy may say, and the bounds that the law and the exchange set. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from tocsin.consumers.lane import REMEMBERED_MS
from tocsin.deploy.policy.yaml_file import Place
from tocsin.schemas.names import AlertType
from tocsin.schemas.semantics import expiry_cap_ms

DAY_MS: Final = 86_400_000
ALERT_DAYS_MAX: Final = max(expiry_cap_ms(kind.value, relapsed=True) for kind in AlertType) // DAY_MS
"""No alert lives longer."""
RECORD_DAYS_MIN: Final = ALERT_DAYS_MAX + REMEMBERED_MS // DAY_MS
"""So long after an alert was given can it be retracted, and who was given it must be known."""
RECORD_DAYS_MAX: Final = 10_950


class Retention(BaseModel):
    """For how many days the topics of each kind are kept. What was shortened is gone for good once it is applied."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    alerts_days: int = Field(default=30, ge=7, le=90)
    """Alert topics. A lane that stands still for longer loses alerts; what was retracted lies in them until then."""
    audit_days: int = Field(default=3_650, ge=RECORD_DAYS_MIN, le=RECORD_DAYS_MAX)
    """Decisions: longer than any alert lives, and can be retracted after that."""
    audit_policy_days: int = Field(default=3_650, ge=RECORD_DAYS_MIN, le=RECORD_DAYS_MAX)
    """Changes of the policy: as long as decisions, which were made under it, at least."""
    audit_checkpoints_days: int = Field(default=3_650, ge=RECORD_DAYS_MIN, le=RECORD_DAYS_MAX)
    """Signed heads: as long as the decisions and changes that they seal, at least."""
    audit_access_days: int = Field(default=730, ge=365, le=3_650)
    """The brokers' log of who touched what: a year at least, as PCI DSS 10.5.1 asks for."""

    def faults(self) -> Iterator[tuple[Place, str]]:
        """What outlives that by which it is understood."""
        if self.audit_policy_days < self.audit_days:
            yield ("audit_policy_days",), f"less than audit_days ({self.audit_days}); write that or more"
        sealed = max(self.audit_days, self.audit_policy_days)
        if self.audit_checkpoints_days < sealed:
            yield ("audit_checkpoints_days",), f"less than what the heads seal ({sealed}); write that or more"


class Kept(NamedTuple):
    """For how many days topics are kept, and within what bounds a policy may say so."""

    topics: str
    key: str
    days: int
    least: int
    most: int


_TOPICS: Final[Mapping[str, str]] = {
    "alerts_days": "alerts.*",
    "audit_days": "audit.<jurisdiction>",
    "audit_policy_days": "audit.policy",
    "audit_checkpoints_days": "audit.checkpoints",
    "audit_access_days": "audit.access",
}


def kept(retention: Retention) -> Iterator[Kept]:
    """What `retention` comes to, kind by kind."""
    for key, topics in _TOPICS.items():
        bounds = Retention.model_json_schema()["properties"][key]
        yield Kept(topics, f"retention.{key}", getattr(retention, key), bounds["minimum"], bounds["maximum"])
