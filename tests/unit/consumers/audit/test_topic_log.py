"""The log of one topic: it goes on with the record after its last, and with no other topic."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.unit.consumers.audit.trees import Tree
from tocsin.consumers.audit.facts import seal_of
from tocsin.consumers.audit.merkle import leaf_hash
from tocsin.consumers.audit.note import Signer, open_checkpoint
from tocsin.consumers.audit.sealer import LEAVES_MAX, TopicLog
from tocsin.consumers.errors import LogInvalid
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.signing import SigningKey

SIGNER: Final = Signer("test.tocsin/audit.de", SigningKey.generate("sealer"))


def _records(count: int) -> list[BusRecord]:
    """With gaps between offsets, as transactions leave them."""
    return [BusRecord("audit.de", at * 3 + 1, None, at.to_bytes(4, "big"), (), at) for at in range(count)]


def _open(path: Path, topic_id: str = "id", signer: Signer = SIGNER) -> TopicLog:
    return TopicLog(path / "audit.de", topic_id, signer)


def _sealed(log: TopicLog, records: list[BusRecord]) -> bool:
    """Whether the newest head is that of these records."""
    head = open_checkpoint(log.checkpoint or b"", SIGNER.verifier)
    tree = Tree([leaf_hash(seal_of(record)) for record in records])
    return log.checkpoint == tree.signed(SIGNER, len(records)) and head.size == len(records)


@pytest.mark.parametrize("count", [0, 1, 5, 255, 256, 257, 600])
def test_it_goes_on_where_it_was(tmp_path: Path, count: int) -> None:
    """Whatever comes again is passed over, and the next one is the next entry."""
    records = _records(count + 3)
    for upto in (count, count, count + 3):
        log = _open(tmp_path)
        for record in records[:upto]:
            log.take(record)
        log.seal()
        assert _sealed(log, records[:upto])
        assert log.next_offset == (records[upto - 1].offset + 1 if upto else 0)
        log.close()


def test_many_records_are_sealed_without_being_asked(tmp_path: Path) -> None:
    """When as many wait as a tile holds."""
    records = _records(LEAVES_MAX + 10)
    with closing(_open(tmp_path)) as log:
        for record in records:
            log.take(record)
        assert _sealed(log, records[:LEAVES_MAX])
        assert log.size == len(records)


def test_what_was_taken_and_not_sealed_is_taken_again(tmp_path: Path) -> None:
    """It is gone with the process, and the log says so."""
    records = _records(10)
    log = _open(tmp_path)
    for record in records[:5]:
        log.take(record)
    log.seal()
    log.take(records[5])
    log.close()
    with closing(_open(tmp_path)) as again:
        assert again.next_offset == records[4].offset + 1


def test_the_log_of_a_topic_that_was_made_anew_is_refused(tmp_path: Path) -> None:
    """Offsets begin again there: nothing in it would continue what was sealed."""
    _open(tmp_path).close()
    with pytest.raises(LogInvalid, match="deleted and made again"):
        _open(tmp_path, "another")


def test_a_log_is_gone_on_with_by_one_process_and_one_key(tmp_path: Path) -> None:
    """Neither two writers nor two keys."""
    log = _open(tmp_path)
    with pytest.raises(LogInvalid, match="in use"):
        _open(tmp_path)
    log.take(_records(1)[0])
    log.seal()
    log.close()
    with pytest.raises(LogInvalid, match="is this the key of the log"):
        _open(tmp_path, signer=Signer(SIGNER.name, SigningKey.generate("sealer")))


def test_a_full_disk_is_said_and_gone_on_from(tmp_path: Path) -> None:
    """Nothing that was taken in is lost."""
    log = _open(tmp_path)
    records = _records(4)
    for record in records[:2]:
        log.take(record)
    folder = tmp_path / "audit.de"
    (folder / "tile").write_bytes(b"in the way")
    with pytest.raises(LogInvalid, match=r"cannot be written.*make room"):
        log.seal()
    (folder / "tile").unlink()
    for record in records:
        log.take(record)
    log.seal()
    assert _sealed(log, records)
    log.close()


def test_it_goes_on_elsewhere_where_the_topic_was_carried(tmp_path: Path) -> None:
    """Only if the topic there begins no later than the log ends, and does not end before."""
    records = _records(12)
    with closing(_open(tmp_path)) as log:
        for record in records[:10]:
            log.take(record)
        log.seal()
        end = log.next_offset
    for moved in ((end + 1, end + 1), (0, end - 1), (0, 0)):
        with pytest.raises(LogInvalid, match="--moved"):
            TopicLog(tmp_path / "audit.de", "another", SIGNER, moved)
    with closing(TopicLog(tmp_path / "audit.de", "another", SIGNER, (end, end))) as log:
        log.take(records[10])
        log.seal()
        assert _sealed(log, records[:11])
    with closing(_open(tmp_path, "another")) as log:
        assert log.next_offset == records[10].offset + 1
