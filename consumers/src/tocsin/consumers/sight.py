"""Sight: which members may be given the alerts of a topic, by the live ACLs. Pure: it is told of snapshots.

Narrow at once, widen with care: brokers learn of ACL changes one after another, so a right counts when the last two
snapshots agree on it, and is gone as soon as either lacks it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tocsin.consumers.acl import AclSet
from tocsin.schemas.directory import Directory
from tocsin.schemas.names import DELIVERY_HOST

PRINCIPAL_PREFIX = "User:"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All ACL rows on topics, as one broker answered. `asked_at` is monotonic seconds before the question was sent."""

    acls: AclSet
    digest: bytes
    asked_at: float
    read_at_ms: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What two successive snapshots agree on. Immutable, so lanes share one without a lock."""

    earlier: Snapshot
    latest: Snapshot
    _readers: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict[tuple[str, int], dict[str, str]])

    def readers(self, topic: str, directory: Directory) -> dict[str, str]:
        """Active member -> text of the ACL that allows it to READ `topic` from the delivery host."""
        known = self._readers.get((topic, directory.version))
        if known is None:
            members = [f"{PRINCIPAL_PREFIX}{member}" for member in directory.members if directory.is_active(member)]
            now = self.latest.acls.readers(topic, DELIVERY_HOST, members)
            same = self.earlier.acls is self.latest.acls
            before = now if same else self.earlier.acls.readers(topic, DELIVERY_HOST, members)
            known = {
                principal.removeprefix(PRINCIPAL_PREFIX): now[principal].text()
                for principal in members
                if principal in before and principal in now
            }
            self._readers[topic, directory.version] = known
        return known

    @property
    def state(self) -> tuple[bytes, bytes]:
        """Equal for two sights that give the same answers."""
        return (self.earlier.digest, self.latest.digest)

    def age(self, now: float) -> float:
        """Seconds since the latest snapshot was asked for, at monotonic time `now`."""
        return now - self.latest.asked_at

    def then(self, snapshot: Snapshot) -> Sight:
        """The sight after `snapshot`. Answers already worked out are kept when nothing changed."""
        same = self.state == (self.latest.digest, snapshot.digest)
        return Sight(self.latest, snapshot, self._readers if same else {})
