"""Which of the authorizer's lines are told, by the patterns that the brokers are given."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tocsin.deploy.cluster.log4j import log4j
from tocsin.deploy.policy.rows import DRIFT, POLICY

FILTERS = [
    (one.attrib["regex"], one.attrib["onMatch"], one.attrib["onMismatch"])
    for one in ET.fromstring(log4j()).iter("RegexFilter")  # noqa: S314  # our own file
]


def _told(login: str, operation: str, resource: str, host: str = "127.0.0.1") -> bool:
    """What the filters come to for a line about something allowed; of what was denied none is asked."""
    line = (
        f"Principal = User:{login} is Allowed operation = {operation} from host = {host} on resource ="
        f" {resource} for request = X with resourceRefCount = 1 based on rule y"
    )
    for pattern, match, mismatch in FILTERS:
        answer = match if re.fullmatch(pattern, line) else mismatch
        if answer != "NEUTRAL":
            return answer == "ACCEPT"
    raise AssertionError("no filter decides")


@pytest.mark.parametrize("login", [POLICY, DRIFT, "admin"])
@pytest.mark.parametrize(
    ("operation", "resource"),
    [
        ("ALTER", "Cluster:LITERAL:kafka-cluster"),
        ("CREATE", "Topic:LITERAL:outbox.bank-fr"),
        ("ALTER_CONFIGS", "Topic:LITERAL:directory"),
        ("WRITE", "Topic:LITERAL:directory"),
        ("WRITE", "Topic:LITERAL:audit.policy"),
        ("READ", "Topic:LITERAL:audit.policy"),
        ("READ", "Topic:LITERAL:ledger.de"),
        ("READ", "Topic:LITERAL:inbox.bank-fr"),
        ("DELETE", "Topic:LITERAL:a-topic"),
    ],
)
def test_what_the_policy_tool_does_is_told(login: str, operation: str, resource: str) -> None:
    """All that changes something, and whatever is read of alerts, copies and the record."""
    assert _told(login, operation, resource)


@pytest.mark.parametrize(
    ("login", "operation", "resource"),
    [
        ("fanout", "READ", "Topic:LITERAL:alerts.de.site-taken-down.green"),
        ("fanout", "DESCRIBE", "Cluster:LITERAL:kafka-cluster"),
        ("bank-fr.reader", "READ", "Topic:LITERAL:inbox.bank-fr"),
        ("bank-fr", "READ", "Topic:LITERAL:directory"),
        ("bank-fr", "WRITE", "Topic:LITERAL:outbox.bank-fr"),
        (DRIFT, "DESCRIBE_CONFIGS", "Topic:LITERAL:ledger.de"),
        ("broker", "CLUSTER_ACTION", "Cluster:LITERAL:kafka-cluster"),
    ],
)
def test_what_comes_all_the_time_is_left_out(login: str, operation: str, resource: str) -> None:
    """Work of services from their hosts, members at what is theirs, and looking at what there is."""
    assert not _told(login, operation, resource)


def test_the_work_of_a_service_from_elsewhere_is_told() -> None:
    """Somebody has its password."""
    assert _told("fanout", "READ", "Topic:LITERAL:alerts.de.site-taken-down.green", host="192.0.2.9")
