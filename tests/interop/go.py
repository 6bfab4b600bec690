"""Go, for what is judged by code of others that is written in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

# where Go's own installer puts it, which is not always on the PATH
GO: Final = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
IS_CI: Final = any(os.environ.get(name) for name in ("CI", "TOCSIN_CI"))

needs_go = pytest.mark.skipif(not GO and not IS_CI, reason="no Go here; install it from https://go.dev/dl")


def built(source: Path, folder: Path) -> Path:
    """The command whose source is in `source`, in `folder`."""
    if not GO:
        pytest.fail("no Go, which CI needs for tests/interop; install it from https://go.dev/dl")
    command = folder / source.name
    made = subprocess.run([GO, "build", "-o", command, "."], cwd=source, capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"go build in {source} failed (it needs the module proxy once): {made.stderr}"
    return command
