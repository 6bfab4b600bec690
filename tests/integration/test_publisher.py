"""Publishing to a real Kafka by command and library: files, a broker away, kill -9, a missing right, retracting."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.world import World, takedown, wait_until
from tocsin.deploy.policy.acls import delete_acls, read_acls
from tocsin.producers.publisher import Publisher
from tocsin.schemas.codec import decode

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "deploy" / "examples"
COMMAND = [sys.executable, "-m", "tocsin.deploy", "publish"]
SHARED_TOPIC = "alerts.de.site-taken-down.green"

POLICY: dict[str, Any] = {
    "coalition": "test",
    "roots": 1,
    "roots_threshold": 1,
    "members": {
        "secretariat-eu": {"role": "secretariat", "jurisdiction": "de"},
        "hotline-se": {"role": "hotline", "jurisdiction": "se", "publishes": ["site-taken-down"]},
        "acquirer-de": {"role": "acquirer", "jurisdiction": "de", "publishes": ["merchant-terminated"]},
        "bank-fr": {"role": "bank", "jurisdiction": "fr", "publishes": ["descriptor-reused"]},
    },
    "agreements": [],
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose broker may be stopped; nobody fans out."""
    made = World(tmp_path_factory.mktemp("own") / "home", POLICY)
    try:
        made.up()
        yield made
    finally:
        made.down()


