"""Foul play with the directory beside a running fan-out: no forgery counts, and no honest alert is lost by it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer, TopicPartition

from tests.load import TOPIC, publish
from tests.world import World, running, small_policy, takedown, tocsin, wait_until
from tocsin.deploy.policy.directory import newest, read_published
from tocsin.deploy.policy.directory import publish as publish_document
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.secrets import SecretStore
from tocsin.schemas.catalog import schema
from tocsin.schemas.directory import Directory, DirectoryKey, sign_directory
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.signing import SigningKey, sign_headers

VICTIM = "hotline-se"
DAY_MS = 86_400_000
Record = tuple[bytes | None, list[tuple[str, bytes]]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coalition with a running fan-out, whose directory two root keys sign."""
    with running(tmp_path_factory.mktemp("directory") / "home", small_policy()) as made:
        yield made


def _roots(world: World) -> list[SigningKey]:
    return SecretStore(world.home).roots(2)


def _current(world: World) -> Directory:
    policy = Policy.model_validate(yaml.safe_load(world.policy_file.read_text()))
    found = newest(read_published(world.cluster.admin()), policy, _roots(world))
    assert found is not None
    return found.directory


def _with_key(document: Directory, key: SigningKey, **changes: Any) -> Directory:
    """The next version, in which `key` is the victim's too."""
    now_ms = time.time_ns() // 1_000_000
    mine = DirectoryKey(key.key_id, VICTIM, key.public, now_ms - 60_000, now_ms + DAY_MS)
    return replace(_after(document, **changes), keys={**document.keys, key.key_id: mine})


