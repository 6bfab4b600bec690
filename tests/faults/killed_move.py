"""A move that kills itself after so many records: `python -m tests.faults.killed_move OLD_BUNDLE NEW_BUNDLE COUNT`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import closing

from tocsin.deploy.moving.carried import Put
from tocsin.deploy.moving.clusters import New, Old
from tocsin.deploy.moving.move import carry
from tocsin.schemas.bundle import Bundle


class Dying(New):
    """Dies once `left` more records are written."""

    left = 0

    def write(self, topic: str, records: Iterable[Put]) -> int:
        """Append them one by one."""
        count = 0
        for one in records:
            count += super().write(topic, [one])
            self.left -= 1
            if not self.left:
                self.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        return count


def main() -> None:
    """Move until it dies."""
    old, new, count = sys.argv[1:]
    with closing(Old(Bundle.load(old))) as source, closing(Dying(Bundle.load(new))) as target:
        target.left = int(count)
        carry(source, target, lambda _: None)


if __name__ == "__main__":
    main()
