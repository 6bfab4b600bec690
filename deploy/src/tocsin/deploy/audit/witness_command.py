"""`tocsin audit witness`: a member compares the heads of the sealed logs that it is shown, and cosigns them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer

from tocsin.consumers.audit.heads_reader import HeadsReader
from tocsin.consumers.audit.logs import log_keys
from tocsin.consumers.audit.note import Verifier
from tocsin.consumers.audit.tile_source import source_of
from tocsin.consumers.audit.witnessing import Looked, Witnessing
from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.errors import NoteInvalid
from tocsin.consumers.metrics import WitnessMetrics
from tocsin.consumers.outbox import Outbox
from tocsin.deploy.commands.publish import AsOption
from tocsin.deploy.observing.options import AddressOption, CertificateOption, KeyOption, PortOption
from tocsin.deploy.observing.port import LOCAL, PortOptions
from tocsin.deploy.output import Output, OutputOption, console, log_beside_output, show
from tocsin.deploy.serving import serve
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.directory import VersionFloor
from tocsin.schemas.files import write_file
from tocsin.schemas.names import CHECKPOINTS_TOPIC
from tocsin.schemas.signing import SigningKey

STATE: Final = "witness.json"
KEY: Final = "witness-key.pem"
PUBLIC_KEY: Final = "witness-key.txt"
FORKED: Final = 3

Row = Mapping[str, object]


def witness(
    bundle: AsOption,
    tiles: Annotated[
        str, typer.Option(metavar="PLACE", help="The sealer's logs, or a copy: a folder, or an http(s) address of one.")
    ],
    *,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            help="A head that somebody else was shown, to compare, too; implies --once.", exists=True, dir_okay=False
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"What was seen; by default {STATE} in the bundle.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Compare what there is now, say what came of it, end.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Look so often.")] = 10.0,
    metrics_port: PortOption = None,
    metrics_address: AddressOption = LOCAL,
    metrics_cert: CertificateOption = None,
    metrics_key: KeyOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare the heads of the sealed logs with all that you were shown before, and cosign those that continue it.

    Your cosigned heads are in `cosigned` beside the state, and in your outbox. Exit codes of --once: 0 all continues,
    3 a log has contradicted itself (the evidence is in `forks` beside the state), 1 something cannot be compared yet.
    """
    log_beside_output()
    opened = Bundle.load(bundle)
    with ExitStack() as stack:
        service = _Service(opened, state or opened.path / STATE, tiles, stack)
        if not once and not checkpoint:
            service.serve(PortOptions(metrics_port, metrics_address, metrics_cert, metrics_key), every)
            return
        kept = {str(path): path.read_bytes() for path in checkpoint or ()}
        rows = [*service.look(), *(row for name, note in kept.items() for row in service.compare(name, note))]
        rows += service.found_before(rows)
        show(rows, output, title="heads")
        if output is Output.TABLE:
            console.print(f"this witness's key: {service.witnessing.key.text()}", soft_wrap=True)
        if service.witnessing.forks:
            raise typer.Exit(FORKED)
        if any(row["outcome"] == "waiting" for row in rows):
            raise typer.Exit(1)


class _Service:
    """All that a witness needs, closed with `stack`."""

    def __init__(self, bundle: Bundle, state: Path, tiles: str, stack: ExitStack) -> None:
        outbox = stack.enter_context(Outbox(bundle))
        key = _key_of(bundle)
        self.witnessing = Witnessing(state, bundle.coalition, bundle.member, key, source_of(tiles), outbox.cosign)
        stack.callback(self.witnessing.close)
        write_file(bundle.path / PUBLIC_KEY, f"{self.witnessing.key.text()}\n".encode())
        place = state.with_name(f"{state.stem}-place.json")
        if not self.witnessing.began:
            # who has seen nothing yet must see all
            place.unlink(missing_ok=True)
        self._heads = HeadsReader(bundle, place)
        stack.callback(self._heads.close)
        floor = VersionFloor(bundle.path / "directory-version")
        self._directory = DirectoryWatcher(bundle.kafka_config(), bundle.coalition, bundle.roots, floor)
        stack.callback(self._directory.close)
        self._looked: dict[str, Looked] = {}

    def serve(self, port: PortOptions, every_s: float) -> None:
        """Look until told to stop."""
        metrics = WitnessMetrics()

        def look() -> None:
            now_s = time.time()
            self.look()
            entries = {topic: one.entries for topic, one in self._looked.items()}
            metrics.looked(entries, len(self.witnessing.forks), self.witnessing.waiting, now_s)

        serve(metrics, look, port=port, every_s=every_s, what="witness", failed="not_witnessed")

    def look(self) -> list[Row]:
        """Compare and cosign what has come since."""
        self.witnessing.take(self._heads.read())
        self._directory.read_to_end()
        self._looked = self.witnessing.look(self._keys_of, int(time.time()))
        if not self.witnessing.waiting:
            self._heads.keep()
        return [row for topic, one in self._looked.items() for row in _rows(topic, CHECKPOINTS_TOPIC, one, "cosigned")]

    def found_before(self, rows: Sequence[Row]) -> list[Row]:
        """What was found to contradict itself by an earlier look, by its evidence: the head itself is dealt with."""
        told = {row["detail"] for row in rows}
        return [
            {"log": folder.name, "from": "forks", "entries": None, "outcome": "forked", "detail": str(folder)}
            for folder in self.witnessing.forks
            if str(folder) not in told
        ]

    def compare(self, name: str, note: bytes) -> list[Row]:
        """Compare a head that somebody kept."""
        try:
            topic, found = self.witnessing.compare(note, self._keys_of)
        except NoteInvalid as refusal:
            raise NoteInvalid(f"{name}: {refusal}") from refusal
        return _rows(topic, name, found, "continues")

    def _keys_of(self, topic: str) -> Sequence[Verifier]:
        return log_keys(self._directory.in_force(), topic)


def _key_of(bundle: Bundle) -> SigningKey:
    """The witness's own key, made at first use."""
    path = bundle.path / KEY
    if not path.exists():
        SigningKey.generate(bundle.member).save(path)
    return SigningKey.load(path, bundle.member)


def _rows(topic: str, shown_by: str, found: Looked, fine: str) -> list[Row]:
    def row(entries: int | None, outcome: str, detail: object = None) -> Row:
        return {"log": topic, "from": shown_by, "entries": entries, "outcome": outcome, "detail": detail}

    forks = [row(one.head.size, "forked", str(folder)) for one, folder in found.forks]
    # thousands may wait for one reason: that nobody hands out the tiles
    waiting = [
        row(one.offered.head.size, "waiting", f"{len(found.unproved)} heads; {one.why}") for one in found.unproved[-1:]
    ]
    good = [row(found.entries, fine)] if found.entries is not None else []
    return [*good, *forks, *waiting]
