"""`tocsin cluster`: starting twice, dying at start, stopping and leaving nothing; and jars that are not the lock's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner, Result

from tests.attempts import ANSWER_S, SILENT
from tests.world import wait_until
from tocsin.deploy.cluster.commands import cluster_app
from tocsin.deploy.cluster.jars import classpath, jar_cache, locked_jars
from tocsin.deploy.cluster.local import LocalCluster, new_cluster_id
from tocsin.deploy.errors import ClusterError, JarInvalid


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One broker of this module's own, with a topic; each test starts or stops it as it needs."""
    made = LocalCluster(tmp_path_factory.mktemp("cluster") / "home")
    try:
        made.up()
        client = AdminClient(made.admin_config())
        client.create_topics([NewTopic("kept", 1, 1)])["kept"].result(ANSWER_S)
        yield made
    finally:
        made.down(purge=True)


def _tocsin(home: Path, *words: str) -> Result:
    return CliRunner().invoke(cluster_app, [*words, "--home", str(home)])


def _status(home: Path) -> tuple[int, list[dict[str, Any]]]:
    done = _tocsin(home, "status", "--output", "json")
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


def _elsewhere(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tocsin.deploy", "cluster", *words, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_up_makes_it_once_and_status_says_so(cluster: LocalCluster) -> None:
    """A second `up`, from another process too, starts nothing; another number of brokers is refused."""
    cluster.up()
    pid, port = cluster.pid(1), int(cluster.bootstrap.partition(":")[2])
    running = (0, [{"broker": 1, "state": "running", "pid": pid, "port": port}])
    assert pid is not None
    assert _status(cluster.home) == running
    cluster.up()
    again = _elsewhere(cluster.home, "up")
    assert (again.returncode, cluster.bootstrap in again.stdout.replace("\n", "")) == (0, True)
    assert _status(cluster.home) == running
    with pytest.raises(ClusterError, match="was made with 1 brokers; run `tocsin cluster down --purge` first"):
        LocalCluster(cluster.home).up(3)
    assert _tocsin(cluster.home, "up", "--brokers", "2").exit_code == 2


def test_secrets_are_for_their_owner_only(cluster: LocalCluster) -> None:
    """Whatever holds a password or a private key has mode 0600, and a wrong password opens nothing."""
    cluster.up()
    password = str(cluster.admin_config()["sasl.password"]).encode()
    files = [path for path in cluster.home.rglob("*") if path.is_file()]
    secret = [
        path for path in files if any(one in path.read_bytes() for one in (password, b"PRIVATE KEY", b"password="))
    ]
    assert {path.name for path in secret} >= {"password", "client.properties", "server.properties", "broker.pem"}
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in secret} == {path.name: "0o600" for path in secret}
    errors: list[str] = []
    wrong: dict[str, Any] = {
        **cluster.admin_config(),
        "sasl.password": "wrong",
        "error_cb": lambda error: errors.append(error.name()),
    }
    stranger = AdminClient(wrong, logger=SILENT)

    def refused() -> bool:
        stranger.poll(0.1)
        return "_AUTHENTICATION" in errors

    wait_until(refused, ANSWER_S, f"refused: {errors}")


def test_a_stopped_cluster_is_said_to_be_stopped(cluster: LocalCluster) -> None:
    """A pid file that is left over and names another process is no broker, and what it names is not killed."""
    cluster.up()
    assert _tocsin(cluster.home, "down").exit_code == 0
    (cluster.folder / "broker-1" / "pid").write_text(str(os.getpid()))
    code, [broker] = _status(cluster.home)
    assert (code, broker["state"], broker["pid"]) == (1, "stopped", None)
    assert _tocsin(cluster.home, "down").exit_code == 0


@contextmanager
def _broken_settings(cluster: LocalCluster) -> Generator[str]:
    path = cluster.folder / "broker-1" / "server.properties"
    good = path.read_text()
    path.write_text(good.replace("process.roles=broker,controller", "process.roles=brokre"))
    try:
        yield "brokre"
    finally:
        path.write_text(good)


