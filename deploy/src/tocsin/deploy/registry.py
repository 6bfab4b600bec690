"""A read-only schema registry with fixed ids, over the Confluent API: any Confluent-style client decodes without us.

`answer` is a pure function of the request. The schemas are public, so there is no log-in; it listens on loopback
unless told otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import typer

from tocsin.deploy.errors import RegistryError
from tocsin.deploy.output import console
from tocsin.deploy.serving import end_on_sigterm
from tocsin.schemas.catalog import ALL, Schema, schema, schema_by_id
from tocsin.schemas.compat import check_all
from tocsin.schemas.errors import NameInvalid, UnknownSchema
from tocsin.schemas.lint import lint_all
from tocsin.schemas.names import AlertTopic

CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
BODY_BYTES_MAX: Final = 1_048_576
REQUEST_SECONDS_MAX: Final = 10

# Error codes of the Confluent API; the first three digits are the HTTP status.
_NOT_FOUND: Final = 404
_SUBJECT_UNKNOWN: Final = 40401
_VERSION_UNKNOWN: Final = 40402
_SCHEMA_UNKNOWN: Final = 40403
_READ_ONLY: Final = 405
_SCHEMA_INVALID: Final = 42201
_VERSION_INVALID: Final = 42202


class Answer(NamedTuple):
    """Status and JSON body."""

    status: HTTPStatus
    body: Any


class _Failed(Exception):
    """An answer that is an error of the Confluent API."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(HTTPStatus(int(str(code)[:3])), {"error_code": code, "message": message})


def answer(method: str, target: str, body: bytes = b"") -> Answer:
    """What the registry answers to one request. Query parameters change nothing and are ignored."""
    path = tuple(unquote(part) for part in urlsplit(target).path.split("/") if part)
    try:
        if method == "GET":
            return Answer(HTTPStatus.OK, _get(path))
        if method == "POST" and len(path) == 2 and path[0] == "subjects":  # noqa: PLR2004  # /subjects/{subject}
            return Answer(HTTPStatus.OK, _look_up(path[1], body))
    except _Failed as failed:
        return failed.answer
    return _Failed(
        _READ_ONLY, "this registry is read-only: set auto.register.schemas=false; schemas come with tocsin-schemas"
    ).answer


def _get(path: tuple[str, ...]) -> Any:
    for pattern, give in _ROUTES.items():
        found = re.fullmatch(pattern, "\n".join(path))
        if found:
            return give(*found.groups())
    raise _Failed(_NOT_FOUND, f"HTTP 404 Not Found: /{'/'.join(path)}")


