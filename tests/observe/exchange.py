"""A whole exchange with all that is scraped: Kafka with its agent, the fan-out, and every service beside it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from tests.observe.prometheus import Prometheus
from tests.world import World, tocsin, wait_until
from tocsin.deploy.cluster.local import free_ports
from tocsin.deploy.cluster.tls import make_certificates
from tocsin.schemas.bundle import CA, Bundle

WITNESS: Final = "reader-01"
LINE_TEST_S: Final = 2
SCRAPED_S: Final = 240.0
JOBS: Final = ("fanout", "sealer", "withdrawals", "drift", "tick", "witness", "shipper")


@dataclass(slots=True)
class Exchange:
    """A world, the services around it by job, and the Prometheus that scrapes them.

    `kept` is what a fault must not lose while it lasts.
    """

    world: World
    ports: dict[str, list[int]]
    prometheus: Prometheus
    kept: list[Any] = field(default_factory=list[Any])
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, "subprocess.Popen[bytes]"])

    @property
    def witness_bundle(self) -> Path:
        """The bundle of the member that is a witness: a copy, since the other one keeps no state."""
        return self.world.home / "witness"

    def publisher(self) -> Bundle:
        """The bundle of the Swedish hotline with a spool of its own: the load has the other one's."""
        place = self.world.home / "publisher"
        if not place.exists():
            shutil.copytree(self.world.member("hotline-se").path, place, ignore=shutil.ignore_patterns("spool"))
        return Bundle.load(place)

    def words(self, job: str) -> list[str]:
        """The command of a service."""
        home, policy = ["--home", str(self.world.home)], str(self.world.policy_file)
        port = ["--metrics-port", str(self.ports[job][0])]
        tiles = ["--tiles", str(self.world.home / "sealer"), "--as", str(self.witness_bundle)]
        fanout = ["fanout", "run", "--policy", policy, "--line-test", str(LINE_TEST_S), "--gains-max", "200"]
        return {
            "fanout": [*fanout, *home, *port],
            "sealer": ["audit", "seal", *home, *port],
            # 18 seconds
            "withdrawals": ["withdrawals", "--overdue", "0.005", "--every", "1", *home, *port],
            "drift": ["policy", "drift", policy, "--every", "2", *home, *port],
            "tick": ["policy", "tick", policy, "--every", "2", *home, *port],
            "witness": ["audit", "witness", *tiles, "--every", "1", *port],
            "shipper": ["audit", "ship", "--every", "1", *home, *port],
        }[job]

    def start(self, *jobs: str) -> None:
        """Start services; each prints to a file of its name."""
        for job in jobs:
            with (self.world.home / f"{job}.log").open("ab") as log:
                self._running[job] = subprocess.Popen(
                    [sys.executable, "-m", "tocsin.deploy", *self.words(job)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "NO_COLOR": "1"},
                )

    def stop(self, *jobs: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop services and wait until they are gone."""
        gone = {job: self._running.pop(job) for job in jobs}
        for process in gone.values():
            process.send_signal(number)
        for process in gone.values():
            process.wait(60)

    def signal(self, job: str, number: signal.Signals) -> None:
        """Send one service a signal."""
        self._running[job].send_signal(number)

    def stop_all(self) -> None:
        """Stop whatever runs."""
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
        self.stop(*self._running)

    def log(self, job: str) -> str:
        """What a service printed."""
        path = self.world.home / f"{job}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_scraped(self) -> None:
        """Wait until everything is scraped, and the lanes are worked."""
        lanes = len({*self._lanes()})
        wait_until(
            lambda: not self.prometheus.down() and len(self.prometheus.query("tocsin_lane_up == 1")) == lanes,
            SCRAPED_S,
            lambda: f"down: {self.prometheus.down()}\n{self.log('fanout')[-2_000:]}",
        )

    def _lanes(self) -> list[str]:
        return [name.removeprefix("ledger.") for name in self.world.topics("ledger.")]


@contextmanager
def exchange(
    home: Path, policy: dict[str, Any], *, brokers: int = 1, quicker: int = 1, life: timedelta | None = None
) -> Generator[Exchange]:
    """All of it at work and scraped, from nothing; and all of it gone at the end.

    The alert rules are `quicker` by that factor, and certificates have a `life` of their own.
    """
    agents = _row_of_ports(brokers)
    *rest, own = free_ports(len(JOBS) + 1)
    ports = {**dict(zip(JOBS, ([port] for port in rest), strict=True)), "kafka": agents}
    world = World(home, policy, brokers=brokers, metrics_port=agents[0])
    with ExitStack() as stack:
        stack.callback(world.down)
        if life is not None:
            _shorten_certificates(world, brokers, life)
        world.up()
        prometheus = stack.enter_context(Prometheus(home / "prometheus", own, ports, quicker))
        made = Exchange(world, ports, prometheus)
        stack.callback(made.stop_all)
        shutil.copytree(world.member(WITNESS).path, made.witness_bundle)
        made.start("fanout")
        # a witness compares what is sealed
        tocsin("audit", "seal", "--once", "--home", str(home))
        made.start(*(job for job in JOBS if job != "fanout"))
        made.wait_scraped()
        yield made


def _shorten_certificates(world: World, brokers: int, life: timedelta) -> None:
    """Give the brokers other certificates, before anybody but the administrator knows them."""
    world.cluster.up(brokers)
    world.cluster.down()
    tls = world.cluster.folder / "tls"
    make_certificates(tls / "ca.pem", tls / "broker.pem", life)
    shutil.copy(tls / "ca.pem", world.cluster.admin().path / CA)


def _row_of_ports(count: int) -> list[int]:
    """Free ports in a row: the brokers' are counted from the first."""
    while True:
        [first] = free_ports(1)
        if _all_free(range(first, first + count)):
            return [*range(first, first + count)]


def _all_free(ports: Sequence[int]) -> bool:
    sockets = [socket.socket() for _ in ports]
    try:
        for one, port in zip(sockets, ports, strict=True):
            one.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
        return False
    else:
        return True
    finally:
        for one in sockets:
            one.close()
