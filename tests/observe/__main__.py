"""`make observe`: every panel shows something, every rule fires when it should, and the runbook shows the cause.

A whole exchange on three brokers, scraped each second. What is an hour in production is a minute here.
Names of rules as arguments: only the faults that cause these.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.load import load
from tests.observe.exchange import Exchange, exchange
from tests.observe.faults import FAULTS, Fault
from tests.observe.picture import picture
from tests.observe.prometheus import QUICKER
from tests.observe.queries import Asked, asked, rules
from tests.observe.runbook import KAFKA_TOOLS, sections
from tests.observe.tools import ToolMissing, tool
from tests.world import small_policy
from tocsin.deploy.errors import ClusterError
from tocsin.deploy.observing.overview_board import OVERVIEW

SETTLED_S: Final = 60.0
FIRES_S: Final = 120.0
QUIET_S: Final = 30.0
DRAWN_S: Final = 300.0
# three weeks, made quicker, and so long that all is well in the beginning
LIFE: Final = timedelta(weeks=3) / QUICKER + timedelta(minutes=5)
console = Console(width=150)


@dataclass(slots=True)
class Findings:
    """How many series answered each query, and what became of each rule."""

    series: dict[Asked, int] = field(default_factory=dict[Asked, int])
    rules: dict[str, str] = field(default_factory=dict[str, str])
    early: list[str] = field(default_factory=list[str])

    def ask(self, on: Exchange, when: str = "") -> bool:
        """Ask what has not been answered yet; whether everything is that needs this fault."""
        waiting = [one for one in asked() if one.when == when and not self.series.get(one)]
        for one in waiting:
            self.series[one] = len(on.prometheus.query(one.expr))
        return all(self.series[one] for one in waiting)


def main() -> int:
    """Run all of it. Exit codes: 0 all shows and fires, 1 something did not."""
    try:
        tool("prometheus")
    except ToolMissing as missing:
        console.print(str(missing))
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # or brokers would be left behind
    words = argparse.ArgumentParser(prog="python -m tests.observe", description=__doc__)
    words.add_argument("rules", nargs="*", help="only the faults that cause these (default all)")
    words.add_argument("--picture", type=Path, help="draw the overview of the run into this file, SVG")
    asked_for = words.parse_args()
    wanted: list[str] = asked_for.rules
    faults = [one for one in FAULTS if not wanted or {*one.alerts} & {*wanted}]
    folder = Path(tempfile.mkdtemp(prefix="tocsin-observe-"))
    try:
        findings = _run(folder / "home", faults, asked_for.picture)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _report(findings, whole=not wanted)


def _run(home: Path, faults: list[Fault], drawing: Path | None) -> Findings:
    findings = Findings()
    began = time.monotonic()
    console.print("Kafka, the exchange and Prometheus are started ...")
    with (
        exchange(home, small_policy(), brokers=_brokers(faults), quicker=QUICKER, life=LIFE) as on,
        load(on.world, 0.1),
        load(on.world, 0.5, "hotline-de"),
    ):
        console.print(f"at work after {time.monotonic() - began:.0f} s")
        _within(SETTLED_S, lambda: findings.ask(on))
        silent = [f"{one.board}: {one.panel}: {one.expr}" for one, count in findings.series.items() if not count]
        console.print(f"{len(findings.series) - len(silent)} queries answered, {len(silent)} not", *silent, sep="\n  ")
        findings.early = sorted(on.prometheus.firing())
        console.print(f"in health: {', '.join(findings.early) or 'nothing'} fires")
        for fault in faults:
            try:
                findings.rules.update(_cause(on, fault, findings))
            except Exception as failure:  # noqa: BLE001  # the other faults are tried all the same, and the report says so
                console.print(f"  {', '.join(fault.alerts)}: {failure}", markup=False)
                findings.rules.update(dict.fromkeys(fault.alerts, f"could not be tried: {type(failure).__name__}"))
        if drawing is not None:
            drawing.write_text(picture(OVERVIEW, on.prometheus, time.time() - DRAWN_S, time.time()))
    return findings


def _brokers(faults: list[Fault]) -> int:
    """Three where one is to be lost, and that is for the end."""
    return 3 if any("TocsinKafkaOffline" in one.alerts for one in faults) else 1


def _cause(on: Exchange, fault: Fault, findings: Findings) -> Iterator[tuple[str, str]]:
    """Bring a fault about, see its alerts fire, show its cause, and end it."""
    # what the last fault left behind is over first
    _within(QUIET_S, lambda: not {*fault.alerts} & {*on.prometheus.firing()})
    began, fired = time.monotonic(), dict[str, float]()
    fault.begin(on)

    def all_fired() -> bool:
        for alert in {*fault.alerts} & {*on.prometheus.firing()}:
            fired.setdefault(alert, time.monotonic() - began)
            findings.ask(on, alert)
        return len(fired) == len(fault.alerts)

    _within(FIRES_S, all_fired)
    if fault.before is not None:
        fault.before(on)
    shown = {alert: _first_command(on, alert, fault.words) for alert in fault.alerts}
    fault.end(on)
    for alert, word in fault.alerts.items():
        said = f"fired after {fired[alert]:.0f} s" if alert in fired else "did not fire"
        if alert in findings.early:
            said += ", but in health too"
        if not re.search(word, shown[alert]):
            said += f", but the runbook's command does not show {word!r}:\n{shown[alert][:3_000]}"
        console.print(f"  {alert}: {said}", markup=False)
        yield alert, said


def _first_command(on: Exchange, alert: str, meant: Iterable[tuple[str, str]]) -> str:
    """What the first command of a section of the runbook prints."""
    home = on.world.home
    places = {"policy.yaml": on.world.policy_file, "WITNESS": on.witness_bundle, "PLACE": home / "sealer"}
    words = [str(places.get(word, word)) for word in sections()[alert].command]
    words = [on.prometheus.here(word) for word in words]
    for name, value in meant:
        words = [word.replace(name, value) for word in words]
    program, *rest = words
    if program in KAFKA_TOOLS:
        try:
            return on.world.cluster.run_kafka_tool(KAFKA_TOOLS[program].main_class, *rest)
        except ClusterError as failure:
            return str(failure)
    done = subprocess.run(
        [sys.executable, "-m", "tocsin.deploy", *rest],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={**os.environ, "TOCSIN_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"},
    )
    return done.stdout + done.stderr


def _within(seconds: float, holds: object) -> None:
    """Wait until `holds`, or until the time is up: what is missing, the report says."""
    deadline = time.monotonic() + seconds
    while callable(holds) and not holds() and time.monotonic() < deadline:
        time.sleep(0.3)


def _report(findings: Findings, *, whole: bool) -> int:
    queries = Table("dashboard", "panel", "series", "when", title="every query", title_justify="left")
    silent = [one for one, count in findings.series.items() if not count]
    for one, count in findings.series.items():
        queries.add_row(one.board, one.panel, str(count) if count else "[red]none[/red]", one.when or "in health")
    console.print(queries)
    fired = Table("rule", "what became of it", title="every rule", title_justify="left")
    for rule in rules():
        if whole or rule["alert"] in findings.rules:
            fired.add_row(rule["alert"], findings.rules.get(rule["alert"], "no fault causes it").partition("\n")[0])
    console.print(fired)
    bad = [alert for alert, said in findings.rules.items() if not said.startswith("fired") or "but" in said]
    missing = {rule["alert"] for rule in rules()} - {*findings.rules} if whole else set[str]()
    unasked = [one for one in asked() if one not in findings.series] if whole else []
    console.print(
        f"{len(findings.series)} queries, {len(silent)} without an answer; {len(findings.rules)} rules, "
        f"{len(bad)} that did not fire or whose cause was not shown; "
        f"{len(missing)} rules and {len(unasked)} queries not tried"
    )
    return 1 if silent or bad or missing or unasked else 0


if __name__ == "__main__":
    sys.exit(main())
