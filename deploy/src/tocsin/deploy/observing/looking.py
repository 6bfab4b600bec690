"""Asks services for their metrics again and again, and says how the exchange is by it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import typer

from tocsin.deploy.observing.overview import Overview, overview
from tocsin.deploy.observing.samples import Samples, ask


class Looker:
    """Asks the services at `urls`, all at a time; a context manager. One thread looks, others may ask for `newest`."""

    def __init__(self, urls: Sequence[str], trusted: ssl.SSLContext | None = None) -> None:
        self._urls = urls
        self._ask = partial(ask, trusted=trusted)
        self._pool = ThreadPoolExecutor(min(16, len(urls)))
        self._samples: list[Samples] = []
        self._lock = threading.Lock()
        self._newest = overview([])

    def look(self) -> Overview:
        """How the exchange is now; rates are since the look before."""
        found = [*self._pool.map(self._ask, self._urls)]
        seen = overview(found, self._samples)
        with self._lock:
            self._samples, self._newest = found, seen
        return seen

    @property
    def newest(self) -> Overview:
        """What the last look found."""
        with self._lock:
            return self._newest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def checked_urls(urls: Sequence[str]) -> list[str]:
    """The addresses; `host:port` is `http://host:port/metrics`.

    Raises:
        typer.BadParameter: one is none.
    """
    found: list[str] = []
    for one in urls:
        url = one if "://" in one else f"http://{one}"
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise typer.BadParameter(
                f"{one}: give the address of a service's metrics, as http://127.0.0.1:9101/metrics", param_hint="--from"
            )
        found.append(url if parts.path not in ("", "/") else f"{url.rstrip('/')}/metrics")
    return found


def trusted_by(certificates: Path | None) -> ssl.SSLContext | None:
    """What https is trusted by: the system's certificates, or those in a file."""
    if certificates is None:
        return None
    try:
        return ssl.create_default_context(cafile=certificates)
    except (OSError, ssl.SSLError) as error:
        raise typer.BadParameter(f"{certificates}: no certificates in it ({error})", param_hint="--ca") from error
