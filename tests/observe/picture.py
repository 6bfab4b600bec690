"""A dashboard drawn from what Prometheus recorded: for the manual, where no Grafana runs."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, Final

from tests.observe.prometheus import Prometheus, Series
from tests.observe.queries import as_asked
from tocsin.deploy.observing.panels import Board, Panel, Show, grafana

CELL: Final = 40
GAP: Final = 6
COLOURS: Final = ("#2f6fb0", "#d9822b", "#3a9d5d", "#a34fb0", "#b03a3a", "#6b6b2f", "#2f9d9d")
BACKGROUNDS: Final = {"green": "#3a9d5d", "orange": "#d9822b", "red": "#b03a3a"}
_UNITS: Final = {"s": "s", "ops": "/s", "reqps": "/s", "Bps": "B/s", "bytes": "B", "ms": "ms"}

Lines = list[tuple[str, list[tuple[float, float]]]]


def picture(board: Board, prometheus: Prometheus, start: float, end: float) -> str:
    """The board over a time, as SVG."""
    made = grafana(board)["panels"]
    parts: list[str] = []
    height = 0
    for panel, drawn in zip(board.panels, made, strict=True):
        place = drawn["gridPos"]
        x, y = place["x"] * CELL + GAP, place["y"] * CELL + GAP
        width, tall = place["w"] * CELL - 2 * GAP, place["h"] * CELL - 2 * GAP
        height = max(height, y + tall + GAP)
        lines = _recorded(panel, prometheus, start, end)
        inner = (
            _figure(panel, drawn, lines, width, tall) if panel.show is Show.FIGURE else _plot(panel, lines, width, tall)
        )
        title = f'<text x="8" y="18" font-weight="bold">{escape(panel.title)}</text>'
        parts.append(f'<g transform="translate({x},{y})">{inner}{title}</g>')
    size = f'width="{24 * CELL}" height="{height}" viewBox="0 0 {24 * CELL} {height}"'
    style = 'font-family="sans-serif" font-size="12" fill="#222"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>' + "\n".join(parts) + "</svg>\n"


def _recorded(panel: Panel, prometheus: Prometheus, start: float, end: float) -> Lines:
    found: Lines = []
    for query in panel.queries:
        for labels, values in prometheus.history(as_asked(query.expr), start, end):
            points = [(float(at), float(value)) for at, value in values if value not in ("NaN", "+Inf", "-Inf")]
            if points:
                found.append((_legend(query.legend, labels), points))
    return found


def _legend(pattern: str, labels: Series) -> str:
    for name, value in labels.items():
        pattern = pattern.replace(f"{{{{{name}}}}}", value)
    return pattern


def _figure(panel: Panel, drawn: dict[str, Any], lines: Lines, width: int, tall: int) -> str:
    value = lines[0][1][-1][1] if lines else 0.0
    steps = drawn["fieldConfig"]["defaults"]["thresholds"]["steps"]
    colour = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    text = f"{value:.1%}" if panel.unit == "percentunit" else f"{value:g}"
    return (
        f'<rect width="{width}" height="{tall}" rx="4" fill="{BACKGROUNDS[colour]}" fill-opacity="0.35"/>'
        f'<text x="{width / 2}" y="{tall / 2 + 22}" font-size="34" text-anchor="middle">{text}</text>'
    )


def _plot(panel: Panel, lines: Lines, width: int, tall: int) -> str:
    frame = f'<rect width="{width}" height="{tall}" rx="4" fill="#fafafa" stroke="#ccc"/>'
    points = [point for _, line in lines for point in line]
    if not points:
        return f'{frame}<text x="{width / 2}" y="{tall / 2}" text-anchor="middle" fill="#888">nobody</text>'
    left, right, top, bottom = 52, width - 10, 30, tall - 28
    first, last = min(at for at, _ in points), max(at for at, _ in points)
    most = max(max(value for _, value in points) * 1.1, 1e-9)

    def spot(at: float, value: float) -> str:
        across = (at - first) / ((last - first) or 1)
        return f"{left + across * (right - left):.1f},{bottom - value / most * (bottom - top):.1f}"

    def drawn() -> Iterator[str]:
        for share in (0.0, 0.5, 1.0):
            y = bottom - share * (bottom - top)
            mark = f"{share * most:.3g}{_UNITS.get(panel.unit, '')}"
            yield f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            yield f'<text x="{left - 4}" y="{y + 4:.1f}" font-size="10" text-anchor="end">{mark}</text>'
        for number, (legend, line) in enumerate(lines):
            colour = COLOURS[number % len(COLOURS)]
            path = " ".join(spot(at, value) for at, value in line)
            yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            x = left + number * (right - left) / len(lines)
            yield f'<text x="{x:.0f}" y="{tall - 10}" font-size="10" fill="{colour}">{escape(legend)}</text>'

    return frame + "".join(drawn())
