"""What the fan-out makes of the group's answers."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from tocsin.consumers.errors import MembershipLost
from tocsin.consumers.fanout import refused_commit


def _refused(code: int, *, fatal: bool = False) -> KafkaException:
    return KafkaException(KafkaError(code, fatal=fatal))


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


@pytest.mark.parametrize(
    "failure",
    [
        _refused(KafkaError.FENCED_INSTANCE_ID),
        _refused(KafkaError._FATAL),
        _refused(KafkaError.UNKNOWN_MEMBER_ID, fatal=True),
    ],
)
def test_a_client_that_never_is_a_member_again_ends_the_process(failure: KafkaException) -> None:
    """Or it lives on without a lane, as both hosts did after a broker was lost on a busy machine."""
    with pytest.raises(MembershipLost):
        refused_commit(failure)
