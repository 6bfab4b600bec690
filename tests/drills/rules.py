"""Drills of the secretariat: a compromised member, a wrong policy, a storm of alerts from one member."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.drills.clock import share
from tests.drills.evidence import Evidence
from tests.drills.frame import READER, SECRETARIAT, THIEF, DrillFailed, Exchange, Step, drill_policy
from tests.world import agreement, tocsin, wait_until
from tocsin.schemas.codec import decode

WRONG_S: Final = 6.0
# who loses sight is given nothing more after so long
BOUND_S: Final = 5.0
STORM_S: Final = 20.0
STORM_TIMES: Final = 10.0
# about twice what the member publishes on other days, at 900 bytes an alert
QUOTA_BYTES: Final = 900.0
RATIO_MAX: Final = 3.0


# -- a compromised member --------------------------------------------------------------------------------------------


def lose_a_member(exchange: Exchange) -> None:
    """A member's key is stolen: suspended, revoked since an offset, all since then withdrawn from everybody."""
    words = exchange.words
    topic = f"alerts.{THIEF[-2:]}.site-taken-down.green"
    [thief] = [member for member in exchange.members if member.name == THIEF]
    [other] = [member for member in exchange.members if member is not thief]
    # the thief's copy of the bundle
    thief.folder = Path(shutil.copytree(thief.folder, exchange.home / "thief" / THIEF))
    with exchange.load():
        trusted = max(one.offset() or 0 for one in exchange.world.read([topic]))
        time.sleep(WRONG_S)
        begun = time.monotonic()
        tocsin("member", "suspend", THIEF, "--why", "stolen key", *words)
        exchange.steps.append(Step("`member suspend`", time.monotonic() - begun))
        other.rate += thief.rate  # the load stays what it was
        time.sleep(1)
        ended = len(exchange.world.read([topic]))
        time.sleep(2)
        thief.abandon()
        if len(exchange.world.read([topic])) != ended:
            raise DrillFailed("it published on a second after it was suspended")
        keys = exchange.home / "next-keys"
        tocsin("keys", "new", str(keys), "--member", THIEF, "--coalition", "test")
        request = ["--request", str(keys / "request.json"), "--revoke", "--trusted", f"{topic}/{trusted}"]
        tocsin("member", "rotate", THIEF, *request, *words)
        exchange.steps.append(
            Step("`member rotate --revoke`, old key trusted up to an offset", time.monotonic() - begun)
        )
        written = {one.value() for one in exchange.world.read([topic])}
        thief.sent = {value: at for value, at in thief.sent.items() if value in written}
        lineages = _withdraw(exchange, f"{topic}/{trusted + 1}")
        exchange.timed("last copy erased, everybody told", lambda: _told_all(exchange, lineages), begun)
    _sort_out(exchange, exchange.evidence())


def _withdraw(exchange: Exchange, since: str) -> set[str]:
    """Withdraw until nothing is left. Returns the lineages."""
    words = ["retract-all", "--publisher", THIEF, "--jurisdiction", THIEF[-2:], "--reason", "ERROR", "--since", since]
    words += ["--as", str(exchange.home / "members" / SECRETARIAT), "--home", str(exchange.home)]
    found: set[str] = set()

    def nothing_left() -> bool:
        rows = tocsin(*words)
        found.update(row["lineage"] for row in rows)
        time.sleep(1)
        return not rows

    wait_until(nothing_left, 180, "nothing left to withdraw")
    if not found:
        raise DrillFailed("there was nothing to withdraw")
    return found


def _told_all(exchange: Exchange, lineages: Iterable[str]) -> bool:
    """Whether whoever was given one has an erasure and a notice."""
    for member in exchange.sees:
        stories: dict[str, set[str]] = {}
        for record in exchange.world.inbox(member):
            key = (record.key() or b"").decode()
            what = "notice" if key.startswith("withdrawn/") else "copy" if record.value() is not None else "erasure"
            stories.setdefault(key.removeprefix("withdrawn/"), set()).add(what)
        if any(stories.get(one, {"copy"}) not in ({"copy"}, {"copy", "erasure", "notice"}) for one in lineages):
            return False
        if any(stories.get(one) == {"copy"} for one in lineages):
            return False
    return True


def _sort_out(exchange: Exchange, found: Evidence) -> None:
    """Set apart what the load did not have accepted: retractions, and what the exchange rejected."""
    sent = {value for values in found.sent.values() for value in values}
    exchange.others |= {one.value for one in found.written if one.value not in sent}
    rejected = {one["sha256"] for one in found.decisions if one["outcome"] == "REJECTED"}
    if any(decode(value)[1]["header"]["status"] != "RETRACTED" for value in exchange.others):
        raise DrillFailed("something was written that is neither of the load nor a retraction")
    exchange.set_apart(rejected)


# -- a wrong policy --------------------------------------------------------------------------------------------------


