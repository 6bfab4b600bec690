"""One fault for each alert rule, how it is ended, and what the runbook's first command then shows of its cause."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from tests.load import publish
from tests.observe.exchange import Exchange
from tests.world import takedown, tocsin
from tocsin.consumers.audit.logs import origin_of
from tocsin.consumers.audit.note import Signer
from tocsin.consumers.audit.sealed_log import Folder, SealedLog
from tocsin.consumers.kafka import KafkaWriter
from tocsin.producers.publisher import Publisher
from tocsin.schemas.names import CHECKPOINTS_TOPIC

ANSWER_S: Final = 20.0
TOPIC: Final = "alerts.se.site-taken-down.green"
VICTIM: Final = "reader-02"
LOG: Final = "audit.se"
RIGHTS: Final = "User:fanout"
STANDS_S: Final = 9.0
# the row of its lane: 99 of 100 take more than five seconds
LATE: Final = r" se .* ([5-9]\.\d|\d\d) s "

Step = Callable[[Exchange], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """`begin` brings it about, and each of the alerts fires; `end` puts it right.

    Each alert has the pattern of what the first command of its section must show, with `words` for the section's
    placeholders, once `before` is done.
    """

    alerts: Mapping[str, str]
    begin: Step
    end: Step
    words: tuple[tuple[str, str], ...] = ()
    before: Step | None = None


def _acl(exchange: Exchange, kind: ResourceType, name: str, operation: AclOperation, *, end: bool = False) -> None:
    """A DENY against the fan-out, made by hand or taken away again."""
    rule: tuple[Any, ...] = (kind, name, ResourcePatternType.LITERAL, RIGHTS, "*", operation, AclPermissionType.DENY)
    admin = exchange.world.admin()
    if end:
        asked: Any = admin.delete_acls([AclBindingFilter(*rule)])
    else:
        asked = admin.create_acls([AclBinding(*rule)])
    for future in asked.values():
        future.result(ANSWER_S)


def _deny(kind: ResourceType, name: str, operation: AclOperation) -> tuple[Step, Step]:
    return (
        lambda exchange: _acl(exchange, kind, name, operation),
        lambda exchange: _acl(exchange, kind, name, operation, end=True),
    )


def _stop(*jobs: str) -> Step:
    return lambda exchange: exchange.stop(*jobs)


def _start(*jobs: str) -> Step:
    return lambda exchange: exchange.start(*jobs)


def _nothing(_: Exchange) -> None:
    """It ends by itself, or stays."""


# -- the fan-out -----------------------------------------------------------------------------------------------------


def _kill_fanout(exchange: Exchange) -> None:
    exchange.stop("fanout", number=signal.SIGKILL)


def _stand_still(exchange: Exchange) -> None:
    """The process stands for longer than the objective, while alerts come in; then it goes on."""
    exchange.signal("fanout", signal.SIGSTOP)
    bundle = exchange.publisher()
    publish(bundle, *(takedown(bundle, 70_000 + number) for number in range(300)))
    time.sleep(STANDS_S)
    exchange.signal("fanout", signal.SIGCONT)


def _gain_much(exchange: Exchange) -> None:
    """A member that asks for all and saw nothing is given sight of everything: more than the bound."""
    _agree(exchange, "wrong", ["reader-03"])


def _agree(exchange: Exchange, name: str, members: list[str], **other: Any) -> None:
    policy = yaml.safe_load(exchange.world.policy_file.read_text())
    model = next(one for one in policy["agreements"] if one["id"] == "both")
    policy["agreements"] = [one for one in policy["agreements"] if one["id"] != name]
    policy["agreements"].append({**model, "id": name, "to": {"members": members}, **other})
    _write(exchange, policy)


def _disagree(exchange: Exchange, name: str) -> None:
    policy = yaml.safe_load(exchange.world.policy_file.read_text())
    policy["agreements"] = [one for one in policy["agreements"] if one["id"] != name]
    _write(exchange, policy)


def _write(exchange: Exchange, policy: dict[str, Any]) -> None:
    exchange.world.policy_file.write_text(yaml.safe_dump(policy))
    exchange.world.apply()


def _open_transaction(exchange: Exchange) -> None:
    """Somebody with the administrator's login leaves a transaction open in a ledger; then the lane is taken over."""
    # longer open than the fan-out waits for it
    settings = {"transactional.id": "somebody", "transaction.timeout.ms": 600_000}
    producer = Producer({**exchange.world.cluster.admin_config(), **settings})
    producer.init_transactions(ANSWER_S)
    producer.begin_transaction()
    producer.produce("ledger.se", key=b"x", value=b"")
    producer.flush(ANSWER_S)
    exchange.kept.append(producer)
    exchange.stop("fanout")
    exchange.start("fanout")


