"""What is asked of brokers' logs, and of what time there is any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from tocsin.consumers.audit.access_log import Part, claim_of, value_of
from tocsin.consumers.audit.access_search import Asked, Covered, Gap, Search
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import ACCESS_AUDIT_TOPIC
from tocsin.schemas.records import Access

GREEN = "alerts.se.site-taken-down.green"


def access(**other: Any) -> Access:
    """A direct read by a member, unless `other` says more."""
    said = {
        "first_at": 1_000,
        "last_at": 2_000,
        "count": 3,
        "principal": "User:bank-fr.reader",
        "host": "192.0.2.7",
        "verdict": "ALLOWED",
        "operation": "READ",
        "resource_type": "TOPIC",
        "resource": GREEN,
        "request": "Fetch",
        "rule": "DefaultDeny",
        **other,
    }
    return cast("Access", said)


def search(asked: Asked, *parts: Part, source: str = "broker-1") -> Search:
    """What is found in the parts of one log."""
    found = Search(asked)
    values = [claim_of(source, "run", 0), *(value_of(source, "run", 0, part) for part in parts)]
    for offset, value in enumerate(values):
        found.take(BusRecord(ACCESS_AUDIT_TOPIC, offset, None, value, (), 0))
    return found


def part(begin: int, log_from: int, log_to: int, *accesses: Access) -> Part:
    """A hundred bytes of a log."""
    return Part("READ", "f", begin, begin + 100, log_from, log_to, len(accesses), [*accesses])


@pytest.mark.parametrize(
    ("asked", "said", "found"),
    [
        ({}, {}, True),
        ({"principal": "bank-fr.reader"}, {}, True),
        ({"principal": "User:bank-fr.reader"}, {}, True),
        ({"principal": "bank-fr"}, {}, False),
        ({"member": "bank-fr"}, {}, True),
        ({"member": "bank"}, {}, False),
        ({"member": "fanout"}, {"principal": "User:fanout"}, False),
        ({"topic": GREEN}, {}, True),
        ({"topic": "alerts.se.*"}, {}, True),
        ({"topic": "alerts.se."}, {}, False),
        ({"topic": "alerts.de.*"}, {}, False),
        ({"topic": "alerts.de.*"}, {"resource": None, "verdict": "DENIED"}, True),
        ({"topic": GREEN}, {"resource_type": "GROUP"}, False),
        ({"verdict": "DENIED"}, {}, False),
        ({"verdict": "DENIED"}, {"verdict": "DENIED"}, True),
        ({"direct": True}, {}, True),
        ({"direct": True}, {"principal": "User:admin"}, True),
        ({"direct": True}, {"verdict": "DENIED"}, False),
        ({"direct": True}, {"operation": "WRITE"}, False),
        ({"direct": True}, {"resource": "inbox.bank-de"}, False),
        ({"from_ms": 2_000}, {}, True),
        ({"from_ms": 2_001}, {}, False),
        ({"to_ms": 1_001}, {}, True),
        ({"to_ms": 1_000}, {}, False),
    ],
)
def test_what_is_asked_for_is_found(asked: dict[str, Any], said: dict[str, Any], *, found: bool) -> None:
    """By login, member, topic, verdict and time; a name that was not told apart may have been the one."""
    question = replace(Asked(0, 10_000), **asked)
    assert bool(search(question, part(0, 0, 5_000, access(**said))).found) is found


def test_a_find_says_where_it_is_on_record_and_whose_it_was() -> None:
    """So that it can be held against the sealed record."""
    [one] = search(Asked(0, 10_000), part(0, 0, 5_000, access())).found
    assert (one.source, one.offset, one.member, one.direct) == ("broker-1", 1, "bank-fr", True)


def test_of_what_time_there_is_a_record() -> None:
    """From the first part to the last; what is missing in between is a gap, whether it was lost or never shipped."""
    lost = Part("LOST", "g", 0, 0, 9_000, 20_000)
    found = search(Asked(0, 100_000), part(0, 1_000, 5_000), part(100, 5_000, 9_000), lost, part(500, 20_000, 21_000))
    assert found.covered == {"broker-1": Covered(1_000, 21_000)}
    assert found.gaps == [Gap("broker-1", 9_000, 20_000)]
    assert search(Asked(0, 100_000), part(0, 1, 2), part(100, 8_000, 9_000)).gaps == [Gap("broker-1", 2, 8_000)]
    assert search(Asked(30_000, 100_000), part(0, 1, 2), lost).gaps == []


def test_lines_that_were_not_understood_are_told_whatever_was_asked() -> None:
    """Nobody knows what they are about."""
    odd = Part("READ", "f", 0, 100, 1_000, 5_000, 1, [], [{"offset": 7, "text": "?"}])
    found = search(Asked(0, 10_000, member="bank-de"), odd)
    assert [(one.source, one.log_to, one.line["text"]) for one in found.unread] == [("broker-1", 5_000, "?")]
    assert search(Asked(6_000, 10_000), odd).unread == []
