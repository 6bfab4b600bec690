"""An archive is only added to, goes on wherever it was stopped, and whatever is altered in it is found and named."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import pytest

from tests.unit.deploy.exported import AUDIT, COALITION, EXPORTED_AT, PINNED, SEAL_EVERY, Record, lived, record_of
from tocsin.consumers.audit.export_lines import encode_line
from tocsin.consumers.audit.findings import Finding, State
from tocsin.consumers.audit.verification import Verification, file_of
from tocsin.deploy.audit.archive_files import add_part, new_file
from tocsin.deploy.audit.archive_folder import ArchiveFolder, opened
from tocsin.deploy.audit.export_files import MANIFEST, alerts_json, sum_of
from tocsin.deploy.audit.verify_command import verify
from tocsin.deploy.errors import ArchiveRefused, ExportRefused
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.directory import Roots
from tocsin.schemas.names import CHECKPOINTS_TOPIC

CUTS: Final = (200, 400, 10_000)
SMALL: Final = 12
PARTS: Final = ("000001", "000002", "000003")


class Killed(BaseException):
    """The end of a process."""


@dataclass
class Source:
    """The first `records` decisions of a record, and the heads that seal no more of them."""

    record: Record
    records: int = 10_000
    coalition: str = COALITION
    roots: Roots = PINNED
    made: int = 0

    def alerts(self) -> bytes:
        """As an export has them."""
        return alerts_json(self.record.alerts)

    def groups(self) -> Iterator[Mapping[str, str]]:
        """Topic by topic."""
        for topic in (CHECKPOINTS_TOPIC, *self.record.records, *self.record.others):
            yield {topic: f"id-{self.made}-of-{topic}"}

    def of(self, topic: str) -> list[BusRecord]:
        """What of a topic there is by now."""
        if topic == CHECKPOINTS_TOPIC:
            return self.record.heads[: self.records // SEAL_EVERY] if self.records < CUTS[-1] else self.record.heads
        return self.record.records.get(topic, [])[: self.records] or self.record.others.get(topic, [])

    def read(self, places: Mapping[str, int], take: Callable[[BusRecord], None]) -> Mapping[str, int]:
        """From the place to the end."""
        ends = dict(places)
        for topic, place in places.items():
            for record in self.of(topic):
                if record.offset >= place:
                    take(record)
                    ends[topic] = record.offset + 1
        return ends


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A record, sealed."""
    found = record_of(lived())
    found.seal(tmp_path_factory.mktemp("sealer"))
    return found


@pytest.fixture(scope="module")
def whole(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of three parts."""
    folder = tmp_path_factory.mktemp("archives") / "archive"
    for cut in CUTS:
        add_part(folder, Source(record, cut), EXPORTED_AT)
    return folder


@pytest.fixture
def archive(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be altered."""
    shutil.copytree(whole, tmp_path / "archive", copy_function=_copy)
    return tmp_path / "archive"


def _copy(source: str, to: str) -> None:
    Path(to).write_bytes(Path(source).read_bytes())


def _found(folder: Path) -> list[Finding]:
    return [*verify(opened(folder, lambda _what, _line: None), Verification(PINNED))]


def _faults(folder: Path) -> list[str]:
    """What is wrong with the parts, and where."""
    findings = ArchiveFolder(folder).findings()
    return [f"{one.of}: {one.what}: {one.places[0].file}" for one in findings if one.state is State.FAILED]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_archive_is_verified_as_an_export_is(whole: Path, record: Record) -> None:
    """Its parts together have each record once, and nothing is wrong with them."""
    found = _found(whole)
    assert [one for one in found if one.state is State.FAILED] == []
    assert {one.check for one in found if one.state is State.PASSED} >= {
        "manifest",
        "seals",
        "numbers",
        "alerts",
        "rules",
    }
    for topic in (CHECKPOINTS_TOPIC, *record.records, *record.others):
        parts = b"".join((whole / part / file_of(topic)).read_bytes() for part in PARTS)
        assert parts == b"".join(map(encode_line, Source(record).of(topic)))
    counts = [len((whole / part / file_of(AUDIT)).read_bytes().splitlines()) for part in PARTS]
    assert counts == [200, 200, len(record.records[AUDIT]) - 400]


def test_files_are_only_created(record: Record, tmp_path: Path) -> None:
    """For reading only; what an earlier part has is neither written again nor touched."""
    folder = tmp_path / "archive"
    add_part(folder, Source(record, CUTS[0]), EXPORTED_AT)
    before = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    add_part(folder, Source(record), EXPORTED_AT)
    assert {path: path.stat() for path in before} == before
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o444}


