"""`tocsin cluster`: a real Kafka on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, show

cluster_app = typer.Typer(help="A real Apache Kafka on this machine, for trying and testing.", no_args_is_help=True)


@cluster_app.command()
def up(
    home: HomeOption = HOME,
    brokers: Annotated[int, typer.Option(help="1, or 3 (replication factor 3).")] = 1,
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Serve the brokers' metrics on 127.0.0.1: the first one's here, others' on the next ports."),
    ] = None,
) -> None:
    """Start Kafka, fetching it first if need be, and wait until it answers."""
    if brokers not in (1, 3):
        raise typer.BadParameter("1 or 3", param_hint="--brokers")
    cluster = LocalCluster(home, metrics_port=metrics_port)
    cluster.up(brokers)
    console.print(f"Kafka is up at {cluster.bootstrap}; data, logs and secrets are in {cluster.folder}")


@cluster_app.command()
def status(home: HomeOption = HOME, output: OutputOption = Output.TABLE) -> None:
    """Show the brokers; exit code 1 unless all of them run and answer."""
    brokers = LocalCluster(home).status()
    show(
        [{"broker": one.node, "state": one.state, "pid": one.pid, "port": one.port} for one in brokers],
        output,
        title="brokers",
    )
    if not brokers or any(one.state != "running" for one in brokers):
        raise typer.Exit(1)


@cluster_app.command()
def down(
    home: HomeOption = HOME,
    *,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete its data, logs, certificates and administrator too.")
    ] = False,
) -> None:
    """Stop Kafka."""
    LocalCluster(home).down(purge=purge)
    console.print("Kafka is down" + (", its folder deleted" if purge else ""))
