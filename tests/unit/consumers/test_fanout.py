"""What the fan-out makes of the group's answers."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from tocsin.consumers.fanout import refused_commit


def _refused(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (KafkaError.ILLEGAL_GENERATION, False),
        (KafkaError.UNKNOWN_MEMBER_ID, False),
        (KafkaError.REBALANCE_IN_PROGRESS, None),
        (KafkaError.NOT_COORDINATOR, None),
    ],
)
def test_a_refused_commit_says_that_the_lane_is_not_ours_or_nothing(code: int, answer: bool | None) -> None:  # noqa: FBT001
    """Not while the group cannot say."""
    assert refused_commit(_refused(code)) is answer
