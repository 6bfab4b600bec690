"""Services that look again and again, and serve what they found to Prometheus on 127.0.0.1."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from tocsin.consumers.errors import TocsinConsumerError
from tocsin.deploy.errors import TocsinDeployError
from tocsin.deploy.output import console

log = structlog.get_logger()


def serve(
    registry: CollectorRegistry, look: Callable[[], None], *, port: int | None, every_s: float, what: str, failed: str
) -> None:
    """Look until told to stop. What cannot be looked at now is looked at later: the metrics say when it last was.

    Without a `port` nothing is served. `what` is said at the start; `failed` is logged when a look fails.
    """
    stop_asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop_asked.set())
    if port is not None:
        start_http_server(port, addr="127.0.0.1", registry=registry)
    where = "" if port is None else f": metrics at http://127.0.0.1:{port}/metrics"
    console.print(f"{what}{where}; Ctrl-C ends it")
    while not stop_asked.is_set():
        try:
            look()
        except (TocsinDeployError, TocsinConsumerError) as failure:
            log.warning(failed, task=what, reason=str(failure))
        stop_asked.wait(every_s)
