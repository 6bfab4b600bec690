"""What must be true of the services in deploy/kubernetes, said of what the exchange itself needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import typer
import yaml

from tests.crds import Thing
from tests.unit.deploy.broker_manifests import named, wrong_brokers
from tocsin.consumers.audit.logs import SEALER
from tocsin.deploy.cli import app
from tocsin.deploy.policy.rows import DRIFT, FANOUT, SERVICE_ROWS, SHIPPER

FOLDER: Final = Path(__file__).parents[3] / "deploy" / "kubernetes"
WITNESS: Final = FOLDER / "witness"
"""What a member has in a cluster of its own."""
# what each command opens its bundle as
LOGINS: Final[Mapping[str, str]] = {
    "fanout run": FANOUT,
    "audit seal": SEALER,
    "audit ship": SHIPPER,
    "withdrawals": FANOUT,
    "policy drift": DRIFT,
}
OF_A_MEMBER: Final = ("audit witness",)
WITHOUT_KAFKA: Final = ("schemas serve", "status-page")
ONE_ONLY: Final = ("audit seal", "audit ship", "audit witness")
BROKERS: Final = {"strimzi.io/cluster": "exchange", "strimzi.io/name": "exchange-kafka"}
JOBS: Final = {
    one["job_name"]
    for one in yaml.safe_load((FOLDER.parent / "observe" / "prometheus.yaml").read_text())["scrape_configs"]
}
DNS: Final = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}


def objects(folder: Path = FOLDER) -> list[Thing]:
    """Every object that the kustomization names."""
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [one for name in names for one in yaml.safe_load_all((folder / name).read_text())]


def wrong(things: Sequence[Thing]) -> list[str]:
    """What is not as it must be, in words; empty when all is well."""
    return [*wrong_brokers(things), *_closed(things), *wrong_services(things, things)]


def wrong_services(things: Sequence[Thing], exchange: Sequence[Thing]) -> list[str]:
    """What is not as it must be of the services among `things`, which use the brokers in `exchange`."""
    return [
        f"{one['metadata']['name']}: {text}" for one in workloads(things) for text in _service(one, things, exchange)
    ]


def workloads(things: Iterable[Thing]) -> list[Thing]:
    """The services among `things`."""
    return [one for one in things if one["kind"] in {"Deployment", "StatefulSet"}]


def _closed(things: Iterable[Thing]) -> Iterator[str]:
    policy = named(things, "NetworkPolicy", "default-deny").get("spec", {})
    if policy.get("policyTypes") != ["Ingress", "Egress"] or "ingress" in policy or "egress" in policy:
        yield "default-deny: nothing comes in or goes out that no other policy allows"


def _pod(thing: Thing) -> Iterator[str]:
    pod = thing["spec"]["template"]["spec"]
    if pod.get("automountServiceAccountToken") is not False:
        yield "its pod is given a token"
    if not {"runAsNonRoot", "seccompProfile"} <= pod["securityContext"].keys():
        yield "its pod may run as root, or call anything"
    for one in [*pod.get("initContainers", []), *pod["containers"]]:
        context = one.get("securityContext", {})
        if (context.get("allowPrivilegeEscalation"), context.get("readOnlyRootFilesystem")) != (False, True):
            yield f"{one['name']}: may gain rights, or write its image"
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{one['name']}: has capabilities"
        if "memory" not in one.get("resources", {}).get("limits", {}):
            yield f"{one['name']}: has no bound of memory"
        if "envFrom" in one or any("secretKeyRef" in each.get("valueFrom", {}) for each in one.get("env", [])):
            yield f"{one['name']}: a secret in its environment; secrets come as files"
        yield from _mounts(one, pod, thing)
    if "livenessProbe" not in pod["containers"][0]:
        yield "nobody asks whether it lives"


def _mounts(container: Thing, pod: Thing, thing: Thing) -> Iterator[str]:
    claims = [one["metadata"] for one in thing["spec"].get("volumeClaimTemplates", [])]
    there = {one["name"] for one in [*pod.get("volumes", []), *claims]}
    for one in container.get("volumeMounts", []):
        if one["name"] not in there:
            yield f"{container['name']}: mounts {one['name']}, which is no volume"


@cache
def _command() -> object:
    return typer.main.get_command(app)


def parsed(args: Sequence[str]) -> tuple[str, dict[str, Any], dict[str, click.Parameter]]:
    """The command of `tocsin ARGS`, its values and its parameters, found by the command itself and not run.

    Raises:
        click.UsageError: there is no such command or option, or a value is wrong.
    """
    command: Any = _command()
    words, rest, context = [], list(args), None
    while hasattr(command, "commands"):
        context = click.Context(command, parent=context)
        name, command, rest = command.resolve_command(context, rest)
        words.append(name)
    values, _, _ = command.make_parser(click.Context(command, parent=context)).parse_args(args=list(rest))
    return " ".join(words), values, {one.name: one for one in command.params}


class _Work(NamedTuple):
    """What a container runs."""

    command: str
    values: dict[str, Any]
    parameters: dict[str, click.Parameter]


def _service(thing: Thing, things: Sequence[Thing], exchange: Sequence[Thing]) -> Iterator[str]:
    yield from _pod(thing)
    try:
        work = _Work(*parsed(thing["spec"]["template"]["spec"]["containers"][0]["args"]))
    except Exception as refusal:  # noqa: BLE001  # click's own errors, and those of the copy of it that typer carries
        yield f"its arguments are refused: {refusal}"
        return
    yield from _work(thing, work)
    yield from _comes_in(thing, work, things)
    yield from _goes_out(thing, work, things, exchange)


def _work(thing: Thing, work: _Work) -> Iterator[str]:
    pod = thing["spec"]["template"]["spec"]
    container, values = pod["containers"][0], work.values
    port = values.get("metrics_port") or values.get("port")
    declared = _port(thing)
    if str(port) != str(declared):
        yield f"listens on {port}, declares {declared}"
    address = "metrics_address" if "metrics_address" in work.parameters else "host"
    if values.get(address) != "0.0.0.0":  # noqa: S104  # in a pod of its own
        yield f"nobody can reach it: --{address.replace('_', '-')} 0.0.0.0"
    probes = [one for name, one in container.items() if name.endswith("Probe")]
    if any(one.get("httpGet", {}).get("port") != container["ports"][0]["name"] for one in probes):
        yield f"is probed elsewhere than on {port}"
    if work.command in ONE_ONLY and thing["spec"]["replicas"] != 1:
        yield "there must not be two"
    if work.command in OF_A_MEMBER:
        yield from _bundle(pod, "witness", values["bundle"])
    elif work.command not in WITHOUT_KAFKA:
        login = LOGINS.get(work.command, "")
        if login not in SERVICE_ROWS:
            yield f"{login or 'its command'} is no login of the exchange"
        yield from _bundle(pod, login, f"{values['home']}/services/{login}")
    yield from _paths(container, values)


def _port(thing: Thing) -> int:
    port: int = thing["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    return port


def _bundle(pod: Thing, login: str, folder: str) -> Iterator[str]:
    secrets = [one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one]
    if secrets != [f"bundle-{login}"]:
        yield f"is given {secrets}, opens the bundle of {login}"
    script = "".join(pod["initContainers"][0]["args"])
    if f" /run/tocsin/bundle/* {folder}/\n" not in script:
        yield f"its bundle is not put where it looks: {folder}"


def _paths(container: Thing, values: Mapping[str, Any]) -> Iterator[str]:
    mounted = [one["mountPath"] for one in container.get("volumeMounts", [])]
    names = ("home", "bundle", "state", "scratch", "policy", "files", "logs")
    given = [*_texts(values.get(name) for name in names)]
    for path in given:
        if not any(path == one or path.startswith(f"{one}/") for one in mounted):
            yield f"{path} is not mounted"


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif value is not None:
            yield from _texts(value)


def _comes_in(thing: Thing, work: _Work, things: Sequence[Thing]) -> Iterator[str]:
    """The network policy lets in who asks the service, and nobody else."""
    name, port = thing["metadata"]["name"], _port(thing)
    rules = named(things, "NetworkPolicy", name).get("spec", {}).get("ingress", [])
    if _ports(rules) != [port]:
        yield f"is asked on {port}, its network policy lets in {_ports(rules)}"
    if "metrics_port" not in work.parameters:
        return
    monitor = named(things, "PodMonitor", name).get("spec", {})
    scraped = [one["port"] for one in monitor.get("podMetricsEndpoints", [])]
    if scraped != ["metrics"] or monitor["selector"]["matchLabels"] != {"app": name}:
        yield "Prometheus does not ask it"
    elif (monitor.get("jobLabel"), name in JOBS) != ("app", True):
        yield f"the rules do not know it: their jobs are {sorted(JOBS)}, its name {name} is not given to Prometheus"
    asked = work.command not in OF_A_MEMBER
    page = [_pods("status-page")] if asked else []
    peers = [{"namespaceSelector": {"matchLabels": {"tocsin/monitoring": "true"}}}, *page]
    if [one["from"] for one in rules] != [peers]:
        yield f"its metrics are for {peers}"
    if asked and named(things, "Service", name).get("spec") != _found_by_name(name, port):
        yield "the status page does not find it whether it is ready or not"


def _found_by_name(name: str, port: int) -> Thing:
    return {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"app": name},
        "ports": [{"name": "metrics", "port": port}],
    }


def _goes_out(thing: Thing, work: _Work, things: Sequence[Thing], exchange: Sequence[Thing]) -> Iterator[str]:
    """The network policy lets out what the service does, and nothing else."""
    name, labels = thing["metadata"]["name"], thing["spec"]["template"]["metadata"]["labels"]
    internal, external = (_listener_of(exchange, kind) for kind in ("internal", "loadbalancer"))
    uses_kafka = work.command not in (*WITHOUT_KAFKA, *OF_A_MEMBER)
    wanted: list[Thing] = []
    if uses_kafka:
        wanted = [_way({"podSelector": {"matchLabels": BROKERS}}, internal["port"]), DNS]
    elif work.command in OF_A_MEMBER:
        # the tiles come over https
        wanted = [_way({"ipBlock": {"cidr": "0.0.0.0/0"}}, external["port"], 443), DNS]
    elif work.command == "status-page":
        services = _with_metrics(things)
        yield from _asks(work.values["urls"], services)
        wanted = [*(_way(_pods(one["metadata"]["name"]), _port(one)) for one in services), DNS]
    found = named(things, "NetworkPolicy", name).get("spec", {}).get("egress", [])
    if found != wanted:
        yield f"goes to {wanted}, its network policy lets out to {found}"
    if uses_kafka != (internal["networkPolicyPeers"][0]["podSelector"]["matchLabels"].items() <= labels.items()):
        yield "the brokers let it in exactly when it uses Kafka: by its label"


def _way(peer: Thing, *ports: int) -> Thing:
    return {"to": [peer], "ports": [{"protocol": "TCP", "port": port} for port in ports]}


def _pods(name: str) -> Thing:
    return {"podSelector": {"matchLabels": {"app": name}}}


def _port_name(thing: Thing) -> str:
    name: str = thing["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"]
    return name


def _listener_of(exchange: Iterable[Thing], kind: str) -> Thing:
    listeners = named(exchange, "Kafka", "exchange")["spec"]["kafka"]["listeners"]
    return next(one for one in listeners if one["type"] == kind)


def _with_metrics(things: Iterable[Thing]) -> list[Thing]:
    return [one for one in workloads(things) if _port_name(one) == "metrics"]


def _asks(urls: Sequence[str], services: Iterable[Thing]) -> Iterator[str]:
    there = {place for one in services for place in _places(one)}
    if {*urls} != there:
        yield f"asks {sorted(urls)}, services are at {sorted(there)}"


def _places(thing: Thing) -> list[str]:
    """Where each process of a service is asked for its metrics."""
    name, port = thing["metadata"]["name"], _port(thing)
    if thing["spec"]["replicas"] == 1:
        return [f"{name}:{port}"]
    return [f"{name}-{number}.{name}:{port}" for number in range(thing["spec"]["replicas"])]


def _ports(rules: Iterable[Thing]) -> list[int]:
    return sorted(port["port"] for rule in rules for port in rule["ports"])
