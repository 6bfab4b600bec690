"""What one service said at one moment, and what two such moments come to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

Labels: TypeAlias = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Scrape:
    """What `source` said at `at_s` (seconds since 1970): its samples, or why there are none."""

    source: str
    at_s: float
    samples: Mapping[tuple[str, Labels], float]
    trouble: str | None = None

    @classmethod
    def of(cls, source: str, at_s: float, text: str) -> Scrape:
        """Read the text that Prometheus would read.

        Raises:
            ValueError: it is none.
        """
        families = text_string_to_metric_families(text)
        return cls(
            source,
            at_s,
            {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples},
        )

    @classmethod
    def failed(cls, source: str, at_s: float, why: str) -> Scrape:
        """One that said nothing."""
        return cls(source, at_s, {}, why)

    def each(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """The labels and value of each sample of this name with these labels."""
        asked = labels.items()
        for (found, has), value in self.samples.items():
            if found == name and asked <= {*has}:
                yield dict(has), value

    def get(self, name: str, **labels: str) -> float | None:
        """The sum of the samples of this name with these labels; None when there are none."""
        values = [value for _, value in self.each(name, **labels)]
        return sum(values) if values else None


@dataclass(frozen=True, slots=True)
class Span:
    """Two scrapes of one source; `before` is None at the first."""

    before: Scrape | None
    now: Scrape

    def rate(self, name: str, **labels: str) -> float | None:
        """How much a counter has risen in a second; None when that is not known, as after a restart."""
        before = self.before
        if before is None or self.now.at_s <= before.at_s:
            return None
        risen = (self.now.get(name, **labels) or 0.0) - (before.get(name, **labels) or 0.0)
        return risen / (self.now.at_s - before.at_s) if risen >= 0 else None

    def quantile(self, share: float, name: str, **labels: str) -> float | None:
        """A quantile of what a histogram has counted between the two, or of all if that is nothing; None if none."""
        now = _buckets(self.now, name, labels)
        before = _buckets(self.before, name, labels) if self.before is not None else {}
        risen = {bound: count - before.get(bound, 0.0) for bound, count in now.items()}
        fresh = risen.get(float("inf"), 0.0) > 0 and min(risen.values()) >= 0
        return quantile(share, risen if fresh else now)


def _buckets(scrape: Scrape, name: str, labels: Mapping[str, str]) -> dict[float, float]:
    found: dict[float, float] = {}
    for has, value in scrape.each(f"{name}_bucket", **labels):
        bound = float(has["le"])
        found[bound] = found.get(bound, 0.0) + value
    return found


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """As Prometheus's `histogram_quantile`: straight lines within a bucket, the last bound for what is above it."""
    total = buckets.get(float("inf"), 0.0)
    if total <= 0:
        return None
    wanted = share * total
    bounds = sorted(buckets)
    for below, bound in pairwise([0.0, *bounds]):
        had = buckets.get(below, 0.0)
        if buckets[bound] >= wanted:
            if bound == float("inf"):
                return below
            inside = buckets[bound] - had
            return below + (bound - below) * ((wanted - had) / inside if inside else 1.0)
    return bounds[-1]


Fetch: TypeAlias = Callable[[str], str]
"""The text at an address. Raises OSError."""


def scrape(source: str, fetch: Fetch, now_s: Callable[[], float]) -> Scrape:
    """Ask a service; what goes wrong is part of the answer."""
    at_s = now_s()
    try:
        return Scrape.of(source, at_s, fetch(source))
    except OSError as failure:
        return Scrape.failed(source, at_s, f"does not answer: {failure}")
    except ValueError:
        return Scrape.failed(source, at_s, "does not answer with metrics")
