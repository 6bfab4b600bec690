"""A log in a folder: it goes on after any end, signs no two heads that differ, and refuses what was altered."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.consumers.audit.killed_files import Killed, KilledFiles
from tocsin.consumers.audit.merkle import consistency_proof, inclusion_proof, leaf_hash, root_of, verify_consistency
from tocsin.consumers.audit.note import Checkpoint, Note, Signature, Signer, open_checkpoint
from tocsin.consumers.audit.sealed_log import CHECKPOINT, HEAD, Files, Folder, SealedLog
from tocsin.consumers.audit.tiles import ENTRY_BYTES_MAX, read_bundle
from tocsin.consumers.errors import LogInvalid, NoteInvalid
from tocsin.schemas.signing import SigningKey

LOG = Signer("exchange.example/audit/se", SigningKey.generate("log"))
OTHER = Signer("exchange.example/audit/se", SigningKey.generate("other"))
SEED = 20_260_904


def _entries(count: int, start: int = 0) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(start, start + count)]


def _filled(folder: Path, *counts: int) -> None:
    """A log that was sealed after each of so many entries."""
    with Folder(folder) as files:
        log = SealedLog(files, LOG.verifier)
        for count in counts:
            log.append(_entries(count, log.size))
            log.seal(LOG.sign)


# -- in order --------------------------------------------------------------------------------------------------------


def test_what_was_sealed_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    """Over several seals, across the ends of tiles; each checkpoint has the root of the entries so far."""
    size = 0
    for count in (1, 0, 254, 1, 1, 300, 512, 7):
        with Folder(tmp_path / "log") as files:
            log = SealedLog(files, LOG.verifier)
            assert log.size == size
            log.append(_entries(count, size))
            head = open_checkpoint(log.seal(LOG.sign), LOG.verifier)
            size += count
            assert head == Checkpoint(LOG.name, size, root_of([leaf_hash(entry) for entry in _entries(size)]))
            assert files.read(CHECKPOINT) == log.checkpoint == log.seal(LOG.sign)
            found = [e for index in range(-(-size // 256)) for e in read_bundle(index, size, files.read)]
            assert found == _entries(size)


def test_a_log_of_nothing_can_be_sealed(tmp_path: Path) -> None:
    """Its head is the first that a witness sees."""
    _filled(tmp_path, 0)
    with Folder(tmp_path) as files:
        assert SealedLog(files, LOG.verifier).size == 0


def test_what_is_not_sealed_is_in_no_file_and_no_proof(tmp_path: Path) -> None:
    """It is gone with the process, and proofs are those of the newest checkpoint."""
    _filled(tmp_path, 300)
    with Folder(tmp_path) as files:
        log = SealedLog(files, LOG.verifier)
        log.append(_entries(700, 300))
        assert log.size == 1000
        assert inclusion_proof(299, 300, log.hashes())
        with pytest.raises(ValueError, match="not complete"):
            inclusion_proof(0, 1000, log.hashes())
    with Folder(tmp_path) as files:
        assert SealedLog(files, LOG.verifier).size == 300


def test_partial_files_of_every_checkpoint_stay_until_the_full_one_stands(tmp_path: Path) -> None:
    """Who has an older checkpoint can still read its tree; tlog-tiles asks for that."""

    def partial() -> set[str]:
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.p/*")}

    _filled(tmp_path, 3, 4)
    kept = {f"tile/{level}/000.p/{width}" for level in ("0", "entries") for width in (3, 7)}
    assert partial() == kept
    _filled(tmp_path, 249)
    assert partial() == {"tile/1/000.p/1"}


def test_an_entry_too_long_for_a_log_leaves_it_as_it_was(tmp_path: Path) -> None:
    """Of what comes together, all is taken in or nothing."""
    with Folder(tmp_path) as files:
        log = SealedLog(files, LOG.verifier)
        with pytest.raises(ValueError, match="longer than 65535"):
            log.append([b"", bytes(ENTRY_BYTES_MAX + 1)])
        log.append([bytes(ENTRY_BYTES_MAX)])
        assert open_checkpoint(log.seal(LOG.sign), LOG.verifier).size == 1


def test_a_signature_of_another_key_is_not_published(tmp_path: Path) -> None:
    """The head can be signed by the right key afterwards, also with more entries."""
    with Folder(tmp_path) as files:
        log = SealedLog(files, LOG.verifier)
        log.append(_entries(5))
        with pytest.raises(NoteInvalid):
            log.seal(OTHER.sign)
        assert log.checkpoint is None
        log.append(_entries(2, 5))
        assert open_checkpoint(log.seal(LOG.sign), LOG.verifier).size == 7


def test_one_process_has_a_log(tmp_path: Path) -> None:
    """The next one can have it once it is closed."""
    with Folder(tmp_path), pytest.raises(LogInvalid, match="in use by another process"):
        Folder(tmp_path)
    with Folder(tmp_path):
        pass


# -- folders that were altered ---------------------------------------------------------------------------------------

EDGE = (HEAD, CHECKPOINT, "tile/0/257.p/8", "tile/1/001.p/1", "tile/2/000.p/1", "tile/entries/257.p/8")
SIZE = 257 * 256 + 8


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of three levels."""
    folder = tmp_path_factory.mktemp("large")
    _filled(folder, SIZE - 5, 5)
    return folder


