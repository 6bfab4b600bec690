"""The client that asks for ACLs: how large an answer may be, and on how deep a stack."""

from __future__ import annotations

import subprocess
import sys

from tocsin.consumers.acl import AclRow
from tocsin.consumers.acl_client import answer_bytes

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


def test_a_name_counts_once_and_a_row_each_time() -> None:
    """By bytes, not letters."""
    name, row = 8 + 10, 6 + 10 + 1
    other = AclRow("TOPIC", "alerts.se.", "LITERAL", "User:bänk", "*", "READ", "ALLOW")
    assert answer_bytes([]) == 0
    assert answer_bytes([ROW]) == name + row
    assert answer_bytes([ROW, ROW]) == name + 2 * row
    assert answer_bytes([ROW, other]) == 2 * (name + row)
