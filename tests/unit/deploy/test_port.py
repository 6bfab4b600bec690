"""The port of a service: what is answered where, over TLS too, and how a service that looks says that it cannot."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import trustme

from tocsin.consumers.errors import TopicsUnreadable
from tocsin.consumers.health import Checks, Health
from tocsin.consumers.metrics import SealerMetrics
from tocsin.deploy.errors import PortUnusable
from tocsin.deploy.observing.port import PortOptions, open_port
from tocsin.deploy.serving import Looking


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ask(url: str, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:  # noqa: S310  # our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def test_health_is_answered_beside_the_metrics() -> None:
    """200 while all is well, 503 with the reason while it is not, each check by name; 404 elsewhere."""
    now = 0.0
    health, missing = Health(lambda: now), dict[str, str | None](lanes="not taken: se", sight=None)
    health.needs(lambda: missing)
    pulse = health.pulse("group", 60)
    port = _free_port()
    open_port(PortOptions(port), SealerMetrics().registry, health)
    url = f"http://127.0.0.1:{port}"
    pulse.beat()
    assert _ask(f"{url}/livez")[0] == 200
    now = 61.0
    status, body = _ask(f"{url}/livez")
    assert (status, json.loads(body)) == (503, {"ok": False, "checks": {"group": "has not turned for 61 s"}})
    status, body = _ask(f"{url}/readyz")
    assert (status, json.loads(body)["checks"]) == (503, {"lanes": "not taken: se", "sight": "ok"})
    missing["lanes"] = None
    assert _ask(f"{url}/readyz")[0] == 200
    assert "tocsin_build_info" in _ask(f"{url}/metrics")[1]
    assert _ask(f"{url}/other")[0] == 404


def test_it_listens_on_this_machine_only_unless_told() -> None:
    """The default is the one that is safe; a port that is taken is said with its option."""
    port = _free_port()
    assert PortOptions(port).address == "127.0.0.1"
    open_port(PortOptions(port), SealerMetrics().registry, Health())
    with pytest.raises(PortUnusable, match=f"--metrics-port {port}"):
        open_port(PortOptions(port), SealerMetrics().registry, Health())


def test_it_is_served_over_tls(tmp_path: Path) -> None:
    """With a certificate, and not without it."""
    authority = trustme.CA()
    pem = tmp_path / "served.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    options = PortOptions(_free_port(), certificate=pem)
    open_port(options, SealerMetrics().registry, Health())
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    assert options.url.startswith("https://127.0.0.1:")
    assert "tocsin_build_info" in _ask(options.url, trusting)[1]
    with pytest.raises(OSError, match=r"."):
        _ask(options.url.replace("https", "http"))
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(PortUnusable):
        open_port(PortOptions(_free_port(), certificate=wrong), SealerMetrics().registry, Health())


def test_without_a_port_nothing_listens() -> None:
    """It is an option."""
    open_port(PortOptions(None), SealerMetrics().registry, Health())


def test_a_look_that_fails_makes_a_service_unready_until_one_succeeds() -> None:
    """With the reason; it lives all the while, since its loop turns."""
    failing = True

    def look() -> None:
        if failing:
            raise TopicsUnreadable("no broker answers")

    metrics, health = SealerMetrics(), Health()
    looking = Looking(look, metrics, health, every_s=1.0)

    def checks() -> list[Checks]:
        return [health.ready(), health.live()]

    assert checks() == [{"look": "nothing has been looked at yet"}, {"look": None}]
    assert looking.turn() == "no broker answers"
    assert checks() == [{"look": "no broker answers"}, {"look": None}]
    failing = False
    assert looking.turn() is None
    assert checks() == [{"look": None}, {"look": None}]
    assert metrics.registry.get_sample_value("tocsin_loop_timestamp_seconds", {"loop": "look"})