def _abort_transaction(exchange: Exchange) -> None:
    exchange.kept.pop().abort_transaction(ANSWER_S)


# -- withdrawals, policy ---------------------------------------------------------------------------------------------


def _retract(exchange: Exchange) -> None:
    """Readers were given an alert, and none of them runs a client that acknowledges."""
    bundle = exchange.publisher()
    alert = takedown(bundle, 60_000)
    publish(bundle, alert)
    exchange.world.wait_decided(1)
    with Publisher(bundle) as publisher:
        publisher.retract(alert.header.lineage_id, "ERROR", topic=alert.topic)
        assert publisher.flush(ANSWER_S) == 0


def _break_glass(exchange: Exchange) -> None:
    home, policy = str(exchange.world.home), str(exchange.world.policy_file)
    # for 25 seconds
    words = ["policy", "break-glass", "reader-03", TOPIC, "--policy", policy, "--why", "a drill", "--hours", "0.007"]
    tocsin(*words, "--home", home)


def _ends_soon(exchange: Exchange) -> None:
    """What a week is in production is less than three hours here."""
    ends = datetime.now(UTC) + timedelta(hours=2)
    _agree(exchange, "short", ["reader-02"], valid_to=ends.isoformat(timespec="seconds"))


# -- the record ------------------------------------------------------------------------------------------------------


def _topic_made_anew(exchange: Exchange) -> None:
    exchange.stop("sealer")
    place = exchange.world.home / "sealer" / "audit.de" / "topic-id"
    place.with_suffix(".kept").write_bytes(place.read_bytes())
    place.write_text("that of another one")
    exchange.start("sealer")


def _topic_as_it_was(exchange: Exchange) -> None:
    place = exchange.world.home / "sealer" / "audit.de" / "topic-id"
    place.with_suffix(".kept").replace(place)
    exchange.start("sealer")


def _fork(exchange: Exchange) -> None:
    """Another history, of more entries, signed by the sealer's own key, and its tiles where the witness looks."""
    exchange.stop("sealer", "witness")
    bundle = exchange.world.service("sealer")
    log = Signer(origin_of("test", LOG), bundle.signing_key())
    real, forged = exchange.world.home / "sealer" / LOG, exchange.world.home / "forged"
    with Folder(forged) as files:
        other = SealedLog(files, log.verifier)
        other.append([f"{number} forged".encode() for number in range(20_000)])
        note = other.seal(log.sign)
    real.rename(real.with_suffix(".kept"))
    shutil.copytree(forged, real)
    writer = KafkaWriter(bundle.kafka_config())
    writer.send(CHECKPOINTS_TOPIC, log.name.encode(), note, [], lambda _: None)
    assert writer.flush(ANSWER_S) == 0
    writer.close()
    exchange.start("witness")


def _no_fork(exchange: Exchange) -> None:
    real = exchange.world.home / "sealer" / LOG
    shutil.rmtree(real)
    real.with_suffix(".kept").rename(real)
    exchange.start("sealer", "witness")


# -- who touched the topics ------------------------------------------------------------------------------------------


def _log_of_another(line: str) -> Step:
    """A log of a broker that is none, in place of the one before: what was in that is gone."""

    def step(exchange: Exchange) -> None:
        folder = exchange.world.cluster.folder / "another"
        folder.mkdir(exist_ok=True)
        (folder / ".new").write_text(f"{line}\n")
        (folder / ".new").replace(folder / "access.log")

    return step


def _shipper_anew(exchange: Exchange) -> None:
    """What it has counted since its start is told until then."""
    exchange.stop("shipper")
    exchange.start("shipper")


# -- Kafka -----------------------------------------------------------------------------------------------------------


def _lose_broker(exchange: Exchange) -> None:
    """One of three, and with it a partition that it alone had."""
    admin = exchange.world.admin()  # held, or it ends before it has answered
    topic = NewTopic("alone", num_partitions=1, replica_assignment=[[3]])
    admin.create_topics([topic])["alone"].result(ANSWER_S)
    exchange.world.cluster.kill(3, signal.SIGTERM)


