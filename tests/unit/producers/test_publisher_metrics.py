"""The manual's lines for a member's own service show what waits in its publisher's spool, and what refuses it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from tests.unit.producers.test_publisher import WAIT_S, HeldWriter
from tests.world import takedown, wait_until
from tocsin.consumers.memory import MemoryExchange
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bus import Failure, Kind
from tocsin.schemas.names import AlertType

MANUAL = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
[LINES] = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)


def _told(what: str) -> float:
    found = REGISTRY.get_sample_value(f"spool_{what}")
    assert found is not None
    return found


def test_the_lines_of_the_manual(tmp_path: Path) -> None:
    """Nothing waits; one waits, since it was stored; its topic refuses it."""
    bundle = MemoryExchange(tmp_path).add_member(
        "hotline-se", role="hotline", jurisdiction="se", publishes=(AlertType.SITE_TAKEN_DOWN,)
    )
    writer = HeldWriter()
    publisher = Publisher(bundle, writer=writer)
    made: dict[str, Any] = {"publisher": publisher}
    exec(LINES, made)  # noqa: S102  # the manual's own code
    try:
        assert (_told("waiting_alerts"), _told("refusing_topics")) == (0, 0)
        assert abs(_told("oldest_timestamp_seconds") - time.time()) < WAIT_S
        alert = takedown(bundle, 1)
        publisher.publish(alert)
        stored_s = (publisher.status().oldest_ms or 0) / 1_000
        assert (_told("waiting_alerts"), _told("oldest_timestamp_seconds")) == (1, stored_s)
        wait_until(lambda: alert.to_avro() in writer.waiting, WAIT_S, "its sending")
        writer.answer(alert.to_avro(), Failure(Kind.DENIED, "broker's words"))
        wait_until(lambda: _told("refusing_topics") == 1, WAIT_S, "the refusal")
    finally:
        for name in ("waiting", "oldest", "refusing"):
            REGISTRY.unregister(made[name])
        publisher.close(0)
