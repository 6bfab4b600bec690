"""Taking over a lane with many live lineages: how long it takes, the memory it takes, and what other lanes do then."""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer
from rich.console import Console

from tests.bench.backlog import AUDIENCE, TOPICS, alert, readers_of
from tests.bench.backlog import policy as bench_policy
from tests.world import World, agreement, is_copy, takedown, wait_until
from tocsin.consumers.entry import Entry, Given
from tocsin.consumers.ledger import MARK_KEY, Mark, encode_entry, encode_mark
from tocsin.producers.publisher import Publisher
from tocsin.schemas.catalog import schema
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic, ledger_topic
from tocsin.schemas.signing import sign_headers
from tocsin.schemas.uuid7 import uuid7

LANE: Final = "se"
OTHER: Final = "hotline-de"
LIFE_MS: Final = 300 * 86_400_000
PACE_S: Final = 0.05
TAKEN_MAX_S: Final = 600.0
SETTLED_S: Final = 20.0

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Stock:
    """`taken_s` from the start of the process to the lane's first work, `memory_mib` the most that the process held.

    `others_ms` is the median from append to copy of the other lane's alerts meanwhile, `others_max_ms` the longest.
    """

    lineages: int
    taken_s: float
    memory_mib: float
    others: int
    others_ms: float
    others_max_ms: float


def policy() -> dict[str, Any]:
    """The bench's coalition, and a hotline of another jurisdiction whose alerts one reader sees."""
    made = bench_policy()
    made["members"][OTHER] = {"role": "hotline", "jurisdiction": "de", "publishes": ["site-taken-down"]}
    made["members"]["reader-de"] = {"role": "isp", "jurisdiction": "de", "subscription": {"everything": True}}
    made["agreements"].append(agreement("de", ["de"], ["reader-de"]))
    return made


def run(lineages: int) -> Stock:
    """Write a ledger of `lineages`, start a fan-out, and watch it."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        world = World(Path(folder) / "home", policy())
        try:
            world.up()
            console.print(f"writing a ledger of {lineages:,} lineages ...")
            _write(world, lineages)
            console.print("taking it over ...")
            return _watch(world, lineages)
        finally:
            world.down()


def _write(world: World, lineages: int) -> None:
    producer = Producer({**world.cluster.admin_config(), "linger.ms": 20, "compression.type": "lz4"})
    for key, value in _ledger(world, lineages):
        while True:
            try:
                producer.produce(ledger_topic(LANE), value, key, 0)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    assert producer.flush(300) == 0


def _ledger(world: World, lineages: int) -> Iterator[tuple[bytes, bytes]]:
    models = [_entry(world, topic) for topic in TOPICS]
    for number in range(lineages):
        model = models[number % len(models)]
        key = f"acquirer-se/{uuid7()}"
        given = replace(model.given[0], seq=number + 1)
        # what tells one from another, and is as hard to compress as a signature and tokens are
        value = model.value[:-64] + secrets.token_bytes(64)
        one = replace(model, key=key, inbox_key=key, value=value, sha256=secrets.token_bytes(32), given=(given,))
        yield key.encode(), encode_entry(one)
    yield MARK_KEY, encode_mark(Mark(paid=lineages, seq=lineages))


def _entry(world: World, topic: AlertTopic) -> Entry:
    bundle = world.member("acquirer-se")
    key, made = bundle.signing_key(), alert(topic)
    value = made.to_avro()
    members = readers_of(topic)
    rules = tuple(f"ALLOW READ User:{member} {DELIVERY_HOST} LITERAL {topic.name}" for member in members)
    now_ms = time.time_ns() // 1_000_000
    return Entry(
        key="",
        kind="ALERT",
        inbox_key="",
        revision=1,
        status="ACTIVE",
        topic=topic.name,
        partition=0,
        offset=0,
        sha256=b"",
        expires_at=now_ms + LIFE_MS,
        forget_at=now_ms + 2 * LIFE_MS,
        signer=key.key_id,
        test=False,
        value=value,
        headers=tuple(sign_headers(key, bundle.coalition, schema(topic.type.value), value)),
        given=(Given(1, 1, members[:AUDIENCE], rules),),
    )


def _watch(world: World, lineages: int) -> Stock:
    ended = threading.Event()
    other = threading.Thread(target=_publish, args=(world, ended))
    began = time.monotonic()
    process = world.start_fanout(name="stock")
    wait_until(lambda: _is_taken(world, "de"), TAKEN_MAX_S, f"the other lane:\n{world.log()[-2000:]}")
    other.start()
    try:
        wait_until(lambda: _is_taken(world, LANE), TAKEN_MAX_S, f"the lane:\n{world.log()[-2000:]}")
        taken_s = time.monotonic() - began
        time.sleep(SETTLED_S)  # it looks whether anybody has gained any of it
        memory_mib = _memory_mib(process.pid)
    finally:
        ended.set()
        other.join()
    wait_until(lambda: len(_delays_ms(world)) == _written(world), 60, "the other lane's copies")
    delays = _delays_ms(world)
    world.stop_fanout(process)
    return Stock(lineages, taken_s, memory_mib, len(delays), statistics.median(delays), max(delays))


def _is_taken(world: World, lane: str) -> bool:
    return any(one["lane"] == lane for one in world.events("lane_taken"))


def _publish(world: World, ended: threading.Event) -> None:
    bundle = world.member(OTHER)
    with Publisher(bundle) as publisher:
        number = 0
        while not ended.wait(PACE_S):
            publisher.publish(takedown(bundle, number))
            number += 1
        assert publisher.flush(60) == 0


def _written(world: World) -> int:
    return len(world.read(world.topics("alerts.de.")))


def _delays_ms(world: World) -> list[int]:
    """From append to copy, of what was published once the other lane worked."""
    written = {m.key(): m.timestamp()[1] for m in world.read(world.topics("alerts.de."))}
    copies = [m for m in world.read(["inbox.reader-de"]) if is_copy(m)]
    return [m.timestamp()[1] - written[(m.key() or b"").partition(b"/")[2]] for m in copies]


def _memory_mib(pid: int) -> float:
    """The most memory that the process has held (proc(5), VmHWM)."""
    [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1_024


def main() -> int:
    """Run it, and print what was seen as JSON."""
    words = argparse.ArgumentParser(prog="python -m tests.bench.stock", description=__doc__)
    words.add_argument("--lineages", type=int, default=1_000_000)
    print(json.dumps(asdict(run(words.parse_args().lineages)), indent=2))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
