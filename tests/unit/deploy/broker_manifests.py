"""What must be true of the brokers in deploy/kubernetes, said of what the exchange itself needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

import yaml

from tests.crds import Thing
from tocsin.deploy.cluster.log4j import OPTIONS, log4j
from tocsin.deploy.cluster.settings import BrokerPorts, server_properties
from tocsin.schemas.names import DELIVERY_HOST

ADMIN: Final = "admin"
# what a listener has, or Strimzi sets itself, under other names; and what only a cluster on one machine needs
ELSEWHERE: Final = (
    "process.roles", "node.id", "controller.", "listener", "advertised.", "inter.broker.", "sasl.", "ssl.",
    "authorizer.", "super.users", "log.dirs", "connections.max.reauth.ms",
)  # fmt: skip
SMALL_MACHINE: Final = (
    "offsets.topic.num.partitions", "transaction.state.log.num.partitions", "group.initial.rebalance.delay.ms",
    "log.index.size.max.bytes", "log.cleaner.dedupe.buffer.size",
)  # fmt: skip
# Strimzi's start script gives each node's number to its process; its image runs as this user
NODE_FOLDER: Final = "/mnt/access/node-${env:STRIMZI_BROKER_ID}"
BROKERS_USER: Final = 1001
PODS: Final = {"strimzi.io/cluster": "exchange", "strimzi.io/kind": "Kafka", "strimzi.io/name": "exchange-kafka"}


def wrong_brokers(things: Sequence[Thing]) -> list[str]:
    """What is not as it must be of the brokers among `things`, and of who writes topics, ACLs and users."""
    kafka = named(things, "Kafka", "exchange")
    return [*_kafka(kafka), *_pools(things), *_one_writer(things), *_access_log(things), *_metrics(kafka, things)]


def named(things: Iterable[Thing], kind: str, name: str) -> Thing:
    """The object of that kind and name; an empty one when there is none."""
    return next((one for one in things if one["kind"] == kind and one["metadata"]["name"] == name), {})


def _local_settings() -> dict[str, str]:
    ports = {node: BrokerPorts(9092, 9093) for node in (1, 2, 3)}
    lines = server_properties(1, ports, Path("/f"), Path("/c"), "-").splitlines()
    return dict(line.split("=", 1) for line in lines)


def _kafka(kafka: Thing) -> Iterator[str]:
    spec, local = kafka["spec"]["kafka"], _local_settings()
    config = {name: _text(value) for name, value in spec["config"].items()}
    for name, value in local.items():
        if not name.startswith(ELSEWHERE) and name not in SMALL_MACHINE and config.get(name) != value:
            yield f"Kafka: {name} is {config.get(name)}, the local cluster's is {value}"
    for name in config.keys() - local.keys():
        yield f"Kafka: {name} is not a setting of the local cluster"
    if spec["authorization"] != {"type": "simple", "superUsers": [ADMIN]}:
        yield "Kafka: its authorizer is StandardAuthorizer, its only super user of ours the administrator"
    for pod in (spec["template"]["pod"], kafka["spec"]["entityOperator"]["template"]["pod"]):
        if not {"runAsNonRoot", "seccompProfile"} <= pod["securityContext"].keys():
            yield "Kafka: the namespace takes no pod that may be root, or call anything"
    if spec["template"]["pod"]["securityContext"].get("fsGroup") != 0:
        yield "Kafka: its disks are not of the image's group"
    for listener in spec["listeners"]:
        yield from _listener(listener, local)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listener(listener: Thing, local: Mapping[str, str]) -> Iterator[str]:
    config = listener["authentication"].get("listenerConfig", {})
    for name in ("sasl.enabled.mechanisms", "connections.max.reauth.ms"):
        if str(config.get(name)) != local[name]:
            yield f"listener {listener['name']}: {name} is {config.get(name)}, the local cluster's is {local[name]}"
    if not listener["tls"] or not listener["authentication"].get("sasl"):
        yield f"listener {listener['name']}: TLS and SCRAM, or nobody comes in"
    for peer in listener.get("networkPolicyPeers") or [{"ipBlock": {"cidr": "everywhere"}}]:
        if "ipBlock" in peer and f"{DELIVERY_HOST}/32" not in peer["ipBlock"].get("except", []):
            yield f"listener {listener['name']}: drops nothing that comes from the delivery host {DELIVERY_HOST}"


def _pools(things: Iterable[Thing]) -> Iterator[str]:
    pools = [one["spec"] for one in things if one["kind"] == "KafkaNodePool"]
    found = sorted((pool["roles"], pool["replicas"]) for pool in pools)
    if found != [(["broker"], 3), (["controller"], 3)]:
        yield f"node pools: three controllers apart from three brokers, not {found}"


def _one_writer(things: Sequence[Thing]) -> Iterator[str]:
    operator = named(things, "Kafka", "exchange")["spec"]["entityOperator"]
    env = {one["name"]: one["value"] for one in operator["template"]["userOperatorContainer"]["env"]}
    if "topicOperator" in operator or env.get("STRIMZI_IGNORED_USERS_PATTERN") != f"^(?!{ADMIN}$).*$":
        yield "entity operator: topics, ACLs and users have one writer, `tocsin policy`"
    for one in things:
        if one["kind"] == "KafkaTopic" or (one["kind"] == "KafkaUser" and one["metadata"]["name"] != ADMIN):
            yield f"{one['kind']} {one['metadata']['name']}: that is `tocsin policy`'s to write"


def _access_log(things: Sequence[Thing]) -> Iterator[str]:
    """Brokers write who touched the topics where the shipper reads it."""
    template = named(things, "Kafka", "exchange")["spec"]["kafka"]["template"]
    env = {one["name"]: one["value"] for one in template["kafkaContainer"].get("env", [])}
    volumes = {one["name"]: one for one in template["pod"].get("volumes", [])}
    mounted = {one["mountPath"]: volumes.get(one["name"], {}) for one in template["kafkaContainer"]["volumeMounts"]}
    options = ("-Dlog4j2.configurationFile=/mnt/logging/log4j2.xml", *OPTIONS)
    if env.get("KAFKA_LOG4J_OPTS") != " ".join(options):
        yield "access log: brokers are not given it"
    if mounted.get("/mnt/logging", {}).get("configMap") != {"name": "kafka-logging"}:
        yield "access log: how to write it is not mounted"
    written = log4j((), folder=NODE_FOLDER, kept="8 GB")
    if named(things, "ConfigMap", "kafka-logging")["data"]["log4j2.xml"] != written:
        yield "access log: not as `log4j` says"
    claim = mounted.get("/mnt/access", {}).get("persistentVolumeClaim", {}).get("claimName", "")
    if named(things, "PersistentVolumeClaim", claim).get("spec", {}).get("accessModes") != ["ReadWriteMany"]:
        yield "access log: not on a volume that every node can write"
    shipper = named(things, "Deployment", "shipper")["spec"]["template"]["spec"]
    if {"claimName": claim, "readOnly": True} not in [one.get("persistentVolumeClaim") for one in shipper["volumes"]]:
        yield "access log: the shipper does not read that volume, or may write it"
    if shipper["securityContext"]["runAsUser"] != BROKERS_USER:
        yield "access log: the shipper may not read what brokers write"


def _metrics(kafka: Thing, things: Sequence[Thing]) -> Iterator[str]:
    """Brokers tell what the dashboards and rules ask for, and Prometheus asks them under the name that these know."""
    place = kafka["spec"]["kafka"]["metricsConfig"]["valueFrom"]["configMapKeyRef"]
    told = named(things, "ConfigMap", place["name"]).get("data", {}).get(place["key"], "")
    if yaml.safe_load(told) != yaml.safe_load((files("tocsin.deploy.cluster") / "jmx.yaml").read_bytes()):
        yield "metrics: brokers do not tell what those of the local cluster tell"
    monitor = named(things, "PodMonitor", "kafka").get("spec", {})
    asked = [(one["port"], one["path"], one["relabelings"]) for one in monitor.get("podMetricsEndpoints", [])]
    named_kafka = [{"targetLabel": "job", "replacement": "kafka"}]
    if asked != [("tcp-prometheus", "/metrics", named_kafka)] or monitor["selector"] != {"matchLabels": PODS}:
        yield "metrics: Prometheus does not ask the brokers, or the rules do not know whom it asked"
