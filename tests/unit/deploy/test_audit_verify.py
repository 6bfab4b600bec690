"""An export of the record is verified: whole ones pass, and whatever is altered is found where it was altered."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.load import LONG
from tests.unit.deploy import mutations, receipt_mutations
from tests.unit.deploy.bed import Bed, Expected, Mutation
from tests.unit.deploy.exported import (
    AUDIT,
    PINNED,
    UNSEALED,
    Record,
    directory_record,
    finish,
    found,
    lived,
    record_of,
)
from tests.unit.deploy.mutations import MUTATIONS, mutated
from tests.unit.deploy.told import TELLERS, record_of_receipt
from tocsin.consumers.audit.deliveries import DELIVERED
from tocsin.consumers.audit.facts import entry_of, fact_hash, facts_of, seal_of
from tocsin.consumers.audit.findings import Finding, State
from tocsin.consumers.audit.outbox_receipts import RECEIPTS
from tocsin.consumers.audit.verification import Kept, file_of
from tocsin.deploy.audit.export_files import MANIFEST, TILES_FOLDER, ExportFolder
from tocsin.deploy.audit.verify_command import in_words
from tocsin.deploy.errors import ExportRefused
from tocsin.schemas.directory import Roots
from tocsin.schemas.names import CHECKPOINTS_TOPIC, DIRECTORY_TOPIC, inbox_topic, outbox_topic
from tocsin.schemas.signing import SigningKey

# the short form alters an export in every way once
COUNT = 1_000 if LONG else len(MUTATIONS)
SEED = 20_261_127


@pytest.fixture(scope="module")
def record() -> Record:
    """The record of an exchange; it is sealed by who writes it."""
    return record_of(lived())


@pytest.fixture(scope="module")
def whole(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that nobody has altered."""
    folder = tmp_path_factory.mktemp("whole")
    record.seal(folder / "state")
    record.write(folder / "export", folder / "state")
    return folder / "export"


@pytest.fixture
def bed(whole: Path, record: Record, tmp_path: Path) -> Callable[[int], Bed]:
    """Copies of it, by the seed of what becomes of them."""

    def copy(seed: int) -> Bed:
        shutil.rmtree(tmp_path / "export", ignore_errors=True)
        shutil.copytree(whole, tmp_path / "export")
        return Bed(tmp_path / "export", record, random.Random(seed))

    return copy


def faults(findings: Sequence[Finding]) -> list[Finding]:
    """The checks that found a fault."""
    return [finding for finding in findings if finding.state is State.FAILED]


def is_found(findings: Sequence[Finding], expected: Expected) -> bool:
    """Whether a fault was found where it is."""
    for finding in faults(findings):
        for place in finding.places:
            exact = place.last_line in (None, place.line) or not expected.exactly
            if finding.check == (expected.check or finding.check) and place.has(expected.file, expected.line) and exact:
                return True
    return False


# -- whole exports ---------------------------------------------------------------------------------------------------


def test_a_whole_export_passes_every_check(whole: Path) -> None:
    """What is not sealed yet is said, and counted."""
    findings = found(whole)
    assert [(f.check, f.of) for f in findings if f.state is not State.PASSED] == [(DELIVERED, "inboxes")]
    assert {(f.check, f.of) for f in findings if f.of == AUDIT} == {
        (check, AUDIT) for check in ("records", "seals", "tiles", "numbers", "alerts", "rules")
    }
    assert any(f"{UNSEALED} after the newest, the first of " in finding.what for finding in findings)
    assert [*in_words(findings)][-1] == "No fault was found."


def test_heads_that_others_kept_are_of_the_same_tree(whole: Path, record: Record) -> None:
    """Every head that was ever published still is one of this record."""
    kept = [Kept(f"kept-{number}", head.value or b"") for number, head in enumerate(record.heads)]
    findings = found(whole, kept=kept)
    assert not faults(findings)
    assert sum(finding.check == "kept heads" for finding in findings) == len(kept)


def test_without_the_files_of_the_logs_the_heads_are_enough(bed: Callable[[int], Bed]) -> None:
    """That they are not there is said, and is no fault."""
    made = bed(0)
    shutil.rmtree(made.folder / TILES_FOLDER)
    finish(made.folder)
    findings = found(made.folder)
    assert {(f.check, f.state) for f in findings if f.state is not State.PASSED} == {
        ("tiles", State.UNCHECKED),
        (DELIVERED, State.UNCHECKED),
    }


