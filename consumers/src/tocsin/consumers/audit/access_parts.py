"""Cuts what brokers' logs say since a position into parts, each for one record. Reads the files that it is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tocsin.consumers.audit.access_files import LogFile
from tocsin.consumers.audit.access_lines import Fold
from tocsin.consumers.audit.access_log import Part, Position

IDLE_MS: Final = 60_000
"""A quiet log is said to be so that often: silence on record is then not silence of the shipper."""
PART_BYTES_MAX: Final = 4_000_000
"""So much of a log is folded into one record at most, so that a backlog is put on record bit by bit."""


def parts(files: Sequence[LogFile], position: Position | None, now_ms: int) -> Iterator[Part]:
    """What `files` say from `position` on, or from their beginning; `now_ms` is before they are read.

    Where the position is gone, a part LOST comes first. Where nothing is new, a part without lines comes once a minute.
    """
    begins, lost = _rest(files, position)
    log_to = position.log_to if position is not None else None
    if lost:
        file, begin = begins[0]
        log_from = log_to if log_to is not None else now_ms
        log_to = max(log_from, _first_ms(file, begin) or now_ms)
        yield Part("LOST", file.identity, begin, begin, log_from, log_to)
    said = False
    for number, (file, begin) in enumerate(begins, 1):
        for part in _of_file(file, begin, log_to, now_ms, last=number == len(begins)):
            said, log_to = True, part.log_to
            yield part
    if begins and not said and log_to is not None and now_ms - log_to >= IDLE_MS:
        file, begin = begins[-1]
        yield Part("READ", file.identity, begin, begin, log_to, now_ms)


def bytes_behind(files: Sequence[LogFile], position: Position | None) -> int:
    """How much of the files comes after `position`."""
    return sum(file.size - begin for file, begin in _rest(files, position)[0])


def _rest(files: Sequence[LogFile], position: Position | None) -> tuple[list[tuple[LogFile, int]], bool]:
    """The files to read and from where; and whether the position is gone."""
    if position is None:
        return [(file, 0) for file in files], False
    for number, file in enumerate(files):
        if file.identity == position.file:
            here = min(position.offset, file.size)
            return [(file, here), *((later, 0) for later in files[number + 1 :])], here < position.offset
    return [(file, 0) for file in files], bool(files)


def _first_ms(file: LogFile, begin: int) -> int | None:
    fold = Fold()
    for offset, line in file.lines(begin):
        fold.take(offset, line)
        break
    return fold.first_ms


def _of_file(file: LogFile, begin: int, log_to: int | None, now_ms: int, *, last: bool) -> Iterator[Part]:
    fold, end, lines = Fold(), begin, 0
    for offset, line in file.lines(begin):
        if fold.full or offset - begin >= PART_BYTES_MAX:
            part = _part(file, begin, end, lines, fold, log_to, fold.last_ms)
            yield part
            fold, begin, lines, log_to = Fold(), end, 0, part.log_to
        fold.take(offset, line)
        end, lines = offset + len(line), lines + 1
    if lines:
        yield _part(file, begin, end, lines, fold, log_to, now_ms if last else fold.last_ms)


def _part(
    file: LogFile, begin: int, end: int, lines: int, fold: Fold, log_to: int | None, until_ms: int | None
) -> Part:
    log_from = log_to or fold.first_ms or until_ms or 0
    until = max(log_from, until_ms or log_from)
    return Part("READ", file.identity, begin, end, log_from, until, lines, fold.accesses(), fold.unread)
