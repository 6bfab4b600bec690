"""What `tocsin policy check` says of wrong policies, word for word, and of odd ones that are sound.

The policies are in tests/golden: `NN-name.yaml` (with `NN-name.more.yaml` if there are two files) and beside it what
the command prints, `NN-name.txt`. After a change of a message, write them again and read the difference:

    TOCSIN_GOLDEN=write pytest tests/unit/deploy/test_policy_golden.py && git diff tests/golden
"""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tocsin.deploy.cli import main

GOLDEN = Path("tests/golden").absolute()
PLACE = re.compile(r"^(tocsin: )?[\w.-]+\.yaml:[1-9][0-9]*: ")
VERBS = "write|add|name|keep|correct|swap|lower|narrow|rename|choose|save|widen|run|remove"
REMEDY = re.compile(rf"; ({VERBS})\b|; did you mean '")


def _files(folder: str) -> list[Path]:
    return sorted(path for path in (GOLDEN / folder).glob("*.yaml") if not path.stem.endswith(".more"))


WRONG, ODD = _files("policies"), _files("odd-policies")


def _said(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The exit code and all output of the command on a policy, both streams; today's date is `<today>`."""
    wrong = path.parent.name == "policies"
    more = path.with_suffix(".more.yaml")
    names = [path.name, *([more.name] if more.exists() else [])]
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr(sys, "argv", ["tocsin", "policy", "check", *names, *([] if wrong else ["--output", "json"])])
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out), pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), out.getvalue().replace(str(datetime.now(UTC).date()), "<today>")


def _compare(path: Path, said: str) -> None:
    golden = path.with_suffix(".txt")
    if os.environ.get("TOCSIN_GOLDEN") == "write":
        golden.write_text(said)
    assert said == golden.read_text()


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_wrong_policy_is_refused_word_for_word(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of it names file and line, and what to do."""
    code, said = _said(path, monkeypatch)
    assert code == 1
    lines = [line for line in said.splitlines() if not line.startswith("warning: ")]
    assert lines
    assert [line for line in lines if not PLACE.match(line)] == []
    assert [line for line in lines if not REMEDY.search(line)] == []
    assert [line for line in lines if "Input should" in line or "String should" in line] == []
    _compare(path, said)


@pytest.mark.parametrize("path", ODD, ids=lambda path: path.stem)
def test_what_is_odd_is_warned_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do; it is sound all the same."""
    code, said = _said(path, monkeypatch)
    warnings = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert code == 0
    assert warnings
    assert [line for line in warnings if not REMEDY.search(line)] == []
    _compare(path, said)


def test_there_are_enough_of_them() -> None:
    """Each with its expected output, and none left over."""
    assert len(WRONG) >= 40
    expected = {path.with_suffix(".txt") for path in (*WRONG, *ODD)}
    assert {*GOLDEN.glob("*/*.txt")} == expected