def test_a_run_that_finds_nothing_new_says_so_by_a_part_without_records(archive: Path, record: Record) -> None:
    """That nothing came until then is on record, too."""
    part, made = add_part(archive, Source(record), EXPORTED_AT)
    assert (part, sum(made.values())) == ("000004", 0)
    assert _faults(archive) == []


NAMES: Final = [
    f"{part}/{name}" for part in PARTS for name in (MANIFEST, "alerts.json", file_of(AUDIT), file_of(CHECKPOINTS_TOPIC))
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["flip", "truncate", "empty", "drop"])
def test_a_file_that_is_altered_is_named(archive: Path, name: str, how: str) -> None:
    """A bit, its end, all of it: the part is named, and of a manifest the one that vouches for it."""
    path = archive / name
    content = path.read_bytes()
    middle = len(content) // 2
    altered = {
        "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "truncate": content[: middle + 1],
        "empty": b"",
    }
    path.unlink() if how == "drop" else path.write_bytes(altered[how])
    part, _, file = name.partition("/")
    assert any(part in fault for fault in _faults(archive)), _faults(archive)
    if file != MANIFEST:
        assert any(fault.endswith(f": {name}") for fault in _faults(archive))


@pytest.mark.parametrize(
    ("alter", "named"),
    [
        (lambda folder: shutil.rmtree(folder / "000001"), "000001"),
        (lambda folder: shutil.rmtree(folder / "000002"), "000002"),
        (lambda folder: _swap(folder / "000002", folder / "000003"), "000002"),
        (lambda folder: _swap(folder / "000001" / file_of(AUDIT), folder / "000002" / file_of(AUDIT)), "000001"),
        (lambda folder: _swap(folder / "000001" / MANIFEST, folder / "000002" / MANIFEST), "000001"),
        (lambda folder: (folder / "000002").rename(folder / "000007"), "000002"),
        (lambda folder: (folder / "000002" / "more").write_bytes(b"1"), "000002/more"),
        (lambda folder: (folder / "000004").mkdir(), "000004"),
        (lambda folder: _forge(folder / "000001"), "000001"),
    ],
)
def test_parts_that_are_missing_swapped_or_written_anew_are_named(
    archive: Path, alter: Callable[[Path], object], named: str
) -> None:
    """A manifest that was made anew is not the one that the next part names."""
    alter(archive)
    assert any(named in fault for fault in _faults(archive)), _faults(archive)


def _swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def _forge(part: Path, at: int = 50) -> None:
    """Alter a record, and the manifest to match."""
    path = part / file_of(AUDIT)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:at], *lines[at + 1 :]]))
    manifest = json.loads((part / MANIFEST).read_bytes())
    manifest["files"][path.name] = sum_of(path).model_dump()
    (part / MANIFEST).write_text(json.dumps(manifest))


def test_a_record_that_is_taken_out_of_the_last_part_with_its_manifest_breaks_the_seals(archive: Path) -> None:
    """Nothing vouches for the last manifest but the heads in it; the place is told in the part's own lines."""
    _forge(archive / PARTS[-1])
    assert _faults(archive) == []
    [seals] = [one for one in _found(archive) if (one.check, one.of, one.state) == ("seals", AUDIT, State.FAILED)]
    assert any(place.has(f"000003/{file_of(AUDIT)}", 51) for place in seals.places), seals.places


def test_a_fault_between_two_heads_is_placed_in_both_parts_that_it_may_be_in(archive: Path) -> None:
    """The end of the one and the beginning of the next; or it is the head, which is named too."""
    _forge(archive / PARTS[1], 10)
    [seals] = [one for one in _found(archive) if (one.check, one.of, one.state) == ("seals", AUDIT, State.FAILED)]
    places = {place.file: (place.line, place.last_line) for place in seals.places}
    assert places.keys() == {
        f"000001/{file_of(AUDIT)}",
        f"000002/{file_of(AUDIT)}",
        f"000002/{file_of(CHECKPOINTS_TOPIC)}",
    }
    assert places[f"000001/{file_of(AUDIT)}"] == (181, 200)
    assert places[f"000002/{file_of(AUDIT)}"][0] == 1


