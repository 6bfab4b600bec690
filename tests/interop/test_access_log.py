"""The access log of brokers in Kubernetes, as Kafka's own logging library writes it by the file that they get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.oracle import start_jvm
from tests.unit.deploy.manifests import objects
from tocsin.consumers.audit.access_files import LIVE, sources
from tocsin.deploy.cluster.log4j import OPTIONS

ROOT = Path(__file__).parents[2]
FETCH = "for request = Fetch with resourceRefCount = 1 based on rule x"
ALERTS = "Topic:LITERAL:alerts.de.site-taken-down.green"
DENIED = f"Principal = User:x is Denied operation = READ from host = 10.1.0.9 on resource = {ALERTS} {FETCH}"
TOLD = f"Principal = User:fanout is Allowed operation = READ from host = 10.1.0.2 on resource = {ALERTS} {FETCH}"
LEFT_OUT = (
    f"Principal = User:x is Allowed operation = READ from host = 10.1.0.9 on resource = Topic:LITERAL:inbox.x {FETCH}"
)


def test_a_node_writes_its_own_file_and_services_are_told(tmp_path: Path) -> None:
    """The folder has the node's number, nobody else may read the file, and what the exchange's services do is in it."""
    [text] = [one["data"]["log4j2.xml"] for one in objects() if one["metadata"]["name"] == "kafka-logging"]
    (tmp_path / "log4j2.xml").write_text(text.replace("/mnt/access", str(tmp_path / "access")))
    options = " ".join((f"-Dlog4j2.configurationFile={tmp_path / 'log4j2.xml'}", *OPTIONS))
    env = os.environ | {"STRIMZI_BROKER_ID": "3", "JAVA_TOOL_OPTIONS": options}
    subprocess.run([sys.executable, "-m", "tests.interop.test_access_log"], cwd=ROOT, env=env, check=True)
    assert sources(tmp_path / "access") == ["node-3"]
    written = tmp_path / "access" / "node-3" / LIVE
    assert [line.partition(" ")[2] for line in written.read_text().splitlines()] == [DENIED, TOLD]
    assert written.stat().st_mode & 0o777 == 0o600


def main() -> None:
    """Say what an authorizer says: what is denied at INFO, what is allowed at DEBUG."""
    java = start_jvm()
    log = java("org.slf4j.LoggerFactory").getLogger("kafka.authorizer.logger")
    log.info(DENIED)
    log.debug(TOLD)
    log.debug(LEFT_OUT)
    java("org.apache.logging.log4j.LogManager").shutdown()


if __name__ == "__main__":
    main()
