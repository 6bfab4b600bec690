"""What the secretariat does, on a real Kafka: withdraw all of a publisher, put it on hold, release held gains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.load import TOPIC, publish
from tests.world import World, running, small_policy, takedown, tocsin, wait_until
from tocsin.producers.publisher import Publisher
from tocsin.schemas.models import SiteTakenDown

SECRETARIAT, PUBLISHER = "secretariat-eu", "hotline-se"
GAINS_MAX = 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coalition with a secretariat, where two live alerts are all that may be gained at once."""
    policy = small_policy()
    policy["members"][SECRETARIAT] = {"role": "secretariat", "jurisdiction": "se"}
    words = ["--gains-max", str(GAINS_MAX)]
    with running(tmp_path_factory.mktemp("secretariat") / "home", policy, words=words) as made:
        yield made


def _takedowns(world: World, count: int) -> list[SiteTakenDown]:
    return [takedown(world.member(PUBLISHER), number) for number in range(count)]


def _keys(alerts: list[SiteTakenDown]) -> list[str]:
    return [f"{PUBLISHER}/{alert.header.lineage_id}" for alert in alerts]


def _wait(world: World, member: str, key: str, value: bytes | None) -> None:
    """Until the newest record under `key` is `value`."""

    def there() -> bool:
        found = {message.key(): message.value() for message in world.inbox(member)}
        return key.encode() in found and found[key.encode()] == value

    wait_until(there, 30, f"{key} in inbox.{member}\n{world.log()[-2000:]}")


def _as_secretariat(world: World, *words: str, code: int = 0) -> list[dict[str, Any]]:
    return tocsin(*words, "--as", str(world.home / "members" / SECRETARIAT), code=code)


def test_everything_of_a_compromised_publisher_since_a_position_is_withdrawn(world: World) -> None:
    """What stands since the position goes, what was told before stays; run again, it finds nothing."""
    alerts = _takedowns(world, 4)
    keys = _keys(alerts)
    publish(world.member(PUBLISHER), *alerts)
    _wait(world, "reader-00", keys[-1], alerts[-1].to_avro())
    [first] = [message.offset() for message in world.read([TOPIC]) if message.value() == alerts[1].to_avro()]
    words = ["retract-all", "--publisher", PUBLISHER, "--jurisdiction", "se", "--reason", "ERROR"]
    words += ["--home", str(world.home), "--since", f"{TOPIC}/{first}"]
    shown = _as_secretariat(world, *words, "--dry-run")
    assert sorted(row["lineage"] for row in shown) == sorted(keys[1:])
    _as_secretariat(world, *words)
    for key in keys[1:]:
        _wait(world, "reader-00", key, None)
    assert not [m for m in world.inbox("reader-00") if (m.key(), m.value()) == (keys[0].encode(), None)]
    wait_until(lambda: _as_secretariat(world, *words) == [], 20, "nothing left")


def test_what_is_retracted_under_a_legal_hold_is_kept_until_the_hold_is_lifted(world: World, tmp_path: Path) -> None:
    """Members lose it as ever; what is kept can be handed over."""
    alerts = _takedowns(world, 2)
    keys = _keys(alerts)
    publish(world.member(PUBLISHER), *alerts)
    _wait(world, "reader-00", keys[-1], alerts[-1].to_avro())
    said = world.log().count("holds_changed")
    words = ["--publisher", PUBLISHER, "--reference", "A 1/26"]
    _as_secretariat(world, "holds", "add", "case", *words, "--lineage", alerts[0].header.lineage_id)
    wait_until(lambda: world.log().count("holds_changed") > said, 10, "the fan-out knows of the hold")
    for alert in alerts:
        with Publisher(world.member(PUBLISHER)) as publisher:
            publisher.retract(alert.header.lineage_id, "ERROR", topic=alert.topic)
            assert publisher.flush(30) == 0
    for key in keys:
        _wait(world, "reader-00", key, None)
    home = ["--home", str(world.home)]
    [kept] = tocsin("holds", "kept", *home, "--to", str(tmp_path / "kept"))
    assert (kept["hold"], kept["lineage"]) == (f"{SECRETARIAT}/case", keys[0])
    [file] = (tmp_path / "kept").iterdir()
    assert file.read_bytes() == alerts[0].to_avro()
    [listed] = _as_secretariat(world, "holds", "list")
    assert (listed["id"], listed["lifted"]) == ("case", False)
    _as_secretariat(world, "holds", "lift", "case")
    wait_until(lambda: tocsin("holds", "kept", *home) == [], 20, "nothing is kept any more")
    kinds = [one["kind"] for one in world.decisions() if one["lineage_id"] == alerts[0].header.lineage_id]
    assert kinds == ["ALERT", "HELD", "ALERT", "LIFTED"]


