"""`tocsin member`: a member's life, from its first key to the last notice that it is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.deploy.commands.checks import checked_trusted
from tocsin.deploy.members.desk import Desk, onboard
from tocsin.deploy.members.opening import open_sealed
from tocsin.deploy.members.request import Request
from tocsin.deploy.members.roll import roll
from tocsin.deploy.members.rotation import ends_now, finish, rotate
from tocsin.deploy.members.standing import offboard, resume, suspend
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, log_beside_output, show
from tocsin.deploy.policy.apply import ADMINISTRATOR, said_clearly
from tocsin.deploy.policy.commands import ByOption, FilesOption, show_applied, show_draft
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.rows import POLICY
from tocsin.deploy.policy.working_as import working_as
from tocsin.schemas.signing import fingerprint

member_app = typer.Typer(
    help="A member's life: it joins, changes its keys, is suspended, leaves.",
    no_args_is_help=True,
)

member_app.callback()(log_beside_output)

MemberArgument = Annotated[str, typer.Argument(metavar="ID", help="A member of the policy.")]
WhyOption = Annotated[str, typer.Option(help="For the record; no personal data.")]
RequestOption = Annotated[Path, typer.Option(help="What the member's `tocsin keys new` wrote.", exists=True)]


def desk_of(files: Iterable[Path], home: Path) -> Desk:
    """The desk of the policy in some files and the cluster of a home."""
    return Desk(read_policy(*files), working_as(POLICY, home), home)


@member_app.command(name="onboard")
def onboard_member(
    member: MemberArgument,
    request: RequestOption,
    files: FilesOption,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a member in by its request, and seal its bundle for it. `tocsin policy apply` then lets it take part.

    Compare the fingerprint that is shown with what the member reads out to you. Again, it seals the bundle again.
    """
    asked = Request.load(request)
    desk = desk_of(files, home)
    with said_clearly("the cluster cannot be asked"):
        sealed = onboard(desk, member, asked)
    show([_sealed_row(path, asked) for path in sealed], output, title=f"{member}: onboarded")
    if output is Output.TABLE:
        roots = desk.store.root_keys(desk.policy.roots).keys
        console.print("for the paper: " + " ".join(f"--root-fingerprint {fingerprint(one.public)}" for one in roots))
        console.print("next: tocsin policy apply FILE..., then send the sealed file", soft_wrap=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sealed_row(path: Path, request: Request) -> dict[str, Any]:
    return {
        "sealed": str(path),
        "key": request.key_id,
        "fingerprint": request.fingerprint,
        "sha256": _sha256(path),
    }


@member_app.command(name="open")
def open_bundle(
    sealed: Annotated[Path, typer.Argument(help="What the secretariat sent.", exists=True, dir_okay=False)],
    keys: Annotated[Path, typer.Option(help="The folder of `tocsin keys new`.", exists=True, file_okay=False)],
    to: Annotated[
        Path | None, typer.Option(help="The bundle's folder; in that of the keys if not given.", file_okay=False)
    ] = None,
    fingerprints: Annotated[
        list[str] | None,
        typer.Option("--root-fingerprint", metavar="HEX", help="From the paper; give all of them."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """For a member: open what was sealed for you, into a bundle with your own signing key.

    With the root keys' fingerprints from the paper given, a bundle with other root keys is refused. What changes a
    bundle that is there already must be vouched for by who knows its password.
    """
    bundle = open_sealed(sealed, keys, to, fingerprints or ())
    rows = [
        {"bundle": str(bundle.path), "login": bundle.config.login, "root fingerprint": one}
        for one in bundle.roots.fingerprints
    ]
    show(rows, output, title="opened")
    if output is Output.TABLE and not fingerprints:
        console.print("compare these with the paper before you use it; sealed file: " + _sha256(sealed))


@member_app.command(name="rotate")
def rotate_keys(
    member: MemberArgument,
    files: FilesOption,
    *,
    request: Annotated[
        Path | None, typer.Option(help="What the member's `tocsin keys new` wrote, with its next keys.", exists=True)
    ] = None,
    overlap: Annotated[float, typer.Option(metavar="DAYS", min=0, help="So long the old key counts beside it.")] = 7,
    revoke: Annotated[bool, typer.Option("--revoke", help="The old key counts only for what is there now.")] = False,
    trusted: Annotated[
        list[str] | None,
        typer.Option(help="With --revoke: topic/offset, the last in that topic that counts; may be given again."),
    ] = None,
    finished: Annotated[
        bool, typer.Option("--finish", help="The member uses its next password: delete the old one.")
    ] = False,
    by: ByOption = ADMINISTRATOR,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a member its next signing key, and each of its logins a second password; seal both for it.

    Nothing stops meanwhile: old key and password work on, until the overlap ends and you say --finish.
    """
    if finished == (request is not None):
        raise typer.BadParameter(
            "give --request, or --finish once the member uses what it was sent", param_hint="--request"
        )
    if trusted and not revoke:
        raise typer.BadParameter("goes with --revoke", param_hint="--trusted")
    desk = desk_of(files, home)
    if request is None:
        show([{"login": login, "old password": "deleted"} for login in finish(desk, member)], output, title=member)
        return
    asked = Request.load(request)
    last: dict[str, int] | None = None
    if revoke:
        with said_clearly("the cluster cannot be asked"):
            last = {**ends_now(desk, member), **checked_trusted(trusted)}
    done = rotate(desk, member, asked, by=by, overlap=timedelta(days=overlap), trusted=last)
    show_draft(done.applied)
    show([_sealed_row(path, asked) for path in done.sealed], output, title=f"{member}: next key and password")
    if output is Output.TABLE:
        console.print(f"send it; once the member uses it: tocsin member rotate {member} --finish", soft_wrap=True)


@member_app.command(name="suspend")
def suspend_member(
    member: MemberArgument,
    why: WhyOption,
    files: FilesOption,
    *,
    lock_out: Annotated[bool, typer.Option("--lock-out", help="Delete its passwords too.")] = False,
    by: ByOption = ADMINISTRATOR,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """End a member's sight and publishing at once, by DENY; then say so in the directory. `resume` takes it back."""
    show_applied(suspend(desk_of(files, home), member, by=by, why=why, lock_out=lock_out), output)


@member_app.command(name="resume")
def resume_member(
    member: MemberArgument,
    why: WhyOption,
    files: FilesOption,
    by: ByOption = ADMINISTRATOR,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a suspended member back, with the sight that the policy gives it."""
    show_applied(resume(desk_of(files, home), member, by=by, why=why), output)


@member_app.command(name="offboard")
def offboard_member(
    member: MemberArgument,
    why: WhyOption,
    files: FilesOption,
    by: ByOption = ADMINISTRATOR,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let a member leave for good: its sight ends at once, and who stays gets new token keys, sealed.

    It is still sent withdrawal notices. Its id is never used again; let it stand in the policy, or take it out.
    """
    done = offboard(desk_of(files, home), member, by=by, why=why)
    show_draft(done.applied)
    for key in done.dropped:
        typer.echo(f"warning: token key {key.key_id} is no longer in use; its tokens cannot be looked up", err=True)
    show([{"sealed": str(path)} for path in done.sealed], output, title=f"{member} has left; new token keys to send")


@member_app.command(name="list")
def list_members(files: FilesOption, home: HomeOption = HOME, output: OutputOption = Output.TABLE) -> None:
    """Show all members, those that have left too: standing, keys and until when they count, login, bundle."""
    with said_clearly("the cluster cannot be asked"):
        show(roll(desk_of(files, home)), output, title="members")
