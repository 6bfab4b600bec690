"""An exchange in memory, for members' own tests: the deciding code of the real one, over a `MemoryBus`.

Verification, sight by ACLs, decisions, ledger, debts and catching up are the fan-out's own; processes, transactions and
time-outs are not there. `run` works until nothing is left to do, so tests need not wait.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.consumers.audit.facts import seal_of
from tocsin.consumers.audit.logs import SEALER, origin_of
from tocsin.consumers.audit.merkle import leaf_hash, root_of
from tocsin.consumers.audit.note import Checkpoint, Note, Signer
from tocsin.consumers.directory_reader import wall_clock_ms
from tocsin.consumers.fanout import notary
from tocsin.consumers.gains import GAINS_MAX
from tocsin.consumers.holds import Holds
from tocsin.consumers.inbox import Inbox
from tocsin.consumers.lane import Lane
from tocsin.consumers.lane_records import line_test, sight_told
from tocsin.consumers.lane_sight import sight_of
from tocsin.consumers.lane_transaction import Context, Source, Transaction
from tocsin.consumers.ledger import Ledger
from tocsin.consumers.outbox import Outbox
from tocsin.consumers.outbox_records import Outboxes
from tocsin.consumers.receipts import Receipt
from tocsin.consumers.sight import PRINCIPAL_PREFIX, Sight, Snapshot
from tocsin.consumers.subscriptions import Subscription, Subscriptions
from tocsin.schemas.bundle import SIGNING_KEY, TOKEN_KEYS, Bundle, BundleConfig, write_bundle
from tocsin.schemas.bus import BusRecord, Reader
from tocsin.schemas.codec import decode
from tocsin.schemas.directory import (
    EXCHANGE,
    ROOT_SIGNER,
    Directory,
    DirectoryKey,
    DirectoryMember,
    sign_directory,
)
from tocsin.schemas.errors import Rejection
from tocsin.schemas.memory import MemoryBus, MemoryWriter, Operation, Resource
from tocsin.schemas.names import (
    CHECKPOINTS_TOPIC,
    DELIVERY_HOST,
    DIRECTORY_TOPIC,
    AlertTopic,
    AlertType,
    Tlp,
    audit_topic,
    inbox_topic,
    ledger_topic,
    member_id,
    outbox_topic,
)
from tocsin.schemas.signing import SigningKey
from tocsin.schemas.tokens import TokenKey, write_token_keys
from tocsin.schemas.verify import Verified, Verifier

CLIENT_HOST: Final = "127.0.0.1"
YEAR_MS: Final = 365 * 86_400_000
_LINEAGES: Final = 1_000


class _Judged(NamedTuple):
    source: Source
    outcome: Verified | Rejection
    sha256: bytes


class MemoryExchange:
    """A coalition in the folder `home`, where members' bundles are written, with the topics on `bus`.

    `subscriptions` are for members that have set none in their outbox. Rights are Kafka's ACLs, evaluated as Kafka
    does: `acls` can be changed at will, `grant` and `deny` are short forms. `now_ms` is the time, milliseconds since
    1970.
    """

    def __init__(self, home: Path, *, coalition: str = "test", now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.bus = MemoryBus(authorizer=self._authorize, now=now_ms)
        self.acls: set[AclRow] = set()
        self.subscriptions: dict[str, Subscription] = {}
        self._outboxes = Outboxes(acknowledgements=True, receipts=True)
        self._read_of: dict[str, int] = {}
        self._asked = Subscriptions()
        self._holds = Holds()
        self.directory = Directory(coalition, 0, now_ms(), now_ms() + YEAR_MS, {}, {})
        self._home = home
        self._now_ms = now_ms
        self._root = SigningKey.generate(ROOT_SIGNER)
        self._key = SigningKey.generate(EXCHANGE)
        self.sealer_key = SigningKey.generate(SEALER)
        self._token_key = TokenKey("private-test", "private", secrets.token_bytes(32))
        self._lanes: dict[str, Lane] = {}
        self._sight: tuple[frozenset[AclRow], Sight] | None = None
        self.bus.create_topic(DIRECTORY_TOPIC)
        self.bus.create_topic(CHECKPOINTS_TOPIC)
        for name, key in ((EXCHANGE, self._key), (SEALER, self.sealer_key)):
            self.publish_directory(self._with(DirectoryMember(name, name, "eu", "ACTIVE"), key))

    # -- the coalition -----------------------------------------------------------------------------------------------

    def add_member(
        self,
        member: str,
        *,
        role: str,
        jurisdiction: str,
        publishes: tuple[AlertType, ...] = (),
        subscription: Subscription | None = None,
    ) -> Bundle:
        """Take a member in: topics, rights, a key in the directory. Returns its bundle.

        It asks for everything it may see unless `subscription` says otherwise, and may see nothing before a `grant`.

        Raises:
            NameInvalid: `member` is no member id.
        """
        bundle = self._bundle(member_id(member), role, jurisdiction)
        self._create_topics(member, jurisdiction)
        self.subscriptions[member] = subscription or Subscription(member)
        self.acls |= set(_member_rows(member, jurisdiction, publishes))
        standing = DirectoryMember(member, role, jurisdiction, "ACTIVE")
        self.publish_directory(self._with(standing, bundle.signing_key()))
        return bundle

    def _bundle(self, member: str, role: str, jurisdiction: str) -> Bundle:
        folder = self._home / "members" / member
        config = BundleConfig(
            coalition=self.directory.coalition,
            member=member,
            login=member,
            role=role,
            jurisdiction=jurisdiction,
            bootstrap="memory",
            roots=(self._root.public.hex(),),
        )
        bundle = write_bundle(folder, config, password=secrets.token_urlsafe(), ca_pem=b"")
        SigningKey.generate(member).save(folder / SIGNING_KEY)
        write_token_keys(folder / TOKEN_KEYS, (self._token_key,))
        return bundle

    def _create_topics(self, member: str, jurisdiction: str) -> None:
        alerts = [AlertTopic(jurisdiction, kind, tlp).name for kind in AlertType for tlp in Tlp]
        lane = [ledger_topic(jurisdiction), audit_topic(jurisdiction)]
        for topic in (*alerts, *lane, inbox_topic(member), outbox_topic(member)):
            self.bus.create_topic(topic)
        self._lanes.setdefault(jurisdiction, Lane(jurisdiction, Ledger()))

    def _with(self, member: DirectoryMember, key: SigningKey) -> Directory:
        now = self._now_ms()
        document = self.directory
        added = DirectoryKey(key.key_id, member.member, key.public, now - 60_000, now + YEAR_MS)
        return Directory(
            coalition=document.coalition,
            version=document.version + 1,
            issued_at=now,
            expires_at=now + YEAR_MS,
            members={**document.members, member.member: member},
            keys={**document.keys, key.key_id: added},
        )

    def publish_directory(self, directory: Directory) -> None:
        """Sign `directory` with the root key, and make it the one in force."""
        value, headers = sign_directory(directory, [self._root])
        self.bus.append(DIRECTORY_TOPIC, DIRECTORY_TOPIC.encode(), value, headers)
        self.directory = directory

    def grant(self, member: str, *topics: str) -> None:
        """Give `member` sight of alert topics."""
        self.acls |= {_row("ALLOW", member, "READ", topic, host=DELIVERY_HOST) for topic in topics}

    def revoke(self, member: str, *topics: str) -> None:
        """Take back what `grant` and `deny` did."""
        self.acls -= {_row("ALLOW", member, "READ", topic, host=DELIVERY_HOST) for topic in topics}
        self.acls -= {_row("DENY", member, "READ", topic) for topic in topics}

    def deny(self, member: str, *topics: str) -> None:
        """Forbid `member` to read topics, whatever else allows it: the emergency verb."""
        self.acls |= {_row("DENY", member, "READ", topic) for topic in topics}

    def _authorize(self, login: str, operation: Operation, resource: Resource, name: str) -> bool:
        principal = f"{PRINCIPAL_PREFIX}{login}"
        return self._current_sight().latest.acls.decide(principal, CLIENT_HOST, operation, resource, name).allowed

    def _current_sight(self) -> Sight:
        rows = frozenset(self.acls)
        if self._sight is None or self._sight[0] != rows:
            acls = AclSet(rows)
            snapshot = Snapshot(acls, acls.digest(), 0.0, self._now_ms())
            self._sight = (rows, Sight(snapshot, snapshot))
        return self._sight[1]

    # -- what members use --------------------------------------------------------------------------------------------

    def writer(self, member: str) -> MemoryWriter:
        """What a `Publisher` of `member` takes as its `writer`."""
        return self.bus.writer(member)

    def inbox(self, bundle: Bundle, *, group: str = "inbox", follow: bool = False, **options: Any) -> Inbox:
        """An `Inbox` on this exchange; `options` are the Inbox's own."""
        reader = self.bus.reader(bundle.config.login, inbox_topic(bundle.member), f"{bundle.member}.{group}")
        directory = self.bus.reader(bundle.config.login, DIRECTORY_TOPIC)
        options.setdefault("outbox", self.outbox(bundle))
        options.setdefault("read_from", partial(self._read_from, bundle.config.login))
        return Inbox(
            bundle,
            group=group,
            follow=follow,
            reader=reader,
            directory=directory,
            now_ms=self._now_ms,
            **options,
        )

    def _read_from(self, login: str, topic: str, offset: int) -> Reader:
        return self.bus.reader(login, topic, begin=offset)

    def outbox(self, bundle: Bundle) -> Outbox:
        """An `Outbox` on this exchange."""
        reader = self.bus.reader(bundle.config.login, outbox_topic(bundle.member))
        directory = self.bus.reader(bundle.config.login, DIRECTORY_TOPIC)
        writer = self.writer(bundle.config.login)
        return Outbox(bundle, writer=writer, reader=reader, directory=directory, now_ms=self._now_ms)

    # -- what the exchange does --------------------------------------------------------------------------------------

    def run(self) -> int:
        """Decide and deliver until nothing is left to do. Returns how many copies were written."""
        return sum(self._work(lane) for lane in self._lanes.values())

    def restart(self) -> None:
        """Forget everything and read the ledgers again, as another process that takes over does."""
        for jurisdiction in self._lanes:
            ledger = Ledger()
            for record in self.bus.records(ledger_topic(jurisdiction)):
                ledger.apply(record.key or b"", record.value)
            self._lanes[jurisdiction] = Lane(jurisdiction, ledger)

    def test_line(self, member: str, *, checkpoint: str | None = None) -> None:
        """Send a signed LINE_TEST notice, as the exchange does at least hourly.

        It carries the newest head of the record, if `seal` has made one, or the one that is given here: so the members'
        handling of a record that is told in two ways can be tested.
        """
        place = self.directory.members[member].jurisdiction
        context = self._context(place)
        copy = line_test(place, replace(context, head=checkpoint or context.head), member)
        self.bus.append(copy.topic, copy.key, copy.value, copy.headers)

    def seal(self) -> None:
        """Sign the head of the log of each lane's decisions; tests of the line carry it from then on."""
        for place in self._lanes:
            topic = audit_topic(place)
            log = Signer(origin_of(self.directory.coalition, topic), self.sealer_key)
            leaves = [leaf_hash(seal_of(record)) for record in self.bus.records(topic)]
            self.show_head(topic, signed_head(log, len(leaves), root_of(leaves)))

    def show_head(self, topic: str, note: bytes) -> None:
        """Hand out a signed head of a topic's log."""
        origin = origin_of(self.directory.coalition, topic)
        self.bus.append(CHECKPOINTS_TOPIC, origin.encode(), note)

    def _head(self, jurisdiction: str) -> str | None:
        origin = origin_of(self.directory.coalition, audit_topic(jurisdiction)).encode()
        notes = [record.value for record in self.bus.records(CHECKPOINTS_TOPIC) if record.key == origin]
        return notes[-1].decode() if notes and notes[-1] is not None else None

    def tell_sight(self, member: str) -> None:
        """Send what `member` may be given, signed, as the exchange does when that changes."""
        for place in self._lanes:
            context = self._context(place)
            copy = sight_told(place, context, member, sight_of(context, place).get(member, []))
            self.bus.append(copy.topic, copy.key, copy.value, copy.headers)

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision on the record, by lane."""
        topics = [audit_topic(jurisdiction) for jurisdiction in self._lanes]
        return [decode(record.value or b"")[1] for topic in topics for record in self.bus.records(topic)]

    def receipts(self) -> tuple[Receipt, ...]:
        """What members say came into their inboxes."""
        self._read_outboxes()
        return self._outboxes.receipts(self.directory)

    def _work(self, lane: Lane) -> int:
        pending = deque(self._read(lane))
        copies = 0
        while True:
            context = self._context(lane.jurisdiction)
            tx = lane.begin(context)
            while pending and not lane.must_wait(tx, pending[0].outcome):
                judged = pending.popleft()
                lane.decide(tx, context, judged.source, judged.outcome, judged.sha256)
            lane.take_changes(tx, context, _LINEAGES)
            copies += self._commit(lane, tx)
            if tx.empty and not lane.has_work(context):
                return copies + self._pay_refusing(lane, context)

    def _pay_refusing(self, lane: Lane, context: Context) -> int:
        payable = [member for member in lane.behind if member in context.inboxes]
        return sum(self._commit(lane, lane.begin_behind(context, member)) for member in payable)

    def _commit(self, lane: Lane, tx: Transaction) -> int:
        for decision in tx.decisions:
            self.bus.append(audit_topic(lane.jurisdiction), None, decision)
        for key, value in tx.ledger_records():
            self.bus.append(ledger_topic(lane.jurisdiction), key, value)
        for copy in tx.copies:
            self.bus.append(copy.topic, copy.key, copy.value, copy.headers)
        lane.commit(tx)
        return len(tx.copies)

    def _context(self, jurisdiction: str) -> Context:
        ids = {member: self.bus.topic_id(inbox_topic(member)) for member in self.directory.members}
        self._read_outboxes()
        asked = self._outboxes.subscriptions(self.directory, self.subscriptions)
        if asked.changed_since(self._asked):
            # a lane takes a change by the mapping's identity
            self._asked = asked
        holds = self._outboxes.holds(self.directory)
        if holds.all != self._holds.all:
            self._holds = holds
        now_ms = self._now_ms()
        return Context(
            sight=self._current_sight(),
            directory=self.directory,
            subscriptions=self._asked,
            disputes=self._outboxes.disputes(self.directory),
            holds=self._holds,
            inboxes={member: topic_id for member, topic_id in ids.items() if topic_id is not None},
            gains_max=self._outboxes.releases(self.directory).bound(jurisdiction, GAINS_MAX, now_ms),
            now_ms=now_ms,
            worker="memory",
            notary=notary(self._key, self.directory.coalition),
            secret=secrets.token_bytes(),
            head=self._head(jurisdiction),
        )

    def _read_outboxes(self) -> None:
        """Take in what members have set; what does not verify changes nothing."""
        verifier = Verifier(self.directory.coalition, self.directory)
        for member in self.directory.members:
            topic = outbox_topic(member)
            records = self.bus.records(topic) if topic in self.bus.topics() else ()
            for record in records:
                if record.offset >= self._read_of.get(topic, 0):
                    self._read_of[topic] = record.offset + 1
                    with suppress(Rejection):
                        self._outboxes.apply(member, record, verifier)

    def _read(self, lane: Lane) -> Iterator[_Judged]:
        verifier = Verifier(self.directory.coalition, self.directory)
        for topic in self.bus.topics():
            if topic.startswith(f"alerts.{lane.jurisdiction}."):
                position = lane.ledger.positions.get(topic)
                begin = position.next_offset if position else 0
                yield from (
                    self._judge(verifier, record) for record in self.bus.records(topic) if record.offset >= begin
                )

    def _judge(self, verifier: Verifier, record: BusRecord) -> _Judged:
        source = Source(record.topic, record.topic, 0, record.offset, record.appended_ms)
        sha256 = hashlib.sha256(record.value or b"").digest()
        try:
            signed = verifier.check_signature(
                record.topic, record.offset, record.value, record.headers, record.appended_ms
            )
            alert = verifier.check_record(
                signed,
                AlertTopic.parse(record.topic),
                record.key,
                appended_ms=record.appended_ms,
                now_ms=self._now_ms(),
            )
        except Rejection as refusal:
            return _Judged(source, refusal, sha256)
        return _Judged(source, alert, sha256)


def signed_head(log: Signer, size: int, root: bytes) -> bytes:
    """The signed head of a log of `size` entries."""
    text = Checkpoint(log.name, size, root).text()
    return Note(text, (log.sign(text),)).encode()


def _row(permission: str, member: str, operation: str, name: str, *, kind: str = "TOPIC", host: str = "*") -> AclRow:
    """An ACL; a name that ends with `.` is a prefix."""
    pattern = "PREFIXED" if name.endswith(".") else "LITERAL"
    return AclRow(kind, name, pattern, f"{PRINCIPAL_PREFIX}{member}", host, operation, permission)


def _member_rows(member: str, jurisdiction: str, publishes: tuple[AlertType, ...]) -> Iterator[AclRow]:
    for topic in (inbox_topic(member), DIRECTORY_TOPIC, CHECKPOINTS_TOPIC):
        yield _row("ALLOW", member, "READ", topic)
    yield _row("ALLOW", member, "WRITE", outbox_topic(member))
    yield _row("ALLOW", member, "READ", outbox_topic(member))
    yield _row("ALLOW", member, "READ", f"{member}.", kind="GROUP")
    for kind in publishes:
        yield _row("ALLOW", member, "WRITE", f"alerts.{jurisdiction}.{kind.value}.")
