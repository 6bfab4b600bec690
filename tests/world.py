"""A whole exchange for tests: a real Kafka, a policy applied to it, fan-out processes, and a plain observer."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tocsin.consumers.watch import ADMIN
from tocsin.deploy.cli import main
from tocsin.deploy.cluster.local import LIGHT, LocalCluster
from tocsin.deploy.policy.apply import apply_policy
from tocsin.deploy.policy.document import Policy
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.codec import decode
from tocsin.schemas.models import Alert, Header, SiteTakenDown, SiteTakenDownDetails
from tocsin.schemas.uuid7 import uuid7

ANSWER_S = 10.0
READY_S = 40.0
Answer = TypeVar("Answer")


class World:
    """One cluster and one coalition in the folder `home`."""

    def __init__(
        self,
        home: Path,
        policy: dict[str, Any],
        *,
        brokers: int = 1,
        java_options: Sequence[str] = LIGHT,
        settings: Mapping[str, object] = MappingProxyType({}),
        metrics_port: int | None = None,
    ) -> None:
        self.home = home
        self.policy_file = home / "policy.yaml"
        self.cluster = LocalCluster(home, java_options=java_options, settings=settings, metrics_port=metrics_port)
        self._brokers = brokers
        self._fanouts: list[subprocess.Popen[bytes]] = []
        self._observers: list[Consumer] = []
        home.mkdir(parents=True, exist_ok=True)
        self.policy_file.write_text(yaml.safe_dump(policy))

    def up(self) -> None:
        """Start Kafka and apply the policy."""
        self.cluster.up(self._brokers)
        self.apply()

    def apply(self) -> None:
        """Apply the policy."""
        policy = Policy.model_validate(yaml.safe_load(self.policy_file.read_text()))
        apply_policy(policy, self.cluster.admin(), self.home, make_keys=True)

    def down(self, *, purge: bool = True) -> None:
        """Stop everything."""
        for process in self._fanouts:
            process.kill()
            process.wait()
        while self._observers:
            self._observers.pop().close()
        self.cluster.down(purge=purge)

    def member(self, name: str) -> Bundle:
        """A member's bundle."""
        return Bundle.load(self.home / "members" / name)

    def service(self, login: str) -> Bundle:
        """The bundle of a service of the exchange."""
        return Bundle.load(self.home / "services" / login)

    def admin(self) -> AdminClient:
        """The administrator's client."""
        return AdminClient({**self.cluster.admin_config(), **ADMIN})

    def set_topics(self, topics: Iterable[str], settings: Mapping[str, str]) -> None:
        """Give `topics` these settings, over what the policy says."""
        changes = [
            ConfigResource(
                ResourceType.TOPIC,
                topic,
                incremental_configs=[
                    ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                    for name, value in settings.items()
                ],
            )
            for topic in topics
        ]
        admin = self.admin()  # held, or it ends before it has answered
        for future in admin.incremental_alter_configs(changes).values():
            future.result(ANSWER_S)

    def policy_names(self) -> list[str]:
        """The members that the policy file names."""
        return [*yaml.safe_load(self.policy_file.read_text())["members"]]

    # -- fan-out processes -------------------------------------------------------------------------------------------

    def start_fanout(
        self,
        module: str = "tocsin.deploy.cli",
        name: str | None = None,
        *,
        words: Sequence[str] = (),
        code: Path = Path(__file__).parents[1],
    ) -> subprocess.Popen[bytes]:
        """Start one fan-out process; `module` may name a variant in the test tree, `words` are further options.

        `code` is the checkout whose packages run.
        """
        packages = [code, *(code / one / "src" for one in ("schemas", "producers", "consumers", "deploy"))]
        program = "import sys, runpy; sys.argv = ['tocsin', *sys.argv[1:]]; from {m} import main; main()"
        words = ["fanout", "run", "--policy", str(self.policy_file), "--home", str(self.home), *words]
        with (self.home / "fanout.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", program.format(m=module), *words, *(["--name", name] if name else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, packages))},
            )
        self._fanouts.append(process)
        return process

    def stop_fanout(self, process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> None:
        """Stop one fan-out process and wait until it is gone."""
        process.send_signal(number)
        process.wait(60)
        self._fanouts.remove(process)

    def stop_fanouts(self) -> None:
        """Stop all fan-out processes."""
        for process in [*self._fanouts]:
            self.stop_fanout(process)

    def wait_lanes(self, count: int) -> None:
        """Wait until lanes have been taken `count` times, as the fan-out's log says."""
        wait_until(
            lambda: self.log().count("lane_taken") >= count, READY_S, f"{count} lanes taken:\n{self.log()[-2000:]}"
        )

    def log(self) -> str:
        """What the fan-out processes printed."""
        path = self.home / "fanout.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def events(self, event: str) -> list[dict[str, Any]]:
        """What the fan-out processes logged under this name, in order."""
        # asked ten times a second while a test waits: only lines that may be meant are parsed
        lines = [line for line in self.log().splitlines() if event in line and line[0] == "{" and line[-1] == "}"]
        return [one for line in lines if (one := json.loads(line))["event"] == event]

    # -- observing, with plain clients -------------------------------------------------------------------------------

    def read(self, topics: Iterable[str], *, committed: bool = True, timeout_s: float = READY_S) -> list[Message]:
        """Every record that `topics` hold now, from their beginning, in order per topic."""
        places = [TopicPartition(topic, 0, 0) for topic in topics]
        if committed:
            return self._observe(lambda consumer: _read(consumer, places, timeout_s))
        with closing(self._observer(committed=False)) as consumer:
            return _read(consumer, places, timeout_s)

    def topics(self, prefix: str) -> list[str]:
        """The names of all topics that begin with `prefix`."""
        names = self._observe(lambda consumer: consumer.list_topics(timeout=ANSWER_S).topics)
        return sorted(name for name in names if name.startswith(prefix))

    def _observe(self, question: Callable[[Consumer], Answer]) -> Answer:
        """What a plain client is answered; it is kept, since to connect costs more than most answers.

        One that has failed is not kept: what it knew of brokers and topics may be gone. A new one is then asked.
        """
        consumer: Consumer | None = None
        with suppress(IndexError, KafkaException, AssertionError):
            consumer = self._observers.pop()
            answer = question(consumer)
            self._observers.append(consumer)
            return answer
        if consumer is not None:
            consumer.close()
        consumer = self._observer(committed=True)
        try:
            answer = question(consumer)
        except BaseException:
            consumer.close()
            raise
        self._observers.append(consumer)
        return answer

    def _observer(self, *, committed: bool) -> Consumer:
        return Consumer(
            {
                **self.cluster.admin_config(),
                "group.id": "observer",
                "isolation.level": "read_committed" if committed else "read_uncommitted",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )

    def decisions(self) -> list[dict[str, Any]]:
        """Every committed decision."""
        lanes = [topic for topic in self.topics("audit.") if len(topic) == len("audit.xx")]
        return [decode(message.value() or b"")[1] for message in self.read(lanes)]

    def inbox(self, member: str, *, committed: bool = True) -> list[Message]:
        """Every record of one inbox but tests of the line."""
        found = self.read([f"inbox.{member}"], committed=committed)
        return [message for message in found if is_copy(message)]

    def wait_decided(self, count: int, timeout_s: float = READY_S) -> None:
        """Wait until `count` records of alert topics are decided."""

        def enough() -> bool:
            return len([one for one in self.decisions() if one["kind"] == "ALERT"]) >= count

        wait_until(enough, timeout_s, f"{count} decisions:\n{self.log()[-2000:]}")

    def wait_inbox(self, member: str, count: int, timeout_s: float = READY_S) -> list[Message]:
        """Wait until an inbox holds `count` records."""
        wait_until(
            lambda: len(self.inbox(member)) >= count, timeout_s, f"{count} in inbox.{member}\n{self.log()[-2000:]}"
        )
        return self.inbox(member)


def _read(consumer: Consumer, places: list[TopicPartition], timeout_s: float) -> list[Message]:
    found: list[Message] = []
    # while more is written the end may never be met, and at the end may stand markers only
    ends = {place.topic: consumer.get_watermark_offsets(place, ANSWER_S)[1] for place in places}
    consumer.assign(places)
    deadline = time.monotonic() + timeout_s
    while ends and time.monotonic() < deadline:
        for message in [*consumer.consume(1, 0.1), *consumer.consume(1_000, 0)]:
            topic, offset, error = message.topic() or "", message.offset(), message.error()
            if error is None:
                found.append(message)
            elif error.code() != KafkaError._PARTITION_EOF:
                raise AssertionError(f"{topic}: {error}")
            if error is not None or (offset is not None and offset + 1 >= ends.get(topic, 0)):
                ends.pop(topic, None)
    consumer.unassign()
    assert not ends, f"not read to the end: {sorted(ends)}"
    return found


@contextmanager
def running(
    home: Path, policy: dict[str, Any], *, words: Sequence[str] = (), java_options: Sequence[str] = LIGHT
) -> Generator[World]:
    """A coalition of two jurisdictions, with a fan-out that has taken both lanes; `words` are its further options."""
    world = World(home, policy, java_options=java_options)
    try:
        world.up()
        world.start_fanout(words=words)
        world.wait_lanes(2)
        yield world
    finally:
        world.down()


def tocsin(*words: str, code: int | None = 0) -> list[dict[str, Any]]:
    """What the command `tocsin` says with these words, which ends with `code`, or as it will; in this process."""
    out, err, before, garbage = StringIO(), StringIO(), sys.argv, gc.get_threshold()
    sys.argv = ["tocsin", *words, "--output", "json"]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
        ended: Any = 0
    except SystemExit as end:
        ended = end.code or 0
    finally:
        sys.argv = before
        gc.set_threshold(*garbage)  # a command ends soon, and collects little
    assert code in (None, ended), err.getvalue() + out.getvalue()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def is_copy(message: Message) -> bool:
    """Whether a record of an inbox is more than a test of the line, or word on its member's sight."""
    return not (message.key() or b"").startswith((b"line-test/", b"sight/"))


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str | Callable[[], str]) -> None:
    """Wait until `holds`, or fail and say `what` was awaited, as it is then."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() >= deadline:
            raise AssertionError(f"not in {timeout_s:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.1)


def takedown(bundle: Bundle, number: int = 0, *, tlp: str = "GREEN", **header: Any) -> SiteTakenDown:
    """A valid takedown alert of `bundle`'s member."""
    now = datetime.now(UTC)
    key = bundle.token_keys()[0]
    return SiteTakenDown(
        header=Header.model_validate(
            {
                "alert_id": str(uuid7()),
                "lineage_id": str(uuid7()),
                "publisher": bundle.member,
                "jurisdiction": bundle.config.jurisdiction,
                "tlp": tlp,
                "observed_at": now,
                "published_at": now,
                "expires_at": now + timedelta(days=300),
                "purposes": ["CSE_DISRUPTION"],
                "legal_basis": "GDPR_6_1_F",
                "data_categories": ["BUSINESS"],
                "evidence_kind": "HOTLINE_ASSESSMENT",
                "confidence": 90,
                "human_reviewed": True,
                "token_key_id": key.key_id,
                **header,
            }
        ),
        details=SiteTakenDownDetails(
            url_tokens=(key.token("url", f"site-{number}.example/x"),),
            action_by_role="HOST",
            method="CONTENT_REMOVED",
            state="REMOVED",
            reported_at=now - timedelta(days=1),
            removed_at=now,
            commercial=True,
        ),
    )


def revised(alert: SiteTakenDown, revision: int) -> SiteTakenDown:
    """A later revision of `alert`."""
    header = alert.header.model_copy(
        update={"alert_id": str(uuid7()), "revision": revision, "status": "CORRECTED", "status_reason": "ERROR"}
    )
    return SiteTakenDown(header=header, details=alert.details)


def small_policy(members: int = 4) -> dict[str, Any]:
    """Two hotlines publish; readers read.

    `reader-02` sees only Sweden's, `reader-03` asks by name and may see nothing, all others see both.
    """
    readers: dict[str, dict[str, Any]] = {
        f"reader-{n:02}": {"role": "isp", "jurisdiction": "se", "subscription": {"everything": True}}
        for n in range(members)
    }
    readers["reader-03"]["subscription"] = {"types": ["site-taken-down"]}
    both = [name for name in readers if name not in ("reader-02", "reader-03")]
    return {
        "coalition": "test",
        "roots": 2,
        "roots_threshold": 2,
        "members": {
            "hotline-se": {"role": "hotline", "jurisdiction": "se", "publishes": ["site-taken-down"]},
            "hotline-de": {"role": "hotline", "jurisdiction": "de", "publishes": ["site-taken-down"]},
            **readers,
        },
        "agreements": [
            agreement("both", ["se", "de"], both),
            agreement("sweden", ["se"], ["reader-02"]),
        ],
        "transfers": [transfer("se", "de")],
    }


def guarded_policy() -> dict[str, Any]:
    """The same with an invariant: no ISP ever sees what is above GREEN."""
    rule = {"id": "nobody-sees-amber", "says": "amber is for nobody", "above": "GREEN", "to": {"roles": ["isp"]}}
    return {**small_policy(), "invariants": [rule]}


def agreement(name: str, places: list[str], members: list[str], **other: Any) -> dict[str, Any]:
    """An agreement that gives `members` the takedowns of `places` up to GREEN, unless `other` says more."""
    return {
        "id": name,
        "alerts_of": places,
        "types": ["site-taken-down"],
        "up_to": "GREEN",
        "purposes": ["CSE_DISRUPTION"],
        "legal_basis": "GDPR_6_1_F",
        "to": {"members": members},
        **other,
    }


def transfer(*places: str, plane: str = "private") -> dict[str, Any]:
    """A row of a transfer matrix: the alerts of each of `places` may reach the members of each."""
    return {"from": [*places], "to": [*places], "plane": plane, "mechanism": "EEA", "reference": "GDPR"}


def values(alerts: Iterable[Alert]) -> Iterator[bytes]:
    """The published bytes of `alerts`."""
    return (alert.to_avro() for alert in alerts)
