"""The client that asks for ACLs: how large an answer may be, and on how deep a stack."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import confluent_kafka.admin
import pytest
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from tocsin.consumers.acl import AclRow
from tocsin.consumers.acl_client import answer_bytes, is_understood, light_rows, row_of

ROW = AclRow("TOPIC", "alerts.se.", "PREFIXED", "User:bänk", "*", "READ", "ALLOW")


def test_other_threads_have_the_stack_that_they_had() -> None:
    """The deep one is for the threads of the client only. In a process of its own: a client leaves threads behind."""
    program = (
        "from tocsin.consumers import acl_client as a; before = a._default_stack(None); "
        "c = a.acl_client({'bootstrap.servers': '127.0.0.1:1', 'log_level': 0}); "
        "assert a._default_stack(None) == before; print(before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 64 * 1024 * 1024


FIELDS = {
    "restype": ResourceType.TOPIC.value,
    "name": "alerts.se.",
    "resource_pattern_type": ResourcePatternType.PREFIXED.value,
    "principal": "User:bänk",
    "host": "*",
    "operation": AclOperation.READ.value,
    "permission_type": AclPermissionType.ALLOW.value,
}


def test_a_row_is_read_in_kafkas_words() -> None:
    """Also where librdkafka has another."""
    assert row_of(FIELDS) == ROW
    assert is_understood(ROW)
    assert row_of({**FIELDS, "restype": ResourceType.BROKER.value}) == replace(ROW, resource_type="CLUSTER")


@pytest.mark.parametrize("word", ["restype", "resource_pattern_type", "operation", "permission_type"])
@pytest.mark.parametrize("value", [0, 99])
def test_what_has_no_name_is_not_understood(word: str, value: int) -> None:
    """Neither what the library does not know, nor what it should not say."""
    assert not is_understood(row_of({**FIELDS, word: value}))


def test_the_library_has_its_own_class_again_after_a_reading() -> None:
    """Also after one that failed."""
    with pytest.raises(TimeoutError), light_rows():
        raise TimeoutError
    assert confluent_kafka.admin.AclBinding is AclBinding


def test_a_name_counts_once_and_a_row_each_time() -> None:
    """By bytes, not letters."""
    name, row = 8 + 10, 6 + 10 + 1
    other = AclRow("TOPIC", "alerts.se.", "LITERAL", "User:bänk", "*", "READ", "ALLOW")
    assert answer_bytes([]) == 0
    assert answer_bytes([ROW]) == name + row
    assert answer_bytes([ROW, ROW]) == name + 2 * row
    assert answer_bytes([ROW, other]) == 2 * (name + row)
