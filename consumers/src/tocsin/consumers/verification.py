"""Verifies records in bulk: signatures over threads (libsodium releases the GIL), the rest when one is decided."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cache

from tocsin.consumers.alert_reader import Record
from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.errors import DirectoryUnreadable
from tocsin.consumers.lane_transaction import Context
from tocsin.schemas.directory import Directory
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.verify import Signed, Verified, Verifier

INLINE_MAX = 8

_topic = cache(AlertTopic.parse)


class Judged:
    """One record whose signature has been checked; its outcome is worked out once, when it is decided."""

    __slots__ = ("_outcome", "_signed", "_verifier", "record", "sha256")

    def __init__(self, record: Record, signed: Signed | Rejection, verifier: Verifier) -> None:
        self.record = record
        self.sha256 = signed.sha256 if isinstance(signed, Signed) else hashlib.sha256(record.value or b"").digest()
        self._signed = signed
        self._verifier = verifier
        self._outcome: Verified | Rejection | None = None

    @property
    def directory(self) -> Directory:
        """The directory by which it is verified."""
        return self._verifier.directory

    @property
    def unknown_key(self) -> bool:
        """Whether the key is not in the directory that was asked."""
        return isinstance(self._signed, Rejection) and self._signed.reason is Reason.UNKNOWN_KEY

    def outcome(self, context: Context) -> Verified | Rejection:
        """The verified alert, or why it is rejected."""
        if self._outcome is None:
            self._outcome = self._decode(context.now_ms)
        return self._outcome

    def _decode(self, now_ms: int) -> Verified | Rejection:
        if isinstance(self._signed, Rejection):
            return self._signed
        try:
            record = self.record
            return self._verifier.check_record(
                self._signed,
                _topic(record.source.topic),
                record.key,
                appended_ms=record.source.appended_at,
                now_ms=now_ms,
            )
        except Rejection as refusal:
            return refusal


def judge(records: Sequence[Record], directory: DirectoryWatcher, pool: Executor) -> list[Judged]:
    """Check the signatures of `records`, in order; an unknown key means: read the directory to its end, then reject."""
    verifier = directory.verifier()
    if verifier is None:
        raise DirectoryUnreadable("no directory has been read yet")
    judged = _check_all(records, verifier, pool)
    unknown = [at for at, one in enumerate(judged) if one.unknown_key]
    if unknown:
        directory.read_to_end()
        verifier = directory.verifier() or verifier
        for at in unknown:
            judged[at] = _check(records[at], verifier)
    return judged


def _check_all(records: Sequence[Record], verifier: Verifier, pool: Executor) -> list[Judged]:
    if len(records) <= INLINE_MAX:
        return [_check(record, verifier) for record in records]
    half = len(records) // 2
    parts = pool.map(lambda part: [_check(record, verifier) for record in part], (records[:half], records[half:]))
    return [judged for part in parts for judged in part]


def _check(record: Record, verifier: Verifier) -> Judged:
    source = record.source
    try:
        signed = verifier.check_signature(source.topic, source.offset, record.value, record.headers, source.appended_at)
    except Rejection as refusal:
        return Judged(record, refusal, verifier)
    return Judged(record, signed, verifier)
