"""Who touched the topics, by a real broker's own log: shipped by a process that is killed, and asked for."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from tests.attempts import ANSWER_S, Attempts
from tests.load import TOPIC, publish
from tests.world import World, takedown, tocsin, wait_until
from tocsin.consumers.audit.access_files import sources
from tocsin.deploy.policy.acls import create_acls, delete_acls
from tocsin.deploy.policy.rows import acl_row

ROOT = Path(__file__).parents[2]
NAMES = [f"alerts.se.nothing-{number}.green" for number in range(20)]
QUIET_S = 1.0
INJECTED = "x\n2026-01-01T00:00:00.000Z Principal = User:admin is Allowed operation = READ for request = Fetch"


@contextmanager
def _direct(world: World, member: str) -> Generator[None]:
    """READ of an alert topic from everywhere, as `direct` in an agreement gives it to a member that has sight of it."""
    row = acl_row(member, "READ", "TOPIC", TOPIC)
    create_acls(world.admin(), [row])
    try:
        yield
    finally:
        delete_acls(world.admin(), [row])


def _ask(world: World, *words: str) -> list[dict[str, Any]]:
    return tocsin("audit", "access", *words, "--home", str(world.home))


def _accesses(world: World, *words: str) -> list[dict[str, Any]]:
    return [row for row in _ask(world, *words) if row["kind"] == "access"]


def _ship(world: World) -> None:
    tocsin("audit", "ship", "--once", "--home", str(world.home))


def test_a_denial_and_a_direct_read_are_found_with_member_host_and_time(world: World) -> None:
    """And what a member reads of its own inbox is not told, nor what the fan-out does."""
    _ship(world)  # what was said before is not folded with this
    began = datetime.now(UTC).isoformat()
    publish(world.member("hotline-se"), takedown(world.member("hotline-se"), 1))
    with _direct(world, "reader-02"):
        direct = Attempts(world.member("reader-02").kafka_config(), "reader-02.access")
        wait_until(lambda: direct.read([TOPIC, "inbox.reader-02"]) == {TOPIC, "inbox.reader-02"}, 20, "a direct read")
    assert Attempts(world.member("reader-03").kafka_config(), "reader-03.access").read([TOPIC]) == set()
    _ship(world)
    ended = datetime.now(UTC).isoformat()

    [read] = [row for row in _accesses(world, "--from", began, "--direct") if row["request"] == "Fetch"]
    assert (read["member"], read["host"], read["resource"]) == ("reader-02", "127.0.0.1", TOPIC)
    assert began <= read["first"] <= read["last"] <= ended
    assert "principal=User:reader-02" in read["rule"]
    refused = _accesses(world, "--from", began, "--denied", "--member", "reader-03", "--topic", "alerts.se.*")
    assert {(row["resource"], row["host"], row["direct"]) for row in refused} == {(TOPIC, "127.0.0.1", False)}
    assert all(began <= row["first"] <= row["last"] <= ended for row in refused)
    told = _accesses(world, "--from", began)
    assert not [row for row in told if row["resource"] == "inbox.reader-02" or row["principal"] == "User:fanout"]
    [written] = [row for row in told if row["principal"] == "User:hotline-se"]
    assert (written["operation"], written["resource"], written["count"]) == ("WRITE", TOPIC, 1)


def test_a_name_that_looks_like_a_line_makes_none(world: World) -> None:
    """A client may ask for any name; the broker's own words about it stay the client's."""
    _ship(world)
    began = datetime.now(UTC).isoformat()
    AdminClient(dict(world.member("reader-03").kafka_config())).list_topics(INJECTED, timeout=ANSWER_S)
    _ship(world)
    rows = _ask(world, "--from", began, "--denied")
    assert {row["principal"] for row in rows if row["kind"] == "access"} == {"User:reader-03"}
    assert {row["resource"] for row in rows if row["kind"] == "access"} == {INJECTED.replace("\n", "\\n")}
    assert [row["kind"] for row in rows if row["kind"] != "access"] == ["source"]


@pytest.mark.parametrize(
    ("module", "kills", "member", "found"),
    [
        ("tocsin.deploy", 2, "reader-00", "all, once"),
        ("tests.faults.careless_shipper", 0, "reader-01", "some again"),
    ],
)
def test_a_shipper_that_is_killed_loses_nothing_and_tells_nothing_twice(
    world: World, module: str, kills: int, member: str, found: str
) -> None:
    """In the middle of its work while the log is rolled, and at the end of it; a careless one is found out."""
    _ship(world)
    chance = random.Random(7)
    with _denied_all_the_while(world, member):
        for _ in range(kills):
            with _shipper(world, module):
                _wait_told(world, member, _told_about(world, member) + 1)
                time.sleep(chance.random() * 0.3)
        wait_until(lambda: len(_files(world)) > kills, 30, "files that were rolled")
        wait_until(lambda: _lines_about(world, member) > 0, 30, "something that was denied")
    with _shipper(world, module):
        _wait_told(world, member, _lines_about(world, member))
    with _denied_all_the_while(world, member):
        time.sleep(0.2)
    subprocess.run([*_words(world, module), "--once"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    told, said = _told_about(world, member), _lines_about(world, member)
    assert ("all, once" if told == said else "some again" if told > said else "some lost") == found


def _files(world: World) -> list[Path]:
    logs = world.home / "cluster"
    return [path for source in sources(logs) for path in (logs / source).glob("access*.log")]


def _lines_about(world: World, member: str) -> int:
    said = f" Principal = User:{member} is "
    return sum(path.read_text().count(said) for path in _files(world))


def _wait_told(world: World, member: str, count: int) -> None:
    wait_until(lambda: _told_about(world, member) >= count, 90, f"{count} lines on record")


def _told_about(world: World, member: str) -> int:
    return sum(row["count"] for row in _accesses(world, "--member", member))


def _words(world: World, module: str) -> list[str]:
    return [sys.executable, "-m", module, "audit", "ship", "--home", str(world.home)]


@contextmanager
def _shipper(world: World, module: str) -> Generator[None]:
    """One that is killed in the end."""
    words = [*_words(world, module), "--every", "0.1"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def _denied_all_the_while(world: World, member: str) -> Generator[None]:
    """One login asks for topics that it may not know of, twenty at a time; in the end all of it is in the log."""
    ended = threading.Event()
    admin = AdminClient(dict(world.member(member).kafka_config()))

    def ask() -> None:
        while not ended.is_set():
            for future in admin.describe_topics(TopicCollection(NAMES), request_timeout=ANSWER_S).values():
                future.exception(ANSWER_S)
            ended.wait(0.1)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _wait_written(world, member)


def _wait_written(world: World, member: str) -> None:
    """A broker answers before the line is in its log: wait until no more come."""
    before, now = -1, _lines_about(world, member)
    while before != now:
        time.sleep(QUIET_S)
        before, now = now, _lines_about(world, member)
