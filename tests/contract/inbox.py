"""What an `Inbox` keeps to, stated once: run on the exchange in memory and on a real one.

In both, `hotline-se` publishes, `reader-00` sees it, and `reader-03` sees nothing: its inbox holds what tests plant.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from threading import Timer
from typing import Any, Protocol

import pytest

from tests.world import takedown
from tocsin.consumers.audit.logs import origin_of
from tocsin.consumers.audit.note import Signer
from tocsin.consumers.copies import Received, ReceivedKind
from tocsin.consumers.errors import InboxError, RecordUnverified, SchemaTooNew
from tocsin.consumers.inbox import Inbox
from tocsin.consumers.memory import signed_head
from tocsin.consumers.receipts import Receipt, item_of
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import DELIVERY_HOST
from tocsin.schemas.signing import KEY_HEADER, SIGNATURE_HEADER, TYPE_HEADER, SigningKey, pae

FOUL = {
    "value": "bad-signature",
    "key": "wrong-key",
    "publisher": "wrong-key",
    "source": "wrong-topic",
    "no-source": "wrong-topic",
    "unsigned": "unsigned",
    "key-id": "unknown-key",
    "type": "unknown-schema",
    "garbage": "bad-signature",
}
"""What is changed of a copy, and why it is refused then."""

RecordHeaders = Sequence[tuple[str, bytes | None]]


class InboxStage(Protocol):
    """An exchange with members. An inbox without records for `quiet_s` has been read to its end."""

    quiet_s: float

    def member(self, name: str) -> Bundle:
        """A member's bundle."""
        ...

    def publish(self, bundle: Bundle, *alerts: SiteTakenDown) -> None:
        """Publish, and wait until `reader-00` has them all."""
        ...

    def inbox(self, bundle: Bundle, **options: Any) -> Inbox:
        """An `Inbox` that does not follow unless `options` say so."""
        ...

    def copies(self, member: str) -> Sequence[BusRecord]:
        """Everything in a member's inbox."""
        ...

    def place(self, member: str, group: str) -> int | None:
        """The next offset that a group of the member will read of its inbox."""
        ...

    def receipts(self) -> Sequence[Receipt]:
        """What members say came into their inboxes."""
        ...

    def test_line(self, member: str, checkpoint: str | None) -> None:
        """Send a test of the line that carries this head, signed by the exchange."""
        ...

    def sealer(self) -> SigningKey:
        """The sealer's key."""
        ...

    def plant(self, member: str, key: bytes, value: bytes | None, headers: RecordHeaders) -> None:
        """Append to a member's inbox in the exchange's name."""
        ...

    def forbidden(self, member: str) -> AbstractContextManager[None]:
        """A member may not read its inbox for a while."""
        ...