def test_without_the_right_root_keys_nothing_is_believed(whole: Path) -> None:
    """The directory is not theirs, so the sealer's key is nobody's."""
    other = Roots((SigningKey.generate("root").public.hex(),), 1)
    findings = found(whole, roots=other)
    assert [finding.check for finding in faults(findings)] == ["directory"]
    assert any(finding.check == "seals" and finding.state is State.UNCHECKED for finding in findings)


def test_what_a_key_signed_before_it_was_revoked_still_counts(bed: Callable[[int], Bed], record: Record) -> None:
    """Up to its last trusted offset of `audit.checkpoints`, and no further; elsewhere, what stands there too."""
    made = bed(0)
    for trusted, line in ((len(record.heads) - 1, None), (3, 5)):
        made.put_records(DIRECTORY_TOPIC, [directory_record(revoked=True, trusted=trusted)])
        finish(made.folder)
        findings = found(made.folder)
        assert bool(faults(findings)) == (line is not None)
        if line is not None:
            assert is_found(findings, Expected("heads", file_of(CHECKPOINTS_TOPIC), line))


def test_a_seal_is_made_of_the_hashes_of_the_facts(record: Record) -> None:
    """In the order in which whoever is shown some of the facts is given all hashes."""
    for one in record.records[AUDIT]:
        assert seal_of(one) == entry_of(one.offset, map(fact_hash, facts_of(one)))


# -- records that are gone with their time ---------------------------------------------------------------------------


def test_first_records_may_be_gone_with_their_time_if_it_is_said_so(bed: Callable[[int], Bed]) -> None:
    """Then the log's files stand for them; without being told so, it is a fault at the first line."""
    made = bed(0)
    made.put(AUDIT, made.lines(AUDIT)[300:])
    finish(made.folder)
    findings = found(made.folder)
    assert is_found(findings, Expected("numbers", file_of(AUDIT), 1))
    assert is_found(findings, Expected("seals", file_of(AUDIT), 1))
    findings = found(made.folder, from_later=True)
    assert not faults(findings)
    assert any("300 of them gone with their time" in finding.what for finding in findings)


def test_what_is_altered_after_records_that_are_gone_is_found(bed: Callable[[int], Bed]) -> None:
    """At its line in the file that is left."""
    made = bed(0)
    lines = made.lines(AUDIT)
    del lines[400]
    made.put(AUDIT, lines[300:])
    finish(made.folder)
    assert is_found(found(made.folder, from_later=True), Expected("seals", file_of(AUDIT), 101))


def test_without_the_files_nothing_stands_for_what_is_gone(bed: Callable[[int], Bed]) -> None:
    """The seals can then not be checked, which is said."""
    made = bed(0)
    shutil.rmtree(made.folder / TILES_FOLDER)
    made.put(AUDIT, made.lines(AUDIT)[300:])
    finish(made.folder)
    findings = found(made.folder, from_later=True)
    assert not faults(findings)
    assert any(f.check == "seals" and f.of == AUDIT and f.state is State.UNCHECKED for f in findings)


# -- what must be there ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["audit.policy", "audit.acls", "audit.checkpoints", "audit.de"])
def test_a_topic_that_is_left_out_is_missed(topic: str, bed: Callable[[int], Bed]) -> None:
    """With its log's files too, and with the manifest written anew."""
    made = bed(0)
    (made.folder / file_of(topic)).unlink()
    shutil.rmtree(made.folder / TILES_FOLDER / topic, ignore_errors=True)
    finish(made.folder)
    assert is_found(found(made.folder), Expected("records", file_of(topic)))


def test_a_record_without_any_head_is_not_sealed(bed: Callable[[int], Bed]) -> None:
    """Who takes all heads away cannot have it taken for one that could not be checked."""
    made = bed(0)
    shutil.rmtree(made.folder / TILES_FOLDER)
    made.put(CHECKPOINTS_TOPIC, [])
    finish(made.folder)
    assert is_found(found(made.folder), Expected("seals", file_of(AUDIT)))


# -- receipts --------------------------------------------------------------------------------------------------------


