"""Services that look again and again, and serve what they found."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable

import structlog

from tocsin.consumers.errors import TocsinConsumerError
from tocsin.consumers.health import STANDS_MAX_S, Checks, Health
from tocsin.consumers.metric_registry import Metrics
from tocsin.deploy.errors import TocsinDeployError
from tocsin.deploy.observing.port import PortOptions, open_port
from tocsin.deploy.output import console, log_as_service
from tocsin.schemas.errors import TocsinSchemaError

log = structlog.get_logger()


class Looking:
    """Calls `look` and keeps what came of it. What cannot be looked at now is looked at later."""

    def __init__(self, look: Callable[[], None], metrics: Metrics, health: Health, *, every_s: float) -> None:
        self._look = look
        self._metrics = metrics
        # between two looks it rests
        self._pulse = health.pulse("look", STANDS_MAX_S + every_s)
        self._trouble: str | None = "nothing has been looked at yet"
        health.needs(self._checks)

    def _checks(self) -> Checks:
        return {"look": self._trouble}

    def turn(self) -> str | None:
        """Look once. What was wrong, None when nothing was."""
        self._pulse.beat()
        try:
            self._look()
            self._trouble = None
        except (TocsinDeployError, TocsinConsumerError, TocsinSchemaError, OSError) as failure:
            self._trouble = str(failure)
        self._metrics.turned("look", time.time())
        return self._trouble


def end_on_sigterm() -> None:
    """Let SIGTERM end this process in good order: in a container, where it is the first, nothing else does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def serve(
    metrics: Metrics, look: Callable[[], None], *, port: PortOptions, every_s: float, what: str, failed: str
) -> None:
    """Look until told to stop; then end once the look that is under way is done.

    `what` is said at the start; `failed` is logged when a look fails.
    """
    log_as_service()
    stop_asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop_asked.set())
    health = Health()
    looking = Looking(look, metrics, health, every_s=every_s)
    open_port(port, metrics.registry, health)
    where = "" if port.port is None else f": metrics at {port.url}"
    console.print(f"{what}{where}; Ctrl-C ends it")
    while not stop_asked.is_set():
        trouble = looking.turn()
        if trouble is not None:
            log.warning(failed, task=what, reason=trouble)
        stop_asked.wait(every_s)
