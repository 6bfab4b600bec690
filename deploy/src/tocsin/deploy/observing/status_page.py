"""The status page of the exchange over HTTP: `answer` is a pure function of the request and of what was seen last.

It shows no alert, no content and no recipient, changes nothing, and needs no script: it loads itself again unless told
not to.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from tocsin.deploy.errors import PortUnusable
from tocsin.deploy.html_page import STYLE, page
from tocsin.deploy.observing.overview import Overview
from tocsin.deploy.observing.tables import headline, tables

REQUEST_SECONDS_MAX: Final = 10
RELOAD_S: Final = 10
LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    # nothing but the page's own style: whatever a name in it looks like, it loads and runs nothing
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Answer(NamedTuple):
    """Status, type and body."""

    status: HTTPStatus
    kind: str
    body: str


def answer(method: str, target: str, seen: Overview) -> Answer:
    """What is answered to one request: the page at `/`, the same for programs at `/status.json`."""
    if method not in ("GET", "HEAD"):
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "this page is read-only\n")
    parts = urlsplit(target)
    if parts.path == "/":
        return Answer(HTTPStatus.OK, "text/html", status_page(seen, reloading=parts.query != "reload=off"))
    if parts.path == "/status.json":
        return Answer(HTTPStatus.OK, "application/json", json.dumps(asdict(seen)) + "\n")
    return Answer(HTTPStatus.NOT_FOUND, "text/plain", "there is / and /status.json\n")


def status_page(seen: Overview, *, reloading: bool) -> str:
    """The page. A reader who needs longer than it takes to load again can stop that."""
    when = datetime.fromtimestamp(seen.at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if seen.services else "never"
    troubles = "".join(f"<li>{escape(one)}</li>" for one in seen.troubles)
    reload = f'<meta http-equiv="refresh" content="{RELOAD_S}">\n' if reloading else ""
    switch = (
        f'<a href="/?reload=off">Stop loading again every {RELOAD_S} s</a>'
        if reloading
        else f'<a href="/">Load again every {RELOAD_S} s</a>'
    )
    return page(
        "Tocsin: the exchange",
        [],
        tables(seen),
        head=reload,
        top=f'<div role="status"><p><strong>{escape(headline(seen))}</strong> (as of {when})</p>\n'
        + (f"<ul>{troubles}</ul>\n" if troubles else "")
        + f"</div>\n<p>{switch}</p>\n",
    )


def server(port: int, host: str, newest: Callable[[], Overview]) -> ThreadingHTTPServer:
    """A server of the page on `host` and `port`; port 0 takes a free one.

    Raises:
        PortUnusable: it cannot listen there.
    """

    class Handler(_Handler):
        seen = staticmethod(newest)
        # a page of another site whose name is made to lead here must not read it
        only_loopback = host in ("127.0.0.1", "localhost", "::1")

    try:
        return ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise PortUnusable(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error


class _Handler(BaseHTTPRequestHandler):
    """Turns HTTP into `answer` and back."""

    protocol_version = "HTTP/1.1"
    server_version = "tocsin-status"
    sys_version = ""
    timeout = REQUEST_SECONDS_MAX  # a client that says nothing does not hold a thread for ever
    seen: Callable[[], Overview]
    only_loopback: bool

    def _serve(self) -> None:
        # no request has a body, and what is left unread must not be taken for the next one
        self.close_connection = True
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if self.only_loopback and name not in LOOPBACK:
            self._send(Answer(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", "ask for 127.0.0.1\n"))
        else:
            self._send(answer(self.command, self.path, self.seen()))

    def _send(self, found: Answer) -> None:
        content = found.body.encode()
        self.send_response(found.status)
        self.send_header("Content-Type", f"{found.kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815  # the base class calls them so

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Say nothing: a look is no event."""
