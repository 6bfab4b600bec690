"""A small exchange's record as an export in a folder, sealed as a sealer does, with what is needed to alter it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.unit.consumers.lane_world import AMBER, GREEN, LANE, MERCHANT, PUBLISHERS, READERS, LaneWorld, alert
from tests.unit.deploy.told import KEYS, TELLERS, outboxes, receipts_of
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.audit.completeness import AlertEnds
from tocsin.consumers.audit.export_lines import encode_line
from tocsin.consumers.audit.facts import seal_of
from tocsin.consumers.audit.findings import Finding
from tocsin.consumers.audit.logs import SEALER, origin_of
from tocsin.consumers.audit.note import Signer
from tocsin.consumers.audit.sealed_log import Folder, SealedLog
from tocsin.consumers.audit.verification import ALERTS_FILE, Kept, Verification, file_of
from tocsin.consumers.lane_transaction import Context, Transaction
from tocsin.consumers.receipts import Receipt
from tocsin.consumers.snapshots import Register
from tocsin.deploy.audit.export_command import copy_log
from tocsin.deploy.audit.export_files import TILES_FOLDER, ExportFolder, alerts_json, write_manifest
from tocsin.deploy.audit.verify_command import verify
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.directory import Directory, DirectoryKey, DirectoryMember, Roots, sign_directory
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import (
    ACL_AUDIT_TOPIC,
    CHECKPOINTS_TOPIC,
    DIRECTORY_TOPIC,
    POLICY_AUDIT_TOPIC,
    audit_topic,
    outbox_topic,
)
from tocsin.schemas.signing import SigningKey

COALITION: Final = "test"
AUDIT: Final = audit_topic(LANE)
ALERTS: Final = 560
SEAL_EVERY: Final = 90
UNSEALED: Final = 7
ROOTS: Final = (SigningKey.generate("root"), SigningKey.generate("root"))
PINNED: Final = Roots(tuple(root.public.hex() for root in ROOTS), 2)
SEALING: Final = SigningKey.generate(SEALER)
EXPORTED_AT: Final = datetime.fromtimestamp(NOW_MS / 1000 + 3600, UTC)


class RecordedWorld(LaneWorld):
    """Keeps what a lane writes to `audit.de` and `audit.acls`."""

    def __init__(self, grants: Iterable[tuple[str, str]]) -> None:
        super().__init__(grants)
        self.records: list[BusRecord] = []
        self.acls: list[bytes] = []
        self._register = Register()
        self._offset = 0

    def append(self, context: Context, tx: Transaction) -> None:
        """Commit, and keep what is put on record."""
        snapshot = context.sight.latest
        self.acls += self._register.missing(snapshot, "w")
        self._register.wrote(snapshot)
        super().append(context, tx)
        for value in tx.decisions:
            at_ms = NOW_MS + 10 * len(self.records)
            self.records.append(BusRecord(AUDIT, self._offset, None, value, (), at_ms))
            self._offset += 1
        self._offset += 1  # the marker of the transaction


def lived() -> RecordedWorld:
    """A lane with alerts of all kinds, among members of which some gain sight and some lose it."""
    world = RecordedWorld((member, topic) for member in READERS[:3] for topic in (GREEN, MERCHANT))
    for number in range(ALERTS):
        publisher = PUBLISHERS[number % 2]
        if number % 17 == 5:
            world.publish(GREEN, Rejection(Reason.BAD_SIGNATURE, "dsse-sig"))
        elif number % 13 == 7:
            world.publish(GREEN, alert(f"l{number - 2}", 2, publisher=publisher, status="RETRACTED"))
        else:
            topic = (GREEN, MERCHANT, AMBER)[number % 3]
            world.publish(topic, alert(f"l{number}", publisher=publisher))
        if number == ALERTS // 2:
            world.grants |= {("police-de", topic) for topic in (GREEN, AMBER)}
            world.grants -= {("bank-fr", GREEN)}
        if number % 5 == 0:
            world.look()
            world.read()
            world.step()
    world.rest()
    return world


def policy_changes() -> list[BusRecord]:
    """What became of the policy."""
    step = {"action": "CREATE", "what": "ACL", "name": "TOPIC ALLOW", "reasons": ["agreement"], "outcome": None}
    absent = dict.fromkeys(("why", "member", "topic", "until", "policy_sha256", "cluster_id", "acls_sha256"))
    return [
        BusRecord(
            POLICY_AUDIT_TOPIC,
            number,
            f"c{number}".encode(),
            encode(
                schema("policy-change"),
                {
                    **absent,
                    "change_id": f"c{number}",
                    "kind": "DONE",
                    "part": 0,
                    "parts": 1,
                    "at": NOW_MS,
                    "by": "admin",
                    "changes": [step],
                    "approvals": [],
                    "widening": 0,
                    "approvers": [],
                },
            ),
            (),
            NOW_MS + number,
        )
        for number in range(5)
    ]


@dataclass
class Record:
    """What an export is made of, all of which can be altered before it is written."""

    records: dict[str, list[BusRecord]]
    heads: list[BusRecord]
    alerts: dict[str, AlertEnds]
    others: dict[str, list[BusRecord]] = field(default_factory=dict[str, list[BusRecord]])
    receipts: dict[str, list[Receipt]] = field(default_factory=dict[str, list[Receipt]])
    once: frozenset[tuple[str, int]] = frozenset()
    """The places of alerts on whose lineages one decision was taken and no more."""

    def seal(self, state: Path, sizes: Sequence[int] | None = None) -> None:
        """Seal all topics anew, in a folder that is not there yet; heads are appended to those that there are."""
        for topic, records in self.records.items():
            with Folder(state / topic) as files:
                signer = signer_of(topic)
                log = SealedLog(files, signer.verifier)
                last = len(records) - UNSEALED if topic == AUDIT else len(records)
                for size in sizes or (*range(SEAL_EVERY, last, SEAL_EVERY), last):
                    entries = [seal_of(record) for record in records[log.size : min(size, len(records))]]
                    log.append(entries)
                    self.add_head(signer.name, log.seal(signer.sign))

    def add_head(self, origin: str, signed: bytes) -> None:
        """Append a signed head to `audit.checkpoints`."""
        offset = len(self.heads)
        self.heads.append(BusRecord(CHECKPOINTS_TOPIC, offset, origin.encode(), signed, (), NOW_MS + 10_000 + offset))

    def write(self, folder: Path, state: Path) -> None:
        """The export, whole."""
        folder.mkdir()
        for topic in self.records:
            copy_log(state / topic, folder / TILES_FOLDER / topic, lambda _: None)
        for topic, records in {**self.records, CHECKPOINTS_TOPIC: self.heads, **self.others}.items():
            (folder / file_of(topic)).write_bytes(b"".join(map(encode_line, records)))
        (folder / ALERTS_FILE).write_bytes(alerts_json(self.alerts))
        finish(folder)


def signer_of(topic: str) -> Signer:
    """The sealer's key for a topic's log."""
    return Signer(origin_of(COALITION, topic), SEALING)


def finish(folder: Path) -> None:
    """Write the manifest, or write it anew after a change: whoever alters an export can do that too."""
    write_manifest(folder, COALITION, PINNED, EXPORTED_AT)


def record_of(world: RecordedWorld) -> Record:
    """What there is to export of a world, not sealed yet."""
    alerts = {topic: AlertEnds(f"id-of-{topic}", 0, len(written)) for topic, written in world.topics.items()}
    acls = [BusRecord(ACL_AUDIT_TOPIC, at, None, value, (), NOW_MS + at) for at, value in enumerate(world.acls)]
    receipts = {member: receipts_of(member, world.inboxes[member]) for member in TELLERS}
    told = outboxes(receipt for of_member in receipts.values() for receipt in of_member)
    others = {ACL_AUDIT_TOPIC: acls, DIRECTORY_TOPIC: [directory_record()], **told}
    records = {AUDIT: [*world.records], POLICY_AUDIT_TOPIC: policy_changes()}
    return Record(records, [], alerts, others, receipts, _once(world.audit))


def _once(decisions: Sequence[Mapping[str, Any]]) -> frozenset[tuple[str, int]]:
    times = Counter((one["publisher"], one["lineage_id"]) for one in decisions)
    return frozenset(
        (one["topic"], one["offset"]) for one in decisions if times[one["publisher"], one["lineage_id"]] == 1
    )


def directory_record(
    version: int = 1,
    *,
    revoked: bool = False,
    trusted: int = -1,
    untrusted: Mapping[str, int] = {},
    keys: Mapping[str, SigningKey] = KEYS,
) -> BusRecord:
    """A directory with the sealer's key and those of who tells, signed by both roots.

    The keys of members in `untrusted` are revoked, and trusted up to that offset of their outboxes.
    """
    key = DirectoryKey(
        SEALING.key_id, SEALER, SEALING.public, 0, NOW_MS + 10**12, revoked, {CHECKPOINTS_TOPIC: trusted}
    )
    members = {member: DirectoryMember(member, "bank", LANE, "ACTIVE") for member in keys}
    found = {
        own.key_id: DirectoryKey(
            own.key_id,
            member,
            own.public,
            0,
            NOW_MS + 10**12,
            member in untrusted,
            {outbox_topic(member): untrusted.get(member, -1)},
        )
        for member, own in keys.items()
    }
    document = Directory(COALITION, version, NOW_MS, NOW_MS + 10**12, members, {key.key_id: key, **found})
    value, headers = sign_directory(document, ROOTS)
    return BusRecord(DIRECTORY_TOPIC, version, DIRECTORY_TOPIC.encode(), value, tuple(headers), NOW_MS)


def found(folder: Path, *, kept: Sequence[Kept] = (), from_later: bool = False, roots: Roots = PINNED) -> list[Finding]:
    """What verification finds in an export."""
    return [*verify(ExportFolder(folder), Verification(roots, kept, from_later))]


def altered(records: Sequence[BusRecord], at: int, value: bytes) -> list[BusRecord]:
    """The records, of which one has another value."""
    return [*records[:at], replace(records[at], value=value), *records[at + 1 :]]
