"""A member's life on a real Kafka: joining, new keys without a gap, suspension, a stolen key, leaving."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.attempts import Attempts
from tests.load import TOPIC, load, publish
from tests.world import World, agreement, running, small_policy, takedown, tocsin, wait_until
from tocsin.consumers.inbox import Inbox
from tocsin.consumers.outbox import Outbox
from tocsin.consumers.subscriptions import Subscription
from tocsin.deploy.policy.users import scram_users
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.catalog import schema
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.signing import SigningKey, sign_headers

JOINER, LEAVER, THIEF = "joiner-se", "reader-01", "hotline-de"
SCHEMA = schema("site-taken-down")
DE_TOPIC = "alerts.de.site-taken-down.green"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coalition with a running fan-out; its sixth member has yet to join."""
    with running(tmp_path_factory.mktemp("members") / "home", small_policy()) as made:
        yield made


@pytest.fixture(scope="module")
def joiner(world: World, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of a member that has joined as it is done in earnest."""
    policy = yaml.safe_load(world.policy_file.read_text())
    policy["members"][JOINER] = {
        "role": "hotline",
        "jurisdiction": "se",
        "publishes": ["site-taken-down"],
    }
    policy["agreements"].append(agreement("joiner", ["se", "de"], [JOINER]))
    world.policy_file.write_text(yaml.safe_dump(policy))
    return _join(world, tmp_path_factory.mktemp("joiner"))


def _words(world: World) -> list[str]:
    return ["--policy", str(world.policy_file), "--home", str(world.home)]


def _apply(world: World, *words: str) -> dict[str, int]:
    rows = tocsin("policy", "apply", str(world.policy_file), "--home", str(world.home), *words)
    return {row["what"]: row["count"] for row in rows}


def _plan(world: World) -> list[dict[str, Any]]:
    return tocsin("policy", "plan", str(world.policy_file), "--home", str(world.home))


def _member(world: World, verb: str, *words: str, code: int = 0) -> list[dict[str, Any]]:
    return tocsin("member", verb, *words, *_words(world), code=code)


def _paper(world: World) -> list[str]:
    """The words that stand on the paper that a member is given."""
    return [word for one in world.member("reader-00").roots.fingerprints for word in ("--root-fingerprint", one)]


def _keys(world: World, folder: Path) -> tuple[Path, Path]:
    """New keys of the joining member, and its request."""
    tocsin("keys", "new", str(folder), "--member", JOINER, "--coalition", world.member("reader-00").coalition)
    return folder, folder / "request.json"


def _join(world: World, folder: Path) -> Bundle:
    users = scram_users(world.admin())
    assert _apply(world)["users set"] == 0
    assert scram_users(world.admin()) == users, "who was not onboarded has no login"
    keys, request = _keys(world, folder / "keys")
    assert _member(world, "onboard", "reader-00", "--request", str(request), code=1) == []
    [sealed] = _member(world, "onboard", JOINER, "--request", str(request))
    assert _apply(world)["users set"] == 1
    assert _plan(world) == []
    opening = ["member", "open", sealed["sealed"], "--keys", str(keys), "--to", str(folder / "bundle")]
    tocsin(*opening, "--root-fingerprint", "ab" * 32, code=1)
    assert not (folder / "bundle").exists()
    tocsin(*opening, *_paper(world))
    bundle = Bundle.load(folder / "bundle")
    with Outbox(bundle) as outbox:
        outbox.subscribe(Subscription(JOINER, subscription_id="all"))
    return bundle


def _row(world: World, member: str) -> dict[str, Any]:
    [row] = [row for row in _member(world, "list") if row["member"] == member]
    return row


def _has(world: World, member: str, alert: SiteTakenDown) -> bool:
    return alert.to_avro() in [message.value() for message in world.inbox(member)]


def _decided(world: World, alert: SiteTakenDown) -> dict[str, Any]:
    """The decision of an alert that has one."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [one for one in world.decisions() if one["lineage_id"] == alert.header.lineage_id]
        return bool(found)

    wait_until(there, 30, f"the decision\n{world.log()[-2000:]}")
    return found[0]


# -- joining ---------------------------------------------------------------------------------------------------------


def test_a_member_joins_with_keys_that_nobody_else_has_seen(world: World, joiner: Bundle) -> None:
    """What it publishes is delivered, what it may see it receives; its private keys are not with the secretariat."""
    alert, other = takedown(joiner, 1), takedown(world.member("hotline-de"), 2)
    publish(joiner, alert)
    publish(world.member("hotline-de"), other)
    wait_until(lambda: _has(world, "reader-00", alert) and _has(world, JOINER, other), 30, "both copies")
    with Inbox(joiner, follow=False) as inbox:
        assert other.header.lineage_id in {one.alert.header.lineage_id for one in inbox if one.alert}
    secret = (joiner.path / "signing.pem").read_bytes()
    assert all(
        secret not in path.read_bytes()
        for path in world.home.rglob("*")
        if path.is_file() and path.stat().st_size < 10_000
    )
    row = _row(world, JOINER)
    assert (row["status"], row["logins"]) == ("active", JOINER)
    assert joiner.signing_key().key_id in row["keys"]


# -- new keys --------------------------------------------------------------------------------------------------------


class _Reading:
    """An inbox that is read all the while, and what came."""

    def __init__(self, bundle: Bundle) -> None:
        self.lineages: list[str] = []
        self._inbox = Inbox(bundle, timeout_s=None)
        # a test that fails must end all the same
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._inbox:
            for received in self._inbox:
                if received.alert is not None:
                    self.lineages.append(received.alert.header.lineage_id)

    def stop(self) -> list[str]:
        self._inbox.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.lineages


def _publish_some(publisher: Publisher, bundle: Bundle, count: int) -> list[SiteTakenDown]:
    alerts = [takedown(bundle, number) for number in range(count)]
    for alert in alerts:
        publisher.publish(alert)
    assert publisher.flush(30) == 0
    return alerts


def test_a_member_changes_key_and_password_without_a_gap(world: World, joiner: Bundle, tmp_path: Path) -> None:
    """Publisher and inbox run on with what they have, then with the next; the old password ends when it is said."""
    old_key, old_config = joiner.signing_key().key_id, joiner.kafka_config()
    keys, request = _keys(world, tmp_path / "next")
    with load(world, 0.1, "hotline-de") as others, Publisher(joiner) as publisher:
        reading = _Reading(joiner)
        alerts = _publish_some(publisher, joiner, 5)
        words = ["rotate", JOINER, "--request", str(request)]
        [sealed] = _member(world, *words, "--overlap", "1")
        alerts += _publish_some(publisher, joiner, 5)
        assert [one["sealed"] for one in _member(world, *words)] == [sealed["sealed"]], "again, it changes nothing"
        tocsin("member", "open", sealed["sealed"], "--keys", str(keys), "--to", str(joiner.path))
        alerts += _publish_some(publisher, joiner, 5)
        bundle = Bundle.load(joiner.path)
        assert bundle.config.mechanism == "SCRAM-SHA-256"
        assert bundle.signing_key().key_id != old_key
        assert set(scram_users(world.admin())[JOINER]) == {"SCRAM-SHA-256", "SCRAM-SHA-512"}
        assert AdminClient(old_config).list_topics(timeout=10)
    received = reading.stop()
    restarted = _Reading(bundle)
    with Publisher(bundle) as publisher:
        alerts += _publish_some(publisher, bundle, 5)
        assert _member(world, "rotate", JOINER, "--finish") == [{"login": JOINER, "old password": "deleted"}]
        alerts += _publish_some(publisher, bundle, 5)
    with pytest.raises(KafkaException):
        AdminClient({**old_config, "log_level": 0}).list_topics(timeout=3)
    wait_until(lambda: all(_has(world, "reader-00", one) for one in alerts), 30, "every alert that it published")
    headers: Any = [dict(message.headers() or []) for message in world.inbox("reader-00")]
    signed = {one["dsse-keyid"].decode() for one in headers if "dsse-keyid" in one}
    assert {old_key, bundle.signing_key().key_id} <= signed, "both keys were in use"
    wait_until(lambda: {*others} <= {*received, *restarted.lineages}, 30, "every alert of the others")
    restarted.stop()
    row = _row(world, JOINER)
    assert row["keys"].count(JOINER) == 2


def test_a_key_that_was_used_before_cannot_follow(world: World, joiner: Bundle, tmp_path: Path) -> None:
    """Nor one that is another member's, nor the next before the last rotation is finished."""
    old = tmp_path / "old"
    old.mkdir()
    joined = joiner.path.parent / "keys" / "request.json"
    assert _member(world, "rotate", JOINER, "--request", str(joined), code=1) == []
    assert _member(world, "rotate", "nobody", "--request", str(joined), code=1) == []
    assert _member(world, "rotate", JOINER, code=2) == []


# -- a stolen key ----------------------------------------------------------------------------------------------------


def test_of_a_revoked_key_only_what_is_there_counts(world: World, tmp_path: Path) -> None:
    """An alert from before that is decided afterwards is delivered; one from after is rejected; the next key counts."""
    bundle = world.member(THIEF)
    stolen, old = bundle.signing_key(), bundle.kafka_config()
    publish(bundle, honest := takedown(bundle, 20))
    _decided(world, honest)
    world.stop_fanouts()
    before, after = takedown(bundle, 21), takedown(bundle, 22)
    publish(bundle, before)
    keys = tmp_path / "next"
    tocsin("keys", "new", str(keys), "--member", THIEF, "--coalition", bundle.coalition)
    [sealed] = _member(world, "rotate", THIEF, "--request", str(keys / "request.json"), "--revoke")
    _write(old, after, stolen)
    world.start_fanout()
    assert _decided(world, before)["outcome"] == "ACCEPTED"
    wait_until(lambda: _has(world, "reader-00", before), 30, "the alert from before")
    [rejected] = _rejections(world, DE_TOPIC)
    assert rejected["reason"] == "key-not-valid"
    assert _has(world, "reader-00", honest)
    assert not _has(world, "reader-00", after)
    tocsin("member", "open", sealed["sealed"], "--keys", str(keys), "--to", str(tmp_path / "bundle"), *_paper(world))
    publish(Bundle.load(tmp_path / "bundle"), newer := takedown(Bundle.load(tmp_path / "bundle"), 23))
    wait_until(lambda: _has(world, "reader-00", newer), 30, "what the next key signed")
    assert "revoked" in _row(world, THIEF)["keys"]
    assert not (world.home / "members" / THIEF / "signing.pem").exists()


def _write(config: Any, alert: SiteTakenDown, key: SigningKey) -> None:
    """Write an alert past the publisher, signed with `key`."""
    producer = Producer(config)
    value = alert.to_avro()
    headers: Any = sign_headers(key, "test", SCHEMA, value)
    producer.produce(alert.topic.name, value, alert.header.lineage_id.encode(), headers=headers)
    assert producer.flush(20) == 0


def _rejections(world: World, topic: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [one for one in world.decisions() if one["topic"] == topic and one["outcome"] == "REJECTED"]
        return bool(found)

    wait_until(there, 30, "the rejection")
    return found


# -- suspension ------------------------------------------------------------------------------------------------------


def test_a_suspended_member_is_given_nothing_and_publishes_nothing_from_that_moment(
    world: World, joiner: Bundle
) -> None:
    """Locked out, it cannot even log in. Taken back, it is given what is live; nothing else was changed meanwhile."""
    bundle = Bundle.load(joiner.path)
    _member(world, "suspend", JOINER, "--why", "a test")
    assert Attempts(bundle.kafka_config(), f"{JOINER}.x").written([TOPIC]) == set()
    _member(world, "suspend", JOINER, "--why", "a test", "--lock-out")
    alert = takedown(world.member("hotline-se"), 30)
    publish(world.member("hotline-se"), alert)
    assert JOINER not in [copy["member"] for copy in _decided(world, alert)["given"]]
    wait_until(lambda: _has(world, "reader-00", alert), 20, "the others' copies")
    assert not _has(world, JOINER, alert)
    with pytest.raises(KafkaException):
        AdminClient({**bundle.kafka_config(), "log_level": 0}).list_topics(timeout=3)
    row = _row(world, JOINER)
    assert (row["status"], row["logins"]) == ("suspended", None)
    assert _plan(world) == [], (
        "what the policy says by now is what there is: no user is made again, no DENY is taken back"
    )
    _member(world, "resume", JOINER, "--why", "it is over")
    wait_until(lambda: _has(world, JOINER, alert), 30, f"what it missed\n{world.log()[-2000:]}")
    publish(bundle, own := takedown(bundle, 31))
    wait_until(lambda: _has(world, "reader-00", own), 30, "what it publishes again")
    assert _row(world, JOINER)["status"] == "active"
    assert _plan(world) == []


def test_suspension_holds_within_seconds_while_alerts_flow(world: World) -> None:
    """No alert that was appended later than the command's end is delivered to it."""
    with load(world, 0.05) as lineages:
        wait_until(lambda: len(lineages) > 20, 20, "a load")
        _member(world, "suspend", "reader-02", "--why", "a test")
        ended_ms = time.time() * 1_000
        time.sleep(3)
    wait_until(lambda: len(world.inbox("reader-00")) >= len(lineages), 30, "the others' copies")
    late = [m for m in world.inbox("reader-02") if m.timestamp()[1] > ended_ms + 1_000]
    assert late == []
    _member(world, "resume", "reader-02", "--why", "it is over")
    keys = {f"hotline-se/{one}".encode() for one in lineages}
    wait_until(lambda: keys <= {m.key() for m in world.inbox("reader-02")}, 60, "everything that it missed")


# -- leaving ---------------------------------------------------------------------------------------------------------


def test_who_has_left_is_told_of_withdrawals_and_nothing_else(world: World, joiner: Bundle) -> None:
    """Who stays gets token keys that it never had; it can never come back, whatever the policy says."""
    publisher = world.member("hotline-se")
    publish(publisher, alert := takedown(publisher, 40))
    wait_until(lambda: _has(world, LEAVER, alert), 30, "the copy")
    rows = _member(world, "offboard", LEAVER, "--why", "it asked to")
    assert [Path(row["sealed"]).name for row in rows if JOINER in row["sealed"]] == [f"{JOINER}.token-keys.sealed"]
    assert LEAVER not in str([Path(row["sealed"]).name for row in rows])
    [mine] = [row["sealed"] for row in rows if JOINER in row["sealed"]]
    tocsin("member", "open", mine, "--keys", str(_newest_keys(joiner)), "--to", str(joiner.path))
    new, old = Bundle.load(joiner.path).token_keys()[:2]
    assert old in world.member(LEAVER).token_keys()
    assert new not in world.member(LEAVER).token_keys()
    assert new == world.member("reader-00").token_keys()[0]
    assert [row["sealed"] for row in _member(world, "offboard", LEAVER, "--why", "again")] == [
        r["sealed"] for r in rows
    ]
    assert Bundle.load(joiner.path).token_keys() == world.member("reader-00").token_keys(), "again, no more keys"
    publish(publisher, later := takedown(world.member("hotline-se"), 41))
    wait_until(lambda: _has(world, "reader-00", later), 30, "the others' copies")
    assert not _has(world, LEAVER, later)
    with Publisher(publisher) as publishing:
        publishing.retract(alert.header.lineage_id, "ERROR", topic=alert.topic)
        assert publishing.flush(30) == 0
    with Inbox(world.member(LEAVER), timeout_s=20) as inbox:
        notices = (
            one for one in inbox if one.notice is not None and one.notice["lineage_id"] == alert.header.lineage_id
        )
        assert next(notices).notice is not None
    assert _row(world, LEAVER)["status"] == "withdrawn"
    _member(world, "resume", LEAVER, "--why", "x", code=1)
    _member(world, "suspend", LEAVER, "--why", "x", code=1)
    _apply(world)
    assert _row(world, LEAVER)["status"] == "withdrawn"
    assert TOPIC not in [row["topic"] for row in tocsin("policy", "sees", LEAVER, *_words(world))]


def _newest_keys(joiner: Bundle) -> Path:
    """The folder of the member's keys, whose sealing key is the newest."""
    found = [*joiner.path.parent.parent.rglob("sealing.pem")]
    public = Bundle.load(joiner.path).signing_key().public
    [folder] = [path.parent for path in found if SigningKey.load(path.parent / "signing.pem", JOINER).public == public]
    return folder
