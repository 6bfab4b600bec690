"""The Containerfile before BuildKit's own parser, which warns of nothing in it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.interop.go import built, needs_go

HERE: Final = Path(__file__).with_name("containerfile")
TEXT: Final = (HERE.parents[2] / "deploy" / "container" / "Containerfile").read_text()

pytestmark = needs_go


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of tests/interop/containerfile."""
    return built(HERE, tmp_path_factory.mktemp("go"))


def _said(judge: Path, text: str) -> str:
    return subprocess.run([judge], input=text, capture_output=True, text=True, check=False).stdout


def test_buildkit_reads_it(judge: Path) -> None:
    """Each instruction is one that there is, with the options and the number of words that it has."""
    assert _said(judge, TEXT) == ""


MISTAKES: Final = {
    "an instruction of nobody": ("COPY schemas", "COPPY schemas"),
    "an option of nobody": ("COPY --from", "COPY --form"),
    "no user": ("USER 10001:10001", "USER"),
    "nothing to copy to": ("COPY deploy deploy", "COPY deploy"),
    "another way to write": ("AS build", "as build"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_buildkit_refuses_a_mistake(judge: Path, name: str) -> None:
    """One mistake in a file that is right is refused."""
    right, wrong = MISTAKES[name]
    assert right in TEXT
    assert _said(judge, TEXT.replace(right, wrong)) != ""
