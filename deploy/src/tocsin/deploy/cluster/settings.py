"""The brokers' configuration file, and what stands in it for a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tocsin.deploy.cluster.tls import BROKER_NAME

_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required"


@dataclass(frozen=True, slots=True)
class BrokerPorts:
    """The two ports of one broker, both on 127.0.0.1."""

    client: int
    controller: int


def server_properties(
    node: int, ports: Mapping[int, BrokerPorts], folder: Path, certificates: Path, password: str
) -> str:
    """`server.properties` of broker `node` (broker and controller in one process)."""
    copies = 3 if len(ports) >= 3 else 1  # noqa: PLR2004  # replication factor 3 needs three brokers
    min_isr = 2 if copies == 3 else 1  # noqa: PLR2004
    mine = ports[node]
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p.controller}" for n, p in ports.items()),
        "listeners": f"CLIENT://127.0.0.1:{mine.client},CONTROLLER://127.0.0.1:{mine.controller}",
        "advertised.listeners": f"CLIENT://127.0.0.1:{mine.client}",
        "inter.broker.listener.name": "CLIENT",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CLIENT:SASL_SSL,CONTROLLER:SSL",
        # both: a login whose password is changed has the old one by one and the new one by the other for a while
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.client.scram-sha-512.sasl.jaas.config": f'{_SCRAM} username="broker" password="{password}";',
        "listener.name.client.scram-sha-256.sasl.jaas.config": f"{_SCRAM};",
        # controllers know each other by certificate: SCRAM users live in the log that they have yet to agree on
        "listener.name.controller.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": certificates / "broker.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": certificates / "ca.pem",
        "ssl.principal.mapping.rules": "RULE:^CN=(.*?)$/$1/",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:admin;User:broker;User:{BROKER_NAME}",
        "allow.everyone.if.no.acl.found": "false",
        # deleting SCRAM credentials does not end a session; this does, at the latest
        "connections.max.reauth.ms": 900_000,
        "auto.create.topics.enable": "false",
        "num.partitions": 1,
        "default.replication.factor": copies,
        "min.insync.replicas": min_isr,
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": min_isr,
        "transaction.state.log.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        "log.dirs": folder / "data",
        "log.index.size.max.bytes": 1_048_576,
        # erasure by compaction waits for the cleaner; set here, since changing it at run time stops the cleaner
        "log.cleaner.backoff.ms": 5_000,
        # and what was cleaned stays on the disk as *.deleted so long
        "log.segment.delete.delay.ms": 60_000,
        "log.cleaner.dedupe.buffer.size": 16_777_216,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
