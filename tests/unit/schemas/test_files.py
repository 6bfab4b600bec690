"""Small files are written whole or not at all."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tocsin.schemas.files import sync_folder, write_file


def test_a_file_for_which_there_is_no_room_leaves_the_old_one(tmp_path: Path) -> None:
    """The system takes part of it without an error; a limit of ten bytes stands for a full disk."""
    path, limits = tmp_path / "file", resource.getrlimit(resource.RLIMIT_FSIZE)
    write_file(path, b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_file(path, b"twenty bytes, not ten")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"


def test_a_folder_is_synced_and_a_file_is_none(tmp_path: Path) -> None:
    """What is no folder has no names to keep."""
    write_file(tmp_path / "file", b"content")
    sync_folder(tmp_path)
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")