@pytest.fixture
def spare(large: Path) -> Iterator[Callable[[str, bytes | None], None]]:
    """Replaces a file's content, or takes the file away; afterwards all is as it was."""
    kept = {name: (large / name).read_bytes() for name in EDGE}

    def replace(name: str, content: bytes | None) -> None:
        (large / name).unlink()
        if content is not None:
            (large / name).write_bytes(content)

    yield replace
    for name, content in kept.items():
        (large / name).write_bytes(content)


def _refused(folder: Path, name: str) -> None:
    with Folder(folder) as files, pytest.raises(LogInvalid, match=re.escape(name)):
        SealedLog(files, LOG.verifier)


def test_opening_reads_the_edge_alone(large: Path) -> None:
    """However many entries there are."""
    read: list[str] = []

    class Listening(Folder):
        def read(self, name: str) -> bytes:
            read.append(name)
            return super().read(name)

    with Listening(large) as files:
        assert SealedLog(files, LOG.verifier).size == SIZE
    assert set(read) == set(EDGE)


@pytest.mark.parametrize("name", EDGE)
def test_a_log_whose_edge_was_altered_is_refused(
    large: Path, spare: Callable[[str, bytes | None], None], name: str
) -> None:
    """One byte, the last byte gone, all bytes gone: it names the file."""
    content = (large / name).read_bytes()
    at = random.Random(SEED).randrange(len(content) - 1)
    for altered in (content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], content[:-1], b""):
        spare(name, altered)
        _refused(large, name)


@pytest.mark.parametrize("name", [name for name in EDGE if name not in (HEAD, CHECKPOINT)])
def test_a_log_that_lacks_a_file_is_refused(large: Path, spare: Callable[[str, bytes | None], None], name: str) -> None:
    """It names the file and says what to do."""
    spare(name, None)
    _refused(large, f"{name}: missing; restore it from a copy of this log")


def test_a_log_whose_head_is_older_than_its_checkpoint_is_refused(
    large: Path, spare: Callable[[str, bytes | None], None]
) -> None:
    """Something put old files back, or took the head away: what was signed is no longer all there."""
    old = Checkpoint(LOG.name, SIZE - 5, bytes(32)).text().encode()
    spare(HEAD, old)
    _refused(large, f"head: says {SIZE - 5} entries, checkpoint {SIZE}")
    spare(HEAD, None)
    _refused(large, f"head: says 0 entries, checkpoint {SIZE}")