def _publish(world: World, member: str, file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, str(file), "--as", str(world.home / "members" / member), "--output", "json", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """All of stdout: every line is a row, whatever else is said."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def _ids(world: World, topic: str) -> list[str]:
    """The alert ids in a topic, by a plain consumer."""
    return [decode(message.value() or b"")[1]["header"]["alert_id"] for message in world.read([topic])]


def _one_line(folder: Path, number: int) -> Path:
    """A file of one takedown, and its profile."""
    header, row, *_ = (EXAMPLES / "takedowns-hotline-se.csv").read_text().splitlines()
    file = folder / f"one-{number}.csv"
    file.write_text(f"{header}\n{row.replace('SE-2026-1041', f'SE-2026-{number}')}\n")
    file.with_suffix(".toml").write_text((EXAMPLES / "takedowns-hotline-se.toml").read_text())
    return file


# what the examples get wrong: line, field and reason
FILES = [
    (
        "acquirer-de",
        "match-acquirer-de.json",
        "alerts.de.merchant-terminated.amber",
        6,
        [
            (204, "Merchant.MerchantCategory", "MCC: not 4 digits of the ISO 18245, Visa or Mastercard list"),
            (266, "Merchant.DateClosed", "before DateOpened"),
        ],
    ),
    (
        "hotline-se",
        "takedowns-hotline-se.csv",
        "alerts.se.site-taken-down.green",
        6,
        [
            (5, "removed_at", "not before the step that precedes it"),
            (7, "reported_at", "time: an offset is needed, like Z or +01:00"),
            (9, "urls", "required"),
        ],
    ),
    (
        "bank-fr",
        "descriptors-bank-fr.jsonl",
        "alerts.fr.descriptor-reused.amber",
        3,
        [(3, "details.match_count", "the number of E and P in field_matches")],
    ),
]


@pytest.mark.parametrize(("member", "name", "topic", "accepted", "refused"), FILES)
def test_each_row_of_a_file_is_accepted_or_refused_and_comes_once(
    own: World, member: str, name: str, topic: str, accepted: int, refused: list[tuple[int, str, str]]
) -> None:
    """What is accepted is in the topic, in order; the same file again publishes nothing."""
    before = _ids(own, topic)
    done = _publish(own, member, EXAMPLES / name)
    rows = _rows(done)
    assert {row["file"] for row in rows} == {name}
    assert [row["line"] for row in rows] == sorted({row["line"] for row in rows})
    bad = [row for row in rows if row["state"] == "refused"]
    assert [(row["line"], row["field"], row["reason"]) for row in bad] == refused
    assert {row["alert"] for row in bad} == {None}
    good = [row["alert"] for row in rows if row["state"] == "accepted"]
    assert (len(good), len(rows)) == (accepted, accepted + len(refused))
    assert (done.returncode, done.stderr) == (1, "")
    assert _ids(own, topic) == [*before, *good]
    again = _publish(own, member, EXAMPLES / name)
    assert [row["alert"] for row in _rows(again) if row["state"] == "known"] == good
    assert _ids(own, topic) == [*before, *good]


def test_a_broker_that_is_away_delays_no_caller_and_loses_nothing(own: World, tmp_path: Path) -> None:
    """Command and library return while it is away, and say what waits; back, it gets each alert once."""
    topic, file = "alerts.se.site-taken-down.green", _one_line(tmp_path, 1)
    bundle = own.member("hotline-se")
    [node] = own.cluster.nodes
    # a killed one would first have to wait until its old session has ended
    own.cluster.kill(node, signal.SIGTERM)
    wait_until(lambda: own.cluster.pid(node) is None, 30, "the broker gone")
    try:
        done = _publish(own, "hotline-se", file, "--timeout", "1")
        [row] = _rows(done)
        assert (done.returncode, row["state"]) == (1, "accepted")
        assert "the broker cannot be reached: " in done.stderr
        assert "alerts waiting in the spool: 1" in done.stderr
        alert = takedown(bundle, 1)
        publisher = Publisher(bundle, spool=tmp_path / "alerts.db")
        publisher.publish(alert)
        assert publisher.waiting() == 1
    finally:
        own.cluster.up()
    assert publisher.flush(40) == 0
    publisher.close()
    again = _publish(own, "hotline-se", file)
    assert (again.returncode, again.stderr) == (0, "")
    assert [(one["state"], one["alert"]) for one in _rows(again)] == [("known", row["alert"])]
    found = Counter(_ids(own, topic))
    assert (found[row["alert"]], found[alert.header.alert_id]) == (1, 1)


@contextmanager
def _without_right(world: World) -> Generator[None]:
    """hotline-se may not write its alerts."""
    admin = world.admin()
    rights = [row for row in read_acls(admin) if (row.principal, row.operation) == ("User:hotline-se", "WRITE")]
    taken = [row for row in rights if row.name.startswith("alerts.")]
    assert taken
    delete_acls(admin, taken)
    try:
        yield
    finally:
        world.apply()


def test_a_right_that_is_missing_is_named_and_once_given_delivers(own: World, tmp_path: Path) -> None:
    """By command, which ends at once; and by a publisher that stays open, which tries again by itself."""
    topic, file = "alerts.se.site-taken-down.green", _one_line(tmp_path, 2)
    trouble = f"this login may not WRITE to {topic}; ask the secretariat for the right"
    alert = takedown(own.member("hotline-se"), 2)
    with Publisher(own.member("hotline-se"), spool=tmp_path / "alerts.db") as publisher:
        with _without_right(own):
            done = _publish(own, "hotline-se", file, "--timeout", "30")
            [row] = _rows(done)
            assert (done.returncode, row["state"]) == (1, "accepted")
            assert f"{row['alert']}: NEW: {trouble}" in done.stderr
            assert "alerts waiting in the spool: 1" in done.stderr
            publisher.publish(alert)
            assert publisher.flush(None) == 1
            assert publisher.status().held == {topic: trouble}
        wait_until(lambda: publisher.flush(1) == 0, 40, "the right found")
        assert (publisher.status().held, publisher.status().troubles) == ({}, ())
    assert _publish(own, "hotline-se", file).returncode == 0
    found = Counter(_ids(own, topic))
    assert (found[row["alert"]], found[alert.header.alert_id]) == (1, 1)


@pytest.fixture
def heeded() -> Iterator[None]:
    """Children heed Ctrl-C, also where it is ignored by who started the tests: a shell does so in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_ctrl_c_says_what_waits(own: World, tmp_path: Path) -> None:
    """SIGINT while it delivers: exit code 130, the rows on stdout, and nothing is lost."""
    file = _one_line(tmp_path, 3)
    [node] = own.cluster.nodes
    own.cluster.kill(node, signal.SIGSTOP)
    words = [str(file), "--as", str(own.home / "members" / "hotline-se"), "--output", "json"]
    try:
        with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            row = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
            assert process.wait(30) == 130, said
        assert "alerts waiting in the spool: 1" in said
        assert "Traceback" not in said
    finally:
        own.cluster.kill(node, signal.SIGCONT)
    assert _publish(own, "hotline-se", file).returncode == 0
    # what was on its way when it was given up may have been written, too
    assert row["alert"] in _ids(own, "alerts.se.site-taken-down.green")


def _holds(world: World, count: int) -> bool:
    return len(world.read([SHARED_TOPIC])) >= count


def test_kill_9_of_a_publisher_loses_nothing_and_no_inbox_has_it_twice(world: World) -> None:
    """Killed three times while it delivers, then left alone; a topic may hold the same bytes twice."""
    count, before = 60, len(world.read([SHARED_TOPIC]))
    command = [sys.executable, "-m", "tests.faults.publish", str(world.home), "hotline-de", str(count)]
    for more in (10, 20, 30):
        with subprocess.Popen(command, cwd=ROOT) as process:
            wait_until(partial(_holds, world, before + more), 30, f"{more} written")
            assert process.poll() is None, "it ended before it was killed"
            process.kill()
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    written = world.read([SHARED_TOPIC])[before:]
    values = Counter(message.value() for message in written)
    assert len({decode(value or b"")[1]["header"]["alert_id"] for value in values}) == len(values) == count

    def copies() -> Counter[bytes | None]:
        return Counter(message.value() for message in world.inbox("reader-00") if message.value() in values)

    wait_until(lambda: copies().keys() == values.keys(), 30, "all copies")
    assert set(copies().values()) == {1}


def _retract(world: World, member: str, lineage: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tocsin.deploy", "retract", lineage, "--as", str(world.home / "members" / member)]
    return subprocess.run(
        [*command, "--output", "json", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_retraction_by_command_is_in_the_topic_once(own: World, tmp_path: Path) -> None:
    """By lineage alone where it was published; again it says so; by topic from a spool that does not know it."""
    topic, file = "alerts.se.site-taken-down.green", _one_line(tmp_path, 4)
    assert _publish(own, "hotline-se", file).returncode == 0
    lineage = decode(own.read([topic])[-1].value() or b"")[1]["header"]["lineage_id"]
    done, again = (_retract(own, "hotline-se", lineage, "--reason", "FALSE_POSITIVE") for _ in range(2))
    [row], [repeated] = _rows(done), _rows(again)
    assert (done.returncode, row["state"], row["topic"]) == (0, "retracted", topic)
    assert "is sent a withdrawal notice" in done.stderr
    assert (again.returncode, repeated) == (0, {**row, "state": "known"})
    assert _publish(own, "hotline-se", file).returncode == 0
    _, record = decode(own.read([topic])[-1].value() or b"")
    assert (record["header"]["lineage_id"], record["header"]["status"], record["details"]) == (
        lineage,
        "RETRACTED",
        None,
    )
    assert record["header"]["alert_id"] == row["alert"]


def test_the_secretariat_retracts_for_a_member(own: World, tmp_path: Path) -> None:
    """By its own key and login, from what it alone knows: lineage, type, label and jurisdiction."""
    topic = "alerts.se.site-taken-down.green"
    alert = takedown(own.member("hotline-se"), 5)
    with Publisher(own.member("hotline-se"), spool=tmp_path / "alerts.db") as publisher:
        publisher.publish(alert)
        assert publisher.flush(40) == 0
    where = ["--publisher", "hotline-se", "--jurisdiction", "se", "--type", "site-taken-down", "--tlp", "GREEN"]
    done = _retract(own, "secretariat-eu", alert.header.lineage_id, "--reason", "COURT_ORDER", *where)
    assert done.returncode == 0, done.stderr
    message = own.read([topic])[-1]
    header = decode(message.value() or b"")[1]["header"]
    assert (header["lineage_id"], header["publisher"]) == (alert.header.lineage_id, "hotline-se")
    key_id = own.member("secretariat-eu").signing_key().key_id.encode()
    assert ("dsse-keyid", key_id) in (message.headers() or [])