def of_inbox(findings: Sequence[Finding], member: str) -> Finding:
    """What was found of a member's inbox."""
    [one] = [finding for finding in findings if (finding.check, finding.of) == (DELIVERED, inbox_topic(member))]
    return one


def test_coverage_is_told_by_member(whole: Path, record: Record) -> None:
    """In numbers, for those that tell; those that do not are named, with how much they were given."""
    findings = found(whole)
    for member in TELLERS:
        one = of_inbox(findings, member)
        assert "(100.0% covered)" in one.what
        assert f"; {len(record.receipts[member])} receipts, the last at 2" in one.what
    [untold] = [finding for finding in findings if finding.of == "inboxes"]
    assert "no receipts of bank-fr, police-de, who were given " in untold.what


def test_the_newest_receipt_taken_out_is_less_coverage_and_no_fault(bed: Callable[[int], Bed]) -> None:
    """Nothing in an export can tell it from one that was not sent yet."""
    made = bed(0)
    topic = outbox_topic("isp-de")
    made.put(topic, made.lines(topic)[:-2])
    finish(made.folder)
    findings = found(made.folder)
    assert not faults(findings)
    assert "100.0%" not in of_inbox(findings, "isp-de").what
    assert "100.0%" in of_inbox(findings, "bank-de").what


def test_a_finding_of_receipts_names_member_range_and_offsets(bed: Callable[[int], Bed]) -> None:
    """Of what came undecided its place in the inbox; of what never came the decision, and between what it must lie."""
    made = bed(1)
    mutated(made, receipt_mutations.leaked)
    [fault] = faults(found(made.folder))
    assert fault.of in map(inbox_topic, TELLERS)
    assert re.match(r"UNDECIDED: offset \d+ of the inbox, of alerts\.de\.\S+/10\d{3}: no decision gives it", fault.what)
    made = bed(2)
    mutated(made, receipt_mutations.omitted)
    [fault] = faults(found(made.folder))
    assert re.match(
        r"MISSING: a copy of alerts\.de\.\S+/\d+, by decision \d+ of de: not between offsets \d+ and \d+", fault.what
    )
    assert "% covered" in fault.what


def test_receipts_by_a_key_that_does_not_count_any_more_are_told_and_no_fault(
    bed: Callable[[int], Bed], record: Record
) -> None:
    """Nor is the gap that they leave; what remains is still compared."""
    made = bed(0)
    made.put_records(DIRECTORY_TOPIC, [directory_record(untrusted={"isp-de": 2})])
    finish(made.folder)
    findings = found(made.folder)
    assert not faults(findings)
    count = len(record.receipts["isp-de"])
    [one] = [f for f in findings if f.check == RECEIPTS and f.state is State.UNCHECKED]
    assert one.what.startswith(f"{count - 3} receipts do not count")
    assert "3 receipts" in of_inbox(findings, "isp-de").what


def test_a_receipt_that_is_replaced_by_a_longer_one_counts_once(bed: Callable[[int], Bed], record: Record) -> None:
    """An outbox that was not compacted yet has both."""
    made = bed(0)
    told = record.receipts["isp-de"]
    short = replace(told[0], last_offset=told[0].last_offset - 5)
    short = replace(short, items=tuple(item for item in short.items if item.offset <= short.last_offset))
    both = [short, *told]
    made.put_records(outbox_topic("isp-de"), [record_of_receipt(one, at) for at, one in enumerate(both)])
    finish(made.folder)
    findings = found(made.folder)
    assert not faults(findings)
    assert f"{len(told)} receipts" in of_inbox(findings, "isp-de").what


# -- the manifest ----------------------------------------------------------------------------------------------------


def test_the_manifest_tells_changed_missing_and_added_files(bed: Callable[[int], Bed]) -> None:
    """Whoever altered it without more is found by that alone."""
    made = bed(0)
    content = (made.folder / file_of(AUDIT)).read_bytes()

    def alter(path: Path, how: int) -> None:
        if how == 0:
            path.write_bytes(content[:-1])
        elif how == 1:
            path.unlink()
        else:
            path.with_name("more").write_bytes(b"")

    for how in range(3):
        alter(made.folder / file_of(AUDIT), how)
        finding = next(ExportFolder(made.folder).findings())
        assert finding.state is State.FAILED
        assert finding.places[0].file == ("more" if how == 2 else file_of(AUDIT))
        (made.folder / file_of(AUDIT)).write_bytes(content)


