"""Small files with secrets or state: written whole or not at all, and refused when others could read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tocsin.schemas.errors import BundleInvalid, UnsafePermissions

SECRET_MODE = 0o600


def write_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` atomically: a crash leaves the old content or the new, never half; `sync_folder` makes it last.

    What is there already, with this content and mode, is left alone.
    """
    if _is(path, content, mode):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        # os.write may write less than all, on a full disk without an error
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def sync_folder(path: Path) -> None:
    """Make durable what `path` lists: new, replaced and removed names outlast a power cut once this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is(path: Path, content: bytes, mode: int) -> bool:
    try:
        with path.open("rb") as file:
            return stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode and file.read() == content
    except OSError:
        return False


def read_file(path: Path) -> bytes:
    """The content of `path`.

    Raises:
        BundleInvalid: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleInvalid(
            f"{path}: {error.strerror}; is this the folder that `tocsin policy apply` wrote?"
        ) from error


def read_secret(path: Path) -> bytes:
    """The content of `path`, which nobody else may read.

    Raises:
        UnsafePermissions: its mode lets others read it.
        BundleInvalid: it is missing or cannot be read.
    """
    content = read_file(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise UnsafePermissions(f"{path}: mode {mode:04o} lets others read a secret; run: chmod 600 {path}")
    return content
