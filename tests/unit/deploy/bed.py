"""An export that is about to be altered, and what must then be found."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.unit.deploy.exported import AUDIT, UNSEALED, Record
from tocsin.consumers.audit.export_lines import encode_line
from tocsin.consumers.audit.seals import SEALS
from tocsin.consumers.audit.verification import Kept, file_of
from tocsin.deploy.audit.export_files import TILES_FOLDER
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import POLICY_AUDIT_TOPIC


class Expected(NamedTuple):
    """What must be found: a fault of a check at a place, exactly there or among some lines."""

    check: str
    file: str
    line: int | None = None
    exactly: bool = True
    kept: tuple[Kept, ...] = ()


@dataclass
class Bed:
    """An export that was just copied, and what it was made of."""

    folder: Path
    record: Record
    rng: random.Random

    @property
    def with_tiles(self) -> bool:
        """Whether the logs' files are in it."""
        return (self.folder / TILES_FOLDER).exists()

    @property
    def sealed(self) -> int:
        """How many decisions are sealed."""
        return len(self.record.records[AUDIT]) - UNSEALED

    def sealed_at(self) -> tuple[str, int]:
        """A sealed record: its topic and which it is."""
        topic = self.rng.choice((AUDIT, AUDIT, AUDIT, POLICY_AUDIT_TOPIC))
        count = self.sealed if topic == AUDIT else len(self.record.records[topic])
        return topic, self.rng.randrange(count)

    def lines(self, topic: str) -> list[bytes]:
        """The lines of a topic's file."""
        return (self.folder / file_of(topic)).read_bytes().splitlines(keepends=True)

    def put(self, topic: str, lines: Sequence[bytes]) -> None:
        """Write a topic's file anew."""
        (self.folder / file_of(topic)).write_bytes(b"".join(lines))

    def put_records(self, topic: str, records: Sequence[BusRecord]) -> None:
        """Write a topic's file anew."""
        self.put(topic, [*map(encode_line, records)])

    def sealing(self, topic: str, at: int, check: str = SEALS) -> Expected:
        """What is expected of a record that is not the sealed one: its line, if the log's files tell."""
        return Expected(check, file_of(topic), at + 1, exactly=self.with_tiles)

    def again(self, record: Record, sizes: Sequence[int] | None = None) -> None:
        """The whole export anew, of another record that is sealed with the sealer's own key."""
        state = self.folder.with_name("state-again")
        shutil.rmtree(state, ignore_errors=True)
        record.seal(state, sizes)
        shutil.rmtree(self.folder)
        record.write(self.folder, state)


Mutation = Callable[[Bed], Expected]


def flipped(rng: random.Random, content: bytes, at: int) -> bytes:
    """The bytes, of which one has another bit."""
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
