"""`tocsin policy simulate`: who would be given an alert, now and after a plan."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from tocsin.consumers.exchange_reader import ExchangeReader
from tocsin.deploy.commands.checks import checked_position
from tocsin.deploy.errors import AlertNotTaken
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, log_beside_output, show
from tocsin.deploy.policy.commands import CHANGES, PolicyOption, application_of, why
from tocsin.deploy.policy.compile import compile_policy, subscriptions
from tocsin.deploy.policy.directory import would_be
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.journal import read_journal
from tocsin.deploy.policy.plan import Plan
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.rows import FANOUT, POLICY
from tocsin.deploy.policy.simulate import Candidate, Outcome, Recipient, Rules, after, recipients, simulate
from tocsin.deploy.policy.working_as import working_as
from tocsin.producers.imports.rows import refusal_of
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.codec import decode
from tocsin.schemas.directory import Directory
from tocsin.schemas.errors import Rejection
from tocsin.schemas.models import MODELS

# an alert that is not published yet would stand behind everything that is
_LAST: Final = sys.maxsize


def simulate_alert(
    alert: Annotated[
        str,
        typer.Argument(
            metavar="ALERT", help="A published one: topic/offset. Or a file: JSON of type, header, details."
        ),
    ],
    files: PolicyOption,
    *,
    saved: Annotated[
        Path | None, typer.Option("--plan", help="And after this plan, as `plan --out` saved it.", exists=True)
    ] = None,
    planned: Annotated[bool, typer.Option("--planned", help="And after applying the policy.")] = False,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Who would be given ALERT, by which ACL, and who is refused it: by the live ACLs and all that members ask for.

    With a plan: who would be given it then; + gains it, - loses it against now. Changes nothing. Exit codes: 0 shown,
    3 the plan changes who is given it, 1 failed, 2 usage.
    """
    log_beside_output()
    policy = read_policy(*files)
    with ExchangeReader(Bundle.load(home / "services" / FANOUT), subscriptions(policy)) as exchange:
        exchange.read()
        candidate = _candidate(alert, exchange)
        now = simulate(candidate, _rules(exchange))
        plan = _plan(policy, home, saved) if planned or saved else None
        then = None if plan is None else simulate(candidate, _rules_after(exchange, policy, home, plan))
    rows = _rows(now, then, policy)
    show(rows, output, title=f"who is given {alert}" if then is None else f"who would be given {alert}")
    if output is Output.TABLE:
        last = then or now
        console.print(f"{len(last.given)} given, {len(last.refused)} refused")
    if any(row[""] for row in rows):
        raise typer.Exit(CHANGES)


def _rules(exchange: ExchangeReader) -> Rules:
    return Rules(exchange.sight, exchange.directory, exchange.asked(exchange.directory), exchange.holds)


def _rules_after(exchange: ExchangeReader, policy: Policy, home: Path, plan: Plan) -> Rules:
    effective = read_journal(working_as(POLICY, home)).effective(policy)
    directory = would_be(effective, exchange.directory)
    return Rules(after(plan, exchange.sight), directory, exchange.asked(directory), exchange.holds)


def _plan(policy: Policy, home: Path, saved: Path | None) -> Plan:
    """What would be applied: the plan that was saved, if it would still be, else one made now."""
    fresh = application_of(policy, home).plan()
    if saved is None:
        return fresh
    loaded = Plan.load(saved)
    loaded.check(fresh)
    return loaded


def _rows(now: Outcome, then: Outcome | None, policy: Policy) -> list[dict[str, Any]]:
    reasons = {grant.row.text(): grant.reasons for grant in compile_policy(policy, datetime.now(UTC)).grants}
    return [_row(one, reasons) for one in recipients(now, then)]


def _row(one: Recipient, reasons: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    return {
        "": one.sign,
        "member": one.member,
        "outcome": one.outcome,
        "ACL": one.rule,
        "why": one.why or why(reasons.get(one.rule or "", ())),
    }


# -- the alert -------------------------------------------------------------------------------------------------------


def _candidate(text: str, exchange: ExchangeReader) -> Candidate:
    if Path(text).is_file():
        return _from_file(Path(text), exchange.directory)
    topic, offset = checked_position(text, "ALERT")
    try:
        found, appended_at = exchange.alert(topic, offset)
    except Rejection as refusal:
        raise AlertNotTaken(f"{text}: rejected, so nobody is given it: {refusal}") from refusal
    return Candidate(topic, offset, appended_at, found.record)


def _from_file(path: Path, directory: Directory) -> Candidate:
    try:
        content = json.loads(path.read_bytes())
        model = MODELS[content.pop("type")]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        kinds = ", ".join(MODELS)
        raise AlertNotTaken(
            f"{path}: no JSON of an alert; write an object of type ({kinds}), header, details"
        ) from error
    try:
        alert = model.model_validate(content)
        alert.check_content()
    except (ValidationError, Rejection) as error:
        # never the content
        raise AlertNotTaken(f"{path}: would be refused: {refusal_of(error)}; correct it") from None
    publisher = directory.members.get(alert.header.publisher)
    if publisher is None or not directory.is_active(publisher.member):
        raise AlertNotTaken(f"{path}: header.publisher: no active member; name one")
    if publisher.jurisdiction != alert.header.jurisdiction:
        raise AlertNotTaken(f"{path}: header.jurisdiction: not the publisher's; write {publisher.jurisdiction}")
    return Candidate(alert.topic, _LAST, _now_ms(), decode(alert.to_avro())[1])


def _now_ms() -> int:
    return round(datetime.now(UTC).timestamp() * 1_000)
