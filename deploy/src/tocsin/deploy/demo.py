"""`tocsin demo`: the whole exchange at work on this machine, in a terminal, counted by an observer who is not ours."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from rich.rule import Rule
from rich.table import Table

from tocsin.consumers.inbox import Inbox
from tocsin.consumers.outbox import Outbox
from tocsin.consumers.subscriptions import Subscription
from tocsin.consumers.withdrawals import Told
from tocsin.consumers.withdrawals_reader import WithdrawalsReader, lanes
from tocsin.deploy import demo_policy as policy_show
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.demo_audit import AuditShow
from tocsin.deploy.demo_policy import PolicyShow
from tocsin.deploy.errors import TocsinDeployError
from tocsin.deploy.output import HOME, HomeOption, console, log_beside_output
from tocsin.deploy.policy.apply import apply_policy
from tocsin.deploy.policy.document import Member, Policy
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.rows import FANOUT
from tocsin.producers.imports import Accepted, Context, Profile, read_rows
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode
from tocsin.schemas.models import Alert
from tocsin.schemas.names import AlertType
from tocsin.schemas.signing import sign_headers
from tocsin.schemas.uuid7 import uuid7

POLICY = Path("deploy/policies/coalition.yaml")
EXAMPLES = Path("deploy/examples")
FILES = {
    "acquirer-de": "match-acquirer-de.json",
    "hotline-se": "takedowns-hotline-se.csv",
    "bank-fr": "descriptors-bank-fr.jsonl",
}
WAIT_S = 40.0
# whose sight is removed and given back, and on what
BLINDED = "bank-fr"
NEWCOMER = "bank-se"
# to whom a delivery is proved
PROVED = "bank-de"
ACL_TOOL = "org.apache.kafka.tools.AclCommand"
BOUND_S = 5.0


def demo(
    home: HomeOption = HOME / "demo",
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running to play with.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop what --keep left running and delete it.")] = False,
) -> None:
    """Show the exchange at work: publish, decide, deliver, refuse, reject, remove sight, retract, count, and prove."""
    if stop:
        _end(home)
        console.print("Stopped; its folder is deleted.")
        return
    _end(home)
    log_beside_output()
    show = _Demo(home, read_policy(POLICY))
    try:
        show.run()
    finally:
        if not keep:
            _end(home)
    if keep:
        console.print(Rule())
        console.print(f"It keeps running. Try:\n  export TOCSIN_HOME={home}", soft_wrap=True)
        console.print(f"  tocsin inbox --as {home}/members/bank-de --group again", soft_wrap=True)
        console.print(f"  tocsin publish --as {home}/members/hotline-se FILE.csv --profile FILE.toml", soft_wrap=True)
        console.print("  make down    ends it")


def _end(home: Path) -> None:
    """Stop the fan-out and Kafka of `home`, and delete their data."""
    pid_file = home / "fanout.pid"
    if pid_file.exists():
        pid = int(pid_file.read_text())
        command = subprocess.run(
            ["ps", "-ww", "-p", str(pid), "-o", "command="],  # noqa: S607  # POSIX
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        if str(home) in command:
            os.kill(pid, signal.SIGTERM)
            _wait(lambda: not _alive(pid), "the fan-out to stop", fatal=False)
        pid_file.unlink()
    LocalCluster(home).down(purge=True)
    if home.exists():
        shutil.rmtree(home)


def _alive(pid: int) -> bool:
    try:
        finished, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return finished == 0


def _wait(holds: Callable[[], bool], what: str, *, fatal: bool = True) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            if fatal:
                _fail(f"waited {WAIT_S:.0f} s for {what}")
            return
        time.sleep(0.1)


def _fail(reason: str) -> NoReturn:
    raise TocsinDeployError(f"the demo failed: {reason}")


class _Demo:
    def __init__(self, home: Path, policy: Policy) -> None:
        self.home = home
        self.policy = policy
        self.cluster = LocalCluster(home)
        self.published: list[Alert] = []
        self._retracted = b""

    def run(self) -> None:
        began = time.monotonic()
        self._set_up()
        self._publish_files()
        self._show_deliveries()
        self._forge()
        self._remove_sight()
        self._withdraw()
        self._join()
        self._title(
            f"The policy changes: {policy_show.MEMBER} is to see amber takedowns of gb, for {policy_show.LIFE_S} s"
        )
        self.policy = PolicyShow(self.policy, self.cluster.admin(), self.home, self._readable).run()
        self._count()
        self._title("The record: what became of the retracted alert, one delivery proved, and a changed copy found out")
        given = next(one for one in self._decisions() if PROVED in {each["member"] for each in one["given"]})
        AuditShow(self.home, self._retracted.decode(), given["alert_id"], PROVED).run()
        console.print(f"\nAll of it took {time.monotonic() - began:.0f} s.")

    def _title(self, text: str) -> None:
        console.print()
        console.print(Rule(text, align="left"))

    def _set_up(self) -> None:
        self._title("A real Kafka, and a policy compiled to its ACLs")
        self.cluster.up()
        applied = apply_policy(self.policy, self.cluster.admin(), self.home, make_keys=True)
        console.print(
            f"Kafka at {self.cluster.bootstrap} (TLS, SCRAM, ACLs). {len(self.policy.members)} members in "
            f"{len(self.policy.jurisdictions())} jurisdictions, {len(self.policy.agreements)} agreements: "
            f"{applied.count('CREATE', 'TOPIC')} topics, {applied.count('CREATE', 'ACL')} ACLs.",
            soft_wrap=True,
        )
        log = (self.home / "fanout.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "tocsin.deploy", "fanout", "run", "--policy", str(POLICY), "--home", str(self.home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        (self.home / "fanout.pid").write_text(str(process.pid))
        lanes = len(self.policy.jurisdictions())
        _wait(lambda: (self.home / "fanout.log").read_text().count("lane_taken") >= lanes, "the fan-out's lanes")
        console.print(f"The fan-out works {lanes} lanes, one a jurisdiction.")
        process.returncode = 0  # it is stopped by its pid, later, perhaps by another process

    # -- publishing --------------------------------------------------------------------------------------------------

    def _publish_files(self) -> None:
        self._title("Who published what: members' own files become signed alerts")
        table = Table("member", "file", "line", "result", "why")
        for member, name in FILES.items():
            bundle = Bundle.load(self.home / "members" / member)
            path = EXAMPLES / name
            context = Context(member, bundle.config.jurisdiction, bundle.token_keys(), datetime.now(UTC))
            with Publisher(bundle) as publisher, path.open("rb") as stream:
                for row in read_rows(stream, Profile.load(path.with_suffix(".toml")), context):
                    if isinstance(row, Accepted):
                        publisher.publish(row.alert, row.idempotency_key)
                        self.published.append(row.alert)
                        table.add_row(member, name, str(row.line), row.alert.topic.name, ", ".join(row.left_out))
                    else:
                        table.add_row(member, name, str(row.line), "refused", f"{row.field}: {row.reason}")
                if publisher.flush(WAIT_S):
                    _fail(f"{member}'s alerts did not reach the broker")
        console.print(table)
        kinds = {alert.subject for alert in self.published}
        if kinds != set(AlertType):
            _fail(f"only {kinds} were published")

    # -- what the fan-out made of it ---------------------------------------------------------------------------------

    def _show_deliveries(self) -> None:
        self._title("Who received it, and under which ACL; who matched and was refused, and why")
        _wait(lambda: self._decided() >= len(self.published), "the decisions")
        table = Table("alerts", "of", "given to", "matched and refused")
        grouped = Counter(
            (one["topic"], _words(one["given"], "member"), _words(one["refused"], "member", "reason"))
            for one in self._decisions()
        )
        for (topic, given, refused), count in sorted(grouped.items()):
            table.add_row(str(count), topic, given or "nobody who asks may see it", refused)
        console.print(table)
        rules = {one["rule"] for decision in self._decisions() for one in decision["given"]}
        console.print("The ACL is part of each decision and of each copy, for example:")
        console.print(f"  {min(rules)}", soft_wrap=True)

    def _forge(self) -> None:
        self._title("A forged alert: acquirer-gb, who may write to its own topics, signs in hotline-se's name")
        victim, forger = (Bundle.load(self.home / "members" / name) for name in ("hotline-se", "acquirer-gb"))
        alert = next(one for one in self.published if one.header.publisher == victim.member)
        value = alert.to_avro()
        headers = sign_headers(forger.signing_key(), forger.coalition, schema(alert.subject.value), value)
        before = self._decided()
        producer = Producer({**self.cluster.admin_config()})
        producer.produce(alert.topic.name, value, alert.header.lineage_id.encode(), 0, headers=[*headers])
        producer.flush(WAIT_S)
        _wait(lambda: self._decided() > before, "the decision on the forgery")
        [decision] = [one for one in self._decisions() if one["outcome"] == "REJECTED"]
        console.print(f"{decision['outcome']}: {decision['reason']} ({decision['detail']}). Nobody received it.")

    # -- sight -------------------------------------------------------------------------------------------------------

    def _acl(self, verb: str) -> None:
        who = ["--deny-principal", f"User:{BLINDED}", "--deny-host", "*", "--operation", "Read"]
        where = ["--topic", "alerts.", "--resource-pattern-type", "prefixed"]
        self.cluster.run_kafka_tool(ACL_TOOL, verb, "--force", *who, *where)

    def _remove_sight(self) -> None:
        self._title(f"Sight removed with Kafka's own tool: kafka-acls --add --deny-principal User:{BLINDED} ...")
        bundle = Bundle.load(self.home / "members" / "acquirer-de")
        model = next(one for one in self.published if one.header.publisher == "acquirer-de")
        with Publisher(bundle) as publisher:
            self._stream(publisher, model, 2.0)
            self._acl("--add")
            denied_at = time.time()
            self._stream(publisher, model, BOUND_S + 2)
            if publisher.flush(WAIT_S):
                _fail("alerts did not reach the broker")
            _wait(lambda: self._decided() >= len(self.published) + 1, "the decisions")
            stamps = [message.timestamp()[1] / 1000 for message in self._inbox(BLINDED)]
            late = max((stamp - denied_at for stamp in stamps), default=0.0)
            if late > BOUND_S:
                _fail(f"a copy was delivered {late:.1f} s after sight had ended")
            missing = self._missing()
            after = f"{late:.2f} s after" if late > 0 else "before"
            console.print(
                f"The last copy to {BLINDED} was appended {after} the tool had returned (bound: {BOUND_S:.0f} s)."
            )
            console.print(f"{missing} live alerts are missing in its inbox now.")
            self._acl("--remove")
            given_back_at = time.time()
            _wait(lambda: not self._missing(), "the missing alerts")
            took = time.time() - given_back_at
            console.print(f"Sight given back: the missing ones followed within {took:.1f} s, once each.")

    def _stream(self, publisher: Publisher, model: Alert, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            alert = _again(model)
            publisher.publish(alert)
            self.published.append(alert)
            time.sleep(0.1)

    def _missing(self) -> int:
        """How many live alerts `BLINDED` may see by the policy and does not have."""
        have = {message.value() for message in self._inbox(BLINDED)}
        return sum(value not in have for value in self._visible_to(BLINDED))

    def _visible_to(self, member: str) -> list[bytes]:
        topics = self._readable(member)
        return [
            alert.to_avro()
            for alert in self.published
            if alert.topic.name in topics and alert.header.publisher != member
        ]

    def _readable(self, member: str) -> set[str]:
        """The topics that Kafka's own tool lists as readable for `member`: the reference is not our own evaluator."""
        listed = self.cluster.run_kafka_tool(ACL_TOOL, "--list", "--principal", f"User:{member}")
        found: set[str] = set()
        topic = ""
        for line in listed.splitlines():
            if "resourceType=TOPIC" in line:
                topic = line.split("name=")[1].split(",")[0]
            elif "operation=READ" in line and "permissionType=ALLOW" in line and "host=192.0.2.1" in line:
                found.add(topic)
        return found

    # -- taking back what was told ------------------------------------------------------------------------------------

    def _withdraw(self) -> None:
        self._title("acquirer-de corrects an alert, then retracts it: everyone who was ever given it is told")
        wrong = next(one for one in self.published if one.header.publisher == "acquirer-de")
        lineage = wrong.header.lineage_id
        self._retracted = lineage.encode()
        with Publisher(Bundle.load(self.home / "members" / "acquirer-de")) as publisher:
            publisher.correct(wrong, "ERROR")
            publisher.retract(lineage, "FALSE_POSITIVE")
            if publisher.flush(WAIT_S):
                _fail("the retraction did not reach the broker")
        _wait(lambda: bool(self._erased(lineage)), "the decision on the retraction")
        told = set(self._erased(lineage))
        _wait(lambda: all(self._is_withdrawn(member, lineage) for member in told), "the withdrawal notices")
        console.print(f"Erased in {len(told)} inboxes, each with a signed notice: {', '.join(sorted(told))}.")
        console.print("The notice names the lineage and no more. Its members' services now undo what they did.")
        self._acknowledge(lineage, sorted(told))

    def _acknowledge(self, lineage: str, told: list[str]) -> None:
        self._title("tocsin withdrawals --overdue 0: who has acknowledged the withdrawal, and who has not")
        *reading, silent = told
        for member in reading:
            with Inbox(Bundle.load(self.home / "members" / member), follow=False) as inbox:
                for _ in inbox:
                    pass
        bundle = Bundle.load(self.home / "services" / FANOUT)
        with WithdrawalsReader(bundle, lanes(bundle)) as reader:
            rows = [one for one in reader.read() if one.lineage == f"acquirer-de/{lineage}"]
        now_ms = time.time_ns() // 1_000_000
        table = Table("member", "state", "overdue")
        for one in rows:
            table.add_row(one.member, one.state, "yes" if one.overdue(now_ms, 0) else "no")
        console.print(table)
        states = {one.member: one.state for one in rows}
        if states != {**dict.fromkeys(reading, Told.ACKNOWLEDGED), silent: Told.WAITING}:
            _fail(f"acknowledged are not all but {silent}")
        console.print(f"All but {silent} read their inbox to its end; the exchange waits for {silent}.")

    def _join(self) -> None:
        self._title(f"A new member: {NEWCOMER} joins, asks for all that it may see, and is given what is live")
        before = self._retracted
        newcomer = Member.model_validate({"role": "bank", "jurisdiction": "se"})
        self.policy = self.policy.model_copy(update={"members": {**self.policy.members, NEWCOMER: newcomer}})
        applied = apply_policy(self.policy, self.cluster.admin(), self.home, make_keys=True)
        with Outbox(Bundle.load(self.home / "members" / NEWCOMER)) as outbox:
            outbox.subscribe(Subscription(NEWCOMER, subscription_id="all"))
        began = time.monotonic()
        live = [value for value in self._visible_to(NEWCOMER) if before not in value]
        _wait(lambda: {message.value() for message in self._copies(NEWCOMER)} == set(live), "the live alerts")
        if len(self._copies(NEWCOMER)) != len(live):
            _fail(f"{NEWCOMER} was given something twice")
        console.print(
            f"{applied.count('CREATE', 'ACL')} ACLs more. {len(live)} live alerts came, once each, within "
            f"{time.monotonic() - began:.0f} s; what was retracted did not."
        )

    def _copies(self, member: str) -> list[Message]:
        return [one for one in self._inbox(member) if one.value() is not None and not _is_notice(one)]

    def _erased(self, lineage: str) -> list[str]:
        return [member for one in self._decisions() if one["lineage_id"] == lineage for member in one["erased"]]

    def _is_withdrawn(self, member: str, lineage: str) -> bool:
        key = f"withdrawn/acquirer-de/{lineage}".encode()
        return any(message.key() == key for message in self._inbox(member))

    # -- counting, with plain clients --------------------------------------------------------------------------------

    def _count(self) -> None:
        self._title("Counted by a plain Kafka consumer, not by us")
        alerts = self._read(self._names("alerts."))
        decisions = self._decisions(all_kinds=True)
        decided = Counter((one["topic"], one["offset"]) for one in decisions if one["kind"] == "ALERT")
        owed: dict[str, int] = defaultdict(int)
        for one in decisions:
            for given in one["given"]:
                owed[given["member"]] += 1
            if one["kind"] == "WITHHELD":
                for refused in one["refused"]:
                    owed[refused["member"]] -= 1
        erased = Counter(member for one in decisions for member in one["erased"])
        table = Table("member", "given by decisions", "copies in inbox", "erased by decisions", "erasures in inbox")
        wrong = 0
        for member in self.policy.members:
            found = len(self._copies(member))
            gone = sum(message.value() is None for message in self._inbox(member))
            wrong += (found, gone) != (owed[member], erased[member])
            if found or owed[member]:
                table.add_row(member, *map(str, (owed[member], found, erased[member], gone)))
        console.print(table)
        written = {(message.topic(), message.offset()) for message in alerts}
        console.print(f"written {len(written)} = decided {len(decided)}, each once: {set(decided.values()) == {1}}")
        if written != set(decided) or set(decided.values()) != {1} or wrong:
            _fail("the counts do not add up")
        console.print("[bold]The counts add up.[/bold]")

    def _decided(self) -> int:
        return len(self._decisions())

    def _decisions(self, *, all_kinds: bool = False) -> list[dict[str, Any]]:
        lanes = [f"audit.{place}" for place in self.policy.jurisdictions()]
        decoded = [decode(message.value() or b"")[1] for message in self._read(lanes)]
        return [one for one in decoded if all_kinds or one["kind"] == "ALERT"]

    def _inbox(self, member: str) -> list[Message]:
        return self._read([f"inbox.{member}"])

    def _names(self, prefix: str) -> list[str]:
        names = AdminClient(self.cluster.admin_config()).list_topics(timeout=WAIT_S).topics
        return [name for name in names if name.startswith(prefix)]

    def _read(self, topics: Iterable[str]) -> list[Message]:
        """Every committed record of `topics`, by a plain consumer."""
        consumer = Consumer(
            {
                **self.cluster.admin_config(),
                "group.id": "demo-observer",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        unread = set(topics)
        found: list[Message] = []
        consumer.assign([TopicPartition(topic, 0, 0) for topic in unread])
        try:
            while unread:
                for message in consumer.consume(1_000, 0.2):
                    error = message.error()
                    if error is None:
                        found.append(message)
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name
                        unread.discard(message.topic() or "")
                    else:
                        _fail(f"{message.topic()}: {error.str()}")
        finally:
            consumer.close()
        return found


def _is_notice(message: Message) -> bool:
    return (message.key() or b"").startswith((b"notice/", b"withdrawn/", b"line-test/", b"sight/"))


def _words(rows: list[dict[str, str]], *fields: str) -> str:
    return ", ".join(": ".join(row[field] for field in fields) for row in rows)


def _again(model: Alert) -> Alert:
    """Another alert like `model`, about another matter."""
    header = model.header.model_copy(update={"alert_id": str(uuid7()), "lineage_id": str(uuid7())})
    return model.model_copy(update={"header": header})
