"""Decisions packed by member: the same comes out as went in, wherever it lay meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.consumers.audit.test_receipts import RULE, TOPIC, decided, sha
from tocsin.consumers.audit import given
from tocsin.consumers.audit.given import Decisions, Give, MemoryScratch, Scratch, Source
from tocsin.deploy.audit.scratch import ScratchFolder

WITHHELD: dict[str, Any] = {"kind": "WITHHELD", "refused": [{"member": "isp-de", "reason": "sight-lost"}]}


def test_what_was_decided_comes_out_by_member() -> None:
    """Copies less what was withheld, those given once more, and erasures, each with its decision."""
    decisions = Decisions()
    for one in (
        decided(1, 0),
        decided(2, 1),
        decided(3, 1, **WITHHELD),
        decided(4, 2, kind="EXPIRED", erased=["isp-de"]),
        decided(5, 0, kind="GAINED"),
        decided(6, 3, outcome="REJECTED"),
        decided(7, 4, given=[{"member": "isp-fr", "rule": RULE}]),
    ):
        decisions.add(one)
    found = decisions.of("isp-de")
    first = Give("de", 1, 1_000_000, "hotline-de/matter-0", sha(0), RULE)
    again = first._replace(seq=5, decided_ms=5_000_000)
    assert found.given == {Source(TOPIC, 0): [first, again], Source(TOPIC, 1): []}
    assert found.again == {"de": [again]}
    assert [give.seq for give in found.erased["hotline-de/matter-2"]] == [4]
    assert decisions.members == ["isp-de", "isp-fr"]
    assert decisions.of("nobody").given == {}


@pytest.mark.parametrize("piece", [1, 300, 1 << 20])
def test_it_is_the_same_wherever_it_lay(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory or in files, in pieces of any size; more may be added after it was looked at."""
    monkeypatch.setattr(given, "PIECE_BYTES", piece)
    with ScratchFolder() as folder:
        scratches: list[Scratch] = [MemoryScratch(), folder]
        memory, files = (Decisions(scratch) for scratch in scratches)
        for seq in range(1, 30):
            for one in (memory, files):
                one.add(decided(seq, seq))
            assert files.of("isp-de") == memory.of("isp-de")
            assert len(files.of("isp-de").given) == seq


def test_others_are_counted_and_no_more() -> None:
    """Less what was withheld; nothing of them is kept."""
    decisions = Decisions(only=["isp-fr"])
    for one in (decided(1, 0), decided(2, 1), decided(3, 1, **WITHHELD), decided(4, 0, erased=["isp-de"])):
        decisions.add(one)
    assert decisions.others == {"isp-de": 1}
    assert decisions.members == []


def test_a_scratch_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are gone when it is left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with ScratchFolder() as folder:
        folder.append(7, b"x")
        folder.append(7, b"y")
        assert folder.read(7) == b"xy"
        assert folder.read(8) == b""
        assert len([*tmp_path.iterdir()]) == 1
    assert [*tmp_path.iterdir()] == []