@contextmanager
def _port_in_use(cluster: LocalCluster) -> Generator[str]:
    host, _, port = cluster.bootstrap.partition(":")
    with socket.create_server((host, int(port))):
        yield "Address already in use"


def test_a_broker_that_stands_still_does_not_answer(cluster: LocalCluster) -> None:
    """Its process is there, and that is not enough."""
    cluster.up()
    cluster.kill(1, signal.SIGSTOP)
    try:
        code, [broker] = _status(cluster.home)
    finally:
        cluster.kill(1, signal.SIGCONT)
    assert (code, broker["state"], broker["pid"]) == (1, "does not answer", cluster.pid(1))


@pytest.mark.parametrize("trouble", [_broken_settings, _port_in_use])
def test_a_broker_that_dies_at_start_says_why(cluster: LocalCluster, trouble: Any) -> None:
    """The error has the end of the broker's log, with the reason in it."""
    cluster.down()
    with trouble(cluster) as reason, pytest.raises(ClusterError, match="broker 1 died at start") as died:
        cluster.up()
    assert reason in str(died.value)
    assert str(died.value).count("\n") <= 20


def test_a_cluster_comes_back_with_its_data(cluster: LocalCluster) -> None:
    """`down` keeps everything, and what went wrong at a start leaves no trace."""
    cluster.down()
    cluster.up()
    assert "kept" in AdminClient(cluster.admin_config()).list_topics(timeout=ANSWER_S).topics


def test_a_killed_broker_is_fenced_before_it_starts_again(cluster: LocalCluster) -> None:
    """It finds that its old session has ended: else Kafka may forget the end of a transaction that was committing."""
    cluster.up()
    log = cluster.folder / "broker-1" / "broker.log"
    before = log.stat().st_size
    cluster.kill(1, signal.SIGKILL)
    wait_until(lambda: cluster.pid(1) is None, ANSWER_S, "the broker to die")
    cluster.up()
    said = log.read_text()[before:]
    assert ("Fencing broker 1 " in said, "DUPLICATE_BROKER_REGISTRATION" in said) == (True, False)
    assert "kept" in AdminClient(cluster.admin_config()).list_topics(timeout=ANSWER_S).topics


def test_purge_leaves_nothing(cluster: LocalCluster) -> None:
    """No process, no port, no file: not even the administrator's password."""
    cluster.up()
    pid, ports = cluster.pid(1), [cluster.bootstrap, cluster.controllers]
    assert pid is not None
    done = _elsewhere(cluster.home, "down", "--purge")
    assert (done.returncode, [*cluster.home.iterdir()]) == (0, [])
    assert cluster.pid(1) is None
    for host, _, port in (one.partition(":") for one in ports):
        with socket.socket() as probe:
            assert probe.connect_ex((host, int(port))) != 0
    assert _status(cluster.home) == (1, [])
    assert _tocsin(cluster.home, "down", "--purge").exit_code == 0


# -- jars and ids ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, -1])
def test_a_jar_that_is_not_the_locks_is_refused(tmp_path: Path, index: int) -> None:
    """One bit is enough: nothing is started with it, and the message names the file and what to do."""
    classpath()  # so that there is something to change
    cache, bad = tmp_path / "tocsin" / "jars", locked_jars()[index]
    cache.mkdir(parents=True)
    for jar in locked_jars():
        (cache / jar.file).symlink_to(jar_cache() / jar.file)
    content = bytearray((cache / bad.file).read_bytes())
    content[len(content) // 2] ^= 1
    (cache / bad.file).unlink()
    (cache / bad.file).write_bytes(content)
    with pytest.raises(JarInvalid, match=f"{bad.file}: SHA-256 .* delete the file and run again"):
        classpath(cache)
    done = _elsewhere(tmp_path / "home", "up", XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, bad.file in done.stderr.replace("\n", "")) == (1, True)
    assert _status(tmp_path / "home") == (1, [])


def test_a_cluster_id_is_no_option() -> None:
    """Kafka's tools would take an id that begins with a dash, one in 64, for an option."""
    assert not [text for text in (new_cluster_id() for _ in range(2_000)) if text.startswith("-") or len(text) != 22]
