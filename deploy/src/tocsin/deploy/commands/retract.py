"""`tocsin retract`: what was told is withdrawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tocsin.deploy.commands.checks import checked_jurisdiction
from tocsin.deploy.commands.publish import AsOption, deliver, explain, say
from tocsin.deploy.output import Output, OutputOption, show
from tocsin.producers.errors import AlertRefused, SpoolInUse
from tocsin.producers.publisher import Published, Publisher
from tocsin.producers.spool_rows import Lineage, State
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.header import StatusReason
from tocsin.schemas.names import AlertTopic, AlertType, Tlp

# which word of the command a refused field came from
_WORDS: Final = {
    "header.lineage_id": "LINEAGE",
    "header.revision": "--revision",
    "header.publisher": "--publisher",
    "header.jurisdiction": "--jurisdiction",
    "header.note": "--note",
}


def retract(
    lineage: Annotated[str, typer.Argument(help="The alert's lineage_id.")],
    bundle: AsOption,
    reason: Annotated[StatusReason, typer.Option(help="Why it is withdrawn.", case_sensitive=False)],
    *,
    kind: Annotated[AlertType | None, typer.Option("--type", help="Its type, if this spool does not know it.")] = None,
    tlp: Annotated[
        Tlp | None, typer.Option(help="Its handling label, if this spool does not know it.", case_sensitive=False)
    ] = None,
    revision: Annotated[
        int | None, typer.Option(min=1, help="Above all that were published; the seconds since 2020 if not given.")
    ] = None,
    publisher: Annotated[
        str | None, typer.Option(help="For the secretariat: the member whose alert it is; yourself if not given.")
    ] = None,
    jurisdiction: Annotated[
        str | None, typer.Option(help="With --publisher: that member's jurisdiction, in lower case.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="A remark for the recipients, 280 characters at most.")] = None,
    spool: Annotated[Path | None, typer.Option(help="The publisher's spool; in the bundle if not given.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the broker; the rest waits in the spool.")
    ] = 60.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Withdraw LINEAGE: everyone who was ever given any revision of it is told. None of its content is needed.

    Exits with 0 once the broker has the retraction, also when it had it before; with 1 while it waits in the spool.
    """
    opened = Bundle.load(bundle)
    owner = publisher or opened.member
    with _publisher(opened, spool) as running:
        known = running.lineage(lineage, owner)
        place = jurisdiction or (opened.config.jurisdiction if owner == opened.member else None)
        topic = _topic(known, place, kind, tlp)
        try:
            done = running.retract(lineage, reason, topic=topic, revision=revision, publisher=owner, note=note)
        except AlertRefused as refusal:
            raise typer.BadParameter(refusal.rule, param_hint=_WORDS.get(refusal.field, refusal.field)) from refusal
        try:
            if not _arrived(running, done):
                deliver(running, timeout)
        finally:
            arrived = _report(running, done, lineage, owner, output)
    if not arrived:
        raise typer.Exit(1)


def _publisher(bundle: Bundle, spool: Path | None) -> Publisher:
    try:
        return Publisher(bundle, spool=spool)
    except SpoolInUse as error:
        raise SpoolInUse(f"{error} (--spool FILE, with --type and --tlp, which a new spool does not know)") from error


def _topic(known: Lineage | None, place: str | None, kind: AlertType | None, tlp: Tlp | None) -> AlertTopic:
    """What is given, else what the spool knows."""
    if known is not None:
        topic = AlertTopic.parse(known.topic)
        place, kind, tlp = place or topic.jurisdiction, kind or topic.type, tlp or topic.tlp
    if kind is None or tlp is None:
        raise typer.BadParameter(
            "this spool does not know it: give --type and --tlp as they were published", param_hint="LINEAGE"
        )
    if place is None:
        raise typer.BadParameter("give the --jurisdiction of that member", param_hint="--publisher")
    return AlertTopic(checked_jurisdiction(place), kind, tlp)


def _arrived(running: Publisher, done: Published) -> bool:
    outcome = running.outcome(done.alert_id)
    return outcome is not None and outcome.state is State.ACKED


def _report(running: Publisher, done: Published, lineage: str, owner: str, output: Output) -> bool:
    """Say what became of it, and whether the broker has it."""
    arrived = _arrived(running, done)
    known, status = running.lineage(lineage, owner), running.status()
    state = "waiting" if not arrived else "known" if done.repeated else "retracted"
    row: dict[str, Any] = {
        "lineage": lineage,
        "publisher": owner,
        "revision": known.revision if known else None,
        "topic": done.topic,
        "alert": done.alert_id,
        "state": state,
    }
    show([row], output, title="retracted")
    say(_NEXT[state])
    running.close(0)
    if not arrived:
        explain(status)
    return arrived


_NEXT: Final = {
    "waiting": "the broker does not have it yet: nobody is told before it arrives",
    "known": "it was retracted before; nothing new was published",
    "retracted": (
        "everyone who was ever given any revision of it is sent a withdrawal notice;"
        " should the exchange reject the retraction, your inbox says why (tocsin inbox)"
    ),
}