def undo_a_policy(exchange: Exchange) -> None:
    """A policy takes one member's sight and gives it to another; the policy before it is applied again."""
    file, lost, gave = exchange.world.policy_file, "reader-01", "reader-03"
    exchange.sees |= {lost: None, gave: None}
    right = yaml.safe_load(file.read_text())
    agreements = [{**one, "to": {"members": [READER]}} if one["id"] == "both" else one for one in right["agreements"]]
    wrong = {**right, "agreements": [*agreements, agreement("wrong", ["se", "de"], [gave])]}
    with exchange.load():
        begun = time.monotonic()
        _apply(exchange, wrong)
        exchange.timed("wrongly given, the first copy", lambda: bool(_newest(exchange, gave)), begun)
        time.sleep(WRONG_S)
        undone = time.monotonic()
        _apply(exchange, right)
        exchange.steps.append(Step("`policy apply` of the policy before", time.monotonic() - undone))
        time.sleep(BOUND_S)
        given = _newest(exchange, gave)
        standing = _newest(exchange, READER)
        exchange.timed("who had lost sight has all that stands again", lambda: _has(exchange, lost, standing), undone)
        time.sleep(BOUND_S)
        if _newest(exchange, gave) != given:
            raise DrillFailed(f"copies came {BOUND_S:.0f} s after the policy was put right")
        exchange.recovered("meanwhile, others' alerts", begun)
    _answered(exchange, gave, given)


def _apply(exchange: Exchange, policy: dict[str, Any]) -> None:
    exchange.world.policy_file.write_text(yaml.safe_dump(policy))
    exchange.apply()


def _newest(exchange: Exchange, member: str) -> dict[str, int]:
    """The newest revision of each lineage that is in a member's inbox."""
    return {copy.key: copy.revision for copy in exchange.copies(member)}


def _has(exchange: Exchange, member: str, standing: Mapping[str, int]) -> bool:
    """Whether a member has each of these lineages, in that revision or a newer one."""
    found = _newest(exchange, member)
    return all(found.get(lineage, 0) >= revision for lineage, revision in standing.items())


def _answered(exchange: Exchange, member: str, given: Mapping[str, int]) -> None:
    """The record names all that a member was wrongly given."""
    rows = tocsin("audit", "seen-by", member, "--home", str(exchange.home))
    missing = given.keys() - {row["lineage"] for row in rows}
    if missing:
        raise DrillFailed(f"`audit seen-by {member}` does not name {len(missing)} of {len(given)} lineages")


# -- a storm of alerts -----------------------------------------------------------------------------------------------


def weather_a_storm(exchange: Exchange) -> None:
    """One member publishes as fast as it can, within its quota; the others' alerts come as they did before."""
    [stormer] = [member for member in exchange.members if member.name == THIEF]
    [other] = [member for member in exchange.members if member.name != THIEF]
    _bound(exchange, round(exchange.rate * QUOTA_BYTES))
    with exchange.load():
        calm = time.monotonic()
        time.sleep(8)
        storm = time.monotonic()
        quiet, stormer.rate = stormer.rate, stormer.rate * STORM_TIMES
        time.sleep(STORM_S)
        stormer.rate, over = quiet, time.monotonic()
        time.sleep(4)
        took = [_took(exchange, other.sent, *span) for span in ((calm, storm), (storm, over))]
        before, during = (share(waits, 0.95) for waits in took)
        count = sum(storm <= at < over for at in stormer.sent.values())
        exchange.steps.append(Step(f"others, 95 in 100, before {count} alerts of one member", before))
        exchange.steps.append(Step(f"others, 95 in 100, meanwhile ({during / before:.1f} times)", during))
        _bound(exchange, None)
        exchange.timed("the storm's last alert came, quota lifted", lambda: _all_came(exchange, over), over)
    if during > RATIO_MAX * max(before, 0.1):
        raise DrillFailed(f"others waited {during:.2f} s, {before:.2f} s before")


def _bound(exchange: Exchange, byte_rate: int | None) -> None:
    """Bound what the member may write; None: no longer."""
    bounds = {"quotas": {"members": {THIEF: {"producer_byte_rate": byte_rate}}}} if byte_rate else {}
    file = exchange.home / "quotas.yaml"
    file.write_text(yaml.safe_dump(drill_policy(**bounds)))
    tocsin("policy", "quotas", str(file), "--home", str(exchange.home))


def _all_came(exchange: Exchange, until: float) -> bool:
    """Whether nothing is on its way any more that was published before `until`."""
    return all(trip.took != float("inf") for trip in exchange.trips() if trip.at < until)


def _took(exchange: Exchange, sent: dict[bytes, float], begin: float, end: float) -> list[float]:
    came = exchange.reader.came
    return [came.get(value, float("inf")) - at for value, at in dict(sent).items() if begin <= at < end]
