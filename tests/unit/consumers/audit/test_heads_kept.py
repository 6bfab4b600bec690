"""Heads that a member was shown are kept and compared by size, alone and with another member's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.consumers.audit.trees import Tree
from tocsin.consumers.audit.heads_kept import (
    HEADS,
    KEPT_MAX,
    HeadFound,
    HeadsKept,
    compare_sizes,
    encode_heads,
    read_heads,
)
from tocsin.consumers.audit.note import Signer
from tocsin.consumers.audit.shown import Shown, opened
from tocsin.consumers.errors import LogInvalid, NoteInvalid
from tocsin.schemas.signing import SigningKey

TOPIC = "audit.se"
LOG = Signer(f"test.tocsin/{TOPIC}", SigningKey.generate("sealer"))
HONEST, OTHER = Tree.of(40), Tree.of(40, altered=3)


def _head(size: int, tree: Tree = HONEST) -> Shown:
    return opened(tree.signed(LOG, size), [LOG.verifier])


@pytest.fixture
def kept(tmp_path: Path) -> HeadsKept:
    """Nothing yet, in a bundle of its own."""
    return HeadsKept(tmp_path / "bundle" / HEADS)


def test_a_growing_log_is_innocent(kept: HeadsKept) -> None:
    """A size that is new says so, one that was shown before is the same; old notices read again change nothing."""
    found = [kept.take(TOPIC, _head(size), at).found for at, size in enumerate([3, 3, 7, 9])]
    assert found == [HeadFound.NEW, HeadFound.SAME, HeadFound.NEW, HeadFound.NEW]
    before = kept.read()
    assert [kept.take(TOPIC, _head(size), at).found for at, size in ((0, 3), (2, 7))] == [HeadFound.SAME] * 2
    assert kept.read() == before
    assert [(one.issued_at, one.head.size) for one in before[TOPIC]] == [(0, 3), (2, 7), (3, 9)]


def test_two_roots_of_one_size_are_kept_as_evidence(kept: HeadsKept) -> None:
    """Both signed notes; what was shown first stays, and the same contradiction is found again."""
    kept.take(TOPIC, _head(7), 1)
    for _ in range(2):
        found, evidence = kept.take(TOPIC, _head(7, OTHER), 2)
        assert found is HeadFound.FORKED
        assert evidence is not None
        assert evidence.parent == kept.folder / "forks"
        assert (evidence / "seen").read_bytes() == HONEST.signed(LOG, 7)
        assert (evidence / "offered").read_bytes() == OTHER.signed(LOG, 7)
    assert [one.note for one in kept.read()[TOPIC]] == [HONEST.signed(LOG, 7)]


@pytest.mark.parametrize("size", [3, 5])
def test_a_size_that_goes_back_is_suspicious(kept: HeadsKept, size: int) -> None:
    """Whether that head was shown before or not: it was told after a larger one."""
    for at, shown in enumerate([3, 7]):
        kept.take(TOPIC, _head(shown), at)
    assert kept.take(TOPIC, _head(size), 5).found is HeadFound.WENT_BACK


def test_logs_are_kept_apart_and_the_oldest_heads_go(kept: HeadsKept) -> None:
    """So the file stays small however long a member is one."""
    tree = Tree.of(1)
    heads: dict[str, list[dict[str, object]]] = {"audit.de": [], TOPIC: []}
    kept.take("audit.de", _head(3), 0)
    for at in range(KEPT_MAX + 2):
        note = tree.signed(LOG, 1).replace(b"\n1\n", f"\n{at + 1}\n".encode())
        heads[TOPIC].append({"issued_at": at, "note": note.decode()})
    kept.folder.joinpath(HEADS).write_text(json.dumps(heads))
    kept.take(TOPIC, _head(2_000, Tree.of(2_000)), KEPT_MAX + 5)
    mine = kept.read()[TOPIC]
    assert (len(mine), mine[0].issued_at, mine[-1].head.size) == (KEPT_MAX, 3, 2_000)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"audit.se": [{}]}', b'{"audit.se": [{"issued_at": 1, "note": "x"}]}']
)
def test_a_damaged_file_is_never_written_over(kept: HeadsKept, content: bytes) -> None:
    """It says what was shown; nothing is taken until somebody has moved it."""
    kept.take(TOPIC, _head(3), 0)
    path = kept.folder / HEADS
    path.write_bytes(content)
    with pytest.raises(LogInvalid, match=r"heads\.json: damaged; move it away"):
        kept.take(TOPIC, _head(7), 1)
    assert path.read_bytes() == content
    with pytest.raises(NoteInvalid, match="tocsin audit heads --out"):
        read_heads(content)


def test_two_members_find_what_each_alone_cannot(kept: HeadsKept, tmp_path: Path) -> None:
    """Each was shown one history only; a size that both have tells, one that only one has does not."""
    other = HeadsKept(tmp_path / "other" / HEADS)
    for at, size in enumerate([3, 7, 9]):
        assert kept.take(TOPIC, _head(size), at).found is HeadFound.NEW
    for at, size in enumerate([3, 7, 8]):
        assert other.take(TOPIC, _head(size, OTHER), at).found is HeadFound.NEW
    mailed = read_heads(encode_heads(other.read()))
    theirs = [opened(one.note, [LOG.verifier]) for one in mailed[TOPIC]]
    side = compare_sizes(kept.read()[TOPIC], theirs, LOG.verifier)
    assert [one.size for one in side.same] == [3]
    assert side.apart == 1
    assert [(fork.seen.note, fork.offered.note) for fork in side.forks] == [
        (HONEST.signed(LOG, 7), OTHER.signed(LOG, 7))
    ]