def test_what_a_member_was_given_and_what_was_published_in_a_period_is_kept(world: World) -> None:
    """Under the holds that it meets, and under no other."""
    [alert] = _takedowns(world, 1)
    [key] = _keys([alert])
    publish(world.member(PUBLISHER), alert)
    _wait(world, "reader-00", key, alert.to_avro())
    holds = {
        "given": ["--recipient", "reader-00", "--published-from", "2026-01-01"],
        "not-given": ["--recipient", PUBLISHER],
        "period": ["--published-from", "2026-01-01", "--published-to", "2100-01-01T00:00:00Z"],
        "past": ["--published-to", "2026-01-01"],
    }
    for name, words in holds.items():
        _as_secretariat(world, "holds", "add", name, "--reference", "B 2/26", *words)
    _as_secretariat(world, "holds", "add", "all", "--reference", "B 2/26", code=2)
    wait_until(lambda: f"{SECRETARIAT}/past" in world.log(), 10, "the fan-out knows of the holds")
    with Publisher(world.member(PUBLISHER)) as publisher:
        publisher.retract(alert.header.lineage_id, "ERROR", topic=alert.topic)
        assert publisher.flush(30) == 0
    _wait(world, "reader-00", key, None)
    home = ["--home", str(world.home)]
    kept = tocsin("holds", "kept", *home)
    assert {(one["hold"], one["lineage"]) for one in kept} == {(f"{SECRETARIAT}/{n}", key) for n in ("given", "period")}
    _as_secretariat(world, "holds", "lift", *holds)
    wait_until(lambda: tocsin("holds", "kept", *home) == [], 20, "nothing is kept any more")


def test_in_quarantine_nobody_new_is_given_it_and_a_gain_above_the_bound_waits_for_its_release(world: World) -> None:
    """Both seen in the readers' inboxes."""
    said = world.log().count("holds_changed")
    words = ["--publisher", PUBLISHER, "--reference", "stolen key", "--kind", "quarantine"]
    _as_secretariat(world, "holds", "add", "stolen", *words)
    wait_until(lambda: world.log().count("holds_changed") > said, 10, "the fan-out knows of the hold")
    alerts = _takedowns(world, GAINS_MAX + 1)
    publish(world.member(PUBLISHER), *alerts)
    decided = {alert.header.lineage_id for alert in alerts}
    wait_until(lambda: decided <= {one["lineage_id"] for one in world.decisions()}, 20, "the decisions")
    [quarantined] = [one for one in world.decisions() if one["lineage_id"] == alerts[0].header.lineage_id]
    assert {one["reason"] for one in quarantined["refused"] if one["member"] == "reader-00"} == {"quarantined"}
    held = world.log().count("gains_held")
    _as_secretariat(world, "holds", "lift", "stolen")
    wait_until(lambda: world.log().count("gains_held") > held, 20, "more than the bound, for the readers who had sight")
    for member in ("reader-00", "reader-02"):
        assert not {message.value() for message in world.inbox(member)} & {alert.to_avro() for alert in alerts}
    _as_secretariat(world, "release", "reader-00", "--jurisdiction", "se", "--up-to", "10")
    for key, alert in zip(_keys(alerts), alerts, strict=True):
        _wait(world, "reader-00", key, alert.to_avro())
    assert not {message.value() for message in world.inbox("reader-02")} & {alert.to_avro() for alert in alerts}


def test_who_is_no_secretariat_holds_and_releases_nothing(world: World) -> None:
    """Said before anything is written."""
    bundle = ["--as", str(world.home / "members" / PUBLISHER)]
    tocsin("holds", "add", "x", "--publisher", PUBLISHER, "--reference", "r", *bundle, code=1)
    tocsin("release", "reader-00", "--jurisdiction", "se", "--up-to", "9", *bundle, code=1)
