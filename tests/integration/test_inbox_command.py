"""`tocsin inbox` shows each record once, to people and to programs, and ends when it is told to."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import IO, cast

from tests.world import World, takedown, wait_until
from tocsin.producers.publisher import Publisher
from tocsin.schemas.models import SiteTakenDown

COMMAND = [sys.executable, "-m", "tocsin.deploy", "inbox"]


def _publish(world: World, number: int) -> SiteTakenDown:
    bundle = world.member("hotline-de")
    alert = takedown(bundle, number)
    with Publisher(bundle) as publisher:
        publisher.publish(alert)
        assert publisher.flush(20) == 0
    key = f"hotline-de/{alert.header.lineage_id}".encode()
    wait_until(lambda: key in [message.key() for message in world.inbox("reader-01")], 20, "the copy")
    return alert


def _run(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    folder = str(world.home / "members" / "reader-01")
    return subprocess.run([*COMMAND, "--as", folder, *words], capture_output=True, text=True, timeout=60, check=False)


def test_programs_get_json_lines_and_nothing_else(world: World) -> None:
    """Each line is one record; what was shown is not shown again."""
    alert = _publish(world, 1_001)
    shown = _run(world, "--group", "programs", "--output", "json")
    assert shown.returncode == 0, shown.stderr
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    [ours] = [line for line in lines if line["key"] == f"hotline-de/{alert.header.lineage_id}"]
    assert (ours["kind"], ours["type"]) == ("alert", "site-taken-down")
    assert ours["alert"] == alert.model_dump(mode="json")
    assert ours["rule"].startswith("ALLOW READ User:reader-01 ")
    again = _run(world, "--group", "programs", "--output", "json")
    assert (again.returncode, again.stdout) == (0, "")


def test_people_get_a_line_for_each_record_and_a_count(world: World) -> None:
    """Type, status, TLP, lineage, revision and rule; at the end what was seen."""
    alert = _publish(world, 1_002)
    shown = _run(world, "--group", "people")
    [line] = [line for line in shown.stdout.splitlines() if alert.header.lineage_id in line]
    assert f"site-taken-down ACTIVE GREEN hotline-de/{alert.header.lineage_id} revision 1" in line
    assert re.search(r" alerts, \d+ notices, \d+ erasures, ", shown.stdout.splitlines()[-1])


def test_ctrl_c_ends_a_follower_without_losing_its_place(world: World) -> None:
    """SIGINT ends it with exit code 0, and what it showed is not shown again."""
    alert = _publish(world, 1_003)
    folder = str(world.home / "members" / "reader-01")
    words = ["--as", folder, "--group", "follower", "--follow", "--output", "json"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, text=True) as process:
        for line in cast("IO[str]", process.stdout):
            if alert.header.lineage_id in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert alert.header.lineage_id not in _run(world, "--group", "follower").stdout