class InboxContract:
    """Subclasses give the fixture `stage`."""

    @pytest.fixture
    def alert(self, stage: InboxStage) -> SiteTakenDown:
        """An alert that `reader-00` has been given."""
        bundle = stage.member("hotline-se")
        made = takedown(bundle, secrets.randbelow(10**9))
        stage.publish(bundle, made)
        return made

    @pytest.fixture
    def copy(self, stage: InboxStage, alert: SiteTakenDown) -> BusRecord:
        """Its copy in the inbox of `reader-00`."""
        key = f"hotline-se/{alert.header.lineage_id}".encode()
        return next(record for record in stage.copies("reader-00") if record.key == key)

    @pytest.fixture
    def planted(self, stage: InboxStage) -> Iterator[Inbox]:
        """The inbox of `reader-03`, read to its end."""
        with stage.inbox(stage.member("reader-03"), group=_group(), include_erasures=True, include_tests=True) as inbox:
            list(inbox)
            inbox.unverified.clear()
            yield inbox

    def test_an_alert_is_received_with_its_source_and_rule(self, stage: InboxStage, alert: SiteTakenDown) -> None:
        """The model equals what was published; the bytes are the published ones; source and ACL are named."""
        [received] = _received(stage, alert)
        assert received.alert == alert
        assert received.kind is ReceivedKind.ALERT
        assert received.value == alert.to_avro()
        assert received.key == f"hotline-se/{alert.header.lineage_id}"
        assert received.source.startswith(f"{alert.topic.name}/0/")
        assert received.rule == f"ALLOW READ User:reader-00 {DELIVERY_HOST} LITERAL {alert.topic.name}"
        assert abs(received.appended_at - datetime.now(UTC)) < timedelta(minutes=5)
        assert stage.copies("reader-03") == [] or _received(stage, alert, member="reader-03") == []

    def test_what_the_body_did_not_finish_comes_again(self, stage: InboxStage, alert: SiteTakenDown) -> None:
        """After an exception it comes again to the same Inbox and to the next one; then it does not."""
        bundle, group = stage.member("reader-00"), _group()
        with stage.inbox(bundle, group=group) as inbox:
            for _ in range(2):
                with pytest.raises(RuntimeError, match="not done"):
                    _fail_on(inbox, alert)
        with stage.inbox(bundle, group=group) as inbox:
            again = [received.alert for received in inbox]
        assert again[0] == alert
        with stage.inbox(bundle, group=group) as inbox:
            assert list(inbox) == []

    def test_leaving_the_loop_leaves_the_record(self, stage: InboxStage, alert: SiteTakenDown) -> None:
        """`break` says nothing about the record in hand: it comes again, unless it was acknowledged."""
        bundle, group = stage.member("reader-00"), _group()
        for acknowledge in (False, True):
            with stage.inbox(bundle, group=group) as inbox:
                for received in inbox:
                    if received.alert == alert:
                        assert not acknowledge or inbox.ack(received)
                        break
                else:
                    pytest.fail("not given again")
        with stage.inbox(bundle, group=group) as inbox:
            assert alert not in [received.alert for received in inbox]

    def test_acknowledging_an_older_record_takes_nothing_back(self, stage: InboxStage, alert: SiteTakenDown) -> None:
        """`ack` keeps the place after the newest that was acknowledged."""
        bundle, group = stage.member("reader-00"), _group()
        stage.publish(stage.member("hotline-se"), takedown(stage.member("hotline-se"), secrets.randbelow(10**9)))
        with stage.inbox(bundle, group=group) as inbox:
            records = list(inbox)
            assert alert in [received.alert for received in records]
            assert inbox.ack(records[-1])
            assert inbox.ack(records[0])
        with stage.inbox(bundle, group=group) as inbox:
            assert list(inbox) == []

    def test_a_place_is_kept_without_closing(self, stage: InboxStage, alert: SiteTakenDown) -> None:
        """When an iteration has come to its end, its place is kept, whatever happens to the process."""
        bundle, group = stage.member("reader-00"), _group()
        inbox = stage.inbox(bundle, group=group)
        assert alert in [received.alert for received in inbox]
        assert stage.place("reader-00", group) == stage.copies("reader-00")[-1].offset + 1
        inbox.close()

    def test_what_came_is_told_in_ranges_without_a_gap(self, stage: InboxStage, alert: SiteTakenDown) -> None:
        """A receipt on close, a longer one after more has come; what was read without telling is told later."""
        bundle, group = stage.member("reader-00"), _group()
        begins: set[int] = set()
        for receipts in (True, False, True):
            with stage.inbox(bundle, group=group, receipts=receipts) as inbox:
                assert alert in [received.alert for received in inbox] or begins
            told = [one for one in stage.receipts() if one.group == f"reader-00.{group}"]
            begins |= {one.first_offset for one in told}
            last = max(one.last_offset for one in told)
            assert (last >= stage.copies("reader-00")[-1].offset) is receipts
            stage.publish(stage.member("hotline-se"), takedown(stage.member("hotline-se"), secrets.randbelow(10**9)))
        items = [item for one in told for item in one.items]
        came = [record.offset for record in stage.copies("reader-00")[:-1] if _is_copy_or_erasure(record)]
        assert [item.offset for item in items] == came
        assert {one.series for one in told} == {told[0].series}
        assert alert.to_avro() in {record.value for record in stage.copies("reader-00")}

    def test_test_records_are_signs_of_life(self, stage: InboxStage) -> None:
        """They are skipped and counted; asked for, they are handed out and say that they are tests."""
        bundle = stage.member("hotline-se")
        test = takedown(bundle, secrets.randbelow(10**9), test=True)
        before = datetime.now(UTC) - timedelta(seconds=5)
        stage.publish(bundle, test)
        with stage.inbox(stage.member("reader-00"), group=_group()) as inbox:
            assert test not in [received.alert for received in inbox]
            assert inbox.counts.tests >= 1
            assert inbox.last_sign_of_life is not None
            assert inbox.last_sign_of_life > before
        [received] = _received(stage, test, include_tests=True)
        assert received.test

    def test_heads_that_come_with_tests_are_compared(self, stage: InboxStage, tmp_path: Path) -> None:
        """A log that grows is innocent; a second root of one size is kept as evidence, and alerts go on coming."""
        log = Signer(origin_of("test", "audit.se"), stage.sealer())
        told = [(3, b"a"), (3, b"a"), (7, b"b"), (5, b"c"), (7, b"d")]
        notes = [signed_head(log, size, sha256(root).digest()).decode() for size, root in told]
        stranger = Signer(log.name, SigningKey.generate("stranger"))
        bundle, group = stage.member("reader-00"), _group()
        with stage.inbox(bundle, group=group, state=tmp_path / "version") as inbox:
            list(inbox)
            inbox.counts.heads.clear()
            for note in (*notes, None, "no note", signed_head(stranger, 3, sha256(b"x").digest()).decode()):
                stage.test_line("reader-00", note)
                time.sleep(0.002)  # what is told later has a later time
            list(inbox)
            assert inbox.counts.heads == {"new": 2, "same": 1, "went-back": 1, "forked": 1, "refused": 2}
            [evidence] = inbox.last_forks
            again = takedown(stage.member("hotline-se"), secrets.randbelow(10**9))
            stage.publish(stage.member("hotline-se"), again)
            assert again in [received.alert for received in inbox]
        assert evidence.parent == tmp_path / "forks"
        assert [(evidence / name).read_text() for name in ("seen", "offered")] == [notes[2], notes[4]]

    def test_a_tombstone_is_an_erasure(self, stage: InboxStage, planted: Inbox) -> None:
        """It is counted, handed out only if asked for, and has neither alert nor notice."""
        stage.plant("reader-03", b"hotline-se/gone", None, [])
        [received] = list(planted)
        assert (received.kind, received.key) == (ReceivedKind.ERASURE, "hotline-se/gone")
        assert (received.alert, received.notice) == (None, None)
        with stage.inbox(stage.member("reader-03"), group=_group()) as inbox:
            assert ReceivedKind.ERASURE not in [one.kind for one in inbox]
            assert inbox.counts.erasures >= 1
            assert inbox.unverified["no-value"] == 0

    def test_what_does_not_verify_is_not_handed_out(self, stage: InboxStage, copy: BusRecord, planted: Inbox) -> None:
        """It is counted under its reason, without content, and what follows it is handed out."""
        for change in FOUL:
            stage.plant("reader-03", *_changed(copy, change))
        stage.plant("reader-03", copy.key or b"", copy.value, copy.headers)
        [received] = list(planted)
        assert received.value == copy.value
        assert planted.unverified == Counter(FOUL.values())
        found = list(planted.last_unverified)[-len(FOUL) :]
        assert [one.reason.value for one in found] == list(FOUL.values())
        assert [one.offset for one in found] == list(range(received.offset - len(FOUL), received.offset))

    def test_an_unverified_record_can_stop_the_reader(self, stage: InboxStage, copy: BusRecord) -> None:
        """With `raise_unverified` it is met again and again, and its content is not in the message."""
        bundle, group = stage.member("reader-03"), _group()
        with stage.inbox(bundle, group=group) as inbox:
            list(inbox)
        stage.plant("reader-03", *_changed(copy, "value"))
        with stage.inbox(bundle, group=group, raise_unverified=True) as inbox:
            for _ in range(2):
                with pytest.raises(RecordUnverified, match=r"inbox.reader-03/\d+: bad-signature") as refused:
                    list(inbox)
                assert str(copy.value) not in str(refused.value)

    def test_a_record_of_a_newer_release_is_left_for_later(self, stage: InboxStage, copy: BusRecord) -> None:
        """A schema that this release does not have stops the reader at the record: it is right, the reader is old."""
        # in an inbox of its own, where no other test meets it
        bundle, group = stage.member("hotline-de"), _group()
        key = stage.member("hotline-se").signing_key()
        stage.plant("hotline-de", copy.key or b"", copy.value, _signed_as_newer(key, bundle.coalition, copy))
        for _ in range(2):
            with (
                stage.inbox(bundle, group=group) as inbox,
                pytest.raises(SchemaTooNew, match="upgrade tocsin-schemas"),
            ):
                list(inbox)

    def test_stopping_ends_a_follower_after_its_record(self, stage: InboxStage, alert: SiteTakenDown) -> None:
        """`stop` may come from anywhere; the record in hand counts as done, since its body ends."""
        bundle, group = stage.member("reader-00"), _group()
        with stage.inbox(bundle, group=group, follow=True) as inbox:
            for received in inbox:
                if received.alert == alert:
                    inbox.stop()
            assert list(inbox) == []
        with stage.inbox(bundle, group=group) as inbox:
            assert alert not in [received.alert for received in inbox]

    def test_a_quiet_follower_can_be_stopped(self, stage: InboxStage) -> None:
        """`stop` ends waiting, and so does `timeout_s` without records."""
        bundle, group = stage.member("reader-00"), _group()
        with stage.inbox(bundle, group=group, follow=True, timeout_s=stage.quiet_s) as inbox:
            list(inbox)
        with stage.inbox(bundle, group=group, follow=True) as inbox:
            Timer(stage.quiet_s / 2, inbox.stop).start()
            assert list(inbox) == []

    def test_a_forbidden_inbox_says_so(self, stage: InboxStage) -> None:
        """A missing right is an error that names login and remedy, not an empty inbox."""
        bundle = stage.member("reader-03")
        with (
            stage.forbidden("reader-03"),
            stage.inbox(bundle, group=_group()) as inbox,
            pytest.raises(InboxError, match=r"inbox.reader-03: reader-03 may not read it .* ask the secretariat"),
        ):
            list(inbox)


