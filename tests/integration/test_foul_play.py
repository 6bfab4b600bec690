"""Foul play by members with WRITE on an alert topic: all rejected with the right reason, and no inbox changes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaError, Message, Producer

from tests.world import World, takedown, wait_until
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.signing import SigningKey, sign_headers

SCHEMA = schema("site-taken-down")
TOPIC = "alerts.se.site-taken-down.green"
Headers = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Attack:
    """One record and the reason with which it must be rejected; None is any reason of decoding or signature."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    reasons: tuple[str, ...]
    topic: str = TOPIC


def _attacks(victim: Bundle, attacker: Bundle, published: SiteTakenDown, headers: Headers) -> Iterator[Attack]:
    value, lineage = published.to_avro(), published.header.lineage_id.encode()
    own = attacker.signing_key()
    stolen_name = takedown(victim, 50)
    yield Attack(lineage, None, [], ("no-value",))
    yield Attack(lineage, b"garbage", [], ("unsigned",))
    yield Attack(lineage, b"x" * 70_000, headers, ("too-large",))
    yield Attack(lineage, value, headers, ("replayed",))
    yield Attack(b"other-key", value, headers, ("wrong-key",))
    yield Attack(lineage, value, headers, ("wrong-topic",), "alerts.se.site-taken-down.amber")
    yield Attack(
        stolen_name.header.lineage_id.encode(),
        stolen_name.to_avro(),
        sign_headers(own, "test", SCHEMA, stolen_name.to_avro()),
        ("wrong-publisher",),
    )
    stranger = SigningKey.generate("hotline-se")
    yield Attack(lineage, value, sign_headers(stranger, "test", SCHEMA, value), ("unknown-key",))
    yield Attack(lineage, value, sign_headers(own, "other", SCHEMA, value), ("unknown-schema",))
    yield Attack(lineage, value, [*headers, headers[1]], ("unsigned",))
    yield Attack(lineage, value, headers[:2], ("unsigned",))
    swapped = b"\0\0\0\0\x65" + value[5:]
    yield Attack(lineage, swapped, sign_headers(own, "test", SCHEMA, swapped), ("wrong-schema",))
    longer = value + b"\0"
    yield Attack(lineage, longer, sign_headers(own, "test", SCHEMA, longer), ("not-canonical", "undecodable"))
    # the publisher itself, whose own library would have refused both
    ahead = takedown(victim, 51, published_at=datetime.now(UTC) + timedelta(hours=1))
    foreign = ahead.model_dump()
    foreign["header"] |= {"published_at": foreign["header"]["observed_at"], "token_key_id": "another"}
    for broken in (ahead.to_avro(), encode(SCHEMA, foreign)):
        good = sign_headers(victim.signing_key(), "test", SCHEMA, broken)
        yield Attack(ahead.header.lineage_id.encode(), broken, good, ("invalid",))


def _hostile_values(value: bytes, key: SigningKey, count: int) -> Iterator[Attack]:
    """Truncated, bit-flipped and re-framed values, with a good signature and with the old one."""
    rng = random.Random(7)
    signed_reasons = (
        "unknown-schema",
        "wrong-schema",
        "undecodable",
        "not-canonical",
        "wrong-publisher",
        "wrong-topic",
        "wrong-key",
        "invalid",
        "content",
        "expired",
        "conflict",
        "replayed",
        "stale",
    )
    for number in range(count):
        changed = bytearray(value)
        if number % 3 == 0:
            del changed[rng.randrange(len(changed)) :]
        elif number % 3 == 1:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        else:
            changed[1:5] = rng.randbytes(4)
        broken = bytes(changed)
        if number % 2:
            yield Attack(b"k", broken, sign_headers(key, "test", SCHEMA, broken), signed_reasons)
        else:
            yield Attack(b"k", broken, sign_headers(key, "test", SCHEMA, value), ("bad-signature",))


def test_foul_play_is_rejected_and_changes_no_inbox(world: World) -> None:
    """Each attack has one decision with its reason, the fan-out goes on, and the victims' inboxes stay as they were."""
    victim, attacker = world.member("hotline-se"), world.member("hotline-de")
    alert = takedown(victim, 40)
    with Publisher(victim) as publisher:
        publisher.publish(alert)
        assert publisher.flush(20) == 0
    wait_until(lambda: alert.to_avro() in [m.value() for m in world.inbox("reader-00")], 20, "the honest alert")
    readers = ("reader-00", "reader-01", "reader-02", "reader-03")
    before = {reader: [m.value() for m in world.inbox(reader)] for reader in readers}
    good = sign_headers(victim.signing_key(), "test", SCHEMA, alert.to_avro())
    attacks = [*_attacks(victim, attacker, alert, good), *_hostile_values(alert.to_avro(), attacker.signing_key(), 200)]
    expected = _write(world, attacks)
    places = {(topic, offset) for topic, offset in expected}

    def decided() -> dict[tuple[str, int], dict[str, object]]:
        return {(d["topic"], d["offset"]): d for d in world.decisions() if (d["topic"], d["offset"]) in places}

    wait_until(lambda: len(decided()) == len(attacks), 40, "every attack decided")
    wrong = [
        (attack.reasons, decided_as["reason"])
        for place, decided_as in decided().items()
        if (attack := expected[place]) and decided_as["reason"] not in attack.reasons
    ]
    assert wrong == []
    assert Counter(d["outcome"] for d in decided().values())["ACCEPTED"] == 0
    assert {reader: [m.value() for m in world.inbox(reader)] for reader in readers} == before
    assert "lane_failed" not in world.log()


def _write(world: World, attacks: list[Attack]) -> dict[tuple[str, int], Attack]:
    """Write the attacks as the administrator, who may write anywhere; returns them by place."""
    producer = Producer({**world.cluster.admin_config(), "enable.idempotence": True})
    places: dict[tuple[str, int], Attack] = {}
    for attack in attacks:

        def done(_error: KafkaError | None, message: Message, attack: Attack = attack) -> None:
            places[message.topic() or "", message.offset() or 0] = attack

        producer.produce(attack.topic, attack.value, attack.key, headers=[*attack.headers], on_delivery=done)
    assert producer.flush(20) == 0
    return places
