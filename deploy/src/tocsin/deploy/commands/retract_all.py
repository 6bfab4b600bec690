"""`tocsin retract-all`: everything that a compromised publisher has told since a position is withdrawn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from tocsin.consumers.entry import Entry
from tocsin.consumers.withdrawals import Stock
from tocsin.consumers.withdrawals_reader import lanes, read_ledgers
from tocsin.deploy.commands.checks import checked_lanes, checked_member, checked_positions
from tocsin.deploy.commands.publish import AsOption, deliver, explain, say
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, show
from tocsin.deploy.policy.rows import FANOUT
from tocsin.producers.publisher import Publisher
from tocsin.producers.revisions import clock_revision
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.header import StatusReason
from tocsin.schemas.names import AlertTopic


def retract_all(
    bundle: AsOption,
    publisher: Annotated[str, typer.Option(help="The member whose alerts are withdrawn.")],
    lane: Annotated[str, typer.Option("--jurisdiction", help="That member's jurisdiction, in lower case.")],
    reason: Annotated[StatusReason, typer.Option(help="Why.", case_sensitive=False)],
    *,
    since: Annotated[
        list[str] | None,
        typer.Option(help="topic/offset: what that topic holds before it stays. May be given for each topic."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be withdrawn.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the broker.")] = 300.0,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """For the secretariat: withdraw everything of one publisher since a position, as of a key that was stolen.

    What was published and not decided yet is not known: run it again until it finds nothing. Exits with 1 while some of
    it waits in the spool.
    """
    stock = Stock(checked_member(publisher, "--publisher"), checked_positions(since))
    fanout = Bundle.load(home / "services" / FANOUT)
    read_ledgers(fanout, dict.fromkeys(checked_lanes([lane], lanes(fanout), "--jurisdiction"), stock.apply))
    found = list(stock.lineages())
    show([_row(entry) for entry in found], output, title="would be retracted" if dry_run else "retracted")
    if dry_run or not found:
        say(f"{len(found)} lineages of {publisher} stand")
        return
    with Publisher(Bundle.load(bundle)) as running:
        for entry in found:
            _retract(running, entry, publisher, reason)
        deliver(running, timeout)
        status, left = running.status(), running.waiting()
    say(f"{len(found) - left} of {len(found)} are with the broker; everyone who was ever given one is told")
    if left:
        explain(status)
        raise typer.Exit(1)


def _retract(running: Publisher, entry: Entry, publisher: str, reason: StatusReason) -> None:
    number = max(entry.revision + 1, clock_revision(datetime.now(UTC)))
    lineage_id = entry.key.partition("/")[2]
    running.retract(lineage_id, reason, topic=AlertTopic.parse(entry.topic), revision=number, publisher=publisher)


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "lineage": entry.key,
        "topic": entry.topic,
        "offset": entry.offset,
        "status": entry.status,
        "ever_given_to": len(entry.standing()),
    }
