"""Reads ledgers, directory and outboxes, with the fan-out's login: what a report of withdrawals is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from confluent_kafka.admin import AdminClient

from tocsin.consumers.fanout import GROUP
from tocsin.consumers.members_reader import MembersReader
from tocsin.consumers.topics_reader import TopicsReader, topic_names
from tocsin.consumers.withdrawals import Retractions, Withdrawal
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import ledger_topic

Apply = Callable[[BusRecord], None]


def lanes(bundle: Bundle) -> list[str]:
    """The lanes whose ledgers there are.

    Raises:
        TopicsUnreadable: no broker answers.
    """
    prefix = ledger_topic("")
    names = topic_names(AdminClient(dict(bundle.kafka_config())))
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


class LedgersReader:
    """Gives each lane's function the records of its ledger; `bundle` is the fan-out's."""

    def __init__(self, bundle: Bundle, apply: Mapping[str, Apply]) -> None:
        self._reader = TopicsReader(bundle.kafka_config(), group=GROUP)
        self.follow(apply)

    def follow(self, apply: Mapping[str, Apply]) -> None:
        """From now on read these lanes' ledgers and no others; new ones from their first record."""
        self._apply = {ledger_topic(lane): take for lane, take in apply.items()}
        self._reader.follow(self._apply)

    def read_to_end(self) -> None:
        """All that the ledgers hold now, or have got since.

        Raises:
            TopicsUnreadable: they cannot be read now.
        """
        self._reader.read_to_end(lambda record: self._apply[record.topic](record))

    def close(self) -> None:
        """Let go of the connection."""
        self._reader.close()


def read_ledgers(bundle: Bundle, apply: Mapping[str, Apply]) -> None:
    """Give the function of each lane every record that its ledger holds now; `bundle` is the fan-out's.

    Raises:
        TopicsUnreadable: they cannot be read now.
    """
    reader = LedgersReader(bundle, apply)
    try:
        reader.read_to_end()
    finally:
        reader.close()


class WithdrawalsReader(MembersReader):
    """What the exchange knows of the retracted lineages of some lanes; to `read` again costs what has come since."""

    def __init__(self, bundle: Bundle, of_lanes: Iterable[str]) -> None:
        self._retractions: dict[str, Retractions] = {}
        self._ledgers = LedgersReader(bundle, {})
        self.follow(of_lanes)
        super().__init__(bundle, {}, acknowledgements=True)

    def follow(self, of_lanes: Iterable[str]) -> None:
        """From now on tell of these lanes and no others."""
        before = self._retractions
        self._retractions = {lane: before.get(lane) or Retractions(lane) for lane in of_lanes}
        if self._retractions.keys() != before.keys():
            self._ledgers.follow({lane: one.apply for lane, one in self._retractions.items()})

    @property
    def lanes(self) -> list[str]:
        """The lanes of which it tells."""
        return [*self._retractions]

    def read(self) -> list[Withdrawal]:
        """Every retracted lineage and each member that is to know of it, as of now.

        Raises:
            TopicsUnreadable, DirectoryUnreadable: it cannot be told now.
        """
        self.look()
        self._ledgers.read_to_end()
        acknowledged = partial(self._outboxes.acknowledged, self.directory)
        return [row for one in self._retractions.values() for row in one.report(self.directory.members, acknowledged)]

    def close(self) -> None:
        """Let go of the connections."""
        self._ledgers.close()
        super().close()
