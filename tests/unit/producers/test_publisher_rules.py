"""A Publisher refuses what the exchange would refuse, before it signs or stores anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.world import takedown
from tocsin.consumers.memory import MemoryExchange
from tocsin.producers.errors import AlertRefused
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import SIGNING_KEY, Bundle
from tocsin.schemas.errors import BundleInvalid
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import AlertType

MINUTE_MS = 60_000


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A hotline's."""
    kinds = (AlertType.SITE_TAKEN_DOWN,)
    return MemoryExchange(tmp_path).add_member("hotline-se", role="hotline", jurisdiction="se", publishes=kinds)


@pytest.fixture
def now_ms() -> list[int]:
    """The publisher's clock, to be turned."""
    return [int(datetime.now(UTC).timestamp() * 1_000)]


@pytest.fixture
def publisher(tmp_path: Path, bundle: Bundle, now_ms: list[int]) -> Iterator[Publisher]:
    """A Publisher whose every signature would fail: its key is gone once it runs."""
    writer = MemoryExchange(tmp_path / "other").writer("hotline-se")
    with Publisher(bundle, writer=writer, now=lambda: now_ms[0]) as found:
        (bundle.path / SIGNING_KEY).unlink()
        yield found


def _with(alert: SiteTakenDown, **header: Any) -> SiteTakenDown:
    """`alert` as pydantic lets it be changed, unchecked."""
    return alert.model_copy(update={"header": alert.header.model_copy(update=header)})


FAULTS: dict[str, tuple[Callable[[SiteTakenDown], SiteTakenDown], str]] = {
    "another token key": (
        lambda alert: _with(alert, token_key_id="another"),  # noqa: S106  # a key's name
        r"^details\.url_tokens: a token of another key than header\.token_key_id$",
    ),
    "published ahead": (
        lambda alert: _with(alert, published_at=alert.header.published_at + timedelta(minutes=11)),
        r"^header\.published_at: more than 10 minutes ahead$",
    ),
    "a broken rule": (lambda alert: _with(alert, confidence=101), r"^header\.confidence: 0 to 100$"),
    "content": (lambda alert: _with(alert, note="www.example.top"), r"^header\.note: "),
    "another publisher": (lambda alert: _with(alert, publisher="bank-fr"), r"^header\.publisher: must be hotline-se"),
    "another jurisdiction": (lambda alert: _with(alert, jurisdiction="fr"), r"^header\.jurisdiction: must be se"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_exchange_would_refuse_is_not_signed(publisher: Publisher, bundle: Bundle, fault: str) -> None:
    """The message names field and rule, and nothing is in the spool."""
    change, message = FAULTS[fault]
    with pytest.raises(AlertRefused, match=message):
        publisher.publish(change(takedown(bundle, 1)))
    assert publisher.waiting() == 0


def test_the_publishers_clock_is_what_published_at_is_compared_with(
    publisher: Publisher, bundle: Bundle, now_ms: list[int]
) -> None:
    """Ten minutes ahead of it pass: then it gets as far as the missing key. One more millisecond does not."""
    alert = takedown(bundle, 1)
    published_ms = alert.model_dump()["header"]["published_at"]
    now_ms[0] = published_ms - 10 * MINUTE_MS
    with pytest.raises(BundleInvalid, match=SIGNING_KEY):
        publisher.publish(alert)
    now_ms[0] -= 1
    with pytest.raises(AlertRefused, match="more than 10 minutes ahead"):
        publisher.publish(alert)
    now_ms[0] = int(alert.header.expires_at.timestamp() * 1_000)
    with pytest.raises(AlertRefused, match=r"^header\.expires_at: in the past$"):
        publisher.publish(alert)
