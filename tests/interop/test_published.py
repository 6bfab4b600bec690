"""PodMonitors and the compose file before the schemas that their own projects publish, with their Go modules."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
import yaml

from tests.crds import Thing, errors, schema_of
from tests.interop.go import module, needs_go
from tests.unit.deploy.manifests import FOLDER, WITNESS, objects

OPERATOR: Final = (
    "github.com/prometheus-operator/prometheus-operator@v0.93.0",
    "h1:AohlYJT+En8TmNpAcEUJ3GsaJTAqfEBwHmGTVpRm/Io=",
)
COMPOSE: Final = ("github.com/compose-spec/compose-go/v2@v2.9.0", "h1:UHSv/QHlo6QJtrT4igF1rdORgIUhDo1gWuyJUoiNNIM=")
MONITORS: Final = [one for one in (*objects(), *objects(WITNESS)) if one["kind"] == "PodMonitor"]
OURS: Final[Thing] = yaml.safe_load((FOLDER.parent / "container" / "compose.yaml").read_text())

pytestmark = needs_go


@pytest.fixture(scope="module")
def monitor() -> Thing:
    """What a PodMonitor may hold."""
    crds = module(*OPERATOR) / "example" / "prometheus-operator-crd"
    return schema_of(crds / "monitoring.coreos.com_podmonitors.yaml")


@pytest.fixture(scope="module")
def rules() -> Thing:
    """What a PrometheusRule may hold."""
    crds = module(*OPERATOR) / "example" / "prometheus-operator-crd"
    return schema_of(crds / "monitoring.coreos.com_prometheusrules.yaml")


@pytest.fixture(scope="module")
def compose() -> Thing:
    """What a compose file may hold."""
    schema: Thing = json.loads((module(*COMPOSE) / "schema" / "compose-spec.json").read_text())
    return schema


def test_every_pod_monitor_is_valid(monitor: Thing) -> None:
    """Strictly: a field that the operator does not know is refused."""
    assert len(MONITORS) > 1
    assert [error for one in MONITORS for error in errors(one, monitor)] == []


def test_the_alert_rules_are_what_a_prometheus_rule_holds(rules: Thing) -> None:
    """As they are; and a misspelt field is refused."""
    spec = yaml.safe_load((FOLDER.parent / "observe" / "alerts.yaml").read_text())
    assert errors({"spec": spec}, rules) == []
    spec["groups"][0]["rules"][0]["four"] = "5m"
    assert errors({"spec": spec}, rules) != []


def test_the_compose_file_is_valid(compose: Thing) -> None:
    """Fields that Compose does not know are refused, too."""
    assert errors(OURS, compose) == []


IN_A_MONITOR: Final[dict[str, Callable[[Any], object]]] = {
    "a misspelt field": lambda spec: spec.update(podMetricsEndpoint=[]),
    "a misspelt field in a list": lambda spec: spec["podMetricsEndpoints"][0].update(pth="/metrics"),
    "a port that is a number": lambda spec: spec["podMetricsEndpoints"][0].update(port=9401),
    "nothing to ask": lambda spec: spec.pop("selector"),
    "an interval of no unit": lambda spec: spec["podMetricsEndpoints"][0].update(interval="30"),
}
IN_THE_COMPOSE_FILE: Final[dict[str, Callable[[Any], object]]] = {
    "a misspelt field on top": lambda file: file.update(volume={}),
    "a misspelt field of a service": lambda file: file["services"]["fanout"].update(readonly=True),
    "a word that is no truth": lambda file: file["services"]["fanout"].update(read_only=[]),
    "a volume that is a number": lambda file: file["services"]["sealer"]["volumes"].append(1),
    "a service in a list": lambda file: file.update(services=[]),
}


@pytest.mark.parametrize("name", IN_A_MONITOR)
def test_a_mistake_in_a_pod_monitor_is_refused(monitor: Thing, name: str) -> None:
    """One mistake in an object that is right."""
    thing = copy.deepcopy(MONITORS[0])
    IN_A_MONITOR[name](thing["spec"])
    assert errors(thing, monitor) != []


@pytest.mark.parametrize("name", IN_THE_COMPOSE_FILE)
def test_a_mistake_in_the_compose_file_is_refused(compose: Thing, name: str) -> None:
    """One mistake in a file that is right."""
    file = copy.deepcopy(OURS)
    IN_THE_COMPOSE_FILE[name](file)
    assert errors(file, compose) != []