def test_an_export_without_a_manifest_is_not_whole(bed: Callable[[int], Bed]) -> None:
    """It was stopped before its end, and says so; a manifest that cannot be read is refused too."""
    made = bed(0)
    (made.folder / MANIFEST).write_bytes(b"{}")
    with pytest.raises(ExportRefused, match="cannot be read"):
        ExportFolder(made.folder)
    (made.folder / MANIFEST).unlink()
    with pytest.raises(ExportRefused, match="stopped before its end"):
        ExportFolder(made.folder)


def test_root_keys_are_pinned_by_their_fingerprints(whole: Path) -> None:
    """All that are named must be there, and must have signed."""
    manifest = ExportFolder(whole).manifest
    assert manifest.pinned(PINNED.fingerprints, None) == PINNED
    assert manifest.pinned(PINNED.fingerprints[:1], None) == Roots(PINNED.public_keys[:1], 1)
    with pytest.raises(ExportRefused, match="of another coalition, or forged"):
        manifest.pinned([SigningKey.generate("root").public.hex()], None)


# -- mutations -------------------------------------------------------------------------------------------------------


def test_whatever_is_altered_is_found_where_it_is(bed: Callable[[int], Bed]) -> None:
    """Many exports, each altered in one way: a bit, a record, an order, a head, a file, a whole history."""
    for number in range(COUNT):
        mutation, made = MUTATIONS[number % len(MUTATIONS)], bed(SEED + number)
        expected = mutated(made, mutation)
        findings = found(made.folder, kept=expected.kept)
        assert is_found(findings, expected), (
            f"{mutation.__name__} with seed {SEED + number} at {expected}: found {faults(findings)}"
        )


@pytest.mark.parametrize(
    ("check", "mutation"),
    [
        ("records", mutations.add_header),
        ("seals", mutations.back_date),
        ("tiles", mutations.add_tile),
        ("heads", mutations.replay_head),
        ("numbers", mutations.number_left_out),
        ("alerts", mutations.never_decided),
        ("rules", mutations.given_without_right),
        ("directory", mutations.flip_directory),
        (RECEIPTS, receipt_mutations.drop_receipt),
        (RECEIPTS, receipt_mutations.replay_receipt),
        (DELIVERED, receipt_mutations.leaked),
        (DELIVERED, receipt_mutations.omitted),
    ],
)
def test_without_a_check_something_gets_through(check: str, mutation: Mutation, bed: Callable[[int], Bed]) -> None:
    """No check is there for show: what lacks it takes an altered export for a whole one."""
    for number in range(5):
        made = bed(SEED + number)
        mutated(made, mutation)
        if check not in (RECEIPTS, DELIVERED):  # they tell of much that another check finds
            for member in TELLERS:
                (made.folder / file_of(outbox_topic(member))).unlink()
            finish(made.folder)
        findings = found(made.folder)
        assert faults(findings)
        assert not [finding for finding in faults(findings) if finding.check != check]


def test_a_history_signed_anew_is_told_from_the_export_by_kept_heads_alone(bed: Callable[[int], Bed]) -> None:
    """Who has the sealer's key and all that was published can make another whole export; a kept head tells."""
    made = bed(SEED)
    expected = mutated(made, mutations.fork_whole)
    assert not faults(found(made.folder))
    findings = found(made.folder, kept=expected.kept)
    assert any("a split view" in finding.what for finding in faults(findings))


def test_whatever_stands_in_the_files_verification_ends(bed: Callable[[int], Bed]) -> None:
    """Files of strangers are read without harm: pieces are cut out, put in and overwritten, in any of them."""
    for number in range(COUNT // 2):
        made = bed(SEED + number)
        rng = made.rng
        for path in rng.sample(sorted(path for path in made.folder.rglob("*") if path.is_file()), 3):
            content = bytearray(path.read_bytes())
            start = rng.randrange(len(content))
            content[start : start + rng.choice((0, 1, 40, 4_000))] = rng.choice(
                (b"", b"[", rng.randbytes(9), b"9" * 30)
            )
            path.write_bytes(content)
        with suppress(ExportRefused):
            found(made.folder)
        finish(made.folder)
        found(made.folder)
