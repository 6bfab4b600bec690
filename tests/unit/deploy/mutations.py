"""Ways in which an export can be altered by who can also write its manifest anew, some even with the sealer's key.

Not among them is what nothing in an export can show (docs/verify.md): changes of what is not sealed yet, of outboxes
but for receipts, and of `audit.acls` where no decision needs it; and a record cut off together with all heads that
reach beyond, unless somebody kept one.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.unit.deploy.bed import Bed, Expected, Mutation, flipped
from tests.unit.deploy.exported import AUDIT, SEAL_EVERY, UNSEALED, Record, finish, signer_of
from tests.unit.deploy.receipt_mutations import RECEIPT_MUTATIONS
from tocsin.consumers.audit.completeness import ALERTS, NUMBERS, RULES
from tocsin.consumers.audit.heads import HEADS
from tocsin.consumers.audit.merkle import EMPTY_ROOT, leaf_hash
from tocsin.consumers.audit.note import Checkpoint, Note, Signer
from tocsin.consumers.audit.sealed_log import CHECKPOINT
from tocsin.consumers.audit.seals import SEALS, TILES
from tocsin.consumers.audit.verification import ALERTS_FILE, DIRECTORY, KEPT, RECORDS, Kept, file_of
from tocsin.deploy.audit.export_files import TILES_FOLDER, alerts_json
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode, encode
from tocsin.schemas.names import ACL_AUDIT_TOPIC, CHECKPOINTS_TOPIC, DIRECTORY_TOPIC
from tocsin.schemas.signing import SigningKey


def _decision(record: BusRecord) -> dict[str, Any]:
    return decode(record.value or b"")[1]


def _with(record: BusRecord, decision: dict[str, Any]) -> BusRecord:
    return replace(record, value=encode(schema("decision"), decision))


# -- records that are sealed -----------------------------------------------------------------------------------------


def flip_record(bed: Bed) -> Expected:
    """A bit of a line."""
    topic, at = bed.sealed_at()
    lines = bed.lines(topic)
    lines[at] = flipped(bed.rng, lines[at], bed.rng.randrange(len(lines[at])))
    bed.put(topic, lines)
    # the key of a record is in its value, too
    return Expected("", file_of(topic), at + 1, exactly=bed.with_tiles)


def drop_record(bed: Bed) -> Expected:
    """A record is taken out."""
    topic, at = bed.sealed_at()
    lines = bed.lines(topic)
    del lines[at]
    bed.put(topic, lines)
    return bed.sealing(topic, at)


def insert_record(bed: Bed) -> Expected:
    """A record is put in between, with the offset of one before."""
    topic, at = bed.sealed_at()
    lines = bed.lines(topic)
    lines.insert(at, bed.rng.choice([line for n, line in enumerate(lines) if n != at]))
    bed.put(topic, lines)
    return bed.sealing(topic, at)


def swap_records(bed: Bed) -> Expected:
    """Two records change places."""
    topic, at = bed.sealed_at()
    lines = bed.lines(topic)
    other = bed.rng.choice([n for n in range(bed.sealed if topic == AUDIT else len(lines)) if n != at])
    lines[at], lines[other] = lines[other], lines[at]
    bed.put(topic, lines)
    return bed.sealing(topic, min(at, other))


def truncate_records(bed: Bed) -> Expected:
    """The end is cut off, in a sealed record or before it."""
    topic, at = bed.sealed_at()
    lines = bed.lines(topic)
    bed.put(topic, [*lines[:at], lines[at][: bed.rng.choice((0, bed.rng.randrange(len(lines[at]))))]])
    return bed.sealing(topic, at)


def back_date(bed: Bed) -> Expected:
    """A record is stamped earlier, by less than clocks may differ."""
    topic, at = bed.sealed_at()
    records = [*bed.record.records[topic]]
    records[at] = replace(records[at], appended_ms=records[at].appended_ms - bed.rng.randrange(1, 9_000))
    bed.put_records(topic, records)
    return bed.sealing(topic, at)


def back_date_far(bed: Bed) -> Expected:
    """A record is stamped much earlier than the one before it."""
    records = [*bed.record.records[AUDIT]]
    at = bed.rng.randrange(1, len(records))
    records[at] = replace(records[at], appended_ms=records[at].appended_ms - bed.rng.randrange(20_000, 10**9))
    bed.put_records(AUDIT, records)
    return Expected(RECORDS, file_of(AUDIT), at + 1)


def add_header(bed: Bed) -> Expected:
    """A record gets a header or a key, of which nothing is sealed."""
    topic, at = bed.sealed_at()
    records = [*bed.record.records[topic]]
    how = bed.rng.choice(({"headers": (("x", b"y"),)}, {"key": b"other"}))
    records[at] = replace(records[at], **how)
    bed.put_records(topic, records)
    return Expected(RECORDS, file_of(topic), at + 1)


def change_decision(bed: Bed) -> Expected:
    """A recipient is taken out of a decision, or its number of directory changed."""
    records = [*bed.record.records[AUDIT]]
    at = bed.rng.randrange(bed.sealed)
    decision = _decision(records[at])
    decision = {**decision, "given": decision["given"][1:], "directory_version": decision["directory_version"] + 1}
    records[at] = _with(records[at], decision)
    bed.put_records(AUDIT, records)
    return bed.sealing(AUDIT, at)


# -- forks -----------------------------------------------------------------------------------------------------------


def _forked(bed: Bed) -> tuple[Record, int]:
    """Another history from one record on."""
    records = [*bed.record.records[AUDIT]]
    at = bed.rng.randrange(bed.sealed - SEAL_EVERY)
    decision = _decision(records[at])
    records[at] = _with(records[at], {**decision, "worker": "another"})
    return replace(bed.record, records={**bed.record.records, AUDIT: records}, heads=[]), at


def fork(bed: Bed) -> Expected:
    """Another history is sealed with the same key; heads of the old one stay in front."""
    forked, at = _forked(bed)
    old = [head for head in bed.record.heads if head.key == signer_of(AUDIT).name.encode()]
    sizes = [_checkpoint(head).size for head in old]
    stays = bed.rng.randrange(next(n for n, size in enumerate(sizes) if size > at), len(old) - 1)
    for head in old[: stays + 1]:
        forked.add_head((head.key or b"").decode(), head.value or b"")
    bed.again(forked, sizes[stays + 1 :])
    return Expected(SEALS, file_of(AUDIT), at + 1, exactly=False)


def fork_whole(bed: Bed) -> Expected:
    """Another history is sealed with the same key, and all heads are of it; but somebody kept one."""
    forked, at = _forked(bed)
    kept = bed.rng.choice([head for head in bed.record.heads if _is_after(head, at)])
    bed.again(forked)
    name = "kept-by-a-member"
    return Expected(KEPT, name, kept=(Kept(name, kept.value or b""),))


def cut_whole(bed: Bed) -> Expected:
    """Records are cut off with all heads and files that reach beyond; but somebody kept one."""
    left = bed.rng.randrange(SEAL_EVERY, bed.sealed - 1)
    kept = bed.rng.choice([head for head in bed.record.heads if _is_after(head, left)])
    records = {**bed.record.records, AUDIT: bed.record.records[AUDIT][: left + UNSEALED]}
    bed.again(replace(bed.record, records=records, heads=[]))
    name = "kept-by-a-member"
    if _checkpoint(kept).size <= left + UNSEALED:
        # a head of what is here, though nobody sealed it here: cut further
        return cut_whole(bed)
    return Expected(KEPT, name, kept=(Kept(name, kept.value or b""),))


def equivocate(bed: Bed) -> Expected:
    """The sealer signs one head of a tree that is none of these records."""
    signer, heads = signer_of(AUDIT), [*bed.record.heads]
    last = max(n for n, head in enumerate(heads) if head.key == signer.name.encode())
    text = Checkpoint(signer.name, _checkpoint(heads[last]).size, leaf_hash(b"other")).text()
    signed = Note(text, (signer.sign(text),)).encode()
    heads.insert(last + 1, replace(heads[last], value=signed))
    bed.put_records(CHECKPOINTS_TOPIC, _numbered(heads))
    return Expected(SEALS, file_of(CHECKPOINTS_TOPIC), last + 2)


# -- heads -----------------------------------------------------------------------------------------------------------


def flip_head(bed: Bed) -> Expected:
    """A bit of the key or the value of a head, or of its offset."""
    lines = bed.lines(CHECKPOINTS_TOPIC)
    at = bed.rng.randrange(len(lines))
    begins = lines[at].index(b'"key"')
    lines[at] = flipped(bed.rng, lines[at], bed.rng.randrange(begins, len(lines[at])))
    bed.put(CHECKPOINTS_TOPIC, lines)
    return Expected(HEADS, file_of(CHECKPOINTS_TOPIC), at + 1)


def drop_head(bed: Bed) -> Expected:
    """A head between others is taken out."""
    lines = bed.lines(CHECKPOINTS_TOPIC)
    at = bed.rng.randrange(1, len(lines) - 1)
    del lines[at]
    bed.put(CHECKPOINTS_TOPIC, lines)
    return Expected(HEADS, file_of(CHECKPOINTS_TOPIC), at + 1)


def replay_head(bed: Bed) -> Expected:
    """An old head is told again as if it were new."""
    heads, origin = [*bed.record.heads], signer_of(AUDIT).name.encode()
    own = [n for n, head in enumerate(heads) if head.key == origin]
    old = bed.rng.choice(own[:-1])
    at = bed.rng.randrange(old + 2, len(heads) + 1)
    heads.insert(at, heads[old])
    bed.put_records(CHECKPOINTS_TOPIC, _numbered(heads))
    return Expected(HEADS, file_of(CHECKPOINTS_TOPIC), at + 1)


def forge_head(bed: Bed) -> Expected:
    """A head is signed by another key, or is of another coalition's log."""
    heads = [*bed.record.heads]
    at = bed.rng.randrange(len(heads))
    found = _checkpoint(heads[at])
    signer = Signer(bed.rng.choice((found.origin, f"x{found.origin}")), SigningKey.generate("sealer"))
    text = Checkpoint(signer.name, found.size, found.root).text()
    heads[at] = replace(heads[at], value=Note(text, (signer.sign(text),)).encode())
    bed.put_records(CHECKPOINTS_TOPIC, heads)
    return Expected(HEADS, file_of(CHECKPOINTS_TOPIC), at + 1)


