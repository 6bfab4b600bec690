"""Kill -9 of `tocsin policy apply` at random moments, while somebody watches who sees what."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.world import World, agreement, small_policy, tocsin, transfer
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.policy.acls import read_acls
from tocsin.deploy.policy.apply import plan_policy
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.sight import readers
from tocsin.schemas.names import AlertTopic, AlertType, Tlp

MEMBERS = 12
PLACES = ("se", "de", "fr")
TOPICS = [AlertTopic(place, kind, tlp).name for place in PLACES for kind in AlertType for tlp in Tlp]

Pairs = frozenset[tuple[str, str]]


def random_policy(rng: random.Random) -> dict[str, Any]:
    """A policy of the same members, some of them suspended, with other agreements, direct or not, and prohibitions."""
    made = small_policy(MEMBERS)
    names = [name for name in made["members"] if name.startswith("reader")]
    made["members"]["hotline-fr"] = {"role": "hotline", "jurisdiction": "fr", "publishes": ["site-taken-down"]}
    for name in rng.sample(names, 2):
        made["members"][name]["status"] = "suspended"
    made["agreements"] = [
        agreement(
            f"agreement-{number}",
            rng.sample(PLACES, rng.randint(1, 3)),
            rng.sample(names, rng.randint(3, MEMBERS)),
            types=[kind.value for kind in rng.sample(list(AlertType), rng.randint(1, 3))],
            up_to=rng.choice(list(Tlp)).value,
            direct=rng.random() < 0.5,
        )
        for number in range(4)
    ]
    made["transfers"] = [transfer(*rng.sample(PLACES, rng.randint(2, 3)))]
    forbidden = {"members": rng.sample(names, 2)}
    made["prohibitions"] = [{"id": "court", "reason": "an order", "types": ["site-taken-down"], "to": forbidden}]
    return made


class KilledApplies:
    """Policies that follow each other on one cluster, each applied, killed on the way, and applied again."""

    def __init__(self, home: Path, *, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        self.world = World(home, random_policy(self._rng))
        self.members = [name for name in self.world.policy_names() if name.startswith("reader")]
        self.cut_short = 0

    def run(self, times: int) -> list[str]:
        """What was wrong."""
        return [fault for faults in self._changes([None] * times) for fault in faults]

    def careless(self, *variants: str) -> list[list[str]]:
        """What was wrong with each of these ways to apply, which are not killed."""
        return self._changes(variants)

    def _changes(self, variants: Sequence[str | None]) -> list[list[str]]:
        self.world.up()
        try:
            return [[*self._change(variant)] for variant in variants]
        finally:
            self.world.down()

    def _change(self, variant: str | None) -> Iterator[str]:
        before = self._sight()
        self.world.policy_file.write_text(yaml.safe_dump(random_policy(self._rng)))
        seen: list[Pairs] = []
        with self._watched(seen):
            self._apply(variant)
        words = [str(self.world.policy_file), "--home", str(self.world.home)]
        tocsin("policy", "apply", *words)
        seen.append(self._sight())
        after = seen[-1]
        left = plan_policy(read_policy(self.world.policy_file), self.world.cluster.admin(), self.world.home).steps
        yield from (f"applied again, there is still something to do: {step}" for step in left)
        for one in seen:
            yield from (f"{pair} saw more than before or after" for pair in one - (before | after))
            yield from (f"{pair} lost sight in between" for pair in (before & after) - one)

    def _apply(self, variant: str | None) -> None:
        module, words = ("tocsin.deploy.cli", []) if variant is None else ("tests.faults.careless", [variant])
        program = f"import sys; from {module} import main; main()"
        words += ["policy", "apply", str(self.world.policy_file), "--home", str(self.world.home)]
        root = Path(__file__).parents[2]
        process = subprocess.Popen([sys.executable, "-c", program, *words], cwd=root, stdout=subprocess.DEVNULL)
        try:
            process.wait(None if variant else self._rng.uniform(0.8, 4.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.cut_short += 1

    @contextmanager
    def _watched(self, seen: list[Pairs]) -> Generator[None]:
        """Note everything that is to be seen while something is done."""
        ended = threading.Event()

        def watch() -> None:
            last: set[AclRow] = set()
            while not ended.is_set():
                rows = read_acls(admin)
                if rows != last:
                    seen.append(self._pairs(rows))
                    last = rows

        admin = self.world.admin()
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _sight(self) -> Pairs:
        return self._pairs(read_acls(self.world.admin()))

    def _pairs(self, rows: set[AclRow]) -> Pairs:
        acls = AclSet(rows)
        return frozenset((member, topic) for topic in TOPICS for member in readers(acls, self.members, topic))
