"""A member as a witness of all logs: compares every head it is shown, cosigns the newest, and keeps what contradicts.

witness.json            the newest head of each log that was cosigned; whoever loses it must take another key
cosigned/<topic>        that head with the cosignature, once it has been handed out
forks/                  two heads of one log of which neither continues the other (`evidence`)
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from tocsin.consumers.audit.cosigned import Cosigned, witness_name
from tocsin.consumers.audit.evidence import keep_fork, kept_forks
from tocsin.consumers.audit.logs import is_sealed, origin_of
from tocsin.consumers.audit.merkle import consistency_proof
from tocsin.consumers.audit.note import Checkpoint, Cosigner, Note, Verifier
from tocsin.consumers.audit.shown import Compared, Shown, Unproved, compare, continues_by, opened
from tocsin.consumers.audit.tile_source import Source, Tiles
from tocsin.consumers.audit.tiles import Fetch, hashes_of
from tocsin.consumers.audit.witness import Witness
from tocsin.consumers.errors import LogForked, LogInvalid, NoteInvalid, TilesUnreadable
from tocsin.schemas.files import write_file
from tocsin.schemas.signing import SigningKey

COSIGNED: Final = "cosigned"

log = structlog.get_logger()

HandOut: TypeAlias = Callable[[Cosigned], None]
"""Gives a cosigned head to others. Raises OutboxError."""

KeysOf: TypeAlias = Callable[[str], Sequence[Verifier]]
"""The keys that may sign the heads of a topic's log; at least one, or it raises NoteInvalid."""


@dataclass(slots=True)
class Looked:
    """What became of the heads of one log. `entries` has the newest that is cosigned, or the one compared; or None."""

    entries: int | None = None
    forks: list[tuple[Shown, Path]] = field(default_factory=list[tuple[Shown, Path]])
    unproved: list[Unproved] = field(default_factory=list[Unproved])


