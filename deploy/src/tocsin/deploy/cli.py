"""The command `tocsin`."""

from __future__ import annotations

import gc
import sys

import typer

from tocsin.consumers.errors import TocsinConsumerError
from tocsin.deploy.audit.app import audit_app
from tocsin.deploy.cluster.commands import cluster_app
from tocsin.deploy.commands.directory import directory_app
from tocsin.deploy.commands.dispute import dispute
from tocsin.deploy.commands.fanout import fanout_app
from tocsin.deploy.commands.holds import holds_app
from tocsin.deploy.commands.inbox import inbox
from tocsin.deploy.commands.keys import keys_app
from tocsin.deploy.commands.ledger import ledger_app
from tocsin.deploy.commands.members import member_app
from tocsin.deploy.commands.move import move
from tocsin.deploy.commands.publish import publish
from tocsin.deploy.commands.release import release
from tocsin.deploy.commands.retract import retract
from tocsin.deploy.commands.retract_all import retract_all
from tocsin.deploy.commands.services import service_app
from tocsin.deploy.commands.sight import sight
from tocsin.deploy.commands.subscriptions import subscriptions_app
from tocsin.deploy.commands.top import status_page, top
from tocsin.deploy.commands.withdrawals import withdrawals
from tocsin.deploy.demo import demo
from tocsin.deploy.errors import TocsinDeployError
from tocsin.deploy.policy.commands import policy_app
from tocsin.deploy.policy.file_commands import export_policy, import_policy, quotas, retention, schema
from tocsin.deploy.policy.live_commands import break_glass_for, drift, prove, tick_policy
from tocsin.deploy.policy.simulate_command import simulate_alert
from tocsin.deploy.policy.snapshot_command import snapshot
from tocsin.deploy.registry import schemas_app
from tocsin.producers.errors import TocsinProducerError
from tocsin.schemas.errors import TocsinSchemaError

INTERRUPTED = 130
# to look through tens of thousands of ACL rows at every 700 new objects takes a third of a command's time
GARBAGE_EVERY = 100_000

app = typer.Typer(
    help="The Tocsin alert exchange: publish, receive and fan out alerts under sharing rules that are topic ACLs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(cluster_app, name="cluster")
app.add_typer(policy_app, name="policy")
app.add_typer(fanout_app, name="fanout")
app.add_typer(schemas_app, name="schemas")
app.add_typer(subscriptions_app, name="subscriptions")
app.add_typer(holds_app, name="holds")
app.add_typer(audit_app, name="audit")
app.add_typer(ledger_app, name="ledger")
policy_app.command()(prove)
policy_app.command()(drift)
policy_app.command(name="tick")(tick_policy)
policy_app.command(name="break-glass")(break_glass_for)
policy_app.command()(schema)
policy_app.command(name="export")(export_policy)
policy_app.command(name="import")(import_policy)
policy_app.command()(quotas)
policy_app.command()(retention)
policy_app.command(name="simulate")(simulate_alert)
policy_app.command()(snapshot)
app.add_typer(keys_app, name="keys")
app.add_typer(directory_app, name="directory")
app.add_typer(member_app, name="member")
app.add_typer(service_app, name="service")
app.command()(publish)
app.command()(retract)
app.command()(retract_all)
app.command()(inbox)
app.command()(sight)
app.command()(dispute)
app.command()(withdrawals)
app.command()(release)
app.command()(move)
app.command()(top)
app.command()(status_page)
app.command()(demo)


def main() -> None:
    """Run the command. Exit codes: 0 ok, 1 failed, 2 usage, 3 differences found, 130 interrupted."""
    gc.set_threshold(GARBAGE_EVERY)
    try:
        app()
    except (TocsinDeployError, TocsinConsumerError, TocsinProducerError, TocsinSchemaError) as error:
        print(f"tocsin: {error}", file=sys.stderr)  # noqa: T201  # one clear line for people
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
