"""The port of a service: /metrics for Prometheus, /livez and /readyz for whoever supervises it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from tocsin.consumers.health import Checks, Health
from tocsin.deploy.errors import PortUnusable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOCAL: Final = "127.0.0.1"
_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class PortOptions:
    """Where to serve: nowhere without a `port`; over TLS with a `certificate` and its `key`, both PEM."""

    port: int | None
    address: str = LOCAL
    certificate: Path | None = None
    key: Path | None = None

    @property
    def url(self) -> str:
        """Where the metrics are."""
        return f"{'https' if self.certificate else 'http'}://{self.address}:{self.port}/metrics"


def open_port(options: PortOptions, registry: CollectorRegistry, health: Health) -> None:
    """Serve in the background until the process ends.

    Raises:
        PortUnusable: the port or the certificate cannot be used.
    """
    if options.port is None:
        return
    try:
        context = None if options.certificate is None else _tls(options.certificate, options.key)
        server = make_server(options.address, options.port, app_of(registry, health), _Server, _Quiet)
        if context is not None:
            # the handshake is made by the thread of the request, so that nobody waits for a silent client
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    except (OSError, OverflowError) as failure:
        raise PortUnusable(
            f"--metrics-port {options.port} on {options.address}: {failure}; is it free, and is the certificate with"
            " its key a PEM file?"
        ) from failure
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def app_of(registry: CollectorRegistry, health: Health) -> WSGIApplication:
    """What is answered, and where."""
    metrics = make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            scraped: Iterable[bytes] = metrics(environ, start)
            return scraped
        checks: Callable[[], Checks] | None = {"/livez": health.live, "/readyz": health.ready}.get(path)
        if checks is None:
            return _answer(start, "404 Not Found", {"paths": ["/metrics", "/livez", "/readyz"]})
        found = checks()
        well = not any(found.values())
        return _answer(
            start,
            "200 OK" if well else "503 Service Unavailable",
            {"ok": well, "checks": {name: trouble or "ok" for name, trouble in found.items()}},
        )

    return app


def _answer(start: StartResponse, status: str, body: object) -> Iterable[bytes]:
    start(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode() + b"\n"]


def _tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away, or speaks no TLS."""


class _Quiet(WSGIRequestHandler):
    timeout = _ANSWER_S  # who connects and says nothing holds one thread for so long, not for ever

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Log no requests."""
