"""What it costs to verify a large record: decisions with ten recipients each, sealed as a sealer does.

`python -m tests.bench.audit_verify [DECISIONS]`, a million if not given: 2.5 GB of disk, and some ten minutes, most of
which makes the export. Pure, no Kafka; one core.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.unit.deploy.exported import (
    AUDIT,
    COALITION,
    PINNED,
    directory_record,
    finish,
    signer_of,
)
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.consumers.audit.completeness import AlertEnds
from tocsin.consumers.audit.export_lines import encode_line
from tocsin.consumers.audit.facts import seal_of
from tocsin.consumers.audit.findings import State
from tocsin.consumers.audit.sealed_log import Folder, SealedLog
from tocsin.consumers.audit.verification import ALERTS_FILE, Verification, file_of
from tocsin.consumers.sight import Snapshot
from tocsin.consumers.snapshots import records
from tocsin.deploy.audit.export_command import copy_log
from tocsin.deploy.audit.export_files import TILES_FOLDER, ExportFolder, alerts_json
from tocsin.deploy.audit.verify_command import verify
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.names import ACL_AUDIT_TOPIC, CHECKPOINTS_TOPIC, DELIVERY_HOST, DIRECTORY_TOPIC, POLICY_AUDIT_TOPIC

DECISIONS: Final = 1_000_000
RECIPIENTS: Final = 10
MEMBERS: Final = 200
SEAL_EVERY: Final = 1_000
TOPICS: Final = tuple(f"alerts.de.site-taken-down.{tlp}" for tlp in ("clear", "green", "amber", "amber-strict"))
ACLS: Final = AclSet(
    AclRow("TOPIC", topic, "LITERAL", f"User:member-{n:04}", DELIVERY_HOST, "READ", "ALLOW")
    for topic in TOPICS
    for n in range(MEMBERS)
)


def decisions(count: int) -> Iterator[BusRecord]:
    """The decisions of a lane on the alerts of some topics in turn."""
    kind, digest = schema("decision"), ACLS.digest()
    rules = {row.name + row.principal: row.text() for row in ACLS.rows}
    for at in range(count):
        topic = TOPICS[at % len(TOPICS)]
        names = [f"member-{(at * 7 + n * 19) % MEMBERS:04}" for n in range(RECIPIENTS)]
        decision = {
            "seq": at + 1,
            "kind": "ALERT",
            "outcome": "ACCEPTED",
            "reason": None,
            "detail": None,
            "decided_at": NOW_MS + at,
            "topic": topic,
            "topic_id": "id",
            "partition": 0,
            "offset": at // len(TOPICS),
            "appended_at": NOW_MS + at,
            "sha256": at.to_bytes(32, "big"),
            "key_id": "hotline-de.0123456789abcdef",
            "publisher": "hotline-de",
            "lineage_id": f"01890a5d-ac96-774b-bcce-{at:012}",
            "alert_id": f"01890a5d-ac96-774b-bccf-{at:012}",
            "revision": 1,
            "status": "ACTIVE",
            "given": [{"member": name, "rule": rules[f"{topic}User:{name}"]} for name in names],
            "refused": [],
            "erased": [],
            "acl_digest": digest,
            "acl_read_at": NOW_MS + at,
            "directory_version": 1,
            "worker": "fanout-1",
            "salt": at.to_bytes(16, "big"),
        }
        # every hundred decisions, a transaction's marker
        yield BusRecord(AUDIT, at + at // 100, None, encode(kind, decision), (), NOW_MS + at)


def make(folder: Path, count: int) -> None:
    """The export of a sealed record."""
    export = folder / "export"
    export.mkdir()
    signer, heads = signer_of(AUDIT), list[BusRecord]()
    with Folder(folder / "state" / AUDIT) as files, (export / file_of(AUDIT)).open("wb") as out:
        log = SealedLog(files, signer.verifier)
        for number, record in enumerate(decisions(count), 1):
            out.write(encode_line(record))
            log.append([seal_of(record)])
            if number % SEAL_EVERY == 0 or number == count:
                key, signed = signer.name.encode(), log.seal(signer.sign)
                heads.append(BusRecord(CHECKPOINTS_TOPIC, len(heads), key, signed, (), NOW_MS + number))
    copy_log(folder / "state" / AUDIT, export / TILES_FOLDER / AUDIT, lambda _: None)
    acls = records(Snapshot(ACLS, ACLS.digest(), 0.0, NOW_MS), None, "w")
    others = {
        CHECKPOINTS_TOPIC: heads,
        ACL_AUDIT_TOPIC: [BusRecord(ACL_AUDIT_TOPIC, at, None, one, (), NOW_MS) for at, one in enumerate(acls)],
        DIRECTORY_TOPIC: [directory_record()],
        POLICY_AUDIT_TOPIC: [],
    }
    for topic, of in others.items():
        (export / file_of(topic)).write_bytes(b"".join(map(encode_line, of)))
    ends = {name: AlertEnds("id", 0, len(range(n, count, len(TOPICS)))) for n, name in enumerate(TOPICS)}
    (export / ALERTS_FILE).write_bytes(alerts_json(ends))
    finish(export)


def main() -> None:
    """Print the figures."""
    console, count = Console(), int(sys.argv[1]) if len(sys.argv) > 1 else DECISIONS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        make(folder, count)
        console.print(f"made in {time.monotonic() - began:.0f} s: {count:,} decisions of {COALITION}")
        export = ExportFolder(folder / "export")
        began, cpu = time.monotonic(), time.process_time()
        for finding in verify(export, Verification(PINNED)):
            console.print(f"{finding.state.value}: {finding.check} of {finding.of}: {finding.what}")
            assert finding.state is State.PASSED
        wall, cpu = time.monotonic() - began, time.process_time() - cpu
        size = (folder / "export" / file_of(AUDIT)).stat().st_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    console.print(
        f"verified in {wall:.1f} s, {cpu:.1f} s of one core: {cpu / count * 1e6:.0f} µs a decision of {RECIPIENTS}"
        f" recipients; {size / 1e9:.2f} GB of lines; {memory} MB of memory at most"
    )


if __name__ == "__main__":
    main()
