"""`tocsin policy simulate` on a real exchange: it names who the fan-out gives an alert to, before and after."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_policy_commands import BLIND, changed
from tests.world import World, takedown, tocsin, wait_until
from tocsin.producers.publisher import Publisher
from tocsin.schemas.models import SiteTakenDown


def _simulate(world: World, alert: str, *words: str, code: int = 0) -> list[dict[str, Any]]:
    asked = ["policy", "simulate", alert, "--policy", str(world.policy_file), "--home", str(world.home), *words]
    return tocsin(*asked, code=code)


def _publish(world: World, alert: SiteTakenDown) -> dict[str, Any]:
    """Publish `alert`, and the decision on record."""
    with Publisher(world.member(alert.header.publisher)) as publisher:
        publisher.publish(alert)
        assert publisher.flush(20) == 0
    found: list[dict[str, Any]] = []

    def decided() -> bool:
        found[:] = [one for one in world.decisions() if one["alert_id"] == alert.header.alert_id]
        return bool(found)

    wait_until(decided, 20, "the decision")
    return found[0]


def _file(folder: Path, alert: SiteTakenDown, **changes: Any) -> str:
    path = folder / "alert.json"
    content = {"type": alert.subject.value, **alert.model_dump(mode="json")}
    path.write_text(json.dumps({**content, **changes}))
    return str(path)


def _given(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["member"]: row["ACL"] for row in rows if row["outcome"] == "given"}


def _refused(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["member"]: row["why"] for row in rows if row["outcome"] == "refused"}


def _of(decision: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    return (
        {one["member"]: one["rule"] for one in decision["given"]},
        {one["member"]: one["reason"] for one in decision["refused"]},
    )


def test_who_would_be_given_an_alert_is_who_is_given_it(world: World, tmp_path: Path) -> None:
    """As the decision on record says: from a file before it is published, and by its place afterwards."""
    alert = takedown(world.member("hotline-se"))
    before = _simulate(world, _file(tmp_path, alert))
    decision = _publish(world, alert)
    given, refused = _of(decision)
    assert given
    assert refused
    assert (_given(before), _refused(before)) == (given, refused)
    assert _simulate(world, f"{decision['topic']}/{decision['offset']}") == before
    assert {row["why"] for row in before if row["member"] == "reader-02"} == {"agreement sweden"}


def test_a_plan_is_simulated_and_then_so_is_what_is_given(world: World, tmp_path: Path) -> None:
    """With + and - against now, of the policy files and of the plan as it was saved; once applied it is so."""
    saved = tmp_path / "plan.json"
    alert = takedown(world.member("hotline-se"))
    file = _file(tmp_path, alert)
    plan = ["policy", "plan", str(world.policy_file), "--home", str(world.home), "--out", str(saved)]
    try:
        with changed(world):
            tocsin(*plan, code=3)
            rows = _simulate(world, file, "--planned", code=3)
            assert _simulate(world, file, "--plan", str(saved), code=3) == rows
            assert {(row[""], row["member"]) for row in rows if row[""]} == {("+", BLIND), ("-", "reader-02")}
            tocsin("policy", "apply", str(world.policy_file), "--plan", str(saved), "--home", str(world.home))
            wait_until(lambda: _given(_simulate(world, file)) == _given(rows), 20, "sight")
            time.sleep(3)  # the fan-out's own two looks at the ACLs
            assert _of(_publish(world, alert))[0] == _given(rows)
            assert _simulate(world, file, "--planned") == _simulate(world, file)
    finally:
        world.apply()


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "site-taken-up"},
        {"details": {}},
        {"header": {}},
    ],
)
def test_what_is_no_alert_is_refused(world: World, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Nobody would be given it."""
    assert _simulate(world, _file(tmp_path, takedown(world.member("hotline-se")), **changes), code=1) == []


def test_a_place_without_a_record_is_said(world: World) -> None:
    """A place that is none is a usage error."""
    assert _simulate(world, "alerts.se.site-taken-down.green/99999", code=1) == []
    assert _simulate(world, "alerts.se/1", code=2) == []