def _look_up(subject: str, body: bytes) -> dict[str, Any]:
    """The version of `subject` that is the schema in `body`, whatever its spacing and order of keys."""
    try:
        wanted = json.loads(json.loads(body)["schema"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _Failed(_SCHEMA_INVALID, "the body must be {'schema': '<Avro schema as JSON text>'}") from None
    for one in _versions(subject):
        if json.loads(one.text) == wanted:
            return _full(subject, one)
    raise _Failed(_SCHEMA_UNKNOWN, "Schema not found")


def _versions(subject: str) -> list[Schema]:
    """All versions of `subject`; `<alert topic>-value`, which clients ask for by default, is its type's subject."""
    name = _type_of_topic(subject.removesuffix("-value")) or subject
    found = [one for one in ALL if one.subject == name]
    if not found:
        raise _Failed(_SUBJECT_UNKNOWN, f"Subject '{subject}' not found.")
    return found


def _type_of_topic(topic: str) -> str | None:
    try:
        return AlertTopic.parse(topic).type.value
    except NameInvalid:
        return None


def _version(subject: str, version: str) -> Schema:
    name = _versions(subject)[0].subject
    if version in ("latest", "-1"):
        return schema(name)
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise _Failed(
            _VERSION_INVALID, f"The specified version '{version}' is not a valid version id: a number or 'latest'"
        )
    try:
        return schema(name, int(version))
    except UnknownSchema:
        raise _Failed(_VERSION_UNKNOWN, f"Version {version} not found.") from None


def _by_id(schema_id: str) -> Schema:
    try:
        return schema_by_id(int(schema_id))
    except (UnknownSchema, ValueError):
        raise _Failed(_SCHEMA_UNKNOWN, f"Schema {schema_id} not found") from None


def _full(subject: str, one: Schema) -> dict[str, Any]:
    return {"subject": subject, "version": one.version, "id": one.id, "schema": one.text}


_ID: Final = r"schemas\nids\n([^\n]+)"
_SUBJECT: Final = r"subjects\n([^\n]+)"
_ROUTES: Final[Mapping[str, Callable[..., Any]]] = {
    "": dict[str, Any],
    "subjects": lambda: sorted({one.subject for one in ALL}),
    rf"{_SUBJECT}\nversions": lambda subject: [one.version for one in _versions(subject)],
    rf"{_SUBJECT}\nversions\n([^\n]+)": lambda subject, version: _full(subject, _version(subject, version)),
    rf"{_SUBJECT}\nversions\n([^\n]+)\nschema": lambda subject, version: json.loads(_version(subject, version).text),
    rf"{_SUBJECT}\nversions\n([^\n]+)\nreferencedby": lambda *_: list[int](),
    _ID: lambda schema_id: {"schema": _by_id(schema_id).text},
    rf"{_ID}\nschema": lambda schema_id: json.loads(_by_id(schema_id).text),
    rf"{_ID}\nsubjects": lambda schema_id: [_by_id(schema_id).subject],
    rf"{_ID}\nversions": lambda schema_id: [{"subject": (one := _by_id(schema_id)).subject, "version": one.version}],
    r"schemas\ntypes": lambda: ["AVRO"],
    r"config(?:\n[^\n]+)?": lambda: {"compatibilityLevel": "FULL_TRANSITIVE"},
    r"mode(?:\n[^\n]+)?": lambda: {"mode": "READONLY"},
}


class _Handler(BaseHTTPRequestHandler):
    """Turns HTTP into `answer` and back."""

    protocol_version = "HTTP/1.1"
    server_version = "tocsin-registry"
    sys_version = ""
    timeout = REQUEST_SECONDS_MAX  # a client that says nothing does not hold a thread for ever

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX or "Transfer-Encoding" in self.headers:
            # what is left unread must not be taken for the next request
            self.close_connection = True
            self._send(_Failed(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of at most {BODY_BYTES_MAX} bytes").answer)
            return
        self._send(answer(self.command, self.path, self.rfile.read(int(length))))

    def _send(self, found: Answer) -> None:
        content = json.dumps(found.body).encode()
        self.send_response(found.status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815  # the base class calls them so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing: a look-up is no event."""


def server(port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """A server on `host` and `port`; port 0 takes a free one.

    Raises:
        RegistryError: it cannot listen there.
    """
    try:
        return ThreadingHTTPServer((host, port), _Handler)
    except OSError as error:
        raise RegistryError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error


schemas_app = typer.Typer(help="The Avro schemas: check them, serve them.", no_args_is_help=True)


@schemas_app.command()
def serve(
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65_535)] = 8081,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve the schemas, read-only; Ctrl-C or SIGTERM ends it."""
    end_on_sigterm()
    with server(port, host) as serving:
        console.print(f"schemas at http://{host}:{serving.server_port}; Ctrl-C ends it")
        serving.serve_forever()


@schemas_app.command()
def lint() -> None:
    """Check hygiene, that published versions are unchanged, and full transitive compatibility."""
    wrong = lint_all() + check_all()
    for line in wrong:
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"{len(ALL)} schemas: " + (f"{len(wrong)} problems" if wrong else "sound"))
    if wrong:
        raise typer.Exit(1)
