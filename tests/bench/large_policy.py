"""`make bench-policy`: a policy of a thousand members and fifty thousand ACLs, checked, planned, changed and obeyed.

With `--jurisdictions 5` there are as many members and ACLs, and five lanes instead of 25.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console
from rich.table import Table

from tests.load import load
from tests.world import World, agreement, transfer
from tocsin.consumers.acl import AclRow
from tocsin.deploy.policy.acls import create_acls, read_acls
from tocsin.schemas.names import AlertType

PLACES: Final = [f"{a}{b}" for a in "abcde" for b in "abcde"]
SHARING: Final = 15
ASKING: Final = 40
BLINDED: Final = "isp-aa-00"
PUBLISHER: Final = "hotline-aa"
BOUND_S: Final = 5.0
WARM_S: Final = 120.0
# a broker that works for long: with the optimising compiler, and room for the ACLs
JAVA_OPTIONS: Final = ("-Xms1g", "-Xmx1g")

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds on the wall, each of one run of the command, its start included.

    None for the last copy: the fan-out did not deliver, and the terminal says why.
    """

    members: int
    acls: int
    first_apply_s: float
    check_s: float
    plan_s: float
    plan_of_change_s: float
    apply_of_change_s: float
    last_copy_after_deny_s: float | None


def policy(members: int, jurisdictions: int = 25) -> dict[str, Any]:
    """One hotline in each jurisdiction, and isps that see the takedowns of fifteen, or all alerts of five."""
    places = PLACES[:jurisdictions]
    types = ["site-taken-down"] if jurisdictions >= SHARING else [*AlertType]
    named: dict[str, dict[str, Any]] = {
        f"hotline-{place}": {"role": "hotline", "jurisdiction": place, "publishes": ["site-taken-down"]}
        for place in places
    }
    for number in range(members - len(named)):
        place, at = places[number % len(places)], number // len(places)
        # 40 want them all, whatever the number of jurisdictions
        wish = {"everything": True} if place == "aa" and at < ASKING else {"types": ["merchant-terminated"]}
        named[f"isp-{place}-{at:02}"] = {"role": "isp", "jurisdiction": place, "subscription": wish}
    isps = [name for name in named if name.startswith("isp")]
    return {
        "coalition": "bench",
        "members": named,
        "agreements": [agreement("all", places[:SHARING], isps, up_to="AMBER", types=[str(one) for one in types])],
        "transfers": [transfer(*places)],
        "invariants": [
            {"id": "strict", "says": "no isp sees what is above amber", "above": "AMBER", "to": {"roles": ["isp"]}}
        ],
    }


def measure(members: int, jurisdictions: int) -> Figures:
    """Make it, and do with it what a secretariat does."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        content = policy(members, jurisdictions)
        world = World(Path(folder) / "home", content, java_options=JAVA_OPTIONS)
        try:
            world.cluster.up()
            home = ["--home", str(world.home)]
            first = _timed(["policy", "apply", str(world.policy_file), "--make-member-keys", *home])
            checked = _timed(["policy", "check", str(world.policy_file)])
            planned = _timed(["policy", "plan", str(world.policy_file), *home])
            late = _late_copy_s(world, jurisdictions)
            world.policy_file.write_text(yaml.safe_dump(_without(content, BLINDED)))
            change = _timed(["policy", "plan", str(world.policy_file), *home], code=3)
            applied = _timed(["policy", "apply", str(world.policy_file), *home])
            return Figures(members, len(read_acls(world.admin())), first, checked, planned, change, applied, late)
        finally:
            world.down()


def _without(content: Mapping[str, Any], member: str) -> dict[str, Any]:
    """The policy after one member has lost its sight."""
    [all_of_them] = content["agreements"]
    return {**content, "agreements": [{**all_of_them, "to": {**all_of_them["to"], "without": [member]}}]}


def _timed(words: Sequence[str], code: int = 0) -> float:
    console.print("tocsin", *words[:2], "...")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tocsin.deploy", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if done.returncode != code:
        raise SystemExit(f"{words}: {done.returncode}: {done.stderr.decode()[-2000:]}")
    return time.monotonic() - began


def _late_copy_s(world: World, lanes: int) -> float | None:
    """How long after a DENY the last copy was appended to the inbox of the member that it names."""
    console.print("a fan-out, alerts, and a DENY ...")
    process = world.start_fanout(name="bench")
    world.wait_lanes(lanes)
    with load(world, 0.2, publisher_id=PUBLISHER) as published:
        # a thousand members are first told their sight, and all ACLs put on record
        deadline = time.monotonic() + WARM_S
        while not (_delivers(world) and _delivers(world)):
            if time.monotonic() > deadline:
                console.print(f"{BLINDED} is not given its alerts:\n{world.log()[-2000:]}")
                world.stop_fanout(process, signal.SIGKILL)
                return None
        create_acls(world.admin(), [AclRow("TOPIC", "alerts.", "PREFIXED", f"User:{BLINDED}", "*", "READ", "DENY")])
        gone_at = time.time()
        time.sleep(BOUND_S + 2)
    copies = world.inbox(BLINDED)
    world.stop_fanout(process)
    console.print(f"{len(copies)} of {len(published)} alerts came before it")
    return max(message.timestamp()[1] / 1_000 - gone_at for message in copies)


def _delivers(world: World) -> bool:
    """Whether copies come within some seconds."""
    before = len(world.inbox(BLINDED))
    time.sleep(5)
    return len(world.inbox(BLINDED)) > before


def main() -> int:
    """Measure and print."""
    words = argparse.ArgumentParser(prog="python -m tests.bench.large_policy", description=__doc__)
    words.add_argument("--members", type=int, default=1_000)
    words.add_argument("--jurisdictions", type=int, default=25, help="lanes of the one fan-out process (default 25)")
    words.add_argument("--output", choices=["table", "json"], default="table")
    asked = words.parse_args()
    found = measure(asked.members, asked.jurisdictions)
    if asked.output == "json":
        print(json.dumps(asdict(found)))  # noqa: T201
        return 0
    table = Table("what", "figure")
    for name, value in asdict(found).items():
        said = "none" if value is None else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
        table.add_row(name, said)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