def _after(document: Directory, **changes: Any) -> Directory:
    """The next version, good for 80 days unless `changes` say otherwise."""
    good = {"expires_at": time.time_ns() // 1_000_000 + 80 * DAY_MS}
    return replace(document, version=document.version + 1, **{**good, **changes})


def _put(world: World, record: Record) -> None:
    """Write to the topic as who has WRITE there and no root key."""
    producer = Producer(world.cluster.admin_config())
    value, headers = record
    producer.produce("directory", value, b"directory", headers=[*headers])
    assert producer.flush(20) == 0


def _forge(world: World, key: SigningKey, number: int) -> SiteTakenDown:
    """An alert in the victim's name, signed with `key`, appended to its topic."""
    alert = takedown(world.member(VICTIM), number)
    producer = Producer(world.cluster.admin_config())
    headers: Any = sign_headers(key, "test", schema("site-taken-down"), alert.to_avro())
    producer.produce(TOPIC, alert.to_avro(), alert.header.lineage_id.encode(), headers=headers)
    assert producer.flush(20) == 0
    return alert


def _has(world: World, alert: SiteTakenDown) -> bool:
    return alert.to_avro() in [message.value() for message in world.inbox("reader-00")]


def _insist_honest_arrives(world: World, number: int) -> None:
    alert = takedown(world.member(VICTIM), number)
    publish(world.member(VICTIM), alert)
    wait_until(lambda: _has(world, alert), 40, f"the honest alert\n{world.log()[-2000:]}")


def _last_reasons(world: World) -> list[str | None]:
    return [one["reason"] for one in world.decisions() if one["topic"] == TOPIC and one["kind"] == "ALERT"]


def _tombstone(_world: World, _key: SigningKey) -> Record:
    return None, []


def _unsigned(world: World, key: SigningKey) -> Record:
    return sign_directory(_with_key(_current(world), key), [])


def _with_the_signatures_of_another(world: World, key: SigningKey) -> Record:
    _, headers = sign_directory(_current(world), _roots(world))
    return sign_directory(_with_key(_current(world), key), [])[0], headers


def _signed_by_one(world: World, key: SigningKey) -> Record:
    return sign_directory(_with_key(_current(world), key), _roots(world)[:1])


def _signed_twice_by_one(world: World, key: SigningKey) -> Record:
    root = _roots(world)[0]
    return sign_directory(_with_key(_current(world), key), [root, root])


def _signed_by_one_and_a_stranger(world: World, key: SigningKey) -> Record:
    return sign_directory(_with_key(_current(world), key), [_roots(world)[0], SigningKey.generate("root")])


def _signed_and_expired(world: World, key: SigningKey) -> Record:
    now_ms = time.time_ns() // 1_000_000
    return sign_directory(_with_key(_current(world), key, expires_at=now_ms - 1), _roots(world))


FORGERIES: list[Callable[[World, SigningKey], Record]] = [
    _tombstone,
    _unsigned,
    _with_the_signatures_of_another,
    _signed_by_one,
    _signed_twice_by_one,
    _signed_by_one_and_a_stranger,
    _signed_and_expired,
]


def test_no_forged_directory_counts_and_no_honest_alert_is_lost(world: World) -> None:
    """In turn, and after a restart: what a key that only it names has signed is rejected, what is honest arrives.

    An unknown key makes the fan-out read the directory to its end, so the forgery is read before the alert is judged.
    """
    for number, forgery in enumerate(FORGERIES):
        key = SigningKey.generate(VICTIM)
        _put(world, forgery(world, key))
        before = len(_last_reasons(world))
        forged = _forge(world, key, number)
        _insist_honest_arrives(world, 100 + number)
        assert _last_reasons(world)[before:] == ["unknown-key", None], forgery.__name__
        assert not _has(world, forged)
    world.stop_fanouts()
    world.start_fanout()
    forged = _forge(world, SigningKey.generate(VICTIM), 50)
    _insist_honest_arrives(world, 150)
    assert _last_reasons(world)[-2:] == ["unknown-key", None]
    assert not _has(world, forged)
    assert "directory_refused" in world.log()
    assert "lane_failed" not in world.log()


def test_an_old_version_brings_no_revoked_key_back(world: World) -> None:
    """Published again, nor when it is all that is left in the topic: then nothing is delivered until a newer one."""
    key, roots, admin = SigningKey.generate(VICTIM), _roots(world), world.cluster.admin()
    old = _with_key(_current(world), key)
    publish_document(admin, old, roots)
    revoked = replace(old.keys[key.key_id], revoked=True)
    new = _after(old, keys={**old.keys, key.key_id: revoked})
    publish_document(admin, new, roots)
    wait_until(
        lambda: any(one["version"] == new.version for one in world.events("directory_read")), 15, "the revocation read"
    )
    _put(world, sign_directory(old, roots))
    time.sleep(3)
    before = len(_last_reasons(world))
    _forge(world, key, 60)
    _insist_honest_arrives(world, 160)
    assert _last_reasons(world)[before:] == ["key-not-valid", None]
    world.stop_fanouts()
    # a topic that is compacted alone lets nobody delete its records
    world.set_topics(["directory"], {"cleanup.policy": "compact,delete"})
    client = world.admin()
    for future in client.delete_records([TopicPartition("directory", 0, _end(world) - 1)]).values():
        future.result(10)
    assert len(read_published(admin)) == 1
    world.set_topics(["directory"], {"cleanup.policy": "compact"})
    stopped = world.log().count("deliveries_stopped")
    world.start_fanout()
    honest = takedown(world.member(VICTIM), 161)
    publish(world.member(VICTIM), honest)
    wait_until(lambda: world.log().count("deliveries_stopped") > stopped, 30, "deliveries stop")
    time.sleep(2)
    assert not _has(world, honest)
    publish_document(admin, _after(new), roots)
    wait_until(lambda: _has(world, honest), 40, f"the honest alert\n{world.log()[-2000:]}")


def _end(world: World) -> int:
    return max(message.offset() or 0 for message in world.read(["directory"])) + 1


def test_while_the_directory_has_expired_alerts_wait_and_then_come(world: World) -> None:
    """None of them is lost, nor judged by what no longer counts."""
    document, roots, admin = _current(world), _roots(world), world.cluster.admin()
    stopped = world.log().count("deliveries_stopped")
    short = _after(document, expires_at=time.time_ns() // 1_000_000 + 4_000)
    publish_document(admin, short, roots)
    wait_until(lambda: world.log().count("deliveries_stopped") > stopped, 30, "the directory has expired")
    honest = takedown(world.member(VICTIM), 170)
    publish(world.member(VICTIM), honest)
    time.sleep(3)
    assert not _has(world, honest)
    publish_document(admin, _after(short), roots)
    wait_until(lambda: _has(world, honest), 40, f"the honest alert\n{world.log()[-2000:]}")


def test_root_keys_that_are_kept_offline_sign_a_draft(world: World, tmp_path: Path) -> None:
    """Applying asks for their signatures; with too few, or in place of another version, nothing is published."""
    words = ["--policy", str(world.policy_file), "--home", str(world.home)]
    safe = tmp_path / "safe"
    safe.mkdir()
    for number, root in enumerate(_roots(world), 1):
        (world.home / "roots" / f"{number}.pub").write_text(root.public.hex())
        shutil.move(world.home / "roots" / f"{number}.pem", safe)
    before = tocsin("directory", "show", *words, "--save", str(tmp_path / "before.draft"))
    assert tocsin("policy", "plan", str(world.policy_file), "--home", str(world.home)) == []
    tocsin("member", "suspend", "reader-02", "--why", "a test", *words)
    [draft] = [*(world.home / "directory").glob("*.draft")]
    assert tocsin("policy", "plan", str(world.policy_file), "--home", str(world.home)) == [], "the draft is enough"
    assert tocsin("directory", "show", *words) == before
    tocsin("directory", "publish", str(draft), *words, code=1)
    signing = ["directory", "sign", str(draft), "--root"]
    [change, _] = tocsin(*signing, str(safe / "1.pem"), "--current", str(tmp_path / "before.draft"))
    assert change["is"].startswith("reader-02: isp in se, SUSPENDED")
    tocsin("directory", "publish", str(draft), *words, code=1)
    tocsin(*signing, str(safe / "2.pem"))
    [published] = tocsin("directory", "publish", str(draft), *words)
    assert published["signatures"] == 2
    assert {"what": "member", "is": "reader-02: isp in se, SUSPENDED"} in tocsin("directory", "show", *words)
    tocsin("directory", "publish", str(draft), *words, code=1)
    assert tocsin("policy", "plan", str(world.policy_file), "--home", str(world.home)) == []
    _insist_honest_arrives(world, 180)
    tocsin("member", "suspend", "reader-01", "--why", "by mistake", *words)
    [second] = [one for one in (world.home / "directory").glob("*.draft") if one != draft]
    tocsin(*[*signing[:2], str(second), "--root", str(safe / "1.pem")])
    tocsin("member", "resume", "reader-01", "--why", "it was a mistake", *words)
    assert not second.exists(), "what was taken back is not to be published"
    assert [one for one in (world.home / "directory").iterdir() if one.name.startswith(second.name)] == []