def _broker_back(exchange: Exchange) -> None:
    exchange.world.cluster.up(3)
    admin = exchange.world.admin()
    admin.delete_topics(["alone"])["alone"].result(ANSWER_S)


def _signal_brokers(number: signal.Signals) -> Step:
    """All of them: a machine that stands still."""

    def step(exchange: Exchange) -> None:
        for node in exchange.world.cluster.nodes:
            exchange.world.cluster.kill(node, number)

    return step


_LANE: Final = (("LANE", "se"),)
_CLUSTER = (ResourceType.BROKER, "kafka-cluster", AclOperation.DESCRIBE)
_INBOX = (ResourceType.TOPIC, f"inbox.{VICTIM}", AclOperation.WRITE)
_HEADS = (ResourceType.TOPIC, CHECKPOINTS_TOPIC, AclOperation.READ)
_FOREIGN = (ResourceType.TOPIC, "inbox.reader-00", AclOperation.DELETE)

FAULTS: Final = (
    Fault(
        {"TocsinServiceDown": "no answer", "TocsinWithdrawalsNotRead": "overdue"},
        _stop("withdrawals"),
        _start("withdrawals"),
    ),
    Fault(
        {"TocsinDeliveriesStopped": "DENY DESCRIBE User:fanout", "TocsinLaneBehind": TOPIC},
        *_deny(*_CLUSTER),
        words=_LANE,
    ),
    Fault({"TocsinOwedTooLong": f"inbox.{VICTIM}", "TocsinLineSilent": f"inbox.{VICTIM}"}, *_deny(*_INBOX)),
    Fault({"TocsinPolicyDrift": "foreign"}, *_deny(*_FOREIGN)),
    Fault({"TocsinLatencyBurnsFast": LATE, "TocsinLatencyBurnsSlowly": LATE}, _stand_still, _nothing),
    Fault({"TocsinLaneDown": "no answer"}, _kill_fanout, _start("fanout"), _LANE),
    Fault({"TocsinTransactionHangs": "somebody"}, _open_transaction, _abort_transaction),
    Fault({"TocsinWithdrawalOverdue": "WAITING"}, _retract, _nothing),
    Fault({"TocsinGainsHeld": "wrong"}, _gain_much, lambda one: _disagree(one, "wrong"), (("MEMBER", "reader-03"),)),
    Fault({"TocsinBreakGlass": "break-glass"}, _break_glass, _nothing),
    Fault({"TocsinPolicyEndsSoon": "short"}, _ends_soon, lambda one: _disagree(one, "short")),
    # either of them looks
    Fault({"TocsinPolicyNotLookedAt": "ends soon"}, _stop("tick", "drift"), _start("tick", "drift")),
    Fault({"TocsinNotSealed": LOG}, _stop("sealer"), _start("sealer")),
    Fault({"TocsinLogRefused": "False"}, _topic_made_anew, _topic_as_it_was, before=_stop("sealer")),
    Fault({"TocsinNotWitnessed": "cosigned"}, _stop("witness"), _start("witness")),
    Fault({"TocsinHeadsNotShown": "DENY READ User:fanout"}, *_deny(*_HEADS)),
    Fault({"TocsinWitnessFork": "forked"}, _fork, _no_fork, before=_stop("witness")),
    Fault({"TocsinAccessNotShipped": "shipped to audit.access"}, _stop("shipper"), _start("shipper")),
    Fault({"TocsinAccessUnread": "could not be understood"}, _log_of_another("no line of Kafka's"), _shipper_anew),
    Fault({"TocsinAccessLost": "another: nothing is on record"}, _log_of_another("another such line"), _shipper_anew),
    Fault({"TocsinKafkaOffline": "stopped", "TocsinKafkaUnderReplicated": "stopped"}, _lose_broker, _broker_back),
    Fault({"TocsinCertificateEndsSoon": "authority"}, _nothing, _nothing),
    Fault(
        {"TocsinKafkaNotWatched": "does not answer"}, _signal_brokers(signal.SIGSTOP), _signal_brokers(signal.SIGCONT)
    ),
)
"""In this order: what is late stays late in the windows for a while, and a fork stays for good."""
