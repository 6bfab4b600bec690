"""How fast decisions are taken into the index of the record, and how fast it answers. By hand: no Kafka is needed.

python -m tests.bench.audit_index --decisions 1000000
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tocsin.consumers.audit.index import Index, open_index
from tocsin.consumers.audit.questions import Questions
from tocsin.consumers.audit.report import month_of, report
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode

BATCH: Final = 5_000
BEGAN_MS: Final = 1_790_812_800_000  # 2026-10-01
MEMBERS: Final = [f"member-{n:04}" for n in range(1_000)]
TOPICS: Final = [
    f"alerts.se.{kind}.{tlp}" for kind in ("site-taken-down", "merchant-terminated") for tlp in ("green", "amber")
]


def main() -> int:
    """Make, take in, ask."""
    words = argparse.ArgumentParser(prog="python -m tests.bench.audit_index", description=__doc__)
    words.add_argument("--decisions", type=int, default=1_000_000)
    words.add_argument("--recipients", type=int, default=10)
    words.add_argument("--all-different", action="store_true", help="no two decisions have the same recipients")
    asked = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        path = Path(folder) / "index.sqlite"
        index = open_index(path, "auditor")
        taking, cpu = _take(index, asked.decisions, asked.recipients, different=asked.all_different)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        rates = f"{asked.decisions / taking:,.0f} decisions a second, {asked.decisions / cpu:,.0f} a CPU second"
        print(f"{rates}, {size / asked.decisions:,.0f} bytes each")  # noqa: T201
        _ask(index, asked.decisions)
        index.close()
    return 0


def _take(index: Index, count: int, recipients: int, *, different: bool) -> tuple[float, float]:
    """Seconds of taking in, and CPU seconds, without those of making records."""
    chance, took, cpu = random.Random(7), 0.0, 0.0
    shared = [_given(chance, recipients) for _ in TOPICS]
    for first in range(0, count, BATCH):
        records = [
            BusRecord(
                "audit.se", n, None, _record(n, _given(chance, recipients) if different else shared[n % 4]), (), 0
            )
            for n in range(first, min(first + BATCH, count))
        ]
        began, cpu_began = time.perf_counter(), time.process_time()
        index.take(records, {"audit.se": "id"}, _never)
        took += time.perf_counter() - began
        cpu += time.process_time() - cpu_began
        if sys.stderr.isatty():
            print(f"\r{first + BATCH:,}", end="", file=sys.stderr)  # noqa: T201
    return took, cpu


def _never(_: BusRecord) -> Any:
    raise AssertionError


def _given(chance: random.Random, recipients: int) -> list[dict[str, str]]:
    return [
        {"member": member, "rule": f"ALLOW READ User:{member} 192.0.2.1 LITERAL alerts.se.site-taken-down.green"}
        for member in chance.sample(MEMBERS, recipients)
    ]


def _record(n: int, given: list[dict[str, str]]) -> bytes:
    """Every fiftieth withdraws the one before."""
    withdraws = n % 50 == 49
    return encode(
        schema("decision"),
        {
            "seq": n + 1,
            "kind": "ALERT",
            "outcome": "ACCEPTED",
            "reason": None,
            "detail": None,
            "decided_at": BEGAN_MS + n * 2_000,
            "topic": TOPICS[n % 4],
            "topic_id": "t",
            "partition": 0,
            "offset": n,
            "appended_at": BEGAN_MS + n * 2_000 - 3 - n % 97,
            "sha256": n.to_bytes(32, "big"),
            "key_id": f"key-{n % 20}",
            "publisher": MEMBERS[(n - withdraws) % 20],
            "lineage_id": _lineage_id(n - 1 if withdraws else n),
            "alert_id": f"01999999-1111-7000-8000-{n:012}",
            "revision": 2 if withdraws else 1,
            "status": "RETRACTED" if withdraws else "ACTIVE",
            "given": [] if withdraws else given,
            "refused": [],
            "erased": [one["member"] for one in given] if withdraws else [],
            "acl_digest": (n // 10_000).to_bytes(32, "big"),
            "acl_read_at": BEGAN_MS + n * 2_000,
            "directory_version": 1,
            "worker": "w",
            "salt": bytes(16),
        },
    )


def _lineage_id(n: int) -> str:
    return f"01999999-0000-7000-8000-{n:012}"


def _ask(index: Index, count: int) -> None:
    middle = count // 100 * 50 + 48
    month = month_of("2026-10")
    [(member,)] = index.database.execute("SELECT text FROM named JOIN words ON words.word = member LIMIT 1").fetchall()

    def ask(what: str, question: Callable[[Questions], object]) -> None:
        began = time.perf_counter()
        answer = question(Questions(index.database))
        took = (time.perf_counter() - began) * 1_000
        length = f", {len(answer):,} rows" if isinstance(answer, list) else ""
        print(f"{what}: {took:,.1f} ms{length}")  # noqa: T201

    ask("trace of a lineage_id", lambda asked: asked.trace(_lineage_id(middle)))
    ask("trace of an alert_id", lambda asked: asked.trace(f"01999999-1111-7000-8000-{middle:012}"))
    ask("trace of topic/offset", lambda asked: asked.trace(f"{TOPICS[middle % 4]}/{middle}"))
    ask("who-saw", lambda asked: asked.who_saw(_lineage_id(middle)))
    ask("seen-by in a day", lambda asked: asked.seen_by(member, BEGAN_MS, BEGAN_MS + 86_400_000))
    ask("seen-by ever", lambda asked: asked.seen_by(member))
    ask("overdue", lambda asked: [*asked.withdrawn()])
    ask("report of a month", lambda asked: report(asked, index.database, *month))


if __name__ == "__main__":
    raise SystemExit(main())
