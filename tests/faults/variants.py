"""Fan-outs that lack a safeguard. They exist so that the storm is seen to find them out; never run one for real."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

import yaml
from confluent_kafka import Producer

from tocsin.consumers.audit.note import Checkpoint, Note, Signer
from tocsin.consumers.entry import Entry
from tocsin.consumers.fanout import Fanout, FanoutSettings
from tocsin.consumers.lane import Lane
from tocsin.consumers.lane_records import line_test
from tocsin.consumers.lane_transaction import RULE_HEADER, Context, Copy, Transaction
from tocsin.consumers.lane_worker import LaneWorker
from tocsin.consumers.ledger import Ledger
from tocsin.consumers.memory import signed_head
from tocsin.consumers.sight import Sight
from tocsin.consumers.transactions import TransactionPair
from tocsin.consumers.watch import Topics
from tocsin.deploy.output import log_as_service
from tocsin.deploy.policy.compile import subscriptions
from tocsin.deploy.policy.document import Policy
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.names import inbox_topic

LATE_S = 9.0
LINGERS_S = 3.0


class NoTransaction(TransactionPair):
    """Writes the same records without a transaction: a crash tears a batch apart."""

    def __init__(self, config: dict[str, str | int | float | bool]) -> None:
        self.doubtful = False
        self._producer = Producer({**config, "enable.idempotence": True, "message.timeout.ms": 60_000})

    def fence(self) -> None:
        """Fence nobody."""

    def poll(self) -> None:
        """Report what is done."""
        self._producer.poll(0)

    def write(
        self,
        copies: Collection[Copy],
        records: Iterable[tuple[str, bytes | None, bytes | None]],
        inboxes: Callable[[], Collection[str]],  # noqa: ARG002
    ) -> None:
        """Write record by record."""
        for copy in copies:
            self._producer.produce(copy.topic, copy.value, copy.key, 0, headers=[*copy.headers])
        self._producer.flush()
        time.sleep(0.05)  # the window that a crash hits; without a transaction it exists, however short
        for topic, key, value in records:
            self._producer.produce(topic, value, key, 0)
        self._producer.flush()

    def close(self) -> None:
        """Send the rest."""
        self._producer.flush(5)


class NoTransactionWorker(LaneWorker):
    """A lane whose batches are not atomic."""

    def _new_pair(self) -> TransactionPair:
        return NoTransaction(dict(self._exchange.config))


class NoFencingPair(TransactionPair):
    """Ids of its own for each process: a stopped one that wakes up goes on beside its successor."""

    def __init__(self, config: dict[str, str | int | float | bool], jurisdiction: str) -> None:
        super().__init__(config, f"{jurisdiction}.{os.getpid()}")

    def write(
        self,
        copies: Collection[Copy],
        records: Iterable[tuple[str, bytes | None, bytes | None]],
        inboxes: Callable[[], Collection[str]],
    ) -> None:
        """Wait a moment between deciding and writing: where a stop hurts, however short the moment is for real."""
        time.sleep(1.0)
        super().write(copies, records, inboxes)


class NoFencingWorker(LaneWorker):
    """A lane that neither asks the group nor fences."""

    def _new_pair(self) -> TransactionPair:
        return NoFencingPair(dict(self._exchange.config), self.jurisdiction)


class ForgetfulLane(Lane):
    """Forgets with each revision who was given the one before."""

    def _supersede(self, tx: Transaction, context: Context, key: str) -> Entry | None:
        before = super()._supersede(tx, context, key)
        return before and replace(before, given=())


class ForgetfulWorker(LaneWorker):
    """A lane that tells of a retraction only whom it would give the alert."""

    def _new_lane(self, ledger: Ledger) -> Lane:
        return ForgetfulLane(self.jurisdiction, ledger)


class LateWorker(LaneWorker):
    """A lane that goes by rights of some seconds ago."""

    _seen: deque[tuple[float, Sight]]

    def _context(self, topics: Topics) -> Context | None:
        context = super()._context(topics)
        if context is None:
            return None
        self._seen = getattr(self, "_seen", deque[tuple[float, Sight]]())
        self._seen.append((time.monotonic(), context.sight))
        while len(self._seen) > 1 and self._seen[1][0] < time.monotonic() - LATE_S:
            self._seen.popleft()
        return replace(context, sight=self._seen[0][1])


class LingeringWorker(LaneWorker):
    """A lane that says that it is to end, and does so some seconds later."""

    def stop(self) -> None:
        """Ask the lane to end, in a while."""
        self._log.info("lane_lingers")
        time.sleep(LINGERS_S)
        super().stop()


class LeakingLane(Lane):
    """Writes the copies of `reader-00` a second time, for `reader-03`."""

    def begin(self, context: Context) -> Transaction:
        """What is due, and the leak."""
        tx = super().begin(context)
        leaked = [copy for copy in tx.copies if copy.member == "reader-00" and RULE_HEADER in dict(copy.headers)]
        tx.copies += [copy._replace(member="reader-03", topic=inbox_topic("reader-03")) for copy in leaked]
        return tx


class LeakingWorker(LaneWorker):
    """A lane that tells more than was decided."""

    def _new_lane(self, ledger: Ledger) -> Lane:
        return LeakingLane(self.jurisdiction, ledger)


class OmittingLane(Lane):
    """Leaves out every third copy of `reader-00`, with the decision on record and the debt paid."""

    _seen = 0

    def begin(self, context: Context) -> Transaction:
        """What is due, less what is left out."""
        tx = super().begin(context)
        tx.copies[:] = [copy for copy in tx.copies if not self._is_left_out(copy)]
        return tx

    def _is_left_out(self, copy: Copy) -> bool:
        if copy.member != "reader-00" or RULE_HEADER not in dict(copy.headers):
            return False
        self._seen += 1
        return self._seen % 3 == 0


class OmittingWorker(LaneWorker):
    """A lane that tells less than was decided."""

    def _new_lane(self, ledger: Ledger) -> Lane:
        return OmittingLane(self.jurisdiction, ledger)


class ForkingLane(Lane):
    """Shows `reader-01` heads with another root, which the sealer's key has signed, too; beginning `above` a size."""

    home: Path
    above: int

    def test_line(self, tx: Transaction, context: Context, every_ms: int) -> None:
        """Tell all, and one of them something else."""
        super().test_line(tx, context, every_ms)
        if context.head is None:
            return
        told = Checkpoint.parse(Note.parse(context.head.encode()).text)
        if told.size <= self.above:
            return
        log = Signer(told.origin, Bundle.load(self.home / "services" / "sealer").signing_key())
        head = signed_head(log, told.size, hashlib.sha256(told.root).digest()).decode()
        other = line_test(self.jurisdiction, replace(context, head=head), "reader-01")
        tx.copies[:] = [other if (copy.member, copy.key) == (other.member, other.key) else copy for copy in tx.copies]