def test_a_log_of_another_key_or_origin_is_refused(large: Path) -> None:
    """By its checkpoint, or by its head where nothing was signed yet."""
    with Folder(large) as files, pytest.raises(LogInvalid, match="is this the key of the log in this folder"):
        SealedLog(files, OTHER.verifier)


def test_a_head_of_another_log_is_refused(large: Path, spare: Callable[[str, bytes | None], None]) -> None:
    """Even of the same size and root."""
    spare(HEAD, (large / HEAD).read_bytes().replace(b"/se", b"/fr"))
    _refused(large, "head: of the log exchange.example/audit/fr")


# -- ended at any step -----------------------------------------------------------------------------------------------


class Story:
    """A log that is written, ended and gone on with. Every entry is another one, so nothing can be replaced unseen."""

    def __init__(self, seed: int, view: Callable[[KilledFiles], Files] = lambda files: files) -> None:
        self.rng = random.Random(seed)
        self.disk = KilledFiles(self.rng)
        self.view = view
        self.signed: list[str] = []
        self.given = 0

    def sign(self, text: str) -> Signature:
        """Signs; the writer can be ended right before or after."""
        self.disk.step()
        self.signed.append(text)
        self.disk.step()
        return LOG.sign(text)

    def live(self, steps: int, first: int = 0) -> None:
        """Open the log and write until the end comes; then sometimes the power goes, too."""
        self.disk.steps_left = steps
        try:
            log = SealedLog(self.view(self.disk), LOG.verifier)
            kept = open_checkpoint(log.checkpoint, LOG.verifier).size if log.checkpoint else 0
            assert log.size >= kept >= self.given, "what was sealed is gone"
            log.append([self.rng.randbytes(8) for _ in range(max(0, first - log.size))])
            while True:
                log.append([self.rng.randbytes(8) for _ in range(self.rng.choice([1, 2, 30, 255, 256, 300]))])
                note = log.seal(self.sign)
                self.given = Checkpoint.parse(Note.parse(note).text).size
        except Killed:
            pass
        if self.rng.random() < 0.7:
            self.disk.cut_power()

    def check(self) -> None:
        """All heads that were ever signed are heads of the entries that are there in the end, and prove it."""
        self.disk.steps_left = 10_000
        log = SealedLog(self.view(self.disk), LOG.verifier)
        log.append([b"last"])
        size = Checkpoint.parse(Note.parse(log.seal(self.sign)).text).size
        leaves = [leaf_hash(e) for i in range(-(-size // 256)) for e in read_bundle(i, size, self.disk.read)]
        heads = [Checkpoint.parse(text) for text in self.signed]
        assert [head.size for head in heads] == sorted(head.size for head in heads)
        for head in heads:
            assert head.root == root_of(leaves[: head.size]), f"{head.size} entries were signed with another root"
            proof = consistency_proof(head.size, size, log.hashes())
            assert verify_consistency(head.size, size, head.root, heads[-1].root, proof)


def _told(story: Story, ends: int, *, first: int = 0) -> None:
    for _ in range(ends):
        story.live(story.rng.choice([story.rng.randint(0, 40), story.rng.randint(40, 150)]), first)
    story.check()


@pytest.mark.parametrize("run", range(40))
def test_whenever_it_ends_no_two_heads_differ_and_no_sealed_entry_is_gone(run: int) -> None:
    """Random ends at any step of writing, with and without a power cut, twenty in each run."""
    story = Story(SEED + run)
    _told(story, 20)
    assert len(story.signed) > 5


def test_ended_at_each_step_of_one_seal_it_goes_on() -> None:
    """Every step of the first two seals, one after another, in a log that is about to fill tiles."""
    for steps in range(90):
        story = Story(SEED + steps)
        story.live(steps, first=255)
        story.check()


def test_it_goes_on_where_a_third_level_begins() -> None:
    """65,536 entries fill 256 tiles."""
    story = Story(SEED)
    story.live(4_000, first=65_400)
    _told(story, 12, first=65_400)
    assert Checkpoint.parse(story.signed[-1]).size > 65_536


class _Lying:
    """A view of the disk for planted faults."""

    def __init__(self, disk: KilledFiles) -> None:
        self.read = disk.read
        self.write = disk.write
        self.sync = disk.sync
        self.remove = disk.remove
        self.disk = disk


class _NothingSynced(_Lying):
    """Folders are not synced."""

    def __init__(self, disk: KilledFiles) -> None:
        super().__init__(disk)
        self.sync = self._nothing

    def _nothing(self, folder: str) -> None:
        """Does nothing."""


class _OwnFolderOnly(_NothingSynced):
    """A file's own folder is synced, the ones above are not."""

    def _nothing(self, folder: str) -> None:
        if folder in (".", "tile/0", "tile/entries") or folder.endswith(".p"):
            self.disk.sync(folder)


class _GoesOnFromCheckpoint(_Lying):
    """What may have been signed is not settled: the log goes on from the newest checkpoint."""

    def __init__(self, disk: KilledFiles) -> None:
        super().__init__(disk)
        self.read = self._read

    def _read(self, name: str) -> bytes:
        return Note.parse(self.disk.read(CHECKPOINT)).text.encode() if name == HEAD else self.disk.read(name)


class _HeadFirst(_Lying):
    """The head is settled before the tiles that it stands for."""

    def __init__(self, disk: KilledFiles) -> None:
        super().__init__(disk)
        self.late: list[tuple[str, bytes]] = []
        self.write = self._write

    def _write(self, name: str, content: bytes) -> None:
        self.late.append((name, content))
        if name == HEAD:
            for each in reversed(self.late):
                self.disk.write(*each)
            self.late.clear()
        elif name == CHECKPOINT:
            self.disk.write(*self.late.pop())


@pytest.mark.parametrize("fault", [_NothingSynced, _OwnFolderOnly, _GoesOnFromCheckpoint, _HeadFirst])
def test_a_planted_fault_is_found(fault: type[_Lying]) -> None:
    """The runs above would not pass without each safeguard."""

    def found(run: int) -> bool:
        try:
            _told(Story(SEED + run, fault), 20)
        except (AssertionError, LogInvalid):
            return True
        return False

    assert any(found(run) for run in range(40))


WRITER = """
import sys
from pathlib import Path
from tocsin.consumers.audit.note import Signer
from tocsin.consumers.audit.sealed_log import Folder, SealedLog
from tocsin.schemas.signing import SigningKey

signer = Signer("exchange.example/audit/se", SigningKey.load(Path(sys.argv[2]), "log"))

def sign(text):
    print(text.replace(chr(10), " "), flush=True)
    return signer.sign(text)

log = SealedLog(Folder(Path(sys.argv[1])), signer.verifier)
while True:
    log.append([b"%d of %s" % (log.size, sys.argv[3].encode())] * 3)
    log.seal(sign)
"""


def test_a_process_that_is_killed_leaves_a_log_that_goes_on(tmp_path: Path) -> None:
    """Real processes on a real disk, killed in the midst; each would write other entries than the one before."""
    LOG.key.save(tmp_path / "key")
    rng, told = random.Random(SEED), list[str]()
    for run in range(5):
        arguments = [sys.executable, "-c", WRITER, str(tmp_path / "log"), str(tmp_path / "key"), str(run)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            told.append(writer.stdout.readline())
            time.sleep(rng.uniform(0, 0.1))
            writer.send_signal(signal.SIGKILL)
            told += writer.stdout.readlines()
    heads = [Checkpoint.parse(line.strip().replace(" ", "\n") + "\n") for line in told if line.endswith("\n")]
    with Folder(tmp_path / "log") as files:
        log = SealedLog(files, LOG.verifier)
        log.seal(LOG.sign)
        leaves = [leaf_hash(e) for i in range(-(-log.size // 256)) for e in read_bundle(i, log.size, files.read)]
    assert len(heads) > 5
    for head in heads:
        assert head.root == root_of(leaves[: head.size])
