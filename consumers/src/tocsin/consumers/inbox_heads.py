"""Compares and keeps the heads of the sealed record that come with tests of a member's line."""

from __future__ import annotations

from contextlib import suppress

import structlog

from tocsin.consumers.audit.heads_kept import HeadFound, HeadsKept, Taken
from tocsin.consumers.audit.logs import is_sealed, log_keys
from tocsin.consumers.audit.shown import Shown, opened
from tocsin.consumers.copies import Notice
from tocsin.consumers.directory_reader import DirectoryReader
from tocsin.consumers.errors import DirectoryUnreadable, LogInvalid, NoteInvalid
from tocsin.schemas.names import audit_topic

log = structlog.get_logger()


class InboxHeads:
    """Verifies by the directory that the inbox reads. Whatever comes of a head, no reader is stopped by it."""

    def __init__(self, kept: HeadsKept, directory: DirectoryReader) -> None:
        self._kept = kept
        self._directory = directory

    def take(self, notice: Notice) -> Taken | None:
        """What was found of the head in a notice; None when it carries none."""
        topic, note = audit_topic(notice["jurisdiction"]), notice["checkpoint"]
        if note is None:
            return None
        try:
            taken = self._kept.take(topic, self._opened(topic, note.encode()), notice["issued_at"])
        except NoteInvalid as refusal:
            log.warning("head_refused", topic=topic, reason=str(refusal))
            return Taken(HeadFound.REFUSED)
        except (LogInvalid, OSError) as failure:
            log.warning("head_not_kept", topic=topic, reason=str(failure))
            return Taken(HeadFound.NOT_KEPT)
        if taken.found is HeadFound.WENT_BACK:
            log.error("log_went_back", topic=topic)
        return taken

    def _opened(self, topic: str, note: bytes) -> Shown:
        if not is_sealed(topic):
            raise NoteInvalid("no log of this exchange")
        with suppress(NoteInvalid):
            return self._verified(topic, note)
        # the sealer's key may be new
        with suppress(DirectoryUnreadable):
            self._directory.read_to_end()
        return self._verified(topic, note)

    def _verified(self, topic: str, note: bytes) -> Shown:
        directory = self._directory.directory
        if directory is None:
            raise NoteInvalid("no directory has been read yet")
        return opened(note, log_keys(directory, topic))