class _Failing:
    """Creates files of which one write comes to half of what it should, and then nothing comes any more."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def __call__(self, path: Path) -> BinaryIO:
        self.count()
        return _File(self, new_file(path))  # type: ignore[return-value]

    def count(self) -> None:
        """One more."""
        self.left -= 1
        if self.left < 0:
            raise Killed


class _File(io.BufferedIOBase):
    def __init__(self, failing: _Failing, file: BinaryIO) -> None:
        self._failing, self._file = failing, file

    def write(self, content: bytes) -> int:  # type: ignore[override]
        try:
            self._failing.count()
        except Killed:
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            raise
        return self._file.write(content)

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()


@pytest.mark.parametrize("first", [0, SMALL // 2], ids=["in the first part", "in a later part"])
def test_wherever_a_run_is_killed_the_next_one_completes_it(record: Record, first: int, tmp_path: Path) -> None:
    """At each file that is created and each write, the manifest's too: no record is lost, none comes twice."""
    killed = 0
    while True:
        folder = tmp_path / str(killed)
        if first:
            add_part(folder, Source(record, first), EXPORTED_AT)
        before = _contents(folder) if first else {}
        try:
            add_part(folder, Source(record, SMALL), EXPORTED_AT, _Failing(killed))
        except Killed:
            killed += 1
        else:
            break
        stopped = _contents(folder)
        assert stopped.items() >= before.items()
        part, _ = add_part(folder, Source(record, SMALL), EXPORTED_AT)
        assert part == ("000003" if first else "000002")
        assert _contents(folder).items() >= stopped.items()
        assert _faults(folder) == []
        lines = [encode_line(line) for line in ArchiveFolder(folder).lines(AUDIT) if isinstance(line, BusRecord)]
        assert lines == [*map(encode_line, record.records[AUDIT][:SMALL])]
        shutil.rmtree(folder)
    assert killed > SMALL


def test_until_then_what_was_stopped_is_told(record: Record, tmp_path: Path) -> None:
    """As unfinished, by its name; with no finished part it is no archive."""
    with pytest.raises(Killed):
        add_part(tmp_path / "a", Source(record, SMALL), EXPORTED_AT, _Failing(5))
    with pytest.raises(ArchiveRefused, match="no part"):
        opened(tmp_path / "a", lambda _what, _line: None)
    add_part(tmp_path / "a", Source(record, SMALL), EXPORTED_AT)
    with pytest.raises(Killed):
        add_part(tmp_path / "a", Source(record), EXPORTED_AT, _Failing(5))
    [fault] = _faults(tmp_path / "a")
    assert fault.startswith("000003: unfinished")


def _archived_meanwhile(archive: Path, record: Record) -> BinaryIO:
    add_part(archive, Source(record), EXPORTED_AT)
    return io.BytesIO()


def test_what_an_archive_cannot_go_on_with(archive: Path, record: Record, tmp_path: Path) -> None:
    """Another coalition, a topic that was made again, a folder of something else, a run that is at work."""
    before = _contents(archive)
    with pytest.raises(ArchiveRefused, match="coalition"):
        add_part(archive, Source(record, coalition="other"), EXPORTED_AT)
    with pytest.raises(ArchiveRefused, match="another run"):
        add_part(archive, Source(record), EXPORTED_AT, lambda _: _archived_meanwhile(archive, record))
    with pytest.raises(ArchiveRefused, match="made again"):
        add_part(archive, Source(record, made=1), EXPORTED_AT)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_bytes(b"")
    with pytest.raises(ArchiveRefused, match=r"notes\.txt"):
        add_part(tmp_path / "other", Source(record), EXPORTED_AT)
    with pytest.raises(ExportRefused):
        opened(tmp_path / "other", lambda _what, _line: None)
    assert _contents(archive).items() >= before.items()
