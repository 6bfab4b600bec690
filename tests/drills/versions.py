"""Drills of the whole exchange: its data is lost and put back from a copy; Kafka and Tocsin are upgraded."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Final

from tests.drills.frame import HERE, HOSTS, Exchange, Step
from tocsin.deploy.cluster.jars import parse_lock
from tocsin.deploy.cluster.local import LocalCluster

BOTH_S: Final = 5.0
KAFKA_BEFORE: Final = Path(__file__).parent / "kafka-4.2.2.lock"
KAFKA_FEATURES: Final = "4.3"
# the last commit of the version before this one
TOCSIN_BEFORE: Final = "709b07e"
FEATURES: Final = "org.apache.kafka.tools.FeatureCommand"


def restore(exchange: Exchange) -> None:
    """All brokers' data is lost and put back from a copy that was made while they were stopped; all goes on.

    Topic ids and offsets are those of before. For what has others see `move`.
    """
    world, copy = exchange.world, exchange.home / "copy"
    with exchange.load():
        time.sleep(BOTH_S)
    exchange.count()
    exchange.stop_fanouts()
    world.cluster.down()
    for node in world.cluster.nodes:
        shutil.copytree(world.cluster.folder / f"broker-{node}" / "data", copy / f"broker-{node}")
    begun = time.monotonic()
    for node in world.cluster.nodes:
        shutil.rmtree(world.cluster.folder / f"broker-{node}" / "data")
        shutil.copytree(copy / f"broker-{node}", world.cluster.folder / f"broker-{node}" / "data")
    world.cluster.up(3)
    exchange.start_fanouts()
    exchange.steps.append(Step("data put back, brokers up", time.monotonic() - begun))
    with exchange.load():
        time.sleep(BOTH_S)


def begin_before(exchange: Exchange) -> None:
    """Have the exchange begin with the Kafka and the Tocsin before ours."""
    jars = [*parse_lock(KAFKA_BEFORE.read_text())]
    exchange.world.cluster = LocalCluster(exchange.home, kafka=jars)
    words = ["git", "archive", TOCSIN_BEFORE, "schemas", "producers", "consumers", "deploy"]
    archive = subprocess.run(words, capture_output=True, cwd=HERE, check=True).stdout
    before = exchange.home / "before"
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(before, filter="data")
    exchange.codes = dict.fromkeys(HOSTS, before)


def upgrade(exchange: Exchange) -> None:
    """Brokers one after another, then their features; hosts one after another, and one of them back again between."""
    ours = LocalCluster(exchange.home)
    with exchange.load():
        begun = time.monotonic()
        exchange.roll_brokers(ours)
        exchange.endured(f"brokers from {KAFKA_BEFORE.stem} to ours, one after another", begun)
        begun = time.monotonic()
        ours.run_kafka_tool(FEATURES, "upgrade", "--release-version", KAFKA_FEATURES)
        time.sleep(BOTH_S)
        exchange.endured(f"features of {KAFKA_FEATURES}", begun)
        first, second = HOSTS
        before = exchange.codes[first]
        for what, host, code in (
            ("one host has this Tocsin, the other the one before", first, HERE),
            ("taken back: both the one before", first, before),
            ("once more", first, HERE),
            ("both have this Tocsin", second, HERE),
        ):
            begun = time.monotonic()
            exchange.codes[host] = code
            exchange.restart_fanout(host)
            time.sleep(BOTH_S)
            exchange.endured(what, begun)
        exchange.recovered("after all of it", time.monotonic())
