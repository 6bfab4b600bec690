"""`tocsin inbox`: what a member has been told."""

from __future__ import annotations

import json
import signal
from typing import Annotated, Any

import typer

from tocsin.consumers.inbox import Inbox, Received
from tocsin.deploy.commands.publish import AsOption
from tocsin.deploy.output import Output, OutputOption, console
from tocsin.schemas.bundle import Bundle


def inbox(
    bundle: AsOption,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more; Ctrl-C ends it.")] = False,
    include_tests: Annotated[bool, typer.Option("--include-tests", help="Show test records too.")] = False,
    group: Annotated[str, typer.Option(help="Keeps its own place in the inbox.")] = "inbox",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what is new in your inbox, each record verified; what was shown is not shown again."""
    with Inbox(Bundle.load(bundle), follow=follow, include_tests=include_tests, group=group) as reading:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: reading.stop())
        count = 0
        for received in reading:
            count += 1
            _print(received, output)
        if output is Output.TABLE:
            console.print(f"{count} records" + (f", not verified: {reading.unverified}" if reading.unverified else ""))
        if reading.unverified:
            raise typer.Exit(1)


def _print(received: Received, output: Output) -> None:
    if output is Output.JSON:
        print(json.dumps(_as_json(received)))  # noqa: T201  # what programs read is not wrapped or coloured
    elif received.alert is not None:
        header = received.alert.header
        console.print(
            f"{header.published_at:%Y-%m-%d %H:%M:%S} {received.alert.subject.value} {header.status} {header.tlp} "
            f"{received.key} revision {header.revision}  ({received.rule})",
            soft_wrap=True,
        )
    elif received.notice is not None:
        notice = received.notice
        place = f"{notice['topic']}/{notice['offset']}"
        console.print(f"notice {notice['kind']} {place}: {notice['reason']} {notice['detail'] or ''}", soft_wrap=True)


def _as_json(received: Received) -> dict[str, Any]:
    place = {"key": received.key, "offset": received.offset, "source": received.source, "rule": received.rule}
    if received.alert is not None:
        return {**place, "type": received.alert.subject.value, "alert": received.alert.model_dump(mode="json")}
    notice = {
        name: value.hex() if isinstance(value, bytes) else value for name, value in (received.notice or {}).items()
    }
    return {**place, "type": "notice", "notice": notice}
