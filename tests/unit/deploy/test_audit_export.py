"""The files of a log are copied as of one head, whatever its sealer does meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.deploy.exported import AUDIT, signer_of
from tocsin.consumers.audit.sealed_log import CHECKPOINT, Folder, SealedLog
from tocsin.consumers.audit.seals import names_at
from tocsin.deploy.audit.export_command import copy_log, log_file
from tocsin.deploy.errors import ExportRefused

LOG = signer_of(AUDIT)


def _grow(folder: Path, count: int) -> None:
    with Folder(folder) as files:
        log = SealedLog(files, LOG.verifier)
        log.append([b"%d" % number for number in range(log.size, log.size + count)])
        log.seal(LOG.sign)


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_log_is_copied_as_of_its_newest_head(tmp_path: Path) -> None:
    """No file of older heads, no lock, nothing that is not sealed."""
    for count in (3, 250, 300):
        _grow(tmp_path / "log", count)
    copy_log(tmp_path / "log", tmp_path / "copy", lambda _: None)
    assert _files(tmp_path / "copy").keys() == {*names_at(553), CHECKPOINT}


@pytest.mark.parametrize("size", [1, 200, 256, 300, 511])
def test_a_sealer_that_works_on_does_not_disturb(size: int, tmp_path: Path) -> None:
    """A partial file that is replaced by the full one meanwhile is the beginning of that."""
    log = tmp_path / "log"
    _grow(log, size)
    before = {name: (log / name).read_bytes() for name in names_at(size)}
    _grow(log, 700)
    assert {name: log_file(log, name) for name in names_at(size)} == before


def test_where_nothing_was_sealed_nothing_is_copied(tmp_path: Path) -> None:
    """And a head that is none is refused, with what to do."""
    copy_log(tmp_path / "log", tmp_path / "copy", lambda _: None)
    assert not (tmp_path / "copy").exists()
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(ExportRefused, match="--tiles"):
        copy_log(tmp_path / "log", tmp_path / "copy", lambda _: None)


def test_a_file_that_is_missing_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The export is made all the same; whoever verifies it is told."""
    _grow(tmp_path / "log", 300)
    (tmp_path / "log" / "tile/entries/000").unlink()
    copy_log(tmp_path / "log", tmp_path / "copy", lambda _: None)
    assert "tile/entries/000: missing; left out" in capsys.readouterr().err
    assert "tile/entries/000" not in _files(tmp_path / "copy")
