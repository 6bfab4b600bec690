"""The objects in deploy/kubernetes: valid by Kubernetes' own schemas, and as the exchange needs them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes_validate
import pytest

from tests.crds import Thing
from tests.unit.deploy.manifests import FOLDER, WITNESS, objects, workloads, wrong, wrong_services

VERSION = "1.34"
# their schemas are no part of Kubernetes
OTHERS = ("kafka.strimzi.io/v1", "monitoring.coreos.com/v1")
OBJECTS = objects()
OF_A_WITNESS = objects(WITNESS)
NATIVE = [one for one in (*OBJECTS, *OF_A_WITNESS) if one["apiVersion"] not in OTHERS]
MANUAL = (FOLDER.parents[1] / "docs" / "kubernetes.md").read_text()


def _called(thing: Thing) -> str:
    return f"{thing['kind']}-{thing['metadata']['name']}"


@pytest.mark.parametrize("thing", NATIVE, ids=_called)
def test_an_object_is_valid_by_the_schema_of_kubernetes(thing: Thing) -> None:
    """Strictly: a field that Kubernetes does not know is refused."""
    kubernetes_validate.validate(thing, VERSION, strict=True)


@pytest.mark.parametrize("thing", NATIVE, ids=_called)
def test_the_schema_refuses_a_misspelt_field(thing: Thing) -> None:
    """Each object with one more field is refused, so the schema is one that says something."""
    spoilt = {**thing, "metadata": {**thing["metadata"], "nmae": "x"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, VERSION, strict=True)


def test_the_objects_are_as_the_exchange_needs_them() -> None:
    """Settings, ports, logins, arguments, paths and flows, compared with the code that is deployed."""
    assert wrong(OBJECTS) == []
    assert wrong_services(OF_A_WITNESS, OBJECTS) == []


def _rows(heading: str) -> Iterator[list[str]]:
    """The rows of the table below a heading of the manual."""
    part = MANUAL.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    for line in part.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_the_manual_names_every_file() -> None:
    """Those of the kustomization, and the witness's."""
    files = {re.sub("`", "", row[0]) for row in _rows("What is there")} - {"file"}
    there = {str(one.relative_to(FOLDER)) for one in FOLDER.rglob("*.yaml") if one.name != "kustomization.yaml"}
    assert files == there


def test_the_manual_says_as_whom_each_service_works() -> None:
    """By the bundle that its pod is given."""
    said = {name: row[1].strip("`") for row in _rows("What it may") for name in row[0].split(", ")}
    logins = {one["metadata"]["name"]: _login(one) for one in workloads([*OBJECTS, *OF_A_WITNESS])}
    assert {name.replace("fan-out", "fanout").replace(" ", "-"): login for name, login in said.items()} == {
        "service": "login",
        **logins,
        "witness": "the member's",
    }


def _login(thing: Thing) -> str:
    secrets = [one["secret"]["secretName"] for one in _volumes(thing) if "secret" in one]
    return secrets[0].removeprefix("bundle-") if secrets else "none"


def _volumes(thing: Thing) -> list[Thing]:
    found: list[Thing] = thing["spec"]["template"]["spec"].get("volumes", [])
    return found


def _find(things: list[Thing], kind: str, name: str) -> Any:
    return next(one for one in things if (one["kind"], one["metadata"]["name"]) == (kind, name))


def _spec(things: list[Thing], name: str = "fanout") -> Any:
    return next(
        one["spec"]
        for one in things
        if one["kind"] in {"Deployment", "StatefulSet"} and one["metadata"]["name"] == name
    )


def _pod(things: list[Thing], name: str = "fanout") -> Any:
    return _spec(things, name)["template"]["spec"]


def _kafka(things: list[Thing]) -> Any:
    return _find(things, "Kafka", "exchange")["spec"]


def _kafka_container(things: list[Thing]) -> Any:
    return _kafka(things)["kafka"]["template"]["kafkaContainer"]


def _args(things: list[Thing], old: str, new: str, name: str = "fanout") -> None:
    container = _pod(things, name)["containers"][0]
    assert old in container["args"]
    container["args"] = [new if one == old else one for one in container["args"]]


