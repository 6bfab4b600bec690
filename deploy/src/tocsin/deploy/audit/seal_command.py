"""`tocsin audit seal`: the sealer, as a service or once."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from tocsin.consumers.audit.logs import SEALER
from tocsin.consumers.audit.sealer import Sealer
from tocsin.consumers.metrics import SealerMetrics
from tocsin.deploy.observing.options import AddressOption, CertificateOption, KeyOption, PortOption
from tocsin.deploy.observing.port import LOCAL, PortOptions
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, log_beside_output, show
from tocsin.deploy.serving import serve
from tocsin.schemas.bundle import Bundle

DIFFERENT = 3
StateOption = Annotated[Path | None, typer.Option(help="Where the logs are; by default `sealer` under --home.")]


def state_of(home: Path, state: Path | None) -> Path:
    """Where the sealer keeps its logs."""
    return state or home / SEALER


def seal(
    *,
    once: Annotated[bool, typer.Option("--once", help="Seal what is on record now, say how much, and end.")] = False,
    moved: Annotated[
        bool, typer.Option("--moved", help="The record was carried here by `tocsin move`: go on.")
    ] = False,
    metrics_port: PortOption = None,
    metrics_address: AddressOption = LOCAL,
    metrics_cert: CertificateOption = None,
    metrics_key: KeyOption = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Seal so often, and at 256 records.")] = 1.0,
    state: StateOption = None,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Seal the record: keep a Merkle log of each of its topics and sign its heads, until Ctrl-C or SIGTERM.

    It ends once what it has begun to seal is sealed.

    Exit codes of --once: 0 all is sealed, 3 a log cannot be gone on with, 1 failed, 2 usage.
    """
    log_beside_output()
    with closing(Sealer(Bundle.load(home / "services" / SEALER), state_of(home, state), moved=moved)) as sealer:
        if not once:
            _serve(sealer, PortOptions(metrics_port, metrics_address, metrics_cert, metrics_key), every)
            return
        sealer.look()
        rows = [
            {"topic": topic, "records": one.size, "sealed": topic not in sealer.refused}
            for topic, one in sorted(sealer.logs.items())
        ]
        rows += [{"topic": topic, "records": None, "sealed": False} for topic in sorted(sealer.refused)]
        show(rows, output, title="sealed logs")
        if sealer.refused:
            raise typer.Exit(DIFFERENT)


def _serve(sealer: Sealer, port: PortOptions, every_s: float) -> None:
    metrics = SealerMetrics()

    def look() -> None:
        now_s = time.time()
        sealer.look()
        records = {topic: one.size for topic, one in sealer.logs.items()}
        metrics.sealed(records, sealer.lag(), len(sealer.refused), now_s)

    serve(metrics, look, port=port, every_s=every_s, what="sealer", failed="not_sealed")
