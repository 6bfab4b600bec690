"""A member as a witness on a real exchange: it cosigns what continues, and finds a log that contradicts itself.

So do two members that are none, by the heads that tests of their lines carry.
"""

from __future__ import annotations

import functools
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import pytest
from confluent_kafka import Message

from tests.load import publish
from tests.world import World, running, small_policy, takedown, tocsin, wait_until
from tocsin.consumers.audit.heads_kept import HEADS
from tocsin.consumers.audit.logs import origin_of
from tocsin.consumers.audit.note import Cosigner, Note, Signer, Verifier, open_checkpoint
from tocsin.consumers.audit.sealed_log import CHECKPOINT, Folder, SealedLog
from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.inbox import Inbox
from tocsin.consumers.kafka import KafkaWriter
from tocsin.consumers.outbox_records import COSIGNATURE, open_record
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord, Failure
from tocsin.schemas.directory import Directory, VersionFloor
from tocsin.schemas.names import CHECKPOINTS_TOPIC, outbox_topic
from tocsin.schemas.signing import SigningKey
from tocsin.schemas.verify import Verifier as RecordVerifier

TOPIC = "audit.se"
TESTED = ("--line-test", "1")
NUMBERS = iter(range(5_000, 6_000))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its own name
        """Say nothing."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An exchange of its own: a forged head stays in its topic, and other tests believe what they find there."""
    with running(tmp_path_factory.mktemp("witness") / "home", small_policy(), words=TESTED) as made:
        yield made