def _numbered(records: Sequence[BusRecord]) -> list[BusRecord]:
    first = records[0].appended_ms
    return [replace(record, offset=number, appended_ms=first + number) for number, record in enumerate(records)]


def _checkpoint(head: BusRecord) -> Checkpoint:
    return Checkpoint.parse(Note.parse(head.value or b"").text)


def _is_after(head: BusRecord, at: int) -> bool:
    return head.key == signer_of(AUDIT).name.encode() and _checkpoint(head).size > at


# -- the logs' files -------------------------------------------------------------------------------------------------


def _tile(bed: Bed) -> tuple[Path, str]:
    files = [path for path in sorted((bed.folder / TILES_FOLDER).rglob("*")) if path.is_file()]
    path = bed.rng.choice(files)
    return path, path.relative_to(bed.folder).as_posix()


def flip_tile(bed: Bed) -> Expected:
    """A bit of a file of hashes, of entries, or of the head that is with them."""
    path, name = _tile(bed)
    content = path.read_bytes()
    path.write_bytes(flipped(bed.rng, content, bed.rng.randrange(len(content))))
    return Expected(TILES, name)


def cut_tile(bed: Bed) -> Expected:
    """A file loses its end, or is gone."""
    path, name = _tile(bed)
    if path.name != CHECKPOINT and bed.rng.random() < 0.5:
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[: bed.rng.randrange(len(content))])
    return Expected(TILES, name)


