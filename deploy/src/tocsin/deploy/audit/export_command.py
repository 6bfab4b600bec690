"""`tocsin audit export`: the record of the exchange in a folder, for somebody who checks it elsewhere."""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tocsin.consumers.audit.completeness import AlertEnds
from tocsin.consumers.audit.export_lines import encode_line
from tocsin.consumers.audit.logs import is_sealed
from tocsin.consumers.audit.merkle import HASH_BYTES
from tocsin.consumers.audit.note import Checkpoint, Note
from tocsin.consumers.audit.sealed_log import CHECKPOINT
from tocsin.consumers.audit.seals import names_at
from tocsin.consumers.audit.verification import ALERTS_FILE, file_of
from tocsin.consumers.errors import NoteInvalid, TopicsUnreadable
from tocsin.consumers.topics_reader import TopicsReader, topic_ids, topic_names
from tocsin.deploy.audit.export_files import TILES_FOLDER, alerts_json, write_manifest
from tocsin.deploy.errors import ExportRefused
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, busy, log_beside_output, show
from tocsin.deploy.policy.rows import AUDITOR
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import ACL_AUDIT_TOPIC, CHECKPOINTS_TOPIC, DIRECTORY_TOPIC, outbox_topic

SEALER_STATE: Final = "sealer"
SETTLE_S: Final = 5.0
OUTBOXES_MAX: Final = 100
"""How many are read at a time, each into an open file."""
_ASK_S: Final = 10.0
_ALERTS: Final = "alerts."

Tell = Callable[[str], None]
SettleOption = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0, help="How long alerts that are there are given to be decided before it is read."
    ),
]


