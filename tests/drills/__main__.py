"""`make drills`: each drill on three brokers under load; what it took, and whether every promise was kept."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.drills import disks, hosts, renewals, rules, versions
from tests.drills.evidence import Evidence
from tests.drills.frame import RATE, Exchange, Step
from tests.drills.load import held_rate
from tests.drills.move import move


class Drill(NamedTuple):
    """What is done under load. Most are done on one exchange, one after another; some want one of their own.

    `before` and `after` prepare the folder of an exchange of its own, and clean it up.
    """

    run: Callable[[Exchange], Evidence | None]
    own: bool = False
    before: Callable[[Exchange], None] | None = None
    after: Callable[[Exchange], None] | None = None


DRILLS: Final[Mapping[str, Drill]] = {
    "broker": Drill(hosts.lose_a_broker),
    "fanout": Drill(hosts.lose_a_fanout),
    "quorum": Drill(hosts.lose_the_quorum),
    "passwords": Drill(renewals.renew_passwords),
    "certificates": Drill(renewals.renew_certificates),
    "storm": Drill(rules.weather_a_storm),
    "restore": Drill(versions.restore),
    "move": Drill(move, own=True),
    "root": Drill(renewals.lose_a_root),
    "member": Drill(rules.lose_a_member, own=True),
    "policy": Drill(rules.undo_a_policy, own=True),
    "upgrade": Drill(versions.upgrade, True, versions.begin_before),
    "disk": Drill(disks.fill_disks, True, disks.mount, disks.unmount),
}
FAILED: Final = "FAILED"
Row = tuple[str, str, str, str]


class Runner:
    """Runs drills on one exchange for as long as none fails, and none wants one of its own."""

    def __init__(self, folder: Path, rate: float) -> None:
        self._folder = folder
        self._rate = rate
        self._made = 0
        self._exchange: Exchange | None = None
        self._after: Callable[[Exchange], None] | None = None

    def run(self, name: str) -> list[Row]:
        """Run one drill. Returns rows of the table; the last says whether it passed."""
        began, drill = time.monotonic(), DRILLS[name]
        if drill.own:
            self.end()
        steps: list[Step] = []
        try:
            exchange = self._exchange or self._begin(drill)
            steps = exchange.steps = []
            found = drill.run(exchange) or exchange.count()
            rate = held_rate(exchange.members, *exchange.loaded)
            copies = sum(map(len, found.inboxes.values()))
            end = f"passed: {len(found.written)} alerts ({rate:.0f}/s), {copies} copies; none lost or twice, in order"
        except Exception:  # noqa: BLE001  # whatever it is, the drill has failed, and the next one is run
            traceback.print_exc()
            end = FAILED
        if drill.own or end == FAILED:
            self.end()
        return [*(_row(name, step) for step in steps), (name, end, f"{time.monotonic() - began:.0f} in all", "")]

    def _begin(self, drill: Drill) -> Exchange:
        self._made += 1
        exchange = self._exchange = Exchange(self._folder / f"home-{self._made}", self._rate)
        self._after = drill.after
        if drill.before is not None:
            drill.before(exchange)
        exchange.up()
        return exchange

    def end(self) -> None:
        """Stop and delete the exchange, if there is one."""
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            exchange.stop()
            if self._after is not None:
                self._after(exchange)
            exchange.world.cluster.down(purge=True)


def _row(name: str, step: Step) -> Row:
    return name, step.what, f"{step.seconds:.2f}", "" if step.worst_s is None else f"{step.worst_s:.1f}"


def main() -> int:
    """Run the drills that are named, or all. Exit codes: 0 passed, 1 one failed, 2 there is none of that name."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills")
    parser.add_argument("names", nargs="*", metavar="DRILL", help=" ".join(DRILLS))
    parser.add_argument("--rate", type=float, default=RATE, help="alerts a second")
    given = parser.parse_args()
    names: list[str] = given.names
    if unknown := [name for name in names if name not in DRILLS]:
        print(f"no drill {', '.join(unknown)}; there are: {' '.join(DRILLS)}", file=sys.stderr)  # noqa: T201
        return 2
    # ended by a signal, it still stops what it has started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    table: list[Row] = [("drill", "what", "seconds", "longest wait of an alert, s")]
    with tempfile.TemporaryDirectory(prefix="tocsin-drill-") as folder:
        runner = Runner(Path(folder), given.rate)
        try:
            for name in names or DRILLS:
                rows = runner.run(name)
                table += rows
                for row in rows:
                    print("   ".join(row), file=sys.stderr, flush=True)  # noqa: T201
        finally:
            runner.end()
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for row in table:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())  # noqa: T201
    return 1 if any(row[1] == FAILED for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
