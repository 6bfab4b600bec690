"""What goes wrong when receiving and fanning out.

TocsinConsumerError
├── AclsUnreadable       the live ACLs cannot be read now
│   ├── AclsNotUnderstood   a row is of a kind that this release does not know
│   └── TooManyAcls         more rows than can be read safely
├── SnapshotNotRecorded  the rows that a decision would name cannot be put on record now
├── SnapshotUnknown      the rows that a decision names are not on record
├── DirectoryUnreadable  the topic `directory` cannot be read now
├── TopicsUnreadable     outboxes or ledgers cannot be read now
├── LaneFenced           another process has taken the lane over, or the producer cannot go on
│   └── LedgerHangs         a transaction stays open on its ledger
├── LaneStopped          going on could skip or mix up alerts; somebody must look
├── LedgerNotWritten     ours: a rebuilt ledger is not written there; the message says what to do
├── TransactionAborted   nothing of a transaction was written; it will be tried again
├── InboxError           theirs: the inbox cannot be read (right, network, broker)
│   ├── RecordUnverified     a record failed verification, and the reader asked to be stopped by that
│   └── SchemaTooNew         ours: this release is too old for a record
├── SubscriptionInvalid  ours: a subscription that cannot be written, and why
├── HoldInvalid          ours: a hold that cannot be written, and why
├── NotSecretariat       ours: only a secretariat may say so
├── CheckpointsNotWritten theirs: the heads of sealed logs cannot be handed out (right, broker)
├── AccessNotShipped     the brokers' logs cannot be put on record now; the message says what to do
├── NoteInvalid          theirs: a signed note, checkpoint or proof must not be believed
├── LogInvalid           ours: the folder of a sealed log cannot be gone on with; the message names the file
├── LogForked            theirs: a log's head was not shown to continue the one seen before; carries both
├── TilesUnreadable      theirs: nobody hands out the files of sealed logs now
├── IndexUnusable        ours: the index of the record cannot be asked; the message says what to do
├── NotOnRecord          ours: what was asked for is not in the index; the message says what to do
└── OutboxError          theirs: the outbox cannot be written or read (right, network, broker)
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final


class TocsinConsumerError(Exception):
    """Root of this package's errors."""


class AclsUnreadable(TocsinConsumerError):
    """The live ACLs cannot be read now."""


class AclsNotUnderstood(AclsUnreadable):
    """A row on topics is of a kind that this release does not know: nothing is delivered until it is gone."""


class TooManyAcls(AclsUnreadable):
    """More rows than can be read safely."""


class SnapshotNotRecorded(TocsinConsumerError):
    """A snapshot cannot be put on record now: nothing is decided by it until it is."""


class SnapshotUnknown(TocsinConsumerError):
    """The rows of a snapshot are not on record; the message says what of them is."""


class DirectoryUnreadable(TocsinConsumerError):
    """The topic `directory` cannot be read now."""


class TopicsUnreadable(TocsinConsumerError):
    """Outboxes or ledgers cannot be read now."""


class LaneFenced(TocsinConsumerError):
    """This process must not, or cannot, go on with the lane."""


class LedgerHangs(LaneFenced):
    """A transaction stays open on the lane's ledger, though both of its ids are fenced."""


class LaneStopped(TocsinConsumerError):
    """Going on could skip or mix up alerts; the message says what to look at."""


class LedgerNotWritten(TocsinConsumerError):
    """A rebuilt ledger is not written where there is one, or from a record with a fault; nothing was written."""


class TransactionAborted(TocsinConsumerError):
    """Nothing was written. `failed` are the topics that refused, where they are known."""

    def __init__(self, reason: str, failed: frozenset[str] = frozenset()) -> None:
        super().__init__(reason)
        self.failed = failed


class InboxError(TocsinConsumerError):
    """The inbox cannot be read; the message says what to do."""


class RecordUnverified(InboxError):
    """A record of the inbox failed verification. Only raised where it was asked for."""


class SchemaTooNew(InboxError):
    """A record is signed under a schema that this release does not have. It stays unread until an upgrade."""


class SubscriptionInvalid(TocsinConsumerError):
    """A subscription cannot be written; the message says what to change."""


class HoldInvalid(TocsinConsumerError):
    """A hold cannot be written; the message says what to change."""


class NotSecretariat(TocsinConsumerError):
    """Only a secretariat may say so."""


class CheckpointsNotWritten(TocsinConsumerError):
    """The heads of sealed logs cannot be handed out; the message says what to do."""


class AccessNotShipped(TocsinConsumerError):
    """The brokers' own logs cannot be put on record now; the message says what to do."""


class NoteInvalid(TocsinConsumerError):
    """A signed note, checkpoint or proof must not be believed; the message says why."""


class LogInvalid(TocsinConsumerError):
    """The folder of a sealed log cannot be gone on with; the message names the file and says what to do."""


class LogForked(TocsinConsumerError):
    """A log's head was not shown to continue the one seen before. `seen` and `offered` are both signed notes."""

    def __init__(self, reason: str, *, seen: bytes, offered: bytes) -> None:
        super().__init__(reason)
        self.seen = seen
        self.offered = offered


class TilesUnreadable(TocsinConsumerError):
    """The files of sealed logs cannot be had now; the message says from where."""


class IndexUnusable(TocsinConsumerError):
    """The index of the record cannot be asked; the message says what to do."""


class NotOnRecord(TocsinConsumerError):
    """What was asked for is not in the index of the record; the message says what may be the cause."""


class OutboxError(TocsinConsumerError):
    """The outbox cannot be written or read; the message says what to do. `passing`: nobody answered, so try again."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


FRAMES: Final = 5
"""How many places `where` names of each error, the innermost ones."""


def where(error: BaseException) -> str:
    """What an error and its causes are called and where they came up: not what they say, which may be content."""
    found: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        frames = traceback.extract_tb(cause.__traceback__)[-FRAMES:]
        places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        found.append(f"{type(cause).__name__} at {places or 'no place'}")
        cause = cause.__cause__ or cause.__context__
    return "; because of ".join(found)