def _is_copy_or_erasure(record: BusRecord) -> bool:
    return item_of(record) is not None


def _group() -> str:
    return secrets.token_hex(4)


def _received(stage: InboxStage, alert: SiteTakenDown, *, member: str = "reader-00", **options: Any) -> list[Received]:
    with stage.inbox(stage.member(member), group=_group(), **options) as inbox:
        return [one for one in inbox if one.alert == alert]


def _fail_on(inbox: Inbox, alert: SiteTakenDown) -> None:
    for received in inbox:
        if received.alert == alert:
            raise RuntimeError("not done")


def _changed(copy: BusRecord, change: str) -> tuple[bytes, bytes, RecordHeaders]:
    """Key, value and headers of `copy` with one thing wrong."""
    key, value, headers = copy.key or b"", copy.value or b"", dict(copy.headers)
    match change:
        case "value":
            value = value[:-1] + bytes([value[-1] ^ 1])
        case "key":
            key = b"hotline-se/01900000-0000-7000-8000-000000000000"
        case "publisher":
            key = key.replace(b"hotline-se", b"hotline-de")
        case "source":
            headers["tocsin-source"] = b"alerts.de.site-taken-down.green/0/1"
        case "no-source":
            del headers["tocsin-source"]
        case "unsigned":
            del headers[SIGNATURE_HEADER]
        case "key-id":
            headers[KEY_HEADER] = b"hotline-se.0000000000000000"
        case "type":
            headers[TYPE_HEADER] = b"application/vnd.tocsin.other+avro; schema=" + b"0" * 64
        case _:
            value = b"garbage"
    return key, value, list(headers.items())


def _signed_as_newer(key: SigningKey, coalition: str, copy: BusRecord) -> RecordHeaders:
    kind = f"application/vnd.tocsin.{coalition}+avro; schema={'0' * 64}".encode()
    signature = key.sign(pae(kind, copy.value or b""))
    return [*{**dict(copy.headers), TYPE_HEADER: kind, SIGNATURE_HEADER: signature}.items()]
