"""`tocsin audit prove` and `check`: one delivery, shown to somebody who has no reason to believe us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tocsin.consumers.audit.cosigned import newest_believed
from tocsin.consumers.audit.cosigned_reader import read_cosigned
from tocsin.consumers.audit.delivery import ALL, KEY, check_delivery, prove_delivery
from tocsin.consumers.audit.life import Decided
from tocsin.consumers.audit.logs import index_of, log_keys
from tocsin.consumers.audit.note import KeyKind, Verifier, open_checkpoint
from tocsin.consumers.audit.questions import Questions
from tocsin.consumers.audit.sealed_log import CHECKPOINT
from tocsin.consumers.audit.tiles import Fetch, hashes_of
from tocsin.consumers.audit.witness import Quorum
from tocsin.consumers.directory_watch import read_directory
from tocsin.consumers.errors import LogInvalid, NoteInvalid
from tocsin.consumers.exchange_reader import read_record
from tocsin.deploy.audit.ask_commands import AlertArgument
from tocsin.deploy.audit.asking import BundleOption, Source, StateOption, UpdateOption
from tocsin.deploy.audit.seal_command import state_of
from tocsin.deploy.errors import NotProved
from tocsin.deploy.moments import moment_text
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, log_beside_output, show_one
from tocsin.deploy.policy.rows import AUDITOR
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.files import write_file
from tocsin.schemas.names import audit_topic

REFUTED = 3

WitnessOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="A witness's key, as it was told to you: name+id+base64. Can be repeated."),
]
NeededOption = Annotated[
    int | None, typer.Option(min=1, help="How many of the witnesses must have signed; all, if not given.")
]


def prove(
    alert: AlertArgument,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="Whom the proof is about.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the proof is to be written.")],
    *,
    witness: WitnessOption = None,
    witnesses_needed: NeededOption = None,
    tiles: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The sealer's logs; by default `sealer` under --home.")
    ] = None,
    state: StateOption = None,
    bundle: BundleOption = None,
    update: UpdateOption = True,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write a folder that proves what was decided of one alert and one member, and shows nothing else.

    Whoever is given it checks it with `sh check.sh`, or with any tool for https://c2sp.org/tlog-proof. Exits with 1
    when nothing is on record of the two, or when it is not sealed yet, or not cosigned by the witnesses asked for.
    """
    log_beside_output()
    witnesses, needed = _witnesses(witness, witnesses_needed)
    if out.exists():
        raise NotProved(f"{out}: is there already; name a folder that is not")
    source = Source.of(home, state, bundle, update=update)
    decided = _about(source.ask(lambda index: Questions(index.database).trace(alert).decisions), alert, member)
    topic = audit_topic(decided.lane)
    record = read_record(source.bundle.kafka_config(), topic, decided.entry, group=f"{source.bundle.config.login}.none")
    folder = state_of(home, tiles) / topic
    directory = read_directory(source.bundle)
    keys = log_keys(directory, topic)
    signed, log = _head(folder, keys)
    quorum = Quorum(log)
    fetch = _files(folder)
    size = open_checkpoint(signed, log).size
    index = index_of(decided.entry, size, fetch)
    if index is None:
        raise NotProved(f"{topic}/{decided.entry} is not sealed yet; run `tocsin audit seal --once`, then this again")
    if witnesses:
        found = read_cosigned(source.bundle, directory, topic)
        signed, quorum = _cosigned(
            newest_believed(found, keys, witnesses, needed, range(index + 1, size + 1)), topic, needed
        )
    files = prove_delivery(record, member, index, signed, hashes_of(size, fetch), quorum)
    for name, content in files.items():
        write_file(out / name, content)
    show_one(_row(member, decided, out), output, title="proved")
    if output is Output.TABLE:
        console.print(f"sh {out / 'check.sh'} checks it, with openssl alone; {out / 'README.md'} says how")


