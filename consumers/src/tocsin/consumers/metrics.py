"""What services tell that look again and again: how far the record is sealed and witnessed, who is overdue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from tocsin.consumers.metric_registry import Metrics
from tocsin.consumers.metric_table import Service

if TYPE_CHECKING:
    from tocsin.consumers.withdrawals import Withdrawal


class SealerMetrics(Metrics):
    """How far the record is sealed."""

    def __init__(self) -> None:
        super().__init__(Service.SEALER)

    def sealed(self, records: Mapping[str, int], lag: Mapping[str, int], refused: int, now_s: float) -> None:
        """Note that all that was on record at `now_s` is sealed but for `refused` topics; how many records of each."""
        for topic, count in records.items():
            self.gauge("tocsin_sealed_records").labels(topic).set(count)
        for topic, count in lag.items():
            self.gauge("tocsin_seal_lag_records").labels(topic).set(count)
        self.gauge("tocsin_sealer_refused_logs").set(refused)
        self.gauge("tocsin_sealed_timestamp_seconds").set(now_s)


class WitnessMetrics(Metrics):
    """What a witness has compared and cosigned."""

    def __init__(self) -> None:
        super().__init__(Service.WITNESS)

    def looked(self, entries: Mapping[str, int | None], forks: int, waiting: int, now_s: float) -> None:
        """Note what there is after a look at `now_s`: entries by topic, None where nothing is cosigned yet."""
        for topic, count in entries.items():
            self.gauge("tocsin_witness_entries").labels(topic).set(count or 0)
        self.gauge("tocsin_witness_forks").set(forks)
        self.gauge("tocsin_witness_waiting_heads").set(waiting)
        self.gauge("tocsin_witness_timestamp_seconds").set(now_s)


class WithdrawalsMetrics(Metrics):
    """Who is overdue with acknowledging what was withdrawn."""

    def __init__(self) -> None:
        super().__init__(Service.WITHDRAWALS)

    def read(self, found: Collection[Withdrawal], lanes: Collection[str], now_ms: int, after_ms: int) -> None:
        """Take in what was read at `now_ms`: all that there is of `lanes`."""
        overdue, oldest_s = self.gauge("tocsin_withdrawals_overdue"), self.gauge("tocsin_withdrawals_oldest_seconds")
        overdue.clear()
        for lane in lanes:
            oldest_s.labels(lane).set(0)
        late = Counter((one.lane, one.member) for one in found if one.overdue(now_ms, after_ms))
        oldest: dict[str, int] = {}
        for one in found:
            if one.overdue(now_ms, 0):
                oldest[one.lane] = min(one.withdrawn_ms, oldest.get(one.lane, now_ms))
        for (lane, member), count in late.items():
            overdue.labels(lane, member).set(count)
        for lane, withdrawn_ms in oldest.items():
            oldest_s.labels(lane).set((now_ms - withdrawn_ms) / 1_000)
        self.gauge("tocsin_withdrawals_read_timestamp_seconds").set(now_ms / 1_000)
