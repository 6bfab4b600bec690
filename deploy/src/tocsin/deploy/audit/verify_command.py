"""`tocsin audit verify`: checks an export of the record, offline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tocsin.consumers.audit.completeness import ALERTS, NUMBERS, RULES
from tocsin.consumers.audit.deliveries import DELIVERED
from tocsin.consumers.audit.findings import Finding, State
from tocsin.consumers.audit.heads import HEADS
from tocsin.consumers.audit.outbox_receipts import RECEIPTS
from tocsin.consumers.audit.seals import SEALS, TILES
from tocsin.consumers.audit.verification import DIRECTORY, KEPT, RECORDS, Kept, Verification
from tocsin.deploy.audit.archive_folder import ArchiveFolder, opened
from tocsin.deploy.audit.export_files import MANIFEST_CHECK, ExportFolder
from tocsin.deploy.audit.scratch import ScratchFolder
from tocsin.deploy.errors import ExportRefused
from tocsin.deploy.output import Output, OutputOption, busy, console, log_beside_output, show
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.directory import Roots

FAULTS: Final = 3
SAYING: Final[Mapping[str, str]] = {
    MANIFEST_CHECK: "the files are those that were written",
    DIRECTORY: "the directory is signed by the pinned root keys",
    HEADS: "every head is signed by the sealer's key in it, and none goes back",
    KEPT: "heads that others kept are of this record",
    RECORDS: "records are in the order of their offsets and times",
    SEALS: "records are those that were sealed, none is altered, missing or put in",
    TILES: "the logs' files are those of the records",
    NUMBERS: "decisions are numbered without a gap",
    ALERTS: "every alert that was there is decided once, in order",
    RULES: "every recipient was allowed by ACLs that are on record",
    RECEIPTS: "receipts are signed by their members, and tell of ranges without a gap",
    DELIVERED: "what receipts tell of is what was decided, no more and no less",
}
NEVER_CHECKED: Final = (
    "Not checked, because an export does not hold it: what the alerts say and who signed them, and what lies in the"
    " inboxes, but for what members say in receipts. Of records after the newest head, numbers, rules and receipts"
    " alone were checked."
)


def verify_record(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="EXPORT",
            help="As `tocsin audit export` or `tocsin audit archive` wrote it.",
            exists=True,
            file_okay=False,
        ),
    ],
    fingerprints: Annotated[
        list[str] | None,
        typer.Option("--root-fingerprint", metavar="HEX", help="Of a root key, from the paper; give all of them."),
    ] = None,
    roots_needed: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="With --root-fingerprint: so many of them must have signed; all if not given."
        ),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="A bundle of yours, which pins the root keys.", exists=True, file_okay=False)
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A signed head that somebody kept; may be given again.", exists=True, dir_okay=False),
    ] = None,
    *,
    first_records_expired: Annotated[
        bool,
        typer.Option("--first-records-expired", help="Take it that the first records are gone because of their age."),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check, offline, that EXPORT is a whole record: nothing altered, taken out or put in, every recipient allowed.

    And that what was decided came, and nothing else, as far as the receipts of members tell.

    Exit codes: 0 no fault, 3 faults found, 1 failed, 2 usage.
    """
    log_beside_output()
    if (bundle is None) == (not fingerprints):
        raise typer.BadParameter("give the root keys by --root-fingerprint or by --bundle", param_hint="--bundle")
    with busy("verifying") as status, ScratchFolder() as scratch:
        export = opened(folder, lambda what, line: status.update(f"{what}: line {line} ..." if line else what))
        roots = _pinned(export, fingerprints or (), roots_needed, bundle)
        kept = [Kept(str(path), path.read_bytes()) for path in checkpoint or ()]
        found = [*verify(export, Verification(roots, kept, first_records_expired, scratch))]
    show([row(finding) for finding in found], output, title=f"record of {export.coalition}")
    faults = [finding for finding in found if finding.state is State.FAILED]
    if output is Output.TABLE:
        console.print("\n".join(in_words(found)), soft_wrap=True)
    if faults:
        raise typer.Exit(FAULTS)


def _pinned(
    export: ExportFolder | ArchiveFolder, fingerprints: Iterable[str], needed: int | None, bundle: Path | None
) -> Roots:
    if bundle is None:
        return export.manifest.pinned(fingerprints, needed)
    own = Bundle.load(bundle)
    if own.coalition != export.coalition:
        raise ExportRefused(f"{export.folder}: of coalition {export.coalition}, and {bundle} is of {own.coalition}")
    return own.roots


def verify(export: ExportFolder | ArchiveFolder, verification: Verification) -> Iterator[Finding]:
    """What is found in an export, its files and its content."""
    yield from export.findings()
    found = verification.findings(export)
    yield from map(export.located, found) if isinstance(export, ArchiveFolder) else found


def row(finding: Finding) -> dict[str, Any]:
    """A finding as it is shown."""
    where = "; or ".join(map(str, finding.places)) or None
    return {
        "check": finding.check,
        "of": finding.of,
        "result": finding.state.value,
        "what": finding.what,
        "first fault": where,
    }


def in_words(found: Iterable[Finding]) -> Iterator[str]:
    """What was checked, what could not be, and where the first fault is."""
    by_state: dict[State, list[Finding]] = {state: [] for state in State}
    for finding in found:
        by_state[finding.state].append(finding)
    faults, unchecked = by_state[State.FAILED], by_state[State.UNCHECKED]
    for check, saying in SAYING.items():
        of = [finding.of for finding in by_state[State.PASSED] if finding.check == check]
        if of:
            yield f"Checked: {saying} ({', '.join(of)})."
    for finding in unchecked:
        yield f"Not checked: {finding.check} of {finding.of}: {finding.what}."
    yield NEVER_CHECKED
    if faults:
        first = row(faults[0])
        yield f"The first fault: {first['check']} of {first['of']}: {first['what']}: {first['first fault']}."
    else:
        yield "No fault was found."
