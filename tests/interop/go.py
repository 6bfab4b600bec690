"""Go, for what is judged by what others publish in it."""

from __future__ import annotations

import json
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


def go() -> str:
    """The command."""
    if not GO:
        pytest.fail("no Go, which CI needs for tests/interop; install it from https://go.dev/dl")
    return GO


def built(source: Path, folder: Path) -> Path:
    """The command whose source is in `source`, in `folder`."""
    command = folder / source.name
    made = subprocess.run([go(), "build", "-o", command, "."], cwd=source, capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"go build in {source} failed (it needs the module proxy once): {made.stderr}"
    return command


def module(name: str, content: str) -> Path:
    """The folder of the module `name` (path@version), whose files have the hash `content`, as in a go.sum."""
    command = [go(), "mod", "download", "-json", name]
    # the hash is ours to compare
    made = subprocess.run(command, env={**os.environ, "GOSUMDB": "off"}, capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"{name} cannot be had (it needs the module proxy once): {made.stdout} {made.stderr}"
    told = json.loads(made.stdout)
    assert told["Sum"] == content
    return Path(told["Dir"])
