"""What the services of the policy tell of what they found: metrics, and a log of what is new."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from datetime import datetime

import structlog

from tocsin.consumers.metric_registry import Metrics
from tocsin.consumers.metric_table import Service
from tocsin.deploy.policy.by_time import Ending
from tocsin.deploy.policy.drift import Difference, Kind

log = structlog.get_logger()


class DriftMetrics(Metrics):
    """How the cluster differs from the policy."""

    def __init__(self) -> None:
        super().__init__(Service.DRIFT)

    def drift(self, found: Collection[Difference]) -> None:
        """Take in all differences that there are."""
        counts = Counter(one.kind for one in found)
        for kind in Kind:
            self.gauge("tocsin_policy_differences").labels(kind.value).set(counts[kind])
        self.gauge("tocsin_policy_looked_timestamp_seconds").labels("drift").set(time.time())


class TickMetrics(Metrics):
    """What is about to end by itself."""

    def __init__(self) -> None:
        super().__init__(Service.TICK)

    def tick(self, found: Collection[Ending]) -> None:
        """Take in everything that ends by itself."""
        ends = self.gauge("tocsin_policy_ends_timestamp_seconds")
        ends.clear()
        for one in found:
            ends.labels(one.what, one.name).set(one.ends.timestamp())
        self.gauge("tocsin_policy_looked_timestamp_seconds").labels("tick").set(time.time())


class Told:
    """Logs what is new since the last look, and what is over."""

    def __init__(self) -> None:
        self._before: set[Difference] = set()
        self._warned: dict[Ending, int] = {}

    def differences(self, found: Collection[Difference]) -> None:
        """Log each difference once, and once that it is gone."""
        for one in found:
            if one not in self._before:
                log.warning("policy_differs", kind=one.kind.value, what=one.what, why=one.why)
        for one in self._before.difference(found):
            log.info("policy_difference_gone", kind=one.kind.value, what=one.what)
        self._before = {*found}

    def endings(self, found: Collection[Ending], now: datetime) -> None:
        """Warn of each ending 30, 7 and 1 days ahead, once each."""
        for one in found:
            days = one.warning_days(now)
            if days is not None and self._warned.get(one, 31) > days:
                self._warned[one] = days
                log.warning("policy_ends", what=one.what, name=one.name, ends=one.ends.isoformat(), days_left=days)
