"""`tocsin holds`: what the secretariat puts on hold, and what the exchange keeps because of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tocsin.consumers.holds import Hold, HoldKind
from tocsin.consumers.outbox import Outbox
from tocsin.consumers.withdrawals import Held
from tocsin.consumers.withdrawals_reader import lanes, read_ledgers
from tocsin.deploy.commands.checks import checked_member, checked_positions
from tocsin.deploy.commands.publish import AsOption
from tocsin.deploy.moments import moment_text
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, log_beside_output, show
from tocsin.deploy.policy.rows import FANOUT
from tocsin.schemas.bundle import Bundle

TIMES: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]

holds_app = typer.Typer(
    help="For the secretariat: legal holds (the exchange keeps what it would erase) and quarantine (nobody is newly "
    "given it). They count within seconds.",
    no_args_is_help=True,
)

holds_app.callback()(log_beside_output)


@holds_app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="ID", help="A name for it; replaces your hold of this name.")],
    bundle: AsOption,
    reference: Annotated[str, typer.Option(help="The order or case that asks for it; no personal data.")],
    *,
    publisher: Annotated[str | None, typer.Option(help="Alerts of this member; everybody's if not given.")] = None,
    recipient: Annotated[
        str | None, typer.Option(help="Only what this member was given, whoever published it. Not for quarantine.")
    ] = None,
    kind: Annotated[
        HoldKind, typer.Option(help="Keep what would be erased, or give it to nobody new.", case_sensitive=False)
    ] = HoldKind.LEGAL,
    lineage: Annotated[str | None, typer.Option(help="Only this lineage_id of the publisher.")] = None,
    since: Annotated[
        list[str] | None,
        typer.Option(help="topic/offset: it is not on what that topic holds before. May be given for each topic."),
    ] = None,
    published_from: Annotated[
        datetime | None, typer.Option(formats=TIMES, help="Only what was published then or later, in UTC.")
    ] = None,
    published_to: Annotated[
        datetime | None, typer.Option(formats=TIMES, help="Only what was published before, in UTC.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put alerts on hold: what meets all that you name, of which a publisher, a recipient or a period is one.

    What has been erased before is not brought back.
    """
    opened = Bundle.load(bundle)
    hold = Hold(
        member=opened.member,
        hold_id=name,
        kind=kind,
        publisher=checked_member(publisher, "--publisher") if publisher else None,
        lineage_id=lineage,
        since=checked_positions(since),
        reference=reference,
        recipient=checked_member(recipient, "--recipient") if recipient else None,
        published_from=_millis(published_from),
        published_to=_millis(published_to),
    )
    if (fault := hold.fault()) is not None:
        raise typer.BadParameter(fault, param_hint=f"--{fault.partition(':')[0].replace('_', '-')}")
    with Outbox(opened) as outbox:
        outbox.hold(hold)
    show([_row(hold)], output, title="on hold")


@holds_app.command("list")
def list_(bundle: AsOption, output: OutputOption = Output.TABLE) -> None:
    """Show your holds, lifted ones too."""
    with Outbox(Bundle.load(bundle)) as outbox:
        show([_row(hold) for hold in outbox.holds()], output, title="holds")


@holds_app.command()
def lift(
    bundle: AsOption,
    names: Annotated[list[str], typer.Argument(metavar="ID...", help="As `list` shows them.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Lift holds: what was kept under a legal one is erased, what was in quarantine is given to who may have it."""
    with Outbox(Bundle.load(bundle)) as outbox:
        known = {hold.hold_id: hold for hold in outbox.holds()}
        unknown = sorted({*names} - {*known})
        if unknown:
            raise typer.BadParameter(f"no hold {', '.join(unknown)}; `tocsin holds list` shows yours", param_hint="ID")
        for name in names:
            outbox.hold(replace(known[name], lifted=True))
    show([_row(replace(known[name], lifted=True)) for name in names], output, title="lifted")


@holds_app.command()
def kept(
    to: Annotated[
        Path | None, typer.Option(help="Write the published bytes of each into this new folder.", file_okay=False)
    ] = None,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """For the operator: show what the exchange keeps because of legal holds."""
    bundle = Bundle.load(home / "services" / FANOUT)
    held = Held()
    read_ledgers(bundle, dict.fromkeys(lanes(bundle), held.apply))
    rows = [
        {
            "hold": "/".join(name.split("/")[:2]),
            "lineage": entry.key,
            "revision": entry.revision,
            "source": f"{entry.topic}/{entry.offset}",
            "signed with": entry.signer,
            "sha256": entry.sha256.hex(),
        }
        for name, entry in sorted(held.revisions.items())
    ]
    show(rows, output, title="kept")
    if to is not None:
        to.mkdir(mode=0o700, parents=True)
        for name, entry in held.revisions.items():
            (to / f"{name.replace('/', '_')}.avro").write_bytes(entry.value)
        if output is Output.TABLE:
            console.print(f"{len(rows)} files in {to}; each has the sha256 that the decisions name")


def _millis(time: datetime | None) -> int | None:
    return None if time is None else round(time.replace(tzinfo=UTC).timestamp() * 1_000)


def _text(millis: int | None, left_out: str) -> str:
    return left_out if millis is None else moment_text(millis)


def _row(hold: Hold) -> dict[str, Any]:
    since = ", ".join(f"{topic}/{offset}" for topic, offset in sorted(hold.since.items()))
    return {
        "id": hold.hold_id,
        "kind": hold.kind.value,
        "publisher": hold.publisher or "all",
        "lineage": hold.lineage_id or "all",
        "recipient": hold.recipient or "all",
        "published from": _text(hold.published_from, "the beginning"),
        "published to": _text(hold.published_to, "the end"),
        "since": since or "the beginning",
        "reference": hold.reference,
        "lifted": hold.lifted,
    }