def export_record(
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet, or empty.", file_okay=False)],
    tiles: Annotated[
        Path | None,
        typer.Option(help="The sealer's folder with the files of its logs; HOME/sealer if not given.", file_okay=False),
    ] = None,
    settle: SettleOption = SETTLE_S,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write the record of the exchange into FOLDER: decisions, ACLs, seals, directory, outboxes; no alerts.

    With the login `auditor`. The manifest is written last: without it, it is not whole. `tocsin audit verify` checks
    it, on any machine. Exit codes: 0 written, 1 failed, 2 usage.
    """
    log_beside_output()
    if tiles is not None and not tiles.is_dir():
        raise typer.BadParameter(f"{tiles} is no folder", param_hint="--tiles")
    if folder.exists() and next(folder.iterdir(), None) is not None:
        raise ExportRefused(f"{folder}: not empty; name a new folder, or delete an export that was stopped in it")
    bundle = Bundle.load(home / "services" / AUDITOR)
    folder.mkdir(parents=True, exist_ok=True)
    with busy("exporting") as status:
        made = Exporting(bundle, folder, lambda text: status.update(f"{text} ...")).write(
            tiles or home / SEALER_STATE, settle
        )
    show([{"file": name, "records": count} for name, count in made.items()], output, title=f"export in {folder}")


class Exporting:
    """Writes one export."""

    def __init__(self, bundle: Bundle, folder: Path, tell: Tell) -> None:
        self._bundle = bundle
        self._folder = folder
        self._tell = tell
        self._admin = AdminClient(dict(bundle.kafka_config()))

    def write(self, tiles: Path, settle_s: float) -> dict[str, int]:
        """All of it; how many records each file has.

        The order is what makes an export of an exchange that works on whole: alerts and receipts before decisions,
        heads before what they seal, ACLs after the decisions that name them, keys after what they signed.

        Raises:
            TopicsUnreadable: it cannot be read now.
        """
        exported_at = datetime.now(UTC)
        topics = topic_names(self._admin)
        alerts = alert_ends(self._admin, [topic for topic in topics if topic.startswith(_ALERTS)])
        (self._folder / ALERTS_FILE).write_bytes(alerts_json(alerts))
        sealed = [topic for topic in topics if is_sealed(topic)]
        for topic in sealed:
            copy_log(tiles / topic, self._folder / TILES_FOLDER / topic, self._tell)
        self._tell("waiting until what is there is decided")
        time.sleep(settle_s)
        outboxes = [topic for topic in topics if topic.startswith(outbox_topic(""))]
        others = [topic for topic in (ACL_AUDIT_TOPIC, DIRECTORY_TOPIC) if topic in topics]
        first = [CHECKPOINTS_TOPIC] if CHECKPOINTS_TOPIC in topics else []
        made: dict[str, int] = {}
        with closing(TopicsReader(self._bundle.kafka_config(), group=f"{AUDITOR}.export")) as reader:
            for start in range(0, len(outboxes), OUTBOXES_MAX):
                made |= self._copy(reader, outboxes[start : start + OUTBOXES_MAX])
            for topic in (*first, *sealed, *others):
                made |= self._copy(reader, [topic])
        os.sync()
        write_manifest(self._folder, self._bundle.coalition, self._bundle.roots, exported_at)
        return made

    def _copy(self, reader: TopicsReader, topics: Sequence[str]) -> dict[str, int]:
        count = dict.fromkeys(topics, 0)
        with ExitStack() as stack:
            files = {
                topic: stack.enter_context((self._folder / file_of(topic)).open("xb", buffering=1 << 16))
                for topic in topics
            }

            def take(record: BusRecord) -> None:
                files[record.topic].write(encode_line(record))
                count[record.topic] += 1
                if count[record.topic] % 1_000 == 0:
                    self._tell(f"{record.topic}: {count[record.topic]} records")

            reader.follow(topics)
            reader.read_to_end(take)
        return {file_of(topic): number for topic, number in count.items()}


def copy_log(log: Path, to: Path, tell: Tell) -> None:
    """Copy the files of a log as of its newest head, whatever its sealer does meanwhile. Nothing if there is none.

    Raises:
        ExportRefused: its head is none.
    """
    try:
        signed = (log / CHECKPOINT).read_bytes()
        size = Checkpoint.parse(Note.parse(signed).text).size
    except FileNotFoundError:
        return
    except NoteInvalid as error:
        raise ExportRefused(f"{log / CHECKPOINT}: {error}; restore the log, or name another with --tiles") from error
    to.mkdir(parents=True)
    for name in names_at(size):
        tell(f"{log.name}: {name}")
        content = log_file(log, name)
        if content is None:
            print(f"tocsin: {log / name}: missing; left out", file=sys.stderr)  # noqa: T201  # beside the output
            continue
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(content)
    (to / CHECKPOINT).write_bytes(signed)


def log_file(log: Path, name: str) -> bytes | None:
    """A file of a log; a partial one that was replaced by the full one meanwhile is the beginning of that."""
    for _ in range(2):
        try:
            return (log / name).read_bytes()
        except FileNotFoundError:
            whole, _, width = name.partition(".p/")
        if width and (log / whole).exists():
            content = (log / whole).read_bytes()
            return _first_entries(content, int(width)) if "/entries/" in name else content[: int(width) * HASH_BYTES]
    return None


def _first_entries(bundle: bytes, count: int) -> bytes:
    at = 0
    for _ in range(count):
        at += 2 + struct.unpack_from(">H", bundle, at)[0]
    return bundle[:at]


def alert_ends(admin: AdminClient, topics: list[str]) -> dict[str, AlertEnds]:
    """Of each alert topic its id, its first offset and the one after its last.

    Raises:
        TopicsUnreadable: the broker does not say so now.
    """
    if not topics:
        return {}
    ids = topic_ids(admin, topics)
    try:
        first, end = (dict(_offsets(admin, topics, spec)) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
    except KafkaException as failure:
        raise TopicsUnreadable(f"the alert topics cannot be described: {failure.args[0]}") from failure
    return {topic: AlertEnds(ids[topic], first[topic], end[topic]) for topic in topics}


def _offsets(admin: AdminClient, topics: list[str], spec: Any) -> Iterator[tuple[str, int]]:
    asked = {TopicPartition(topic, 0): spec for topic in topics}
    answers: dict[Any, Any] = admin.list_offsets(
        asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_ASK_S
    )
    for place, future in answers.items():
        yield place.topic, int(future.result().offset)