class Witnessing:
    """One process has the file `state`, and the folders `cosigned` and `forks` beside it. `member` is the witness.

    Raises:
        LogInvalid: another process has it, or the file is damaged or gone though heads were cosigned.
    """

    def __init__(
        self, state: Path, coalition: str, member: str, key: SigningKey, source: Source, hand_out: HandOut
    ) -> None:
        self._state = state
        self._coalition = coalition
        self._member = member
        self._cosigner = Cosigner(witness_name(coalition, member), key)
        self._source = source
        self._hand_out = hand_out
        self._waiting: dict[str, list[bytes]] = {}
        state.parent.mkdir(parents=True, exist_ok=True)
        self._lock = state.with_name(f".{state.name}.lock").open("ab")
        try:
            self._claim()
        except LogInvalid:
            self._lock.close()
            raise

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LogInvalid(f"{self._state}: in use by another process; one alone may be this witness") from error
        if not self._state.exists() and any((self._state.parent / COSIGNED).glob("*")):
            raise LogInvalid(f"{self._state}: gone, though heads were cosigned; restore it from a copy")
        self._remembered()

    @property
    def key(self) -> Verifier:
        """What verifies the cosignatures."""
        return self._cosigner.verifier

    @property
    def began(self) -> bool:
        """Whether any head was cosigned yet."""
        return bool(self._remembered().origins)

    @property
    def waiting(self) -> int:
        """How many heads could not be compared yet."""
        return sum(map(len, self._waiting.values()))

    @property
    def forks(self) -> list[Path]:
        """The folders of evidence that are there, one for each contradiction that was ever found."""
        return kept_forks(self._state.parent)

    def take(self, notes: Iterable[bytes]) -> None:
        """Take in heads that were shown since, in their order. They wait until a look has compared them."""
        for note in notes:
            try:
                self._waiting.setdefault(self._topic(note), []).append(note)
            except NoteInvalid as refusal:
                log.warning("head_refused", reason=str(refusal))

    def look(self, keys_of: KeysOf, at_s: int) -> dict[str, Looked]:
        """Compare what was taken in, and cosign the newest head of each log; `at_s` is the POSIX time. By topic.

        Raises:
            NoteInvalid: there is no key of the sealer.
            OutboxError: what was cosigned cannot be handed out now. The next look does that.
            LogInvalid: what must be remembered cannot be written; nothing is cosigned. Look again.
        """
        known = {self._topic_of(origin) for origin in self._remembered().origins}
        try:
            return {topic: self._look(topic, keys_of(topic), at_s) for topic in sorted(known | self._waiting.keys())}
        except OSError as failure:
            raise LogInvalid(f"{self._state.parent}: cannot be written: {failure}; make room") from failure

    def compare(self, note: bytes, keys_of: KeysOf) -> tuple[str, Looked]:
        """Compare a head that somebody else was shown with what was seen here. Gives its topic, too.

        Raises:
            NoteInvalid: it is no head of these logs.
        """
        topic = self._topic(note)
        keys = keys_of(topic)
        seen, offered = self._seen(topic, keys), opened(note, keys)
        if seen is None:
            return topic, Looked(unproved=[Unproved(offered, "no head of this log was seen here yet")])
        _, found = self._judge(topic, seen, [offered], Tiles(topic, self._source))
        if not found.forks and not found.unproved:
            found.entries = offered.head.size
        return topic, found

    # -- one log -----------------------------------------------------------------------------------------------------

    def _look(self, topic: str, keys: Sequence[Verifier], at_s: int) -> Looked:
        fetch = Tiles(topic, self._source)
        shown = [one for note in self._waiting.get(topic, ()) if (one := _opened(topic, note, keys)) is not None]
        seen = self._seen(topic, keys)
        newest, found = self._judge(topic, seen, shown, fetch)
        found.entries = None if seen is None else seen.head.size
        if newest is not None and not self._is_handed_out(topic, newest):
            try:
                self._cosign(topic, newest, fetch, at_s)
                found.entries = newest.head.size
            except (LogInvalid, LogForked, NoteInvalid, TilesUnreadable) as failure:
                # it was shown to continue, so what is wrong is the tiles of this one proof; or its key was revoked
                found.unproved.append(Unproved(newest, str(failure)))
        if found.unproved:
            log.warning("heads_wait", topic=topic, heads=len(found.unproved), reason=found.unproved[-1].why)
        self._waiting[topic] = [one.offered.note for one in found.unproved]
        return found

    def _judge(
        self, topic: str, seen: Shown | None, shown: Sequence[Shown], fetch: Fetch
    ) -> tuple[Shown | None, Looked]:
        try:
            compared = compare(seen, shown, continues_by(fetch))
        except TilesUnreadable as failure:
            compared = Compared(seen, unproved=[Unproved(one, str(failure)) for one in shown])
        forks = [(fork.offered, keep_fork(self._state.parent, topic, fork)) for fork in compared.forks]
        return compared.newest, Looked(forks=forks, unproved=compared.unproved)

    def _cosign(self, topic: str, newest: Shown, fetch: Fetch, at_s: int) -> None:
        witness = Witness(self._state, self._cosigner, [newest.log])
        seen = witness.seen(newest.head.origin)
        old = 0 if seen is None else Checkpoint.parse(Note.parse(seen).text).size
        proof = consistency_proof(old, newest.head.size, hashes_of(newest.head.size, fetch))
        signature = witness.cosign(newest.note, proof, at_s)
        cosigned = Cosigned(self._member, newest.note, self.key, signature)
        self._hand_out(cosigned)
        # when this is there it has been handed out
        write_file(self._cosigned(topic), cosigned.note())
        log.info("head_cosigned", topic=topic, entries=newest.head.size)

    def _is_handed_out(self, topic: str, newest: Shown) -> bool:
        path = self._cosigned(topic)
        return path.exists() and path.read_bytes().startswith(f"{newest.head.text()}\n".encode())

    def _cosigned(self, topic: str) -> Path:
        return self._state.parent / COSIGNED / topic

    # -- what is known -----------------------------------------------------------------------------------------------

    def _remembered(self) -> Witness:
        return Witness(self._state, self._cosigner, [])

    def _seen(self, topic: str, keys: Sequence[Verifier]) -> Shown | None:
        note = self._remembered().seen(origin_of(self._coalition, topic))
        if note is None:
            return None
        try:
            return opened(note, keys)
        except NoteInvalid:  # it was verified when it was new, by a key that has been revoked since
            return Shown(note, Checkpoint.parse(Note.parse(note).text), keys[0])

    def _topic(self, note: bytes) -> str:
        origin = Checkpoint.parse(Note.parse(note).text).origin
        topic = self._topic_of(origin)
        if not is_sealed(topic) or origin != origin_of(self._coalition, topic):
            raise NoteInvalid(f"{origin[:80]}: no log of this exchange")
        return topic

    def _topic_of(self, origin: str) -> str:
        return origin.removeprefix(origin_of(self._coalition, ""))

    def close(self) -> None:
        """Let another process have it."""
        self._lock.close()


def _opened(topic: str, note: bytes, keys: Sequence[Verifier]) -> Shown | None:
    try:
        return opened(note, keys)
    except NoteInvalid as refusal:
        log.warning("head_refused", topic=topic, reason=str(refusal))
        return None