class ForkingWorker(LaneWorker):
    """A lane of an exchange that tells its record in two ways."""

    def _new_lane(self, ledger: Ledger) -> Lane:
        return ForkingLane(self.jurisdiction, ledger)


VARIANTS = {
    "forking": ForkingWorker,
    "leaking": LeakingWorker,
    "omitting": OmittingWorker,
    "no-transaction": NoTransactionWorker,
    "no-fencing": NoFencingWorker,
    "forgetful": ForgetfulWorker,
    "late": LateWorker,
    "lingering": LingeringWorker,
}


def run(variant: str) -> None:
    """Take the words of `tocsin fanout run`, and run the variant."""
    log_as_service()
    words = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=True))
    home, policy_file, name = Path(words["--home"]), Path(words["--policy"]), words["--name"]
    policy = Policy.model_validate(yaml.safe_load(policy_file.read_text()))
    ForkingLane.home, ForkingLane.above = home, int(words.get("--above", 0))
    line_test_s = float(words.get("--line-test", 3_600))
    settings = FanoutSettings(worker=name, line_test_s=line_test_s, lane_worker=VARIANTS[variant])
    fanout = Fanout(Bundle.load(home / "services" / "fanout"), subscriptions(policy), settings)
    signal.signal(signal.SIGTERM, lambda *_: fanout.stop())
    fanout.run()
