"""`tocsin subscriptions`: what a member asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tocsin.consumers.errors import SubscriptionInvalid
from tocsin.consumers.outbox import Outbox
from tocsin.consumers.subscriptions import Subscription
from tocsin.deploy.commands.publish import AsOption
from tocsin.deploy.output import Output, OutputOption, log_beside_output, show
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.errors import IdentifierInvalid
from tocsin.schemas.watch_list import watch_tokens

PARTS: Final = ("types", "jurisdictions", "tlps", "reasons", "countries", "rails", "mccs", "host_asns", "tlds")

Words = list[str] | None

subscriptions_app = typer.Typer(
    help="What you ask for; the exchange follows within seconds. Several subscriptions add up.", no_args_is_help=True
)

subscriptions_app.callback()(log_beside_output)


@subscriptions_app.command()
def add(
    bundle: AsOption,
    *,
    name: Annotated[str, typer.Option("--id", help="Replaces your subscription of this id.")] = "default",
    everything: Annotated[bool, typer.Option("--everything", help="All that you may see.")] = False,
    own: Annotated[bool, typer.Option("--own", help="Your own alerts, too.")] = False,
    types: Annotated[Words, typer.Option("--type", help="merchant-terminated, descriptor-reused ...")] = None,
    jurisdictions: Annotated[Words, typer.Option("--jurisdiction", help="Of the publisher: de, fr, eu ...")] = None,
    tlps: Annotated[Words, typer.Option("--tlp", help="CLEAR, GREEN, AMBER or AMBER_STRICT.")] = None,
    reasons: Annotated[Words, typer.Option("--reason", help="Of a termination: MATCH:13 ...")] = None,
    countries: Annotated[Words, typer.Option("--country", help="Of merchant, acquirer or host: DE ...")] = None,
    rails: Annotated[Words, typer.Option("--rail", help="CARD, SEPA ...")] = None,
    mccs: Annotated[Words, typer.Option("--mcc", help="4 digits.")] = None,
    host_asns: Annotated[list[int] | None, typer.Option("--host-asn", help="AS number of the host.")] = None,
    tlds: Annotated[Words, typer.Option("--tld", help="Top-level domain: com ...")] = None,
    watch_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--watch-file",
            help="Lines of kind:value (descriptor:ACME SHOP, mid:ACQUIRER:MID, domain:example.com); only their tokens "
            "leave this machine.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask for the alerts for which all that you name holds; of one option given twice, one is enough."""
    opened = Bundle.load(bundle)
    given = (types, jurisdictions, tlps, reasons, countries, rails, mccs, host_asns, tlds)
    parts: dict[str, Any] = {part: frozenset(values or ()) for part, values in zip(PARTS, given, strict=True)}
    tokens = _tokens(opened, watch_files or [])
    if not (everything or own or tokens or any(parts.values())):
        raise SubscriptionInvalid("nothing is asked for; name what, or --everything")
    wish = Subscription(opened.member, everything, own=own, tokens=tokens, subscription_id=name, **parts)
    with Outbox(opened) as outbox:
        outbox.subscribe(wish)
    show([_row(wish)], output, title="subscribed")


def _tokens(bundle: Bundle, files: list[Path]) -> frozenset[str]:
    found: set[str] = set()
    for file in files:
        try:
            tokens = watch_tokens(file.read_text(encoding="utf-8").splitlines(), bundle.token_keys())
        except (IdentifierInvalid, UnicodeDecodeError) as error:
            reason = error if isinstance(error, IdentifierInvalid) else "not UTF-8"
            raise SubscriptionInvalid(f"{file}: {reason}") from None
        if not tokens:
            # an empty list would ask for everything
            raise SubscriptionInvalid(f"{file}: nothing to watch for")
        found |= tokens
    return frozenset(found)


@subscriptions_app.command("list")
def list_(bundle: AsOption, output: OutputOption = Output.TABLE) -> None:
    """Show the subscriptions that stand in your outbox. Without any, the policy says what you are given."""
    with Outbox(Bundle.load(bundle)) as outbox:
        show([_row(wish) for wish in outbox.subscriptions()], output, title="subscriptions")


@subscriptions_app.command()
def remove(
    bundle: AsOption,
    names: Annotated[list[str], typer.Argument(metavar="ID...", help="As `list` shows them.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove subscriptions. Once the last is gone, the policy says again what you are given."""
    with Outbox(Bundle.load(bundle)) as outbox:
        for name in names:
            outbox.unsubscribe(name)
    show([{"id": name} for name in names], output, title="removed")


def _row(wish: Subscription) -> dict[str, Any]:
    """Tokens are counted: they are many, and say nothing to people."""
    asked = {part: sorted(getattr(wish, part)) for part in PARTS if getattr(wish, part)}
    said = (
        "everything" if wish.everything else "; ".join(f"{part} {', '.join(map(str, asked[part]))}" for part in asked)
    )
    return {"id": wish.subscription_id, "asks for": said, "watched tokens": len(wish.tokens), "own": wish.own}
