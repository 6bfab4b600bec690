"""What services answer at `/metrics`, as samples that can be asked for."""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Final, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

ANSWER_S_MAX: Final = 3.0
ANSWER_BYTES_MAX: Final = 64_000_000

Labels: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Samples:
    """What the service at `url` said at the time `at_s`, seconds since 1970; `why` it said nothing, if so."""

    url: str
    at_s: float
    by_name: Mapping[str, Sequence[tuple[Labels, float]]] = field(
        default_factory=dict[str, Sequence[tuple[Labels, float]]]
    )
    why: str = ""

    def of(self, name: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """The samples of a name that have all these labels."""
        for found, value in self.by_name.get(name, ()):
            if all(found.get(label) == wanted for label, wanted in labels.items()):
                yield found, value

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of these samples; None if there are none."""
        found = [value for _, value in self.of(name, **labels)]
        return sum(found) if found else None


def samples_of(url: str, at_s: float, text: str) -> Samples:
    """The samples in an answer in Prometheus's text format.

    Raises:
        ValueError: it is none.
    """
    by_name: defaultdict[str, list[tuple[Labels, float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            by_name[sample.name].append((sample.labels, float(sample.value)))
    return Samples(url, at_s, by_name)


def ask(url: str, *, trusted: ssl.SSLContext | None = None, clock: Callable[[], float] = time.time) -> Samples:
    """What the service at `url` says now; why not, if it does not. `trusted` is for https."""
    at_s = clock()
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S_MAX, context=trusted) as answer:  # noqa: S310  # checked
            text = answer.read(ANSWER_BYTES_MAX).decode("utf-8", "replace")
        return samples_of(url, at_s, text)
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        return Samples(url, at_s, why=f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__)
