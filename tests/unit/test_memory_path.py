"""A member's own test of its whole path: Publisher, the exchange in memory, Inbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.world import takedown, wait_until
from tocsin.consumers.memory import MemoryExchange
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import AlertTopic, AlertType, Tlp

WAIT_S = 10.0
GREEN = AlertTopic("se", AlertType.SITE_TAKEN_DOWN, Tlp.GREEN).name


class Line:
    """One publisher, one reader."""

    def __init__(self, home: Path) -> None:
        self.exchange = MemoryExchange(home)
        kinds = (AlertType.SITE_TAKEN_DOWN,)
        self.hotline = self.exchange.add_member("hotline-se", role="hotline", jurisdiction="se", publishes=kinds)
        self.bank = self.exchange.add_member("bank-fr", role="bank", jurisdiction="fr")
        self.exchange.grant("bank-fr", GREEN)

    def publisher(self, bundle: Bundle) -> Publisher:
        """A Publisher on the bus."""
        return Publisher(bundle, writer=self.exchange.writer(bundle.member))

    def received(self) -> list[SiteTakenDown]:
        """What the bank's inbox hands out now."""
        self.exchange.run()
        with self.exchange.inbox(self.bank) as inbox:
            alerts = [received.alert for received in inbox]
        assert inbox.unverified == {}
        return [alert for alert in alerts if isinstance(alert, SiteTakenDown)]


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """An exchange for each test."""
    return Line(tmp_path)


def test_what_is_published_is_received(line: Line) -> None:
    """The alert that goes in comes out, once."""
    alert = takedown(line.hotline, 1)
    with line.publisher(line.hotline) as publisher:
        publisher.publish(alert, "case-1")
        publisher.publish(alert, "case-1")
        assert publisher.flush(WAIT_S) == 0
    assert line.received() == [alert]
    assert line.received() == []


def test_an_answer_that_is_lost_makes_a_duplicate_and_no_second_copy(line: Line) -> None:
    """The publisher sends the same bytes again; the exchange decides on both and delivers one."""
    alert = takedown(line.hotline, 1)
    line.exchange.bus.lose_answers(1)
    with line.publisher(line.hotline) as publisher:
        publisher.publish(alert)
        assert publisher.flush(WAIT_S) == 0
    assert line.received() == [alert]
    assert [one["outcome"] for one in line.exchange.decisions()] == ["ACCEPTED", "DUPLICATE"]


def test_what_is_published_while_the_bus_is_down_arrives_later(line: Line) -> None:
    """It stays in the spool, through the publisher's end, and the next publisher delivers it."""
    alerts = [takedown(line.hotline, number) for number in range(3)]
    line.exchange.bus.take_down()
    with line.publisher(line.hotline) as publisher:
        for alert in alerts:
            publisher.publish(alert)
        assert publisher.flush(0.5) == 3
        assert publisher.status().connection
        publisher.close(0)
    line.exchange.bus.bring_up()
    with line.publisher(line.hotline) as publisher:
        assert publisher.flush(WAIT_S) == 0
    assert line.received() == alerts


def test_a_topic_that_one_may_not_write_is_named(line: Line) -> None:
    """The publisher says which right is missing, and delivers when it is given."""
    bundle = line.exchange.add_member("isp-gb", role="isp", jurisdiction="gb")
    with line.publisher(bundle) as publisher:
        publisher.publish(takedown(bundle, 1))
        publisher.flush(1.0)
        wait_until(lambda: bool(publisher.status().held), WAIT_S, "the refusal")
        assert publisher.status().held == {
            "alerts.gb.site-taken-down.green": "this login may not WRITE to alerts.gb.site-taken-down.green; "
            "ask the secretariat for the right"
        }
        publisher.close(0)
