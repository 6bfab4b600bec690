"""What a member says against an alert that it was given. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DISPUTE_REASONS: Final = ("ERROR", "FALSE_POSITIVE", "DUPLICATE", "OTHER")


@dataclass(frozen=True, slots=True)
class Disputed:
    """That `member` says that what it was given of a lineage is wrong."""

    member: str
    publisher: str
    lineage_id: str
    dispute_id: str
    reason: str

    @property
    def lineage(self) -> str:
        """The lineage's key in the ledger."""
        return f"{self.publisher}/{self.lineage_id}"