@pytest.fixture
def served(world: World) -> Iterator[str]:
    """The address of the sealer's logs, as a web server hands them out."""
    tocsin("audit", "seal", "--once", "--home", str(world.home))
    handler = functools.partial(_Quiet, directory=str(world.home / "sealer"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def _bundle(world: World, member: str, tmp_path: Path) -> Path:
    """A copy of a member's bundle, so that each test has a witness of its own."""
    return shutil.copytree(world.member(member).path, tmp_path / member)


def _more(world: World, count: int = 3) -> None:
    """More alerts, decided and sealed."""
    publisher = world.member("hotline-se")
    before = len([one for one in world.decisions() if one["kind"] == "ALERT"])
    publish(publisher, *(takedown(publisher, next(NUMBERS)) for _ in range(count)))
    world.wait_decided(before + count)
    tocsin("audit", "seal", "--once", "--home", str(world.home))


def _witness(bundle: Path, tiles: str, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    rows = tocsin("audit", "witness", "--as", str(bundle), "--tiles", tiles, "--once", *words, code=code)
    return {f"{row['log']} {row['outcome']}": row for row in rows}


def _log(world: World) -> Signer:
    return Signer(origin_of("test", TOPIC), world.service("sealer").signing_key())


def _headers(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    return tuple(cast("list[tuple[str, bytes | None]]", message.headers() or []))


def _directory(world: World, tmp_path: Path) -> Directory:
    bundle = world.service("auditor")
    watcher = DirectoryWatcher(bundle.kafka_config(), "test", bundle.roots, VersionFloor(tmp_path / "version"))
    try:
        watcher.look()
        assert watcher.directory is not None
        return watcher.directory
    finally:
        watcher.close()


def test_a_log_that_grows_is_cosigned_again_and_again(world: World, served: str, tmp_path: Path) -> None:
    """With the tiles from a web server; others get the cosignature from the outbox, and it verifies there."""
    bundle = _bundle(world, "reader-00", tmp_path)
    _more(world)
    first = _witness(bundle, served)
    assert {row["outcome"] for row in first.values()} == {"cosigned"}
    _more(world, 5)
    second = _witness(bundle, served)
    assert second[f"{TOPIC} cosigned"]["entries"] >= first[f"{TOPIC} cosigned"]["entries"] + 5

    key = Verifier.parse((bundle / "witness-key.txt").read_text().strip())
    assert key.name == "test.tocsin/witness/reader-00"
    assert stat.S_IMODE((bundle / "witness-key.pem").stat().st_mode) == 0o600
    note = (bundle / "cosigned" / TOPIC).read_bytes()
    log = _log(world).verifier
    assert Note.parse(note).verified([log, key]) == {log, key}
    assert open_checkpoint(note, log).size == second[f"{TOPIC} cosigned"]["entries"]
    tocsin("audit", "seal", "--once", "--home", str(world.home))

    verifier = RecordVerifier("test", _directory(world, tmp_path))
    topic = outbox_topic("reader-00")
    found = [
        BusRecord(topic, cast("int", one.offset()), one.key(), one.value(), _headers(one), one.timestamp()[1])
        for one in world.read([topic])
        if (one.key() or b"") == f"{COSIGNATURE}/{TOPIC}".encode()
    ]
    assert open_record("reader-00", found[-1], verifier).content.note() == note


def test_a_second_look_without_news_signs_nothing(world: World, tmp_path: Path) -> None:
    """It says what is cosigned already."""
    bundle, tiles = _bundle(world, "reader-01", tmp_path), str(world.home / "sealer")
    _more(world)
    first = _witness(bundle, tiles)
    before = (bundle / "cosigned" / TOPIC).read_bytes()
    assert _witness(bundle, tiles) == first
    assert (bundle / "cosigned" / TOPIC).read_bytes() == before


def test_heads_wait_while_nobody_hands_out_the_tiles(world: World, tmp_path: Path) -> None:
    """That is no fork; they are compared once somebody does."""
    bundle, tiles = _bundle(world, "reader-01", tmp_path), str(world.home / "sealer")
    _more(world)
    _witness(bundle, tiles)
    _more(world)
    waiting = _witness(bundle, str(tmp_path / "nowhere"), code=1)
    assert "name that of the sealer's logs" in waiting[f"{TOPIC} waiting"]["detail"]
    assert f"{TOPIC} waiting" in _witness(bundle, "http://127.0.0.1:9/", code=1)
    found = _witness(bundle, tiles)
    assert found[f"{TOPIC} cosigned"]["entries"] > waiting[f"{TOPIC} cosigned"]["entries"]


def test_a_proof_carries_the_word_of_witnesses(world: World, tmp_path: Path) -> None:
    """Of members that the one who checks has reason to believe; without enough of them it does not hold."""
    home, tiles = ["--home", str(world.home)], str(world.home / "sealer")
    alert = takedown(world.member("hotline-se"), next(NUMBERS))
    before = len([one for one in world.decisions() if one["kind"] == "ALERT"])
    publish(world.member("hotline-se"), alert)
    world.wait_decided(before + 1)
    tocsin("audit", "seal", "--once", *home)
    bundles = [_bundle(world, member, tmp_path) for member in ("hotline-se", "hotline-de")]
    words: list[str] = []
    prove = ["audit", "prove", alert.header.alert_id, "reader-00", "--out", str(tmp_path / "proof"), *home]
    for bundle in bundles:
        if words:
            tocsin(*prove, *words, "--witness", _other_key(), code=1)
        _witness(bundle, tiles)
        words += ["--witness", (bundle / "witness-key.txt").read_text().strip()]
    tocsin(*prove, *words)
    _more(world)
    assert len((tmp_path / "proof" / "witness-keys.txt").read_text().splitlines()) == 2
    done = subprocess.run(["sh", tmp_path / "proof" / "check.sh"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    [shown] = tocsin("audit", "check", str(tmp_path / "proof"), *words, *home)
    assert shown["holds"]
    other = ["--witness", _other_key()]
    tocsin("audit", "check", str(tmp_path / "proof"), *words, *other, "--witnesses-needed", "2", *home)
    tocsin("audit", "check", str(tmp_path / "proof"), *words, *other, *home, code=3)
    tocsin("audit", "check", str(tmp_path / "proof"), *words, "--witnesses-needed", "3", *home, code=2)


def _other_key() -> str:
    return Cosigner("test.tocsin/witness/reader-01", SigningKey.generate("reader-01")).verifier.text()


def test_the_service_goes_on_and_says_how_far_it_is(world: World, served: str, tmp_path: Path) -> None:
    """To Prometheus; a second one with the same bundle is refused, and it ends when told."""
    bundle = _bundle(world, "reader-03", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = [sys.executable, "-m", "tocsin.deploy", "audit", "witness", "--as", str(bundle), "--tiles", served]
    process = subprocess.Popen(
        [*words, "--every", "0.5", "--metrics-port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _more(world)
        size = open_checkpoint((world.home / "sealer" / TOPIC / CHECKPOINT).read_bytes(), _log(world).verifier).size

        def metrics() -> str:
            try:
                with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    return str(answer.read().decode())
            except OSError:
                return ""

        wait_until(lambda: f'tocsin_witness_entries{{topic="{TOPIC}"}} {size}.0' in metrics(), 30, metrics)
        assert "tocsin_witness_forks 0.0" in metrics()
        assert "tocsin_witness_waiting_heads 0.0" in metrics()
        tocsin("audit", "witness", "--as", str(bundle), "--tiles", served, "--once", code=1)
    finally:
        process.terminate()
        assert process.wait(20) == 0


def _shown(bundle: Path, size: int) -> set[str]:
    """Read the inbox until a test of the line has brought a head of `size`. Gives what was found of all of them."""
    told = f"{origin_of('test', TOPIC)}\n{size}\n"
    options = {"acknowledge": False, "receipts": False, "include_tests": True, "group": secrets.token_hex(4)}
    with Inbox(Bundle.load(bundle), timeout_s=20, **cast("Any", options)) as inbox:
        for received in inbox:
            if received.notice is not None and (received.notice["checkpoint"] or "").startswith(told):
                return set(inbox.counts.heads)
    raise AssertionError(f"no head of {size} entries came: {inbox.counts}")


def _heads(bundle: Path, *words: str, code: int = 0) -> list[tuple[str, str]]:
    rows = tocsin("audit", "heads", "--as", str(bundle), *words, code=code)
    return [(row["from"], row["outcome"]) for row in rows if row["log"].startswith(TOPIC)]


def test_two_members_find_a_split_view(world: World, tmp_path: Path) -> None:
    """By the heads that tests of their lines carried: neither inbox alone can tell, and honest heads are innocent."""
    ours, theirs = _bundle(world, "reader-00", tmp_path), _bundle(world, "reader-01", tmp_path)
    mailed = tmp_path / "mailed.json"
    size = _more_sealed(world)
    assert _shown(ours, size) | _shown(theirs, size) <= {"new", "same"}
    honest = [("inbox", "kept"), (CHECKPOINTS_TOPIC, "same")]
    assert _heads(theirs, "--out", str(mailed)) == honest
    assert _heads(ours, "--compare", str(mailed)) == [*honest, (str(mailed), "same")]

    world.stop_fanouts()
    forking = world.start_fanout("tests.faults.forking", "forking", words=(*TESTED, "--above", str(size)))
    try:
        world.wait_lanes(4)
        size = _more_sealed(world)
        assert _shown(ours, size) | _shown(theirs, size) <= {"new", "same"}
        # they are told apart by the topic, too, if that is shown to all alike
        assert (CHECKPOINTS_TOPIC, "forked") in _heads(theirs, "--out", str(mailed), code=3)
        assert _heads(ours) == honest
        assert (str(mailed), "forked") in _heads(ours, "--compare", str(mailed), code=3)
        assert ("forks", "forked") in _heads(ours, code=3)
        # whoever was shown both finds out alone
        both = shutil.copytree(world.member("reader-00").path, tmp_path / "both")
        shutil.copy(mailed, both / HEADS)
        words = ["inbox", "--as", str(both), "--group", secrets.token_hex(4)]
        done = subprocess.run(
            [sys.executable, "-m", "tocsin.deploy", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 3, done.stderr
        assert f"told in two ways, see docs/witness.md: {both / 'forks'}" in done.stdout
    finally:
        world.stop_fanout(forking)
        world.start_fanout(words=TESTED)
    log = _log(world).verifier
    evidence = next((ours / "forks").glob(f"{TOPIC}.{size}.*"))
    seen, offered = (open_checkpoint((evidence / name).read_bytes(), log) for name in ("seen", "offered"))
    assert (seen.size, offered.size) == (size, size)
    assert seen.root != offered.root
    world.wait_lanes(6)


def _more_sealed(world: World) -> int:
    """More alerts, decided and sealed. Gives how many entries the log has."""
    _more(world)
    return open_checkpoint((world.home / "sealer" / TOPIC / CHECKPOINT).read_bytes(), _log(world).verifier).size


def test_another_history_by_the_same_key_is_found(world: World, tmp_path: Path) -> None:
    """Produced by the sealer's own login; a head that somebody else kept is compared, too. Both notes are kept."""
    bundle, tiles = _bundle(world, "reader-02", tmp_path), str(world.home / "sealer")
    _more(world)
    seen = _witness(bundle, tiles)[f"{TOPIC} cosigned"]["entries"]
    kept = tmp_path / "kept"
    shutil.copy(bundle / "cosigned" / TOPIC, kept)
    _more(world)
    again = tocsin(
        *("audit", "witness", "--as", str(bundle), "--tiles", tiles, "--checkpoint", str(kept)),
    )
    assert [row["outcome"] for row in again if row["from"] == str(kept)] == ["continues"]

    # another history, of more entries, in a folder of its own
    other = tmp_path / "other"
    with Folder(other / TOPIC) as files:
        log = _log(world)
        forged = SealedLog(files, log.verifier)
        forged.append([f"{number} forged".encode() for number in range(seen + 300)])
        note = forged.seal(log.sign)
    (tmp_path / "told").write_bytes(note)
    told = tocsin(
        *("audit", "witness", "--as", str(bundle), "--tiles", str(other)),
        *("--checkpoint", str(tmp_path / "told")),
        code=3,
    )
    assert [row["outcome"] for row in told if row["from"] == str(tmp_path / "told")] == ["forked"]

    fresh = _bundle(world, "reader-01", tmp_path)
    _witness(fresh, tiles)
    answers: list[Failure | None] = []
    writer = KafkaWriter(world.service("sealer").kafka_config())
    writer.send(CHECKPOINTS_TOPIC, log.name.encode(), note, [], answers.append)
    assert (writer.flush(20), answers) == (0, [None])
    writer.close()
    cosigned = (fresh / "cosigned" / TOPIC).read_bytes()
    row = _witness(fresh, str(other), code=3)[f"{TOPIC} forked"]
    evidence = Path(row["detail"])
    assert evidence.parent == fresh / "forks"
    assert (evidence / "offered").read_bytes() == note
    assert cosigned.startswith((evidence / "seen").read_bytes())
    assert (fresh / "cosigned" / TOPIC).read_bytes() == cosigned
    assert (world.home / "sealer" / TOPIC / CHECKPOINT).read_bytes() != note
    # once the head is dealt with, its evidence is told of all the same
    _witness(fresh, tiles, code=3)
    again = tocsin("audit", "witness", "--as", str(fresh), "--tiles", tiles, "--once", code=3)
    assert [row["detail"] for row in again if row["outcome"] == "forked"] == [str(evidence)]
    assert not any(row["outcome"] == "waiting" for row in again)
