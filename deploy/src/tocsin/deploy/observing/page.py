"""The manual's tables of metrics (docs/metrics.md), made from the table that the collectors are made from. Pure."""

from __future__ import annotations

from tocsin.consumers.metric_table import EVERY, TABLE, Metric, Service

BEGIN = "<!-- made from the table in the code: begin -->"
END = "<!-- made from the table in the code: end -->"


def with_tables(page: str) -> str:
    """`page` with what stands between the two marks made anew.

    Raises:
        ValueError: it lacks the marks.
    """
    before, _, rest = page.partition(BEGIN)
    if END not in rest:
        raise ValueError(f"docs/metrics.md lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.partition(END)[2]}"


def tables() -> str:
    """A table for what every service has, and one for each service."""
    common = [metric for metric in TABLE if metric.services == EVERY]
    parts = [("Every service", common)]
    parts += [(f"The service `{one}`", [m for m in TABLE if one in m.services and m not in common]) for one in Service]
    return "\n".join(f"### {title}\n\n{_table(metrics)}" for title, metrics in parts)


def _table(metrics: list[Metric]) -> str:
    lines = [f"| `{one.name}` | {one.kind} | {_labels(one)} | {one.unit} | {one.help} |" for one in metrics]
    return "\n".join(("| metric | kind | labels | unit | what it says |", "|---|---|---|---|---|", *lines, ""))


def _labels(metric: Metric) -> str:
    return ", ".join(f"`{label}`" for label in metric.labels) or "none"
