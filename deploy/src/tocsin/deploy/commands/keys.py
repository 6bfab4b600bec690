"""`tocsin keys`: keys are made where they are used, and leave their machine only as public ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from tocsin.deploy.commands.checks import checked_member
from tocsin.deploy.errors import MemberRefused
from tocsin.deploy.members.opening import REQUEST
from tocsin.deploy.members.request import Request
from tocsin.deploy.members.sealed import SEALING_KEY, SealingKey
from tocsin.deploy.output import Output, OutputOption, console, show
from tocsin.schemas.bundle import SIGNING_KEY
from tocsin.schemas.directory import ROOT_SIGNER
from tocsin.schemas.files import write_file
from tocsin.schemas.signing import SigningKey, fingerprint

keys_app = typer.Typer(help="Keys of members, of approvers of plans, and root keys.", no_args_is_help=True)

_NEXT: Final = {
    "member": "send {request} to the secretariat, and read them the fingerprint over the telephone",
    "person": "give the public key to who writes the policy (approvals.approvers); {key} stays with you",
    "root": "give {public} to the secretariat (roots/ in its folder); {key} stays here, on a machine without network",
}


@keys_app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="A new folder for them.", file_okay=False)],
    member: Annotated[str | None, typer.Option(metavar="ID", help="For this member, with --coalition.")] = None,
    coalition: Annotated[str | None, typer.Option(help="The coalition that the member joins.")] = None,
    person: Annotated[str | None, typer.Option(metavar="NAME", help="For a person who approves plans.")] = None,
    root: Annotated[int | None, typer.Option(metavar="N", min=1, max=16, help="The Nth root key.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make keys, for a member with the request that the secretariat onboards it by. Nothing is sent anywhere."""
    if [member, person, root].count(None) != 2:  # noqa: PLR2004  # one of three
        raise typer.BadParameter("name one of --member, --person and --root", param_hint="--member")
    if (member is None) != (coalition is None):
        raise typer.BadParameter("goes with --member", param_hint="--coalition")
    if folder.exists() and any(folder.iterdir()):
        raise MemberRefused(f"{folder}: is not empty, and keys are never overwritten; name a new folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if member is not None and coalition is not None:
        key = _make_members(folder, checked_member(member, "--member"), coalition)
        kind, path = "member", folder / SIGNING_KEY
    elif root is not None:
        key, kind, path = SigningKey.generate(ROOT_SIGNER), "root", folder / f"{root}.pem"
        write_file(folder / f"{root}.pub", key.public.hex().encode() + b"\n")
    else:
        key, kind, path = SigningKey.generate(person or ""), "person", folder / SIGNING_KEY
    if kind != "member":
        key.save(path)
    row = {"key": key.key_id, "fingerprint": fingerprint(key.public), "public": key.public.hex(), "file": str(path)}
    show([row], output, title="made")
    if output is Output.TABLE:
        words = {"request": folder / REQUEST, "key": path, "public": folder / f"{root}.pub"}
        console.print(_NEXT[kind].format(**words), soft_wrap=True)


def _make_members(folder: Path, member: str, coalition: str) -> SigningKey:
    key, sealing = SigningKey.generate(member), SealingKey.generate()
    key.save(folder / SIGNING_KEY)
    sealing.save(folder / SEALING_KEY)
    Request.make(coalition, key, sealing.public).save(folder / REQUEST)
    return key
