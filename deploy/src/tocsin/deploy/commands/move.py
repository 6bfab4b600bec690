"""`tocsin move`: the exchange goes on on another cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.moving.move import move as move_exchange
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, busy, log_beside_output, show
from tocsin.schemas.bundle import Bundle


def move(
    *,
    old: Annotated[Path, typer.Option("--from", metavar="BUNDLE", help="The administrator's of the old cluster.")],
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """For the operator: close the old cluster to all who write, and carry the exchange to the new one of --home.

    The fan-out is stopped, and no policy was applied to the new cluster yet: `tocsin policy apply` follows. Where it
    was interrupted, it is run again; a cluster that is in use is refused. See docs/drills.md, "The exchange moves".
    """
    log_beside_output()
    source, target = Bundle.load(old), LocalCluster(home).admin()
    with busy("moving") as status:
        moved = move_exchange(source, target, lambda what: status.update(f"{what} ..."))
    show([one._asdict() for one in moved], output, title="topics of the new cluster")
