"""A member reads what it may be given out of its inbox, verified; an `Inbox` does not take it for an alert."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.test_memory_exchange import GREEN, MemoryStage
from tests.world import takedown
from tocsin.consumers.errors import InboxError
from tocsin.consumers.sight_reader import read_sight
from tocsin.schemas.names import DIRECTORY_TOPIC, inbox_topic

READER, BLIND = "reader-00", "reader-03"


@pytest.fixture
def stage(tmp_path: Path) -> MemoryStage:
    """One for each test."""
    return MemoryStage(tmp_path)


def _sight(stage: MemoryStage, member: str) -> Mapping[str, list[str]]:
    bus = stage.exchange.bus
    reader, directory = bus.reader(member, inbox_topic(member)), bus.reader(member, DIRECTORY_TOPIC)
    found = read_sight(stage.member(member), reader=reader, directory=directory)
    return {place: one["topics"] for place, one in found.items()}


def test_what_was_told_last_counts(stage: MemoryStage) -> None:
    """Of each jurisdiction; among alerts, which it is none of."""
    assert _sight(stage, READER) == {}
    stage.exchange.tell_sight(READER)
    stage.publish(stage.member("hotline-se"), takedown(stage.member("hotline-se")))
    other = GREEN.replace("green", "clear")
    stage.exchange.grant(READER, other)
    stage.exchange.tell_sight(READER)
    assert _sight(stage, READER) == {"de": [], "se": [other, GREEN]}
    with stage.inbox(stage.member(READER)) as inbox:
        assert [received.kind for received in inbox] == ["alert"]
        assert (inbox.counts.alerts, inbox.counts.notices, inbox.unverified) == (1, 0, {})


def test_what_is_said_to_somebody_else_is_refused(stage: MemoryStage) -> None:
    """And what stands under another key, or is no such word: by name, and never shown as sight."""
    stage.exchange.tell_sight(READER)
    record = stage.copies(READER)[-1]
    stage.plant(BLIND, record.key or b"", record.value, record.headers)
    with pytest.raises(InboxError, match=r"inbox\.reader-03/0: wrong-topic: member: said to somebody else"):
        _sight(stage, BLIND)
    stage.plant(READER, b"sight/fr", record.value, record.headers)
    with pytest.raises(InboxError, match="key: not sight/<jurisdiction>"):
        _sight(stage, READER)


def test_a_notice_is_no_sight(stage: MemoryStage) -> None:
    """Signed by the exchange as it is."""
    stage.exchange.test_line(READER)
    record = stage.copies(READER)[-1]
    stage.plant(READER, b"sight/se", record.value, record.headers)
    with pytest.raises(InboxError, match="says nothing of sight"):
        _sight(stage, READER)
