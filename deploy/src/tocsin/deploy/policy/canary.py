"""What Kafka does not let one read, probed with a login that has no rights: whether everybody is allowed something."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from tocsin.deploy.errors import PolicyNotApplied
from tocsin.schemas.bundle import Bundle

ASK_S: Final = 10.0

UNREADABLE: Final = (
    "Kafka does not tell who its super users are, nor whether allow.everyone.if.no.acl.found is set: who is a super"
    " user may do everything. Both stand in the brokers' configuration files (super.users). Probed instead with the"
    " login `canary`, which has no ACL."
)


def probe(canary: Bundle, topic: str) -> Iterator[str]:
    """What the login without rights may do all the same, on the alert topic `topic` and on a group without ACLs.

    Raises:
        PolicyNotApplied: the cluster does not answer, so nothing is proved.
    """
    admin = AdminClient(canary.kafka_config())
    described: dict[str, Any] = admin.describe_topics(TopicCollection([topic]), request_timeout=ASK_S)
    if _allowed(described[topic], KafkaError.TOPIC_AUTHORIZATION_FAILED):
        yield f"canary may see {topic}: it is a super user, or an ACL or allow.everyone.if.no.acl.found lets everyone"
    group = f"canary-{secrets.token_hex(8)}"
    asked: dict[str, Any] = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=ASK_S
    )
    if _allowed(asked[group], KafkaError.GROUP_AUTHORIZATION_FAILED):
        yield "canary may use a group that no ACL names: allow.everyone.if.no.acl.found is set, or it is a super user"


def _allowed(answer: Any, refusal: int) -> bool:
    try:
        answer.result(ASK_S + 1)
    except KafkaException as failure:
        if failure.args[0].code() == refusal:
            return False
        raise PolicyNotApplied(f"the canary got no answer: {failure.args[0]}; run the command again") from failure
    return True
