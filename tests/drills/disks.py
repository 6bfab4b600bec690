"""A drill in which brokers' disks are full: each broker's data is on a small file system of its own."""

from __future__ import annotations

import errno
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.drills.frame import DrillFailed, Exchange
from tests.world import wait_until

SIZE: Final = "192m"
FILLER: Final = "filler"
CHUNK: Final = b"\0" * 65_536
WAIT_S: Final = 15.0


def fill_disks(exchange: Exchange) -> None:
    """One disk is full and its broker stops; then a second one, and all wait; space is made, and both start again."""
    disks = {node: exchange.world.cluster.folder / f"broker-{node}" / "data" for node in (2, 3)}
    with exchange.load():
        fault = _fill(exchange, 2, disks[2])
        exchange.recovered("one broker's disk full, it stops by itself", fault)
        second = _fill(exchange, 3, disks[3])
        time.sleep(WAIT_S)
        for disk in disks.values():
            (disk / FILLER).unlink()
        back = time.monotonic()
        exchange.world.cluster.up(3)
        exchange.recovered(f"two disks full, {back - second:.0f} s later space made and brokers started", second)
        exchange.timed("from the start until three copies are in sync", exchange.in_sync, back)


def _fill(exchange: Exchange, node: int, disk: Path) -> float:
    """Fill it to the last byte, and keep it full until the broker has noticed. Returns the moment when it was gone."""

    def stopped() -> bool:
        with (disk / FILLER).open("ab", buffering=0) as filler:
            try:
                for size in (len(CHUNK), 4_096, 1):
                    while filler.write(CHUNK[:size]):
                        pass
            except OSError as full:
                if full.errno != errno.ENOSPC:
                    raise
        return exchange.world.cluster.pid(node) is None

    wait_until(stopped, 120, f"broker {node} to stop")
    return time.monotonic()


def mount(exchange: Exchange) -> None:
    """Give brokers 2 and 3 a small file system each, in memory.

    Raises:
        DrillFailed: this user may not mount.
    """
    for disk in _disks(exchange):
        disk.mkdir(parents=True, mode=0o700)
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tsc-drill", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DrillFailed(f"{done.stderr.strip()}; run it as root, or: unshare -rm make drills DRILL=disk")


def unmount(exchange: Exchange) -> None:
    """Take them away again."""
    for disk in _disks(exchange):
        subprocess.run(["umount", str(disk)], capture_output=True, check=False)


def _disks(exchange: Exchange) -> list[Path]:
    return [exchange.home / "cluster" / f"broker-{node}" / "data" for node in (2, 3)]
