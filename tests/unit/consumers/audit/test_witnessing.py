"""A member as a witness, on folders as a sealer makes them: what it cosigns, what it keeps as evidence, what waits."""

from __future__ import annotations

import functools
import random
import shutil
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tocsin.consumers.audit import tile_source
from tocsin.consumers.audit.cosigned import Cosigned
from tocsin.consumers.audit.note import Note, Signer, Verifier
from tocsin.consumers.audit.sealed_log import Folder, SealedLog
from tocsin.consumers.audit.tile_source import source_of
from tocsin.consumers.audit.witnessing import Witnessing
from tocsin.consumers.errors import LogInvalid, NoteInvalid, OutboxError, TilesUnreadable
from tocsin.schemas.signing import SigningKey

TOPIC = "audit.se"
LOG = Signer(f"test.tocsin/{TOPIC}", SigningKey.generate("sealer"))
KEY = SigningKey.generate("bank-fr")
AT_S = 1_800_000_000
SEED = 20_261_127


def sealed(folder: Path, *sizes: int, altered: int | None = None) -> list[bytes]:
    """A log's folder under `folder`, sealed at these sizes; one entry of it may be altered. Gives its heads."""
    with Folder(folder / TOPIC) as files:
        log, notes = SealedLog(files, LOG.verifier), list[bytes]()
        for size in sizes:
            numbers = range(log.size, size)
            log.append([b"other" if each == altered else each.to_bytes(4, "big") for each in numbers])
            notes.append(log.seal(LOG.sign))
        return notes


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Every witness lets go of its state."""
    yield
    for one in Stage.open:
        one.close()
    Stage.open.clear()


def keys_of(_topic: str) -> Sequence[Verifier]:
    """The directory has one key."""
    return [LOG.verifier]


class Stage:
    """A witness in the folder `home` that is given the tiles at `tiles`, and what it has handed out."""

    open: ClassVar[list[Witnessing]] = []

    def __init__(self, home: Path, tiles: Path | str) -> None:
        self.home = home
        self.handed_out: list[Cosigned] = []
        self.refuses = False
        self.witness = Witnessing(home / "seen.json", "test", "bank-fr", KEY, source_of(str(tiles)), self._take)
        self.open.append(self.witness)

    def _take(self, cosigned: Cosigned) -> None:
        if self.refuses:
            raise OutboxError("no answer")
        self.handed_out.append(cosigned)

    def look(self, *notes: bytes) -> tuple[int | None, list[int], list[int]]:
        """How much is cosigned after these heads; the sizes of forks and of what waits."""
        self.witness.take(notes)
        found = self.witness.look(keys_of, AT_S)[TOPIC]
        forks = [one.head.size for one, _ in found.forks]
        return found.entries, forks, [one.offered.head.size for one in found.unproved]

    def anew(self, tiles: Path | str) -> Stage:
        """The same witness, started again with other tiles."""
        self.witness.close()
        return Stage(self.home, tiles)


def test_each_head_that_continues_is_cosigned_and_handed_out(tmp_path: Path) -> None:
    """The newest of each look; both keys verify it, and a look without news does nothing."""
    notes = sealed(tmp_path / "log", 1, 3, 200, 256, 300, 700)
    stage = Stage(tmp_path / "home", tmp_path / "log")
    assert stage.look(notes[0]) == (1, [], [])
    assert stage.look(*notes[1:4]) == (256, [], [])
    stage = stage.anew(tmp_path / "log")
    assert stage.look() == (256, [], [])
    assert stage.look(notes[5], notes[4], notes[5]) == (700, [], [])
    [handed_out] = stage.handed_out
    key = stage.witness.key
    assert key.name == "test.tocsin/witness/bank-fr"
    assert Note.parse(handed_out.note()).verified([LOG.verifier, key]) == {LOG.verifier, key}
    assert (tmp_path / "home" / "cosigned" / TOPIC).read_bytes() == handed_out.note()
    assert (stage.witness.waiting, stage.witness.forks) == (0, [])


@pytest.mark.parametrize("run", range(100))
def test_every_fork_is_refused_and_kept_as_evidence(tmp_path: Path, run: int) -> None:
    """Another history by the log's own key, of any size, whichever of the two hands out its tiles."""
    rng = random.Random(SEED + run)
    seen, size = rng.randint(1, 300), rng.randint(1, 600)
    at = sorted({rng.randint(1, seen), seen, 600})
    notes = sealed(tmp_path / "true", *at)
    forged = sealed(tmp_path / "false", *sorted({size, 600}), altered=rng.randrange(min(seen, size)))[0]
    stage = Stage(tmp_path / "home", tmp_path / "true")
    assert stage.look(*notes[:-1]) == (seen, [], [])
    stage = stage.anew(tmp_path / rng.choice(["true", "false"]))
    assert stage.look(forged) == (seen, [size], [])
    [evidence] = (tmp_path / "home" / "forks").iterdir()
    assert ((evidence / "seen").read_bytes(), (evidence / "offered").read_bytes()) == (notes[-2], forged)
    assert (stage.handed_out, len(stage.witness.forks), stage.witness.waiting) == ([], 1, 0)
    # somebody else was shown the same; and the true history goes on
    assert stage.witness.compare(forged, keys_of)[1].forks
    stage = stage.anew(tmp_path / "true")
    assert stage.look(notes[-1]) == (600, [], [])
    assert len(stage.witness.forks) == 1


