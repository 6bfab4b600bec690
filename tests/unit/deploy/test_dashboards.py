"""The committed dashboards are what the code makes, and speak of what there is."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from tests.observe.prometheus import OBSERVE
from tests.observe.tools import ROOT
from tocsin.deploy.observing.boards import BOARDS
from tocsin.deploy.observing.panels import COLUMNS, Board, Panel, Show, grafana

FOLDER = OBSERVE / "dashboards"
PANELS = [panel for board in BOARDS for panel in board.panels]
BOARD = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
PANEL = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)


@BOARD
def test_the_committed_file_is_current(board: Board) -> None:
    """To write it anew: `make dashboards`."""
    text = json.dumps(grafana(board), indent=1) + "\n"
    path = FOLDER / f"{board.uid}.json"
    if os.environ.get("TOCSIN_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


def test_no_file_is_left_over() -> None:
    """A dashboard that is no more has no file."""
    assert {path.stem for path in FOLDER.iterdir()} == {board.uid for board in BOARDS}


@BOARD
def test_panels_lie_side_by_side(board: Board) -> None:
    """No two of one board overlap, none hangs over the edge, and each has a title of its own."""
    cells: set[tuple[int, int]] = set()
    for panel in grafana(board)["panels"]:
        place: dict[str, int] = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        new = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & new
        cells |= new
    assert len({panel.title for panel in board.panels}) == len(board.panels)


@PANEL
def test_a_panel_says_what_it_means_and_what_to_do(panel: Panel) -> None:
    """It has a description; where it can be bad, the runbook has the section that it names."""
    assert panel.says.endswith(".")
    assert panel.runbook or (panel.amber is None and panel.red is None) or panel.unit == "percentunit"
    if panel.runbook:
        headings = re.findall(r"^## (.*)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
        assert panel.runbook in {heading.lower() for heading in headings}


@PANEL
def test_the_colours_are_right(panel: Panel) -> None:
    """What is worse is redder, from the bounds on."""
    if panel.amber is not None and panel.red is not None:
        assert (panel.amber > panel.red) == panel.low


@pytest.mark.parametrize(
    ("low", "colours"),
    [
        (False, [("green", None), ("orange", 2), ("red", 3)]),
        (True, [("red", None), ("orange", 2), ("green", 3)]),
    ],
)
def test_bounds(low: bool, colours: list[tuple[str, float | None]]) -> None:  # noqa: FBT001
    """Each colour begins at its bound, the worst below the lowest where low is bad."""
    amber, red = (3, 2) if low else (2, 3)
    panel = Panel("a", "b.", [], show=Show.FIGURE, amber=amber, red=red, low=low)
    [made] = grafana(Board("u", "t", "s", [panel]))["panels"]
    steps: list[dict[str, Any]] = made["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["color"], step["value"]) for step in steps] == colours


@BOARD
def test_every_variable_is_used_and_known(board: Board) -> None:
    """A query names no variable that the board has not."""
    known = {one.name for one in board.variables} | {"__rate_interval", "__range"}
    used = {name for panel in board.panels for one in panel.queries for name in re.findall(r"\$(\w+)", one.expr)}
    assert used <= known
    assert {one.name for one in board.variables} <= used