def check(
    folder: Annotated[Path, typer.Argument(help="The proof.", exists=True, file_okay=False)],
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The log's key, as it was told to you: name+id+base64.")
    ] = None,
    witness: WitnessOption = None,
    witnesses_needed: NeededOption = None,
    bundle: BundleOption = None,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check the proof of one delivery, and show what it shows.

    The key of the log is the one that is given, or else taken from the signed directory of the exchange. Exit codes:
    0 it holds, 3 it does not, 1 failed, 2 usage.
    """
    log_beside_output()
    witnesses, needed = _witnesses(witness, witnesses_needed)
    files = {name: (folder / name).read_bytes() for name in ALL if (folder / name).exists()}
    try:
        shown = check_delivery(files, Quorum(_key_of(files, key, home, bundle), witnesses, needed))
    except NoteInvalid as refusal:
        show_one({"holds": False, "reason": str(refusal)}, output, title="it does not hold")
        raise typer.Exit(REFUTED) from refusal
    decision = shown.decision["decision"]
    row = {
        "holds": True,
        "alert": f"{decision['topic']}/{decision['offset']}",
        "decided": moment_text(decision["decided_at"]),
        **{word: text for word, text in shown.delivery.items() if word != "salt"},
        "log": shown.checkpoint.origin,
        "entries": shown.checkpoint.size,
    }
    show_one(row, output, title="it holds")


def _witnesses(keys: list[str] | None, needed: int | None) -> tuple[frozenset[Verifier], int]:
    """The witnesses, and how many of them must have signed."""
    try:
        found = frozenset(map(Verifier.parse, keys or ()))
    except NoteInvalid as error:
        raise typer.BadParameter(str(error), param_hint="--witness") from error
    publics = {key.public for key in found if key.kind is KeyKind.COSIGNATURE}
    if len(publics) != len(found):
        raise typer.BadParameter("each is a key of kind 4, and a public key is named once", param_hint="--witness")
    if needed is not None and needed > len(found):
        raise typer.BadParameter(f"{len(found)} are named with --witness", param_hint="--witnesses-needed")
    return found, len(found) if needed is None else needed


def _cosigned(found: tuple[bytes, Quorum] | None, topic: str, needed: int) -> tuple[bytes, Quorum]:
    if found is None:
        raise NotProved(
            f"{topic}: no head with this entry is cosigned by {needed} of these witnesses yet; they look every few "
            "seconds (`tocsin audit witness`), so try again, or name fewer with --witnesses-needed"
        )
    return found


def _key_of(files: Mapping[str, bytes], key: str | None, home: Path, bundle: Path | None) -> Verifier:
    """The key that the proof names, if it is the one that was given, or one of the directory's."""
    named = Verifier.parse(files.get(KEY, b"").decode("ascii", "replace").strip())
    if key is None:
        trusted = log_keys(read_directory(_bundle(home, bundle)), named.name.rpartition("/")[2])
    else:
        trusted = [Verifier.parse(key)]
    if named not in trusted:
        raise NoteInvalid(f"{KEY}: not the key of this log; it is {trusted[0].text()}")
    return named


def _about(decisions: Sequence[Decided], alert: str, member: str) -> Decided:
    """The decision to prove: of the revision that was asked for, the newest that gives it, refuses it or erases it."""
    revisions = {one.revision for one in decisions if one.alert_id == alert}
    asked = [one for one in decisions if not revisions or one.revision in revisions]
    for part in ("given", "refused", "erased"):
        found = [one for one in asked if member in getattr(one, part)]
        if found:
            return found[-1]
    raise NotProved(f"{alert}: nothing is on record of {member}; `tocsin audit trace {alert}` shows what is")


def _row(member: str, decided: Decided, out: Path) -> dict[str, object]:
    what = "given" if member in decided.given else "refused" if member in decided.refused else "erased"
    return {
        "alert": decided.place,
        "member": member,
        "what": what,
        "by": decided.given.get(member) or decided.refused.get(member),
        "decided": moment_text(decided.decided_at),
        "proof": str(out),
    }


# -- where it comes from ---------------------------------------------------------------------------------------------


def _bundle(home: Path, bundle: Path | None) -> Bundle:
    return Bundle.load(bundle or home / "services" / AUDITOR)


def _head(folder: Path, keys: list[Verifier]) -> tuple[bytes, Verifier]:
    """The newest head of a log, and which of the keys has signed it."""
    try:
        signed = (folder / CHECKPOINT).read_bytes()
    except OSError as failure:
        raise NotProved(
            f"{folder}: no sealed log ({failure.strerror}); run `tocsin audit seal`, or name the sealer's with --tiles"
        ) from failure
    for log in keys:
        try:
            open_checkpoint(signed, log)
        except NoteInvalid:
            continue
        return signed, log
    raise NotProved(f"{folder}: no key of the sealer in the directory has signed its head; run `tocsin policy apply`")


def _files(folder: Path) -> Fetch:
    def fetch(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as failure:
            raise LogInvalid(f"{folder / name}: {failure.strerror}; restore it from a copy of this log") from failure

    return fetch
