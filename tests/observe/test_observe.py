"""Every question that dashboards and rules ask is answered by a real Prometheus that scrapes a whole exchange."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.load import load
from tests.observe.exchange import Exchange, exchange
from tests.observe.queries import asked, metrics_in, rules
from tests.observe.tools import tool_or_skip
from tests.world import small_policy, wait_until

SETTLED_S = 60.0


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """A whole exchange at work."""
    tool_or_skip("prometheus")
    home = tmp_path_factory.mktemp("observed") / "home"
    with exchange(home, small_policy()) as made, load(made.world, 0.1), load(made.world, 0.5, "hotline-de"):
        yield made


def test_every_panel_shows_something(observed: Exchange) -> None:
    """But those that show a fault, of which there is none."""
    ask = observed.prometheus.query
    questions = [one for one in asked() if not one.when]
    silent = [*questions]

    def all_answered() -> bool:
        silent[:] = [one for one in silent if not ask(one.expr)]
        return not silent

    assert len(questions) > 40
    wait_until(all_answered, SETTLED_S, lambda: "\n".join(f"{one.board}: {one.panel}: {one.expr}" for one in silent))


def test_every_rule_is_about_what_is_there(observed: Exchange) -> None:
    """Each metric that a rule asks for has series; and no rule fires in health."""
    ask = observed.prometheus.query
    quiet_in_health = {"tocsin_withdrawals_overdue", "tocsin_gains_held_members", "tocsin_owed_timestamp_seconds"}
    named = {name for rule in rules() for name in metrics_in(rule["expr"])} - quiet_in_health
    missing = {*named}

    def all_there() -> bool:
        missing.difference_update([name for name in missing if ask(name)])
        return not missing

    wait_until(all_there, SETTLED_S, lambda: str(missing))
    assert observed.prometheus.firing() == {}
