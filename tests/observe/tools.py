"""Prometheus, promtool and amtool: on the PATH, or where `make observe-tools` puts them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
INSTALL: Final = "make observe-tools"
_OURS: Final = ROOT / ".tocsin" / "tools" / "usr" / "bin"


class ToolMissing(Exception):
    """A program that is not Python's is not there."""


def tool(name: str) -> str:
    """The path of a program.

    Raises:
        ToolMissing: it is not there; the message says which command brings it.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_OURS}")
    if found is None:
        raise ToolMissing(f"no {name} on the PATH; bring it with: {INSTALL}")
    return found


def tool_or_skip(name: str) -> str:
    """The path of a program; a test without it is skipped, but never in CI."""
    try:
        return tool(name)
    except ToolMissing as missing:
        if os.environ.get("TOCSIN_CI"):
            raise
        pytest.skip(str(missing))


def run_tool(name: str, *words: str | Path, cwd: Path = ROOT) -> str:
    """What a program prints as its answer; fails with all that it said when it ends with anything but 0."""
    done = subprocess.run([tool_or_skip(name), *words], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout
