"""`tocsin service`: the exchange's own services and their passwords."""

from __future__ import annotations

from typing import Annotated

import typer
from confluent_kafka.admin import AdminClient

from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, show
from tocsin.deploy.policy.apply import said_clearly
from tocsin.deploy.policy.rows import POLICY
from tocsin.deploy.policy.service_passwords import finish_service, rotate_service
from tocsin.deploy.policy.working_as import working_as

service_app = typer.Typer(help="The exchange's own services: their passwords.", no_args_is_help=True)


@service_app.callback()
def _group() -> None:
    """Keep `rotate` a word of its own while it is the only one."""


@service_app.command()
def rotate(
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="A folder of services/, for instance fanout.")],
    *,
    finished: Annotated[
        bool, typer.Option("--finish", help="Every process of it was started again: delete the old password.")
    ] = False,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a service a second password, in its bundle. What runs goes on with the old one, until you say --finish."""
    admin = AdminClient(working_as(POLICY, home).kafka_config())
    with said_clearly("the cluster refused"):
        if finished:
            had = finish_service(admin, home, login)
            show([{"login": login, "old password": "deleted" if had else "none"}], output, title=login)
            return
        bundle = rotate_service(admin, home, login)
    show([{"login": login, "bundle": str(bundle.path), "by": bundle.config.mechanism}], output, title="next password")
    if output is Output.TABLE:
        console.print(
            f"start each process of it again, one after the other; then: tocsin service rotate {login} --finish",
            soft_wrap=True,
        )
