"""Keeps two heads of one log that contradict each other.

forks/<topic>.<entries>.<root>/    two signed notes: `seen`, which came first, and `offered`, by which it is named
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from tocsin.consumers.audit.shown import Fork
from tocsin.schemas.files import sync_folder, write_file

FORKS: Final = "forks"

log = structlog.get_logger()


def keep_fork(beside: Path, topic: str, fork: Fork) -> Path:
    """Write down both heads in `forks` in the folder `beside`, and say so. Gives the folder that has them.

    Raises:
        OSError: they cannot be written.
    """
    head = fork.offered.head
    folder = beside / FORKS / f"{topic}.{head.size}.{head.root.hex()[:16]}"
    log.error("log_forked", topic=topic, seen=fork.seen.head.size, offered=head.size, evidence=str(folder))
    write_file(folder / "seen", fork.seen.note)
    write_file(folder / "offered", fork.offered.note)
    sync_folder(folder)
    return folder


def kept_forks(beside: Path) -> list[Path]:
    """The folders of evidence that are there."""
    return sorted((beside / FORKS).glob("*"))
