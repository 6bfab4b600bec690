"""`tocsin sight`: what a member may be given, as the exchange told it."""

from __future__ import annotations

from typing import Any

from tocsin.consumers.sight_reader import read_sight
from tocsin.deploy.commands.publish import AsOption
from tocsin.deploy.moments import moment_text
from tocsin.deploy.output import Output, OutputOption, log_beside_output, show
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.records import Sight


def sight(bundle: AsOption, output: OutputOption = Output.TABLE) -> None:
    """Which alert topics you may be given, as the exchange last told you in your inbox, signed.

    Your subscriptions narrow it. A jurisdiction that is missing has never told you of any.
    """
    log_beside_output()
    opened = Bundle.load(bundle)
    rows = [row for one in read_sight(opened).values() for row in _rows(one)]
    show(rows, output, title=f"what {opened.member} may be given")


def _rows(one: Sight) -> list[dict[str, Any]]:
    since = moment_text(one["issued_at"])
    topics: list[str | None] = [*one["topics"]]
    return [{"jurisdiction": one["jurisdiction"], "topic": topic, "told_at": since} for topic in topics or [None]]
