"""`tocsin inbox`: what a member has been told."""

from __future__ import annotations

import json
import signal
from typing import Annotated, Any, Final

import typer

from tocsin.consumers.copies import Received, ReceivedKind
from tocsin.consumers.inbox import Inbox
from tocsin.deploy.commands.publish import AsOption
from tocsin.deploy.output import Output, OutputOption, console, log_beside_output
from tocsin.schemas.bundle import Bundle

FORKED: Final = 3


def inbox(
    bundle: AsOption,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more; Ctrl-C ends it.")] = False,
    include_tests: Annotated[bool, typer.Option("--include-tests", help="Show test records too.")] = False,
    group: Annotated[str, typer.Option(help="Keeps its own place in the inbox.")] = "inbox",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what is new in your inbox, each record verified; what was shown is not shown again.

    Exit codes: 1 a record failed verification, 3 a head of the sealed record contradicts one that was shown before.
    """
    log_beside_output()
    reading = Inbox(Bundle.load(bundle), follow=follow, include_tests=include_tests, include_erasures=True, group=group)
    with reading:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: reading.stop())
        for received in reading:
            _print(received, output)
    if output is Output.TABLE:
        _say(_summary(reading))
    if reading.last_forks:
        raise typer.Exit(FORKED)
    if reading.unverified:
        raise typer.Exit(1)


def _say(line: str) -> None:
    # what a stranger wrote is never read as markup
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def _print(received: Received, output: Output) -> None:
    if output is Output.JSON:
        print(json.dumps(_as_json(received)), flush=True)  # noqa: T201  # what programs read is not wrapped or coloured
    else:
        _say(f"{received.appended_at:%Y-%m-%d %H:%M:%S}  {_line(received)}")


def _line(received: Received) -> str:
    if received.alert is not None:
        header = received.alert.header
        mark = " TEST" if received.test else ""
        return (
            f"{received.alert.subject.value} {header.status}{mark} {header.tlp} {received.key} "
            f"revision {header.revision}  ({received.rule})"
        )
    if received.notice is not None:
        notice = received.notice
        about = f" {notice['topic']}/{notice['offset']}" if notice["topic"] else ""
        reasons = ": ".join(word for word in (notice["reason"], notice["detail"]) if word)
        return f"notice {notice['kind']}{about} {reasons}".rstrip()
    return f"erased {received.key}"


def _as_json(received: Received) -> dict[str, Any]:
    place = {
        "kind": received.kind.value,
        "key": received.key,
        "offset": received.offset,
        "appended_at": received.appended_at.isoformat(),
        "source": received.source,
        "rule": received.rule,
    }
    if received.alert is not None:
        return {**place, "type": received.alert.subject.value, "alert": received.alert.model_dump(mode="json")}
    if received.kind is ReceivedKind.ERASURE:
        return place
    notice = (received.notice or {}).items()
    return {**place, "notice": {name: value.hex() if isinstance(value, bytes) else value for name, value in notice}}


def _summary(reading: Inbox) -> str:
    counts = reading.counts
    seen = f"{counts.alerts} alerts, {counts.notices} notices, {counts.erasures} erasures, {counts.tests} test records"
    alive = f"; last sign of life {reading.last_sign_of_life:%Y-%m-%d %H:%M:%S}" if reading.last_sign_of_life else ""
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(reading.unverified.items()))
    forks = "".join(
        f"\nthe record was told in two ways, see docs/witness.md: {folder}" for folder in reading.last_forks
    )
    return seen + alive + (f"\nnot verified, not shown: {refused}" if refused else "") + forks