MUTATIONS: dict[str, Callable[[list[Thing]], object]] = {
    "a setting differs": lambda t: _kafka(t)["kafka"]["config"].update({"min.insync.replicas": 1}),
    "a setting is missing": lambda t: _kafka(t)["kafka"]["config"].pop("log.segment.delete.delay.ms"),
    "a setting of nobody": lambda t: _kafka(t)["kafka"]["config"].update({"log.roll.ms": 1}),
    "topics make themselves": lambda t: _kafka(t)["kafka"]["config"].update({"auto.create.topics.enable": True}),
    "no TLS": lambda t: _kafka(t)["kafka"]["listeners"][0].update(tls=False),
    "one mechanism": lambda t: _kafka(t)["kafka"]["listeners"][1]["authentication"]["listenerConfig"].update(
        {"sasl.enabled.mechanisms": "SCRAM-SHA-512"}
    ),
    "sessions without an end": lambda t: _kafka(t)["kafka"]["listeners"][0]["authentication"]["listenerConfig"].pop(
        "connections.max.reauth.ms"
    ),
    "the delivery host comes in": lambda t: _kafka(t)["kafka"]["listeners"][1]["networkPolicyPeers"][0]["ipBlock"].pop(
        "except"
    ),
    "everybody comes in": lambda t: _kafka(t)["kafka"]["listeners"][1].pop("networkPolicyPeers"),
    "another super user": lambda t: _kafka(t)["kafka"]["authorization"]["superUsers"].append("fanout"),
    "brokers log as Strimzi does": lambda t: _kafka_container(t).pop("env"),
    "a full queue holds up requests": lambda t: _kafka_container(t)["env"][0].update(
        value="-Dlog4j2.configurationFile=/mnt/logging/log4j2.xml"
    ),
    "another's way to log": lambda t: _find(t, "ConfigMap", "kafka-logging")["data"].update({"log4j2.xml": "<x/>"}),
    "how to log is not there": lambda t: _kafka_container(t)["volumeMounts"].pop(0),
    "the access log is on no volume": lambda t: _kafka_container(t)["volumeMounts"].pop(),
    "one node's volume": lambda t: _find(t, "PersistentVolumeClaim", "access")["spec"].update(
        accessModes=["ReadWriteOnce"]
    ),
    "disks of root": lambda t: _kafka(t)["kafka"]["template"]["pod"]["securityContext"].pop("fsGroup"),
    "an operator that is not let in": lambda t: _kafka(t)["entityOperator"]["template"]["pod"]["securityContext"].pop(
        "seccompProfile"
    ),
    "the shipper reads elsewhere": lambda t: _args(t, "/access", "/acces", "shipper"),
    "the shipper may write the log": lambda t: _pod(t, "shipper")["volumes"][1]["persistentVolumeClaim"].pop(
        "readOnly"
    ),
    "the shipper may not read the log": lambda t: _pod(t, "shipper")["securityContext"].update(runAsUser=10001),
    "the shipper with the administrator's bundle": lambda t: _pod(t, "shipper")["volumes"][0]["secret"].update(
        secretName="bundle-admin"
    ),
    "two shippers": lambda t: _spec(t, "shipper").update(replicas=2),
    "a service that the page does not ask": lambda t: _args(t, "shipper:9407", "sealer:9402", "status-page"),
    "a process that the page does not ask": lambda t: _spec(t, "fanout").update(replicas=3),
    "the page asks another port": lambda t: _args(t, "drift:9403", "drift:9999", "status-page"),
    "the page for itself": lambda t: _args(t, "0.0.0.0", "127.0.0.1", "status-page"),  # noqa: S104
    "the page is let out to anywhere": lambda t: _find(t, "NetworkPolicy", "status-page")["spec"]["egress"].append(
        {"ports": [{"port": 443}]}
    ),
    "the page is let in to Kafka": lambda t: _spec(t, "status-page")["template"]["metadata"]["labels"].update(
        {"tocsin/kafka": "true"}
    ),
    "the page is kept out": lambda t: _find(t, "NetworkPolicy", "drift")["spec"]["ingress"][0]["from"].pop(),
    "the page finds only what is ready": lambda t: _find(t, "Service", "sealer")["spec"].pop(
        "publishNotReadyAddresses"
    ),
    "the page finds nobody": lambda t: t.remove(_find(t, "Service", "withdrawals")),
    "everybody asks for metrics": lambda t: _find(t, "NetworkPolicy", "fanout")["spec"]["ingress"][0]["from"].append(
        {"podSelector": {}}
    ),
    "two brokers": lambda t: _find(t, "KafkaNodePool", "broker")["spec"].update(replicas=2),
    "controllers among brokers": lambda t: _find(t, "KafkaNodePool", "broker")["spec"]["roles"].append("controller"),
    "a second writer of topics": lambda t: _kafka(t)["entityOperator"].update(topicOperator={}),
    "a second writer of users": lambda t: _kafka(t)["entityOperator"]["template"]["userOperatorContainer"].update(
        env=[]
    ),
    "a KafkaUser": lambda t: t.append({"kind": "KafkaUser", "metadata": {"name": "bank-fr"}}),
    "open by default": lambda t: _find(t, "NetworkPolicy", "default-deny")["spec"].update(egress=[{}]),
    "a token": lambda t: _pod(t).pop("automountServiceAccountToken"),
    "root": lambda t: _pod(t)["securityContext"].pop("runAsNonRoot"),
    "any call": lambda t: _pod(t)["securityContext"].pop("seccompProfile"),
    "a writable image": lambda t: _pod(t)["initContainers"][0].pop("securityContext"),
    "capabilities": lambda t: _pod(t)["containers"][0]["securityContext"].pop("capabilities"),
    "no bound of memory": lambda t: _pod(t)["containers"][0]["resources"].pop("limits"),
    "a secret in the environment": lambda t: _pod(t)["containers"][0]["env"].append(
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}
    ),
    "no probe": lambda t: _pod(t)["containers"][0].pop("livenessProbe"),
    "a volume of nobody": lambda t: _pod(t)["volumes"].pop(),
    "an option of nobody": lambda t: _args(t, "--scratch", "--skratch"),
    "a command of nobody": lambda t: _args(t, "seal", "zeal", "sealer"),
    "another port": lambda t: _args(t, "9401", "9499"),
    "probed elsewhere": lambda t: _pod(t)["containers"][0]["livenessProbe"]["httpGet"].update(port=9499),
    "metrics for nobody": lambda t: _args(t, "0.0.0.0", "127.0.0.1"),  # noqa: S104  # in a pod of its own
    "two sealers": lambda t: _spec(t, "sealer").update(replicas=2),
    "another's bundle": lambda t: _pod(t)["volumes"][0]["secret"].update(secretName="bundle-admin"),
    "a bundle elsewhere": lambda t: _args(t, "/var/lib/tocsin", "/var/lib/tocsin/x"),
    "a path that is not mounted": lambda t: _args(t, "/scratch", "/scratsh"),
    "a policy that is not mounted": lambda t: _args(t, "/etc/tocsin/policy.yaml", "/etc/policy.yaml", "drift"),
    "no way to the brokers": lambda t: _find(t, "NetworkPolicy", "fanout")["spec"]["egress"].pop(0),
    "a way to whatever has that port": lambda t: _find(t, "NetworkPolicy", "fanout")["spec"]["egress"][0].update(to=[]),
    "a way to anywhere": lambda t: _find(t, "NetworkPolicy", "registry")["spec"].update(
        egress=[{"ports": [{"port": 443}]}]
    ),
    "Prometheus is kept out": lambda t: _find(t, "NetworkPolicy", "sealer")["spec"].update(ingress=[]),
    "the brokers keep it out": lambda t: _spec(t)["template"]["metadata"]["labels"].pop("tocsin/kafka"),
    "the brokers let the registry in": lambda t: _spec(t, "registry")["template"]["metadata"]["labels"].update(
        {"tocsin/kafka": "true"}
    ),
    "Prometheus does not ask": lambda t: t.remove(_find(t, "PodMonitor", "drift")),
    "the rules do not know who was asked": lambda t: _find(t, "PodMonitor", "fanout")["spec"].pop("jobLabel"),
    "nobody asks the brokers": lambda t: t.remove(_find(t, "PodMonitor", "kafka")),
    "brokers under another name": lambda t: _find(t, "PodMonitor", "kafka")["spec"]["podMetricsEndpoints"][0][
        "relabelings"
    ].clear(),
    "brokers tell something else": lambda t: _find(t, "ConfigMap", "kafka-metrics")["data"].update(
        {"rules.yaml": "lowercaseOutputName: true"}
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_error_in_the_objects_is_found(name: str) -> None:
    """One error planted in objects that are right is found, whichever it is."""
    things = copy.deepcopy(OBJECTS)
    MUTATIONS[name](things)
    assert wrong(things) != []


MUTATIONS_OF_A_WITNESS: dict[str, Callable[[list[Thing]], object]] = {
    "two of them": lambda t: _spec(t, "witness").update(replicas=2),
    "it forgets": lambda t: _args(t, "/var/lib/tocsin/witness.json", "/tmp/witness.json", "witness"),  # noqa: S108
    "no tiles": lambda t: _find(t, "NetworkPolicy", "witness")["spec"]["egress"][0]["ports"].pop(),
    "the services' listener": lambda t: _find(t, "NetworkPolicy", "witness")["spec"]["egress"][0]["ports"][0].update(
        port=9094
    ),
    "another's bundle": lambda t: _pod(t, "witness")["volumes"][0]["secret"].update(secretName="bundle-sealer"),
    "a bundle elsewhere": lambda t: _args(t, "/var/lib/tocsin/bundle", "/var/lib/tocsin/x", "witness"),
    "Prometheus does not ask": lambda t: t.remove(_find(t, "PodMonitor", "witness")),
}


@pytest.mark.parametrize("name", MUTATIONS_OF_A_WITNESS)
def test_an_error_in_a_witness_is_found(name: str) -> None:
    """As above."""
    things = copy.deepcopy(OF_A_WITNESS)
    MUTATIONS_OF_A_WITNESS[name](things)
    assert wrong_services(things, OBJECTS) != []
