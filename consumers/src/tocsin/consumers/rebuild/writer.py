"""Writes a rebuilt ledger where there is none, by a login that may do all that the fan-out may, and read inboxes."""

from __future__ import annotations

from contextlib import closing

from tocsin.consumers.errors import LedgerNotWritten
from tocsin.consumers.rebuild.ledgers import rebuilt_records
from tocsin.consumers.rebuild.reader import LaneReader, Said
from tocsin.consumers.transactions import TransactionPair
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.names import ledger_topic


def write_ledger(bundle: Bundle, lane: str, said: Said) -> int:
    """Write the ledger of `lane` in one transaction, as the owner of the lane. Returns the number of lineages.

    A fan-out that comes in between fences this process, or begins with what it has written.

    Raises:
        LedgerNotWritten: there is a ledger already, or the record has a fault.
        LaneFenced, TransactionAborted, TopicsUnreadable: nothing was written.
    """
    with LaneReader(bundle) as reader:
        _check_empty(reader, lane)
        with closing(TransactionPair(bundle.kafka_config(), lane)) as pair:
            pair.fence()
            _check_empty(reader, lane)
            fold, copies, _ = reader.sources(lane, said)
            if fold.gaps:
                raise LedgerNotWritten(
                    f"audit.{lane}: decision {fold.gaps[0]}; "
                    "restore the record first: what it lacks would be told again"
                )
            said(f"and writing the ledger of {lane}")
            topic = ledger_topic(lane)
            pair.write([], [(topic, key, value) for key, value in rebuilt_records(fold, copies)], tuple[str, ...])
            return len(fold.lineages)


def _check_empty(reader: LaneReader, lane: str) -> None:
    if not reader.is_empty(lane):
        raise LedgerNotWritten(
            f"ledger.{lane} has records; if it is damaged (--check says so), stop the fan-out, delete that topic, "
            "`tocsin policy apply`, and try again"
        )
