"""A member disputes what it was given, on the exchange in memory: its publisher hears of it, and not from whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_memory_acknowledgement import OUTBOX, Stage
from tests.world import takedown
from tocsin.consumers.outbox_records import Outboxes
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.signing import sign_headers
from tocsin.schemas.verify import Verifier

GOOD = {
    "member": "isp-se",
    "publisher": "hotline-se",
    "lineage_id": "l",
    "dispute_id": "d",
    "reason": "ERROR",
    "issued_at": 1,
}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An exchange."""
    return Stage(tmp_path)


def test_a_dispute_reaches_the_publisher_once(stage: Stage) -> None:
    """Signed by the exchange, with the reason, without the member; after a restart it does not come again."""
    alert = takedown(stage.hotline, 1)
    stage.publish(alert)
    with stage.exchange.outbox(stage.isp) as outbox:
        outbox.dispute("hotline-se", alert.header.lineage_id, "FALSE_POSITIVE")
        with pytest.raises(ValueError, match="one of ERROR"):
            outbox.dispute("hotline-se", alert.header.lineage_id, "because")
    stage.exchange.run()
    stage.exchange.restart()
    stage.exchange.run()
    with stage.exchange.inbox(stage.hotline) as inbox:
        [received] = list(inbox)
        assert inbox.unverified == {}
    assert received.notice is not None
    assert (received.notice["kind"], received.notice["reason"]) == ("DISPUTED", "FALSE_POSITIVE")
    assert received.notice["lineage_id"] == alert.header.lineage_id
    assert b"isp-se" not in received.value


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"member": "isp-fr"}, "dispute/hotline-se/l", Reason.WRONG_PUBLISHER),
        ({}, "dispute/hotline-se/other", Reason.WRONG_KEY),
        ({"reason": "because"}, "dispute/hotline-se/l", Reason.INVALID),
    ],
)
def test_what_is_no_dispute(stage: Stage, changes: dict[str, str], key: str, reason: Reason) -> None:
    """Of somebody else, under another key, for no reason: it changes nothing."""
    form = schema("dispute")
    value = encode(form, {**GOOD, **changes})
    headers = tuple(sign_headers(stage.isp.signing_key(), "test", form, value))
    outboxes, verifier = Outboxes(), Verifier("test", stage.exchange.directory)
    now_ms = stage.exchange.directory.issued_at
    with pytest.raises(Rejection) as refusal:
        outboxes.apply("isp-se", BusRecord(OUTBOX, 0, key.encode(), value, headers, now_ms), verifier)
    assert refusal.value.reason is reason
    assert outboxes.disputes(stage.exchange.directory) == ()
