"""`make bench`: copies a second, CPU per 100,000 copies, and latency, beside two plain loops in the same run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec
from rich.console import Console
from rich.table import Table

from tests.bench.backlog import AUDIENCE, PUBLISHER, TOPICS, inboxes_of, policy, publish
from tests.bench.latency import Latency, measure
from tests.world import World, is_copy

CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
DONE_MAX_S: Final = 1_800.0
# a broker that works for long: with the optimising compiler, unlike the light ones of tests
JAVA_OPTIONS: Final = ("-Xms1g", "-Xmx1g")

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Throughput:
    """One way to copy the backlog. CPU seconds are user and system time of the process, the broker's are apart."""

    way: str
    copies: int
    seconds: float
    cpu_s: float
    broker_cpu_s: float

    @property
    def copies_per_s(self) -> float:
        """Copies a second, from the first append to the last by the broker's clock."""
        return self.copies / self.seconds

    @property
    def cpu_s_per_100k(self) -> float:
        """CPU seconds of the process for 100,000 copies."""
        return self.cpu_s / self.copies * 100_000


def main() -> int:
    """Run all parts and print them."""
    words = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    words.add_argument("--alerts", type=int, default=200_000, help="size of the backlog (default 200,000)")
    words.add_argument("--latency-s", type=float, default=60.0, help="seconds of 100 alerts a second (default 60)")
    words.add_argument("--output", choices=["table", "json"], default="table")
    asked = words.parse_args()
    ways = [run_way(way, asked.alerts) for way in WAYS]
    with _world() as world:
        latency = _latency(world, asked.latency_s)
    if asked.output == "json":
        print(json.dumps({"throughput": [_row(way) for way in ways], "latency": asdict(latency)}))  # noqa: T201
    else:
        _show(ways, latency)
    return 0


@contextmanager
def _world() -> Generator[World]:
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        world = World(Path(folder) / "home", policy(), java_options=JAVA_OPTIONS)
        try:
            world.up()
            yield world
        finally:
            world.down()


# -- throughput ------------------------------------------------------------------------------------------------------


def _ours(world: World, _alerts: int) -> subprocess.Popen[bytes]:
    return world.start_fanout(name="bench")


def _loop(kind: str) -> Callable[[World, int], subprocess.Popen[bytes]]:
    def start(world: World, alerts: int) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "tests.bench.loops", kind, str(world.home), str(alerts)]
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
        )

    return start


WAYS: Final[dict[str, Callable[[World, int], subprocess.Popen[bytes]]]] = {
    "loop that copies": _loop("copy"),
    "loop that decodes and verifies": _loop("verify"),
    "tocsin fan-out": _ours,
}


def run_way(way: str, alerts: int) -> Throughput:
    """Copy a fresh backlog in one way, on a broker of its own; count the copies with a plain consumer."""
    with _world() as world:
        console.print(f"{way}: writing {alerts} alerts ...")
        publish(world.member(PUBLISHER), alerts)
        console.print(f"{way}: copying ...")
        broker = world.cluster.pid(1) or 0
        broker_before = _cpu_s(broker)
        process = WAYS[way](world, alerts)
        copies, seconds, cpu_s, broker_cpu_s = 0, 0.0, 0.0, 0.0
        deadline = time.monotonic() + DONE_MAX_S
        try:
            # what is said of sight and the line counts as growth too, so a pause alone is no proof
            while copies < alerts * AUDIENCE and time.monotonic() < deadline:
                _wait_still(world, process, alerts)
                cpu_s, broker_cpu_s = _cpu_s(process.pid), _cpu_s(broker) - broker_before
                copies, seconds = _count(world)
        finally:
            process.terminate()
            process.wait(60)
    assert copies == alerts * AUDIENCE, f"{way}: {copies} copies of {alerts} alerts"
    return Throughput(way, copies, seconds, cpu_s, broker_cpu_s)


def _wait_still(world: World, process: subprocess.Popen[bytes], alerts: int) -> None:
    """Wait until the inboxes hold records enough, transaction markers among them, and have not grown for a second."""
    admin, before = world.admin(), -1
    latest = cast("OffsetSpec", OffsetSpec.latest())
    partitions = [TopicPartition(inbox, 0) for topic in TOPICS for inbox in inboxes_of(topic)]
    deadline = time.monotonic() + DONE_MAX_S
    while time.monotonic() < deadline:
        question: dict[TopicPartition, OffsetSpec] = dict.fromkeys(partitions, latest)
        answers = admin.list_offsets(question)
        ends = sum(answer.result(30).offset for answer in answers.values())
        if ends == before and ends >= alerts * AUDIENCE:
            return
        assert process.poll() is None, f"ended with {process.returncode}:\n{world.log()[-2000:]}"
        before = ends
        time.sleep(1)
    raise AssertionError(f"not copied in {DONE_MAX_S:.0f} s:\n{world.log()[-2000:]}")


def _count(world: World) -> tuple[int, float]:
    """Copies in all inboxes, and seconds from the first append to the last, by the broker's clock."""
    inboxes = [inbox for topic in TOPICS for inbox in inboxes_of(topic)]
    times = [message.timestamp()[1] for message in world.read(inboxes, timeout_s=600) if is_copy(message)]
    return len(times), (max(times) - min(times)) / 1_000


def _cpu_s(pid: int) -> float:
    """User and system time of a process (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


# -- latency ---------------------------------------------------------------------------------------------------------


def _latency(world: World, seconds: float) -> Latency:
    console.print(f"latency: 100 alerts a second for {seconds:.0f} s ...")
    process = world.start_fanout(name="bench")
    world.wait_lanes(1)
    try:
        return measure(world, seconds)
    finally:
        world.stop_fanout(process)


# -- printing --------------------------------------------------------------------------------------------------------


def _row(one: Throughput) -> dict[str, float | str]:
    return {
        **asdict(one),
        "copies_per_s": round(one.copies_per_s),
        "cpu_s_per_100k": round(one.cpu_s_per_100k, 3),
    }


def _show(ways: list[Throughput], latency: Latency) -> None:
    table = Table("way", "copies/s", "CPU s per 100,000", "broker CPU s per 100,000")
    for one in ways:
        broker = one.broker_cpu_s / one.copies * 100_000
        table.add_row(one.way, f"{one.copies_per_s:,.0f}", f"{one.cpu_s_per_100k:.2f}", f"{broker:.2f}")
    out = Console()
    out.print(table)
    out.print(
        f"publish to read_committed inbox at {latency.rate:.0f} alerts/s, {latency.alerts} alerts:"
        f" p50 {latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms, slowest {latency.max_ms:.1f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
