"""`tocsin directory`: what the exchange believes about its members, and the root keys' word for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.deploy.errors import DraftRefused
from tocsin.deploy.moments import moment_text
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, log_beside_output, show
from tocsin.deploy.policy.apply import said_clearly
from tocsin.deploy.policy.commands import FilesOption
from tocsin.deploy.policy.directory import CLOCK_SLACK_MS, newest, read_published
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.drafts import changes, headers_of, read_draft, sign_draft, write_draft
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.records import Published, append_all
from tocsin.deploy.policy.rows import POLICY
from tocsin.deploy.policy.secrets import SecretStore
from tocsin.deploy.policy.working_as import working_as
from tocsin.schemas.directory import ROOT_SIGNER, Directory, Roots
from tocsin.schemas.names import DIRECTORY_TOPIC
from tocsin.schemas.signing import SigningKey, fingerprint

directory_app = typer.Typer(
    help="The members and their keys, signed by the root keys: offline ones sign a draft.", no_args_is_help=True
)

directory_app.callback()(log_beside_output)

DraftArgument = Annotated[Path, typer.Argument(help="As `tocsin policy apply` wrote it.", exists=True, dir_okay=False)]


@directory_app.command()
def sign(
    draft: DraftArgument,
    root: Annotated[Path, typer.Option(help="Your root key, PEM, mode 0600.", exists=True)],
    current: Annotated[
        Path | None,
        typer.Option(
            help="A draft that you signed before: show only what has changed since.", exists=True, dir_okay=False
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """For the holder of a root key, offline: see what DRAFT says, and sign it. The signature is put beside it.

    Needs no network: bring the draft on a stick, and take the .signature file back.
    """
    document = read_draft(draft)
    before = None if current is None else read_draft(current)
    if before is not None and (before.coalition != document.coalition or before.version >= document.version):
        raise DraftRefused(
            f"{current}: version {before.version} of {before.coalition}, and {draft} is {document.version} of"
            f" {document.coalition}; name an earlier one, and do not sign what is older than what you signed before"
        )
    rows = [{"": sign, "what": what, "is": text} for sign, what, text in changes(before, document)]
    if output is Output.TABLE:
        show(
            rows,
            output,
            title=f"version {document.version} of {document.coalition}, until {moment_text(document.expires_at)}",
        )
    key = SigningKey.load(root, ROOT_SIGNER)
    beside = sign_draft(draft, key)
    if output is Output.JSON:
        show([*rows, {"signature": str(beside), "version": document.version}], output)
    else:
        console.print(f"signed with {fingerprint(key.public)[:16]}: {beside}", soft_wrap=True)


@directory_app.command()
def publish(
    draft: DraftArgument,
    files: FilesOption,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Publish DRAFT, once enough holders of root keys have signed it and if it is the next version."""
    policy = read_policy(*files)
    document = read_draft(draft)
    roots = _roots(policy, home)
    headers = headers_of(draft, roots)
    with said_clearly("the cluster refused"):
        before = _current(policy, home)
        _insist_next(draft, document, before, policy.coalition)
        append_all(working_as(POLICY, home), DIRECTORY_TOPIC, DIRECTORY_TOPIC, [Published(draft.read_bytes(), headers)])
    show([_head(document, len(headers) // 2)], output, title="published")


def _insist_next(draft: Path, document: Directory, before: Directory | None, coalition: str) -> None:
    """Make sure that the draft follows what is in force. Raises DraftRefused."""
    version, now_ms = (before.version if before else 0) + 1, time.time_ns() // 1_000_000
    if document.coalition != coalition:
        raise DraftRefused(f"{draft}: of coalition {document.coalition}, not {coalition}; publish it there")
    if document.version != version:
        raise DraftRefused(f"{draft}: version {document.version}, and the next is {version}; run `tocsin policy apply`")
    if document.expires_at - CLOCK_SLACK_MS <= now_ms:
        raise DraftRefused(f"{draft}: has expired; delete it, run `tocsin policy apply`, and have the new one signed")


@directory_app.command(name="show")
def show_directory(
    files: FilesOption,
    save: Annotated[Path | None, typer.Option(help="Write it to this file too, for `sign --current`.")] = None,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the directory in force, verified with the root keys: version, members, keys. Exits with 1 if it is none."""
    policy = read_policy(*files)
    with said_clearly("the cluster cannot be asked"):
        document = _current(policy, home)
    if document is None:
        raise DraftRefused("no directory has been published; run `tocsin policy apply`")
    if save is not None:
        write_draft(save, document)
    expired = document.expires_at <= time.time_ns() // 1_000_000
    rows: list[dict[str, Any]] = [{"what": what, "is": text} for _, what, text in changes(None, document)]
    head = {
        "what": "version",
        "is": f"{document.version}, until {moment_text(document.expires_at)}{', expired' if expired else ''}",
    }
    show([head, *rows], output, title=f"directory of {document.coalition}")
    if expired:
        raise DraftRefused(
            f"version {document.version} has expired, so nothing is delivered; run `tocsin policy apply`"
        )


def _roots(policy: Policy, home: Path) -> Roots:
    keys = SecretStore(home).root_keys(policy.roots).keys
    return Roots(tuple(key.public.hex() for key in keys), policy.roots_threshold)


def _current(policy: Policy, home: Path) -> Directory | None:
    """The newest document that enough root keys signed, expired or not."""
    keys = SecretStore(home).root_keys(policy.roots).keys
    found = newest(read_published(working_as(POLICY, home)), policy, keys)
    return found.directory if found else None


def _head(document: Directory, signatures: int) -> dict[str, Any]:
    return {"version": document.version, "until": moment_text(document.expires_at), "signatures": signatures}
