"""`tocsin fanout`: the exchange's own service."""

from __future__ import annotations

import gc
import os
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

from tocsin.consumers.fanout import Fanout, FanoutSettings
from tocsin.consumers.gains import GAINS_MAX
from tocsin.deploy.observing.options import AddressOption, CertificateOption, KeyOption, PortOption
from tocsin.deploy.observing.port import LOCAL, PortOptions, open_port
from tocsin.deploy.output import HOME, HomeOption, console, log_as_service
from tocsin.deploy.policy.compile import subscriptions
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.rows import FANOUT
from tocsin.schemas.bundle import Bundle

GC_THRESHOLD = 100_000

fanout_app = typer.Typer(help="The exchange's service: decides every alert and delivers it.", no_args_is_help=True)


@fanout_app.command()
def run(
    policy: Annotated[Path, typer.Option("--policy", help="Where the members' subscriptions stand.", exists=True)],
    home: HomeOption = HOME,
    name: Annotated[
        str | None, typer.Option(help="What it is called in logs, metrics and decisions; else host and process id.")
    ] = None,
    gains_max: Annotated[
        int, typer.Option(help="A member that gains more live alerts of a jurisdiction at once is given none.", min=0)
    ] = GAINS_MAX,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Where alerts are kept out of memory, in files without names.", exists=True, file_okay=False),
    ] = None,
    line_test: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=1, help="Test every member's line so often; Kafka erases only after one."),
    ] = 3_600,
    metrics_port: PortOption = None,
    metrics_address: AddressOption = LOCAL,
    metrics_cert: CertificateOption = None,
    metrics_key: KeyOption = None,
) -> None:
    """Run one process; start as many as you like, they share the lanes.

    Ctrl-C, or SIGTERM, ends it cleanly: each lane ends its transaction, which takes 60 s at most.
    """
    log_as_service()
    bundle = Bundle.load(home / "services" / FANOUT)
    worker = name or f"{socket.gethostname()}-{os.getpid()}"
    settings = FanoutSettings(
        worker=worker,
        gains_max=gains_max,
        scratch=scratch,
        line_test_s=line_test,
        statistics=metrics_port is not None,
    )
    fanout = Fanout(bundle, subscriptions(read_policy(policy)), settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: fanout.stop())
    open_port(
        PortOptions(metrics_port, metrics_address, metrics_cert, metrics_key), fanout.metrics.registry, fanout.health
    )
    console.print(f"fan-out {worker} at {bundle.config.bootstrap}; Ctrl-C ends it")
    # the ledger is large and lives long: with Python's own threshold, looking for cycles in it costs a sixth of all CPU
    gc.set_threshold(GC_THRESHOLD)
    fanout.run()
