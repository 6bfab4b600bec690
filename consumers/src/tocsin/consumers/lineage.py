"""The life of a lineage: which status may follow which. The manual's diagram is made from this table (`diagram`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from tocsin.schemas.errors import Reason, Rejection

NEW: Final = "NEW"
RETRACTED: Final = "RETRACTED"
EXPIRED: Final = "EXPIRED"

_STATED: Final = frozenset({"ACTIVE", "CORRECTED", "DISPUTED", RETRACTED})
FOLLOWS: Final[Mapping[str, frozenset[str]]] = {
    # an earlier revision may have been refused or not been read yet, and must never block a later one
    NEW: _STATED,
    "ACTIVE": _STATED | {EXPIRED},
    "CORRECTED": _STATED | {EXPIRED},
    "DISPUTED": _STATED | {EXPIRED},
    EXPIRED: _STATED,
    # final: what is to be told again is a new lineage
    RETRACTED: frozenset(),
}
"""Status -> the statuses that may come next. Members publish all but EXPIRED, which time brings."""

ENDED: Final = frozenset({RETRACTED, EXPIRED})
"""The statuses in which the exchange holds no content of a lineage."""


class Known(Protocol):
    """What the lane knows of a lineage."""

    @property
    def revision(self) -> int: ...  # noqa: D102  # the field of this name

    @property
    def status(self) -> str: ...  # noqa: D102  # the field of this name

    @property
    def sha256(self) -> bytes: ...  # noqa: D102  # the field of this name


def check_revision(known: Known | None, header: Mapping[str, Any], sha256: bytes) -> None:
    """Check that an alert with `header` may be the lineage's next revision. Gaps are allowed.

    Raises:
        Rejection: STALE, REPLAYED (the same bytes), CONFLICT (the same number, other bytes) or TRANSITION.
    """
    if known is not None:
        _check_number(known, header["revision"], sha256)
    before = NEW if known is None else known.status
    if header["status"] not in FOLLOWS[before]:
        raise Rejection(
            Reason.TRANSITION, f"header.status: nothing follows {before}; what is to be told again is a new lineage"
        )


def _check_number(known: Known, revision: int, sha256: bytes) -> None:
    if revision > known.revision:
        return
    if revision < known.revision:
        raise Rejection(Reason.STALE, f"header.revision: {revision} came after {known.revision}")
    if sha256 == known.sha256:
        raise Rejection(Reason.REPLAYED, "header.revision: the same bytes are already known")
    raise Rejection(Reason.CONFLICT, "header.revision: already published with other content; publish the next revision")


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for before, after in FOLLOWS.items():
        start = "[*]" if before == NEW else before
        lines += [f"    {start} --> {status}" for status in sorted(after)]
    return "\n".join([*lines, f"    {RETRACTED} --> [*]"]) + "\n"
