"""What must be true of the objects in deploy/kubernetes, said of what the exchange itself needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import click
import typer
import yaml

from tocsin.consumers.audit.logs import SEALER
from tocsin.deploy.cli import app
from tocsin.deploy.cluster.settings import BrokerPorts, server_properties
from tocsin.deploy.policy.rows import DRIFT, FANOUT, SERVICE_ROWS
from tocsin.schemas.names import DELIVERY_HOST

FOLDER: Final = Path(__file__).parents[3] / "deploy" / "kubernetes"
ADMIN: Final = "admin"
# what each command opens its bundle as
LOGINS: Final[Mapping[str, str]] = {
    "fanout run": FANOUT,
    "audit seal": SEALER,
    "withdrawals": FANOUT,
    "policy drift": DRIFT,
}
WITHOUT_KAFKA: Final = ("schemas serve",)
ONE_WRITER: Final = ("audit seal",)
# what a listener has, or Strimzi sets itself, under other names; and what only a cluster on one machine needs
ELSEWHERE: Final = (
    "process.roles", "node.id", "controller.", "listener", "advertised.", "inter.broker.", "sasl.", "ssl.",
    "authorizer.", "super.users", "log.dirs", "connections.max.reauth.ms",
)  # fmt: skip
SMALL_MACHINE: Final = (
    "offsets.topic.num.partitions", "transaction.state.log.num.partitions", "group.initial.rebalance.delay.ms",
    "log.index.size.max.bytes", "log.cleaner.dedupe.buffer.size",
)  # fmt: skip

Thing = dict[str, Any]


def objects(folder: Path = FOLDER) -> list[Thing]:
    """Every object that the kustomization names."""
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [one for name in names for one in yaml.safe_load_all((folder / name).read_text())]


def wrong(things: Sequence[Thing]) -> list[str]:
    """What is not as it must be, in words; empty when all is well."""
    found = [*_kafka(_one(things, "Kafka", "exchange")), *_pools(things), *_one_writer(things), *_closed(things)]
    for thing in things:
        if thing["kind"] in {"Deployment", "StatefulSet"}:
            name = thing["metadata"]["name"]
            found += [f"{name}: {text}" for text in (*_pod(thing), *_work(thing), *_flows(thing, things))]
    return found


def _one(things: Iterable[Thing], kind: str, name: str) -> Thing:
    return next((one for one in things if one["kind"] == kind and one["metadata"]["name"] == name), {})


# -- brokers ----------------------------------------------------------------------------------------------------------


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
    if "logger.authorizer.name" not in spec["logging"]["loggers"]:
        yield "Kafka: the authorizer's log is not set"
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
    operator = _one(things, "Kafka", "exchange")["spec"]["entityOperator"]
    env = {one["name"]: one["value"] for one in operator["template"]["userOperatorContainer"]["env"]}
    if "topicOperator" in operator or env.get("STRIMZI_IGNORED_USERS_PATTERN") != f"^(?!{ADMIN}$).*$":
        yield "entity operator: topics, ACLs and users have one writer, `tocsin policy`"
    for one in things:
        if one["kind"] == "KafkaTopic" or (one["kind"] == "KafkaUser" and one["metadata"]["name"] != ADMIN):
            yield f"{one['kind']} {one['metadata']['name']}: that is `tocsin policy`'s to write"


# -- services ---------------------------------------------------------------------------------------------------------


def _closed(things: Iterable[Thing]) -> Iterator[str]:
    policy = _one(things, "NetworkPolicy", "default-deny").get("spec", {})
    if policy.get("policyTypes") != ["Ingress", "Egress"] or "ingress" in policy or "egress" in policy:
        yield "default-deny: nothing comes in or goes out that no other policy allows"


def _pod(thing: Thing) -> Iterator[str]:
    pod = thing["spec"]["template"]["spec"]
    if pod.get("automountServiceAccountToken") is not False:
        yield "its pod is given a token"
    if not pod["securityContext"].get("runAsNonRoot"):
        yield "its pod may run as root"
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


def _work(thing: Thing) -> Iterator[str]:
    pod = thing["spec"]["template"]["spec"]
    container = pod["containers"][0]
    try:
        command, values, parameters = parsed(container["args"])
    except Exception as refusal:  # noqa: BLE001  # click's own errors, and those of the copy of it that typer carries
        yield f"its arguments are refused: {refusal}"
        return
    port = values.get("metrics_port") or values.get("port")
    declared = container["ports"][0]["containerPort"]
    if str(port) != str(declared):
        yield f"listens on {port}, declares {declared}"
    if "metrics_address" in parameters and values.get("metrics_address") != "0.0.0.0":  # noqa: S104  # in a pod of its own
        yield "Prometheus cannot reach it: give it --metrics-address 0.0.0.0"
    probes = [one for name, one in container.items() if name.endswith("Probe")]
    if any(one.get("httpGet", {}).get("port") != container["ports"][0]["name"] for one in probes):
        yield f"is probed elsewhere than on {port}"
    if command in ONE_WRITER and thing["spec"]["replicas"] != 1:
        yield "a log has one writer"
    if command not in WITHOUT_KAFKA:
        yield from _bundle(pod, LOGINS.get(command, ""), values)
        yield from _paths(container, values)


def _bundle(pod: Thing, login: str, values: Mapping[str, Any]) -> Iterator[str]:
    if login not in SERVICE_ROWS:
        yield f"{login or 'its command'} is no login of the exchange"
    secrets = [one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one]
    if secrets != [f"bundle-{login}"]:
        yield f"is given {secrets}, opens the bundle of {login}"
    script = "".join(pod["initContainers"][0]["args"])
    if f" /run/tocsin/bundle/* {values['home']}/services/{login}/\n" not in script:
        yield f"its bundle is not put where it looks: {values['home']}/services/{login}"


def _paths(container: Thing, values: Mapping[str, Any]) -> Iterator[str]:
    mounted = [one["mountPath"] for one in container["volumeMounts"]]
    given = [*_texts(values.get(name) for name in ("home", "state", "scratch", "policy", "files"))]
    for path in given:
        if not any(path == one or path.startswith(f"{one}/") for one in mounted):
            yield f"{path} is not mounted"


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif value is not None:
            yield from _texts(value)


def _flows(thing: Thing, things: Sequence[Thing]) -> Iterator[str]:
    """The network policy permits what the service does, and nothing else."""
    name, template = thing["metadata"]["name"], thing["spec"]["template"]
    policy = _one(things, "NetworkPolicy", name).get("spec", {})
    port = template["spec"]["containers"][0]["ports"][0]["containerPort"]
    if _ports(policy.get("ingress", [])) != [port]:
        yield f"is asked on {port}, its network policy lets in {_ports(policy.get('ingress', []))}"
    uses_kafka = bool(template["spec"].get("initContainers"))
    listener = next(
        one for one in _one(things, "Kafka", "exchange")["spec"]["kafka"]["listeners"] if one["type"] == "internal"
    )
    wanted = [53, 53, listener["port"]] if uses_kafka else []
    if _ports(policy.get("egress", [])) != wanted:
        yield f"goes to {wanted}, its network policy lets out {_ports(policy.get('egress', []))}"
    labels = listener["networkPolicyPeers"][0]["podSelector"]["matchLabels"]
    if uses_kafka != (labels.items() <= template["metadata"]["labels"].items()):
        yield "the brokers let it in exactly when it uses Kafka: by its label"
    monitor = _one(things, "PodMonitor", name).get("spec", {})
    scraped = [one["port"] for one in monitor.get("podMetricsEndpoints", [])]
    if uses_kafka and (scraped != ["metrics"] or monitor["selector"]["matchLabels"] != {"app": name}):
        yield "Prometheus does not ask it"


def _ports(rules: Iterable[Thing]) -> list[int]:
    return sorted(port["port"] for rule in rules for port in rule["ports"])
