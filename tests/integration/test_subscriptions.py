"""Members set their subscriptions in their outboxes, on a real broker."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Producer

from tests.world import World, takedown, wait_until
from tocsin.consumers import Outbox, Subscription
from tocsin.consumers.outbox_records import subscription_record
from tocsin.producers.publisher import Publisher
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.signing import sign_headers

READER = "reader-01"
EFFECTIVE_S = 5.0


@pytest.fixture
def outbox(world: World) -> Iterator[Outbox]:
    """The reader's; what it set is taken back at the end."""
    with Outbox(world.member(READER)) as opened:
        yield opened
        for wish in opened.subscriptions():
            opened.unsubscribe(wish.subscription_id)


def _watching(world: World, *numbers: int) -> Subscription:
    key = world.member(READER).token_keys()[0]
    tokens = frozenset(key.token("url", f"site-{number}.example/x") for number in numbers)
    return Subscription(READER, everything=False, tokens=tokens, subscription_id="watch")


def _publish(world: World, *numbers: int) -> list[SiteTakenDown]:
    bundle = world.member("hotline-se")
    alerts = [takedown(bundle, number) for number in numbers]
    with Publisher(bundle) as publisher:
        for alert in alerts:
            publisher.publish(alert)
        assert publisher.flush(20) == 0
    return alerts


def _wait_decided(world: World, alerts: list[SiteTakenDown]) -> None:
    ids = {alert.header.alert_id for alert in alerts}
    wait_until(lambda: ids <= {one["alert_id"] for one in world.decisions()}, 20, "the decisions")


def _copies(world: World, alerts: list[SiteTakenDown]) -> list[bytes | None]:
    """The copies of `alerts` in the reader's inbox."""
    published = {alert.to_avro() for alert in alerts}
    return [message.value() for message in world.inbox(READER) if message.value() in published]


def test_what_is_set_counts_within_five_seconds_and_brings_live_alerts_once(world: World, outbox: Outbox) -> None:
    """Only what matches comes; a wider wish brings what it missed, once."""
    outbox.subscribe(_watching(world, 901))
    time.sleep(EFFECTIVE_S)
    alerts = _publish(world, 901, 902, 903)
    _wait_decided(world, alerts)
    wait_until(lambda: _copies(world, alerts) == [alerts[0].to_avro()], 10, "the one that matches")
    outbox.subscribe(_watching(world, 901, 902))
    expected = [alert.to_avro() for alert in alerts[:2]]
    wait_until(lambda: _copies(world, alerts) == expected, EFFECTIVE_S, "the one that matches now")
    assert [wish.subscription_id for wish in outbox.subscriptions()] == ["watch"]
    outbox.unsubscribe("watch")
    # the policy's own default again: everything it may see
    wait_until(lambda: len(_copies(world, alerts)) == len(alerts), EFFECTIVE_S, "all")
    assert sorted(map(bytes, filter(None, _copies(world, alerts)))) == sorted(alert.to_avro() for alert in alerts)


def test_a_forged_record_changes_nothing(world: World, outbox: Outbox) -> None:
    """Written by an administrator and signed by another member, or by nobody: what the reader set stays."""
    outbox.subscribe(_watching(world, 911))
    forged = Subscription(READER, subscription_id="watch")
    form = schema("subscription")
    value = encode(form, subscription_record(forged, 1))
    stranger = world.member("reader-00")
    producer = Producer(world.cluster.admin_config())
    signed = sign_headers(stranger.signing_key(), stranger.coalition, form, value)
    for headers in (dict(signed), {}):
        producer.produce(f"outbox.{READER}", value, b"subscription/watch", 0, headers=cast("Any", headers))
    producer.produce(f"outbox.{READER}", b"\xff", b"\xff/\xff", 0)
    producer.produce(f"outbox.{READER}", b"\x00\x00\x00\x00\xcc\xff", b"subscription/\xff", 0)
    assert producer.flush(10) == 0
    wait_until(lambda: world.log().count("outbox_record_refused") >= 3, EFFECTIVE_S, "refused")
    alerts = _publish(world, 911, 912)
    _wait_decided(world, alerts)
    wait_until(lambda: len(_copies(world, alerts)) > 0, 10, "the one that matches")
    assert _copies(world, alerts) == [alerts[0].to_avro()]


def test_the_command_adds_lists_and_removes(world: World, tmp_path: Path, outbox: Outbox) -> None:
    """A watch-list in clear leaves as tokens; a wrong line is named by its number."""
    watched = tmp_path / "watched.txt"
    watched.write_text("# ours\ndomain:example.com\n")
    added = _command(world, "add", "--id", "mine", "--watch-file", str(watched), "--type", "site-taken-down")
    assert added.returncode == 0, added.stderr
    [listed] = [json.loads(line) for line in _command(world, "list").stdout.splitlines()]
    assert (listed["id"], listed["asks for"]) == ("mine", "types site-taken-down")
    [wish] = outbox.subscriptions()
    assert wish.tokens == {key.token("domain", "example.com") for key in world.member(READER).token_keys()}
    assert all(b"example.com" not in (message.value() or b"") for message in world.read([f"outbox.{READER}"]))
    assert _command(world, "remove", "mine").returncode == 0
    assert _command(world, "list").stdout == ""
    watched.write_text("domain:example.com\nsecret thing\n")
    refused = _command(world, "add", "--watch-file", str(watched))
    assert refused.returncode == 1
    assert "line 2" in refused.stderr
    assert "secret" not in refused.stderr


def _command(world: World, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
    folder = str(world.home / "members" / READER)
    command = [sys.executable, "-m", "tocsin.deploy", "subscriptions", verb, "--as", folder, *words, "--output", "json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
