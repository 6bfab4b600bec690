"""`tocsin retract` with no broker in reach: what it asks for, by option, and what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.world import takedown
from tocsin.producers.publisher import Publisher
from tocsin.producers.spool import Spool
from tocsin.producers.spool_rows import Settled, State
from tocsin.schemas.bundle import SIGNING_KEY, TOKEN_KEYS, Bundle, BundleConfig, write_bundle
from tocsin.schemas.memory import MemoryBus
from tocsin.schemas.signing import SigningKey
from tocsin.schemas.tokens import TokenKey, write_token_keys
from tocsin.schemas.uuid7 import uuid7

LINEAGE = str(uuid7())
TOPIC = "alerts.se.site-taken-down.green"
WHERE = ("--type", "site-taken-down", "--tlp", "green")


def _bundle(folder: Path, member: str, role: str, jurisdiction: str) -> Bundle:
    """A bundle whose broker is nowhere."""
    config = BundleConfig(
        coalition="test",
        member=member,
        login=member,
        role=role,
        jurisdiction=jurisdiction,
        bootstrap="127.0.0.1:1",
    )
    made = write_bundle(folder / member, config, password="x", ca_pem=trustme.CA().cert_pem.bytes())  # noqa: S106  # nobody's
    SigningKey.generate(member).save(made.path / SIGNING_KEY)
    write_token_keys(made.path / TOKEN_KEYS, (TokenKey("private-test", "private", bytes(32)),))
    return made


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A hotline's."""
    return _bundle(tmp_path, "hotline-se", "hotline", "se")


def _run(bundle: Bundle, *words: str, lineage: str = LINEAGE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tocsin.deploy", "retract", lineage, "--as", str(bundle.path), "--timeout", "0"]
    reason = [] if "--reason" in words else ["--reason", "error"]
    return subprocess.run(
        [*command, *reason, *words], capture_output=True, text=True, timeout=60, check=False, env=_PLAIN
    )


_PLAIN = {"COLUMNS": "500", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": ""}


def _row(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one row of stdout."""
    return dict(json.loads(done.stdout))


USAGE: list[tuple[tuple[str, ...], str]] = [
    ((), "Invalid value for LINEAGE: this spool does not know it: give --type and --tlp as they were published"),
    ((*WHERE, "--publisher", "bank-fr"), "Invalid value for --publisher: give the --jurisdiction of that member"),
    (
        (*WHERE, "--publisher", "bank-fr", "--jurisdiction", "se"),
        "Invalid value for --publisher: must be hotline-se, whose bundle this is",
    ),
    ((*WHERE, "--jurisdiction", "fr"), "Invalid value for --jurisdiction: must be se, this member's"),
    ((*WHERE, "--jurisdiction", "FR"), "Invalid value for --jurisdiction: jurisdiction 'FR': two lower-case letters"),
    ((*WHERE, "--revision", "0"), "Invalid value for '--revision'"),
    ((*WHERE, "--note", "www.example.top"), "Invalid value for --note: "),
    ((*WHERE, "--reason", "whim"), "Invalid value for '--reason'"),
]


@pytest.mark.parametrize(("words", "said"), USAGE)
def test_what_is_missing_or_wrong_is_named_by_its_option(bundle: Bundle, words: tuple[str, ...], said: str) -> None:
    """Exit code 2, nothing stored."""
    done = _run(bundle, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.replace("│", " ").split())
    if (bundle.path / "spool").exists():
        with Spool(bundle.path / "spool" / "alerts.db") as spool:
            assert sum(spool.counts().values()) == 0


def test_a_lineage_that_is_none_is_said(bundle: Bundle) -> None:
    """A case number is not a lineage."""
    done = _run(bundle, *WHERE, lineage="Case-17")
    assert done.returncode == 2
    assert "Invalid value for LINEAGE: a UUID in lower case" in done.stderr


def test_while_the_broker_is_away_it_waits_and_says_so(bundle: Bundle) -> None:
    """Exit code 1; the same command again adds nothing, and once the broker has it, it says 0."""
    first, again = (_run(bundle, *WHERE, "--output", "json") for _ in range(2))
    assert (first.returncode, again.returncode) == (1, 1)
    assert "the broker does not have it yet" in first.stderr
    assert "alerts waiting in the spool: 1" in again.stderr
    assert _row(first) == _row(again)
    assert (_row(first)["state"], _row(first)["topic"]) == ("waiting", TOPIC)
    with Spool(bundle.path / "spool" / "alerts.db") as spool:
        spool.settle([Settled(one, State.ACKED) for one in spool.take(10)])
    done = _run(bundle, "--output", "json")
    assert (done.returncode, _row(done)) == (0, {**_row(first), "state": "known"})
    assert done.stderr == "it was retracted before; nothing new was published\n"


def test_what_the_spool_knows_need_not_be_said(bundle: Bundle) -> None:
    """Type, label and a revision above the one published."""
    alert = takedown(bundle, 1, tlp="AMBER", revision=2_000_000_000)
    with Publisher(bundle, writer=MemoryBus().writer("hotline-se")) as publisher:
        publisher.publish(alert)
        publisher.close(0)
    low = _run(bundle, "--revision", "7", lineage=alert.header.lineage_id)
    assert low.returncode == 2
    assert "Invalid value for --revision: must be above 2000000000" in low.stderr
    done = _run(bundle, "--output", "json", lineage=alert.header.lineage_id)
    row = _row(done)
    assert (row["topic"], row["revision"]) == ("alerts.se.site-taken-down.amber", 2_000_000_001)


def test_the_secretariat_names_publisher_and_jurisdiction(tmp_path: Path) -> None:
    """The retraction is of the publisher's lineage, in a topic of its jurisdiction."""
    secretariat = _bundle(tmp_path, "secretariat-eu", "secretariat", "de")
    done = _run(secretariat, *WHERE, "--publisher", "hotline-se", "--jurisdiction", "se", "--output", "json")
    row = _row(done)
    assert (row["publisher"], row["topic"]) == ("hotline-se", TOPIC)
    with Spool(secretariat.path / "spool" / "alerts.db") as spool:
        assert [(one.publisher, one.status) for one in spool.take(10)] == [("hotline-se", "RETRACTED")]


def test_a_spool_in_use_names_the_way_out(bundle: Bundle) -> None:
    """The member's service has it: another file works, with type and label."""
    with Spool(bundle.path / "spool" / "alerts.db"):
        done = _run(bundle)
        assert done.returncode == 1
        assert "--spool FILE, with --type and --tlp" in done.stderr
        done = _run(bundle, *WHERE, "--spool", str(bundle.path / "own.db"), "--output", "json")
        assert _row(done)["state"] == "waiting"
