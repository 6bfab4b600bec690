"""The bench itself works: the fan-out makes every copy, on a backlog too small to say how fast."""

from __future__ import annotations

import pytest

from tests.bench.__main__ import run_way
from tests.bench.backlog import AUDIENCE
from tests.bench.stock import run
from tests.bench.subscriptions import FEW, MANY, cost_us
from tests.load import LONG


@pytest.mark.timeout(180)
def test_every_copy_is_made() -> None:
    """Counted in the inboxes by a plain consumer, with the CPU time that it took."""
    done = run_way("tocsin fan-out", 100)
    assert done.copies == 100 * AUDIENCE
    assert done.cpu_s > 0


@pytest.mark.skipif(not LONG, reason="a stock is written, settled and taken over in most of a minute: make faults")
@pytest.mark.timeout(180)
def test_a_stock_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other lane works meanwhile; no time and no size is promised of so small a one."""
    monkeypatch.setattr("tests.bench.stock.SETTLED_S", 2.0)
    stock = run(500)
    assert stock.others > 0
    assert stock.memory_mib > 0


def test_a_decision_costs_the_same_among_ten_and_ten_thousand_subscriptions() -> None:
    """When the same ones match; the two measured in turns, the best of each."""
    costs = [(cost_us(FEW), cost_us(MANY)) for _ in range(2)]
    few, many = (min(of) for of in zip(*costs, strict=True))
    assert many <= 1.5 * few, f"{few:.1f} us among {FEW}, {many:.1f} us among {MANY}"