def add_tile(bed: Bed) -> Expected:
    """A file that the log does not have."""
    name = f"{TILES_FOLDER}/{AUDIT}/tile/0/{bed.rng.randrange(100, 999)}"
    (bed.folder / name).write_bytes(EMPTY_ROOT)
    return Expected(TILES, name)


def swap_tiles(bed: Bed) -> Expected:
    """Two full files change places."""
    kind = bed.rng.choice(("0", "entries"))
    one, two = (bed.folder / TILES_FOLDER / AUDIT / "tile" / kind / name for name in ("000", "001"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    return Expected(TILES, one.relative_to(bed.folder).as_posix())


# -- what was wrong before it was sealed -----------------------------------------------------------------------------


def _sealed_anew(bed: Bed, records: Sequence[BusRecord]) -> None:
    bed.again(replace(bed.record, records={**bed.record.records, AUDIT: [*records]}, heads=[]))


def _renumbered(records: Sequence[BusRecord]) -> list[BusRecord]:
    return [_with(record, {**_decision(record), "seq": number}) for number, record in enumerate(records, 1)]


def _one_of(bed: Bed, kind: str, most: int | None = None) -> int:
    records = bed.record.records[AUDIT][:most]
    return bed.rng.choice([at for at, record in enumerate(records) if _decision(record)["kind"] == kind])


def never_decided(bed: Bed) -> Expected:
    """A lane passed an alert over."""
    records = [*bed.record.records[AUDIT]]
    at = _one_of(bed, "ALERT")
    topic = _decision(records.pop(at))["topic"]
    _sealed_anew(bed, _renumbered(records))
    after = (n for n, one in enumerate(map(_decision, records)) if n >= at and one["kind"] == "ALERT")
    line = next((n + 1 for n in after if _decision(records[n])["topic"] == topic), None)
    return Expected(ALERTS, file_of(AUDIT) if line else ALERTS_FILE, line)


def decided_twice(bed: Bed) -> Expected:
    """A lane decided an alert again."""
    records = [*bed.record.records[AUDIT]]
    at = _one_of(bed, "ALERT")
    later = replace(records[-1], value=records[at].value, offset=records[-1].offset + 1)
    _sealed_anew(bed, _renumbered([*records, later]))
    return Expected(ALERTS, file_of(AUDIT), len(records) + 1)


def number_left_out(bed: Bed) -> Expected:
    """A decision of another kind than on an alert was lost before it was sealed."""
    records = [*bed.record.records[AUDIT]]
    at = _one_of(bed, "GAINED", len(records) - 1)
    del records[at]
    _sealed_anew(bed, records)
    return Expected(NUMBERS, file_of(AUDIT), at + 1)


def other_topic(bed: Bed) -> Expected:
    """An alert topic was deleted and made again."""
    records = [*bed.record.records[AUDIT]]
    at = _one_of(bed, "ALERT")
    records[at] = _with(records[at], {**_decision(records[at]), "topic_id": "other"})
    _sealed_anew(bed, records)
    return Expected(ALERTS, file_of(AUDIT), at + 1)


def given_without_right(bed: Bed) -> Expected:
    """An alert was given to somebody under a rule that is not on record, or none is named."""
    records = [*bed.record.records[AUDIT]]
    at = _one_of(bed, "ALERT")
    decision = _decision(records[at])
    given = [*decision["given"], {"member": "stranger", "rule": bed.rng.choice(("", "ALLOW READ User:stranger"))}]
    records[at] = _with(records[at], {**decision, "given": given})
    _sealed_anew(bed, records)
    return Expected(RULES, file_of(AUDIT), at + 1)


def acls_not_on_record(bed: Bed) -> Expected:
    """What the ACLs were is taken out, or is altered."""
    records = [*bed.record.others[ACL_AUDIT_TOPIC]]
    at = bed.rng.randrange(len(records))
    snapshot = decode(records[at].value or b"")[1]
    if bed.rng.random() < 0.5:
        del records[at]
    else:
        row = {**snapshot["added"][0], "principal": "User:stranger"}
        value = encode(schema("acl-snapshot"), {**snapshot, "added": [row, *snapshot["added"][1:]]})
        records[at] = replace(records[at], value=value)
    bed.put_records(ACL_AUDIT_TOPIC, records)
    lacking = {decode(one.value or b"")[1]["digest"] for one in bed.record.others[ACL_AUDIT_TOPIC][at:]}
    decisions = map(_decision, bed.record.records[AUDIT])
    return Expected(
        RULES, file_of(AUDIT), next(n for n, one in enumerate(decisions, 1) if one["acl_digest"] in lacking)
    )


def more_alerts(bed: Bed) -> Expected:
    """There were more alerts than were decided."""
    topic = bed.rng.choice(sorted(bed.record.alerts))
    ends = bed.record.alerts[topic]
    more = {**bed.record.alerts, topic: ends._replace(end=ends.end + bed.rng.randrange(1, 9))}
    (bed.folder / ALERTS_FILE).write_bytes(alerts_json(more))
    return Expected(ALERTS, ALERTS_FILE)


def flip_directory(bed: Bed) -> Expected:
    """A bit of what the directory says."""
    (record,) = bed.record.others[DIRECTORY_TOPIC]
    value = record.value or b""
    value = flipped(bed.rng, value, bed.rng.randrange(len(value)))
    bed.put_records(DIRECTORY_TOPIC, [replace(record, value=value)])
    return Expected(DIRECTORY, file_of(DIRECTORY_TOPIC))


MUTATIONS: Final[Sequence[Mutation]] = (
    flip_record,
    drop_record,
    insert_record,
    swap_records,
    truncate_records,
    back_date,
    back_date_far,
    add_header,
    change_decision,
    fork,
    fork_whole,
    cut_whole,
    equivocate,
    flip_head,
    drop_head,
    replay_head,
    forge_head,
    flip_tile,
    cut_tile,
    add_tile,
    swap_tiles,
    never_decided,
    decided_twice,
    number_left_out,
    other_topic,
    given_without_right,
    acls_not_on_record,
    more_alerts,
    flip_directory,
    *RECEIPT_MUTATIONS,
)
NEEDING_TILES: Final = frozenset({flip_tile, cut_tile, add_tile, swap_tiles})


def mutated(bed: Bed, mutation: Mutation) -> Expected:
    """Alter the export, and its manifest with it."""
    if mutation not in NEEDING_TILES and bed.rng.random() < 0.3:
        shutil.rmtree(bed.folder / TILES_FOLDER)
    expected = mutation(bed)
    finish(bed.folder)
    return expected
