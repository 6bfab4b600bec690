"""Reads the live ACLs on topics in a process of its own.

Of 50,000 rows a reading takes a third of a second of Python, twice each second, in which no other thread of a process
runs: here no lane waits for it. It sends on only what is not as it was. Pickles go between it and who started it, and
nowhere else.
"""

from __future__ import annotations

import pickle
import select
import signal
import subprocess
import sys
from operator import attrgetter
from typing import BinaryIO, Final, cast

from tocsin.consumers.acl import AclRow
from tocsin.consumers.acl_client import acl_client
from tocsin.consumers.acl_reader import TIMEOUT_S, read_topic_acls
from tocsin.consumers.errors import AclsUnreadable, TocsinConsumerError
from tocsin.schemas.bundle import KafkaConfig

START_S: Final = 30.0
ANSWER_S: Final = TIMEOUT_S + 3.0

Row = tuple[str, ...]
Answer = list[Row] | TocsinConsumerError | None
"""All rows, why there are none, or None: the rows are those of the answer before."""

_words = attrgetter(*AclRow.__slots__)


class AclProcess:
    """Reads when asked. The process is started when it is first needed, and again when it has ended.

    It ends with this one, however that ends. Used by one thread.
    """

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._rows: tuple[AclRow, ...] = ()

    def read(self) -> tuple[AclRow, ...]:
        """Every ACL row on topics, in no order; the very same tuple while nothing has changed.

        Raises:
            AclsUnreadable: as `read_topic_acls`; or the process has ended, or does not answer.
        """
        try:
            answer = self._ask()
        except (OSError, EOFError, pickle.UnpicklingError) as failure:
            self.close()
            raise AclsUnreadable(
                f"the process that reads the ACLs has ended or hangs ({failure}); it is started again"
            ) from failure
        if isinstance(answer, TocsinConsumerError):
            raise answer
        if answer is not None:
            self._rows = tuple(AclRow(*row) for row in answer)
        return self._rows

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self) -> Answer:
        wait_s = ANSWER_S
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            _send(cast("BinaryIO", self._process.stdin), self._config)
            wait_s = START_S
        questions, answers = cast("BinaryIO", self._process.stdin), cast("BinaryIO", self._process.stdout)
        _send(questions, None)
        if not select.select([answers], [], [], wait_s)[0]:
            raise EOFError(f"no answer in {wait_s:.0f} s")
        return cast("Answer", pickle.load(answers))  # noqa: S301


def _send(stream: BinaryIO, message: object) -> None:
    pickle.dump(message, stream)
    stream.flush()


# -- in the process ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        admin = acl_client(pickle.load(questions))  # noqa: S301
        told: list[AclRow] | None = None
        while True:
            pickle.load(questions)  # noqa: S301
            try:
                rows = read_topic_acls(admin)
            except TocsinConsumerError as failure:
                _send(answers, failure)
                continue
            _send(answers, None if rows == told else [_words(row) for row in rows])
            told = rows
    except (EOFError, OSError):
        return


if __name__ == "__main__":
    main()
