"""One delivery is proved to somebody who has neither our code nor our word."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.load import publish_decided
from tests.world import World, takedown, tocsin

READER = "reader-00"
OTHER = "reader-01"


def _published(world: World, number: int) -> str:
    """An alert that has been decided; its alert_id."""
    publisher = world.member("hotline-se")
    alert = takedown(publisher, number)
    publish_decided(world, publisher, alert)
    return alert.header.alert_id


def test_a_delivery_is_proved_and_nothing_else_is_shown(world: World, tmp_path: Path) -> None:
    """Not before it is sealed; then a script with openssl, our command, and a key from paper all say that it holds."""
    home = ["--home", str(world.home)]
    alert, proof = _published(world, 31), tmp_path / "proof"
    tocsin("audit", "prove", alert, READER, "--out", str(proof), *home, code=1)
    assert not proof.exists()
    tocsin("audit", "seal", "--once", *home)
    [row] = tocsin("audit", "prove", alert, READER, "--out", str(proof), *home)
    assert (row["member"], row["what"]) == (READER, "given")
    assert f"User:{READER}" in row["by"]

    done = subprocess.run(["sh", str(proof / "check.sh")], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert OTHER not in "".join(path.read_text() for path in proof.iterdir())

    [shown] = tocsin("audit", "check", str(proof), *home)
    assert shown["given"] == READER
    assert shown["alert"] == row["alert"]
    key = (proof / "log-key.txt").read_text().strip()
    assert tocsin("audit", "check", str(proof), "--key", key) == [shown]

    tocsin("audit", "prove", alert, READER, "--out", str(proof), *home, code=1)  # nothing is overwritten


def test_a_changed_proof_does_not_hold(world: World, tmp_path: Path) -> None:
    """Somebody else's name in it, or a log that somebody else has signed."""
    home = ["--home", str(world.home)]
    alert, proof = _published(world, 32), tmp_path / "proof"
    tocsin("audit", "seal", "--once", *home)
    tocsin("audit", "prove", alert, READER, "--out", str(proof), *home)
    delivery = proof / "delivery.json"
    said = json.loads(delivery.read_text())
    delivery.write_text(json.dumps({**said, "given": OTHER}, sort_keys=True, separators=(",", ":")))
    tocsin("audit", "check", str(proof), *home, code=3)
    done = subprocess.run(["sh", str(proof / "check.sh")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "WRONG: delivery.json is none of the facts" in done.stdout
    other = "test.tocsin/audit.se+00000000+" + "A" * 44
    tocsin("audit", "check", str(proof), "--key", other, *home, code=3)


def test_of_who_has_nothing_to_do_with_it_there_is_no_proof(world: World, tmp_path: Path) -> None:
    """The command says what shows who has."""
    home = ["--home", str(world.home)]
    alert = _published(world, 33)
    tocsin("audit", "seal", "--once", *home)
    tocsin("audit", "prove", alert, "nobody-there", "--out", str(tmp_path / "proof"), *home, code=1)
    tocsin("audit", "prove", "no-such-alert", READER, "--out", str(tmp_path / "proof"), *home, code=1)
    assert not (tmp_path / "proof").exists()
