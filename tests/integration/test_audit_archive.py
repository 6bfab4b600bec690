"""An exchange's record is archived, part by part, with the auditor's login, and verified offline."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.test_audit_verify import OF_INBOXES, not_passed, seal
from tests.load import publish
from tests.world import World, takedown, tocsin
from tocsin.consumers.audit.logs import SEALER
from tocsin.deploy.audit.export_files import MANIFEST


def test_what_is_new_is_added_and_the_whole_archive_is_verified(world: World, tmp_path: Path) -> None:
    """Each record once; nothing of the first part is touched; a record that is altered is found in its part."""
    archive, bundle = tmp_path / "archive", str(world.member("reader-00").path)
    publisher = world.member("hotline-se")
    counts: list[int] = []
    for part in ("000001", "000002"):
        before = len([one for one in world.decisions() if one["kind"] == "ALERT"])
        publish(publisher, *(takedown(publisher, number) for number in range(4)))
        world.wait_decided(before + 4)
        seal(world, world.service(SEALER), world.home / "sealer")
        made = tocsin("audit", "archive", str(archive), "--home", str(world.home), "--settle", "0.5")
        counts.append({row["file"]: row["records"] for row in made}["audit.se.jsonl"])
        assert json.loads((archive / part / MANIFEST).read_bytes())["part"] == part
    on_record = len(world.read(["audit.se"]))
    assert counts[1] > 0
    assert sum(counts) == on_record
    found = tocsin("audit", "verify", str(archive), "--bundle", bundle, code=None)
    assert {check for check, _ in not_passed(found)} == {"tiles"}
    assert "failed" not in {one["result"] for one in found if one["check"] == "tiles"}
    assert {(one["check"], one["of"]) for one in found} >= {
        ("manifest", "000001"),
        ("manifest", "000002"),
        ("heads", "audit.checkpoints"),
        *((check, "audit.se") for check in ("records", "seals", "numbers", "alerts", "rules")),
    }
    path = archive / "000001" / "audit.se.jsonl"
    path.chmod(0o644)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    found = tocsin("audit", "verify", str(archive), "--bundle", bundle, code=3)
    faults = [one for one in found if one["result"] == "failed" and one["check"] not in OF_INBOXES]
    assert {one["of"] for one in faults} == {"000001", "audit.se"}
    assert faults[0]["first fault"] == "000001/audit.se.jsonl"
