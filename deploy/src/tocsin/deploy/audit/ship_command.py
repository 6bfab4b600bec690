"""`tocsin audit ship`: the shipper, as a service or once."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from tocsin.consumers.audit.access_shipper import Shipper
from tocsin.consumers.metrics import ShipperMetrics
from tocsin.deploy.cluster.local import cluster_folder
from tocsin.deploy.observing.options import AddressOption, CertificateOption, KeyOption, PortOption
from tocsin.deploy.observing.port import LOCAL, PortOptions
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, log_beside_output, show_one
from tocsin.deploy.policy.rows import SHIPPER
from tocsin.deploy.serving import serve
from tocsin.schemas.bundle import Bundle


def ship(
    *,
    once: Annotated[bool, typer.Option("--once", help="Ship what the logs say now, say how much, and end.")] = False,
    metrics_port: PortOption = None,
    metrics_address: AddressOption = LOCAL,
    metrics_cert: CertificateOption = None,
    metrics_key: KeyOption = None,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Ship so often; repeats in between are folded.")
    ] = 10.0,
    logs: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder of the brokers' folders, each with an access.log; by default `cluster` under --home.",
        ),
    ] = None,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put the brokers' own log of who touched the topics on record in audit.access, until Ctrl-C or SIGTERM.

    On the machine of the brokers, with the login `shipper`. It keeps nothing of its own: the topic says where it was.
    Exit codes of --once: 0 all is on record, 1 failed, 2 usage.
    """
    log_beside_output()
    with closing(Shipper(Bundle.load(home / "services" / SHIPPER), logs or cluster_folder(home))) as shipper:
        if not once:
            _serve(shipper, PortOptions(metrics_port, metrics_address, metrics_cert, metrics_key), every)
            return
        shipper.look()
        counts = {"records": shipper.records, "lines": shipper.lines, "unread": shipper.unread, "lost": shipper.lost}
        show_one({"logs": ", ".join(sorted(shipper.lag)), **counts}, output, title="shipped to audit.access")


def _serve(shipper: Shipper, port: PortOptions, every_s: float) -> None:
    metrics = ShipperMetrics()

    def look() -> None:
        now_s = time.time()
        try:
            shipper.look()
        finally:
            metrics.read(shipper.lag, records=shipper.records, lines=shipper.lines)
            metrics.faults(unread=shipper.unread, lost=shipper.lost)
        metrics.shipped(now_s)

    serve(metrics, look, port=port, every_s=every_s, what="shipper", failed="not_shipped")
