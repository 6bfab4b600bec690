"""An exchange's record, written by a real fan-out, is exported with the auditor's login and verified offline."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.load import publish
from tests.world import World, takedown, tocsin
from tocsin.consumers.audit.facts import seal_of
from tocsin.consumers.audit.logs import SEALER, is_sealed, origin_of
from tocsin.consumers.audit.note import Signer
from tocsin.consumers.audit.sealed_log import Folder, SealedLog
from tocsin.deploy.audit.export_files import MANIFEST
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import CHECKPOINTS_TOPIC
from tocsin.schemas.signing import SigningKey

ALERTS = 40
OF_INBOXES = ("receipts", "delivered")


def seal(world: World, bundle: Bundle, state: Path) -> list[bytes]:
    """Seal all that is on record, with the sealer's login and key. The newest heads."""
    key = SigningKey.load(bundle.path / "signing.pem", SEALER)
    producer = Producer({**bundle.kafka_config(), "acks": "all"})
    heads: list[bytes] = []
    for topic in filter(is_sealed, world.topics("audit.")):
        signer = Signer(origin_of(bundle.coalition, topic), key)
        found = [
            BusRecord(topic, one.offset() or 0, one.key(), one.value(), (), one.timestamp()[1])
            for one in world.read([topic])
        ]
        with Folder(state / topic) as files:
            log = SealedLog(files, signer.verifier)
            log.append([seal_of(record) for record in found[log.size :]])
            heads.append(log.seal(signer.sign))
        producer.produce(CHECKPOINTS_TOPIC, heads[-1], signer.name.encode())
    assert producer.flush(20) == 0
    return heads


@pytest.fixture(scope="module")
def exported(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """An export, and heads that were kept when half of it was on record."""
    before = len([one for one in world.decisions() if one["kind"] == "ALERT"])
    for name in ("hotline-se", "hotline-de"):
        publish(world.member(name), *(takedown(world.member(name), number) for number in range(ALERTS // 4)))
    world.wait_decided(before + ALERTS // 2)
    state = world.home / "sealer"
    tocsin("audit", "ship", "--once", "--home", str(world.home))
    kept = seal(world, world.service(SEALER), state)
    for name in ("hotline-se", "hotline-de"):
        publish(world.member(name), *(takedown(world.member(name), number) for number in range(ALERTS // 4)))
    world.wait_decided(before + ALERTS)
    seal(world, world.service(SEALER), state)
    folder = tmp_path_factory.mktemp("exported") / "export"
    tocsin("audit", "export", str(folder), "--home", str(world.home), "--settle", "1")
    return folder, kept


def verified(folder: Path, *words: str, code: int | None = 0) -> list[dict[str, Any]]:
    """What `tocsin audit verify` finds, with the root keys pinned as by the paper."""
    prints = json.loads((folder / MANIFEST).read_bytes())["root_fingerprints"]
    pins = [word for one in prints for word in ("--root-fingerprint", one)]
    return tocsin("audit", "verify", str(folder), *pins, *words, code=code)


def not_passed(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Check and subject of all that did not pass, but for what came: others play with this world's inboxes.

    `test_receipts` has exchanges of its own for that.
    """
    return {(one["check"], one["of"]) for one in found if one["result"] != "passed" and one["check"] not in OF_INBOXES}


def test_the_record_of_a_working_exchange_is_whole(exported: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    """Every check of every topic passes; heads that were kept on the way are of the same tree."""
    folder, kept = exported
    words: list[str] = []
    for number, signed in enumerate(kept):
        (tmp_path / f"{number}").write_bytes(signed)
        words += ["--checkpoint", str(tmp_path / f"{number}")]
    found = verified(folder, *words, code=None)
    assert not_passed(found) == set()
    assert {(one["check"], one["of"]) for one in found} >= {
        *(
            (check, topic)
            for check in ("records", "seals", "tiles", "numbers", "alerts", "rules")
            for topic in ("audit.se", "audit.de")
        ),
        *((check, topic) for check in ("records", "seals", "tiles") for topic in ("audit.policy", "audit.access")),
        ("heads", "audit.checkpoints"),
        ("manifest", "export"),
        ("directory", "directory"),
    }
    assert (folder / "outbox.reader-00.jsonl").exists()


def test_a_bundle_pins_the_root_keys_too(world: World, exported: tuple[Path, list[bytes]]) -> None:
    """A member that was given an export needs nothing but its own bundle; without any pin there is no verification."""
    member = str(world.member("reader-00").path)
    found = tocsin("audit", "verify", str(exported[0]), "--bundle", member, code=None)
    assert not_passed(found) == set()
    tocsin("audit", "verify", str(exported[0]), code=2)
    tocsin("audit", "verify", str(exported[0]), "--root-fingerprint", "00" * 32, code=1)


def test_an_altered_export_is_found_out(exported: tuple[Path, list[bytes]]) -> None:
    """By the manifest, and by the seals: the line of the record that was altered."""
    path = exported[0] / "audit.se.jsonl"
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    number = len(lines) // 2
    path.write_bytes(b"".join([*lines[:number], *lines[number + 1 :]]))
    try:
        found = {(one["check"], one["of"]): one for one in verified(exported[0], code=3)}
    finally:
        path.write_bytes(content)
    assert found["manifest", "export"]["result"] == "failed"
    assert found["seals", "audit.se"]["first fault"] == f"audit.se.jsonl, line {number + 1}"
    assert found["numbers", "audit.se"]["result"] == "failed"
    assert found["seals", "audit.de"]["result"] == "passed"


def test_an_export_is_never_overwritten(world: World, exported: tuple[Path, list[bytes]]) -> None:
    """The folder must be new; what is there stays."""
    before = (exported[0] / MANIFEST).stat().st_mtime_ns
    tocsin("audit", "export", str(exported[0]), "--home", str(world.home), code=1)
    assert (exported[0] / MANIFEST).stat().st_mtime_ns == before


def test_an_export_holds_no_alert(world: World, exported: tuple[Path, list[bytes]]) -> None:
    """The auditor's login can read none, and the files name their places only."""
    (topic, *_) = world.topics("alerts.se.")
    assert not [*exported[0].glob("alerts.*.jsonl")]
    assert topic in json.loads((exported[0] / "alerts.json").read_bytes())
    assert time.time() - exported[0].stat().st_mtime < 3600