def test_a_head_that_somebody_kept_is_compared(tmp_path: Path) -> None:
    """Smaller, the same or larger; it is not cosigned for that. One of another log is refused."""
    notes = sealed(tmp_path / "log", 5, 9, 12)
    stage = Stage(tmp_path / "home", tmp_path / "log")
    assert stage.witness.compare(notes[0], keys_of)[1].unproved[0].why == "no head of this log was seen here yet"
    stage.look(notes[1])
    for note, size in zip(notes, (5, 9, 12), strict=True):
        topic, found = stage.witness.compare(note, keys_of)
        assert (topic, found.entries, found.forks, found.unproved) == (TOPIC, size, [], [])
    assert stage.look() == (9, [], [])
    for text in (notes[0].replace(b"audit.se", b"alerts.se"), notes[0].replace(b"test.", b"other."), b"x"):
        with pytest.raises(NoteInvalid):
            stage.witness.compare(text, keys_of)


def test_what_cannot_be_proved_now_waits(tmp_path: Path) -> None:
    """A folder that is behind, is gone, or of something else, is no fork; once it is there, what waited is compared."""
    notes = sealed(tmp_path / "log", 5)
    shutil.copytree(tmp_path / "log", tmp_path / "behind")
    notes += sealed(tmp_path / "log", 9, 300)
    sealed(tmp_path / "false", 9, 300, altered=1)
    stage = Stage(tmp_path / "home", tmp_path / "behind")
    assert stage.look(*notes) == (5, [], [9, 300])
    (tmp_path / "behind").rename(tmp_path / "away")
    assert stage.look() == (5, [], [9, 300])
    assert stage.witness.waiting == 2
    for tile in (tmp_path / "false").rglob("tile/0/*"):
        if tile.is_file():
            tile.write_bytes(bytes(tile.stat().st_size))
    shutil.copytree(tmp_path / "false", tmp_path / "behind")
    assert stage.look()[1:] == ([], [9, 300])
    shutil.rmtree(tmp_path / "behind")
    shutil.copytree(tmp_path / "log", tmp_path / "behind")
    assert stage.look() == (300, [], [])


def test_what_was_not_handed_out_is_handed_out_by_the_next_look(tmp_path: Path) -> None:
    """Also of a witness that was started again."""
    notes = sealed(tmp_path / "log", 5, 9)
    stage = Stage(tmp_path / "home", tmp_path / "log")
    stage.refuses = True
    with pytest.raises(OutboxError):
        stage.look(*notes)
    stage.refuses = False
    assert stage.look() == (9, [], [])
    (tmp_path / "home" / "cosigned" / TOPIC).unlink()
    stage = stage.anew(tmp_path / "log")
    assert stage.look() == (9, [], [])
    assert [one.head.size for one in stage.handed_out] == [9]


def test_one_process_alone_is_a_witness_and_it_never_forgets(tmp_path: Path) -> None:
    """Two could sign two histories, and so could one whose memory is gone."""
    notes = sealed(tmp_path / "log", 5)
    stage = Stage(tmp_path / "home", tmp_path / "log")
    with pytest.raises(LogInvalid, match="in use by another process"):
        Stage(tmp_path / "home", tmp_path / "log")
    stage.look(*notes)
    stage.witness.close()
    (tmp_path / "home" / "seen.json").unlink()
    with pytest.raises(LogInvalid, match="gone, though heads were cosigned"):
        Stage(tmp_path / "home", tmp_path / "log")


def test_what_no_sealer_signed_is_passed_over(tmp_path: Path) -> None:
    """It says nothing of the log, so it is no fork."""
    [note] = sealed(tmp_path / "log", 5)
    other = Signer(LOG.name, SigningKey.generate("x"))
    text = Note.parse(note).text.replace("\n5\n", "\n6\n")
    stage = Stage(tmp_path / "home", tmp_path / "log")
    assert stage.look(b"no note", Note(text, (other.sign(text),)).encode(), note) == (5, [], [])


# -- tiles from elsewhere --------------------------------------------------------------------------------------------


@contextmanager
def serving(handler: Any) -> Generator[str]:
    """The address of a web server in a thread."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its own name
        """Say nothing."""


class _Foul(BaseHTTPRequestHandler):
    """Answers a name that ends with `large`, `slow` or a status."""

    def do_GET(self) -> None:
        """Answer."""
        word = self.path.rpartition("/")[2]
        self.send_response(int(word) if word.isdigit() else 200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(bytes(65_536) if word == "large" else b"x")
                if word == "slow":
                    time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its own name
        """Say nothing."""


def test_tiles_may_come_from_a_web_server(tmp_path: Path) -> None:
    """As from a folder, with partial tiles that the sealer has removed since."""
    sizes = [1, 100, 255, 256, 257, 511, 513, 700]
    notes = sealed(tmp_path / "log", *sizes)
    assert not (tmp_path / "log" / TOPIC / "tile/0/000.p").exists()
    with serving(functools.partial(_Files, directory=str(tmp_path / "log"))) as url:
        stage = Stage(tmp_path / "home", url + "/")
        assert stage.look(*notes) == (700, [], [])


def test_a_web_server_can_take_neither_our_memory_nor_our_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers are cut off; a refusal is not taken for a missing file."""
    monkeypatch.setattr(tile_source, "FETCH_S_MAX", 0.5)
    with serving(_Foul) as url:
        source = source_of(url)
        assert len(source("a/large")) == tile_source.TILE_BYTES_MAX + 1
        with pytest.raises(TilesUnreadable, match="not read in"):
            source("a/slow")
        for status in ("403", "500"):
            with pytest.raises(TilesUnreadable, match=status):
                source(f"a/{status}")
        with pytest.raises(FileNotFoundError):
            source("a/404")
    with pytest.raises(TilesUnreadable, match="refused"):
        source("a/x")
    with pytest.raises(TilesUnreadable, match="name that of the sealer's logs"):
        source_of(str(tmp_path / "none"))("a")
