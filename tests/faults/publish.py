"""A member that publishes COUNT alerts, every fourth of them a second revision, and may be killed at any moment.

Run again, it goes on: idempotency keys make what is stored already the same alert. Exits 0 once the broker has all.
"""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path

from tests.world import revised, takedown
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle

REVISED_EVERY = 4
# alerts keep flowing while the storm blows: a safeguard is tried only when there is something to lose
PACE_S = 0.03


def main(home: Path, member: str, count: int) -> None:
    """Publish."""
    bundle = Bundle.load(home / "members" / member)
    with Publisher(bundle) as publisher:
        for number in range(count):
            second = number % REVISED_EVERY == REVISED_EVERY - 1
            lineage = uuid.uuid5(uuid.NAMESPACE_OID, f"{member}/{number - second}")
            alert = takedown(bundle, number, lineage_id=str(lineage))
            if not publisher.publish(revised(alert, 2) if second else alert, f"n-{number}").repeated:
                time.sleep(PACE_S)
        sys.exit(1 if publisher.flush(120) else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
