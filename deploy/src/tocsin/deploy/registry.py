"""A read-only schema registry over the Confluent API: any such client decodes our records without our code."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any, NamedTuple
from urllib.parse import unquote, urlsplit

import typer

from tocsin.deploy.output import console
from tocsin.schemas.catalog import ALL, Schema, schema, schema_by_id
from tocsin.schemas.compat import check_all
from tocsin.schemas.errors import UnknownSchema
from tocsin.schemas.lint import lint_all

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, SCHEMA_NOT_FOUND = 40401, 40402, 40403
BODY_BYTES_MAX = 1_048_576

schemas_app = typer.Typer(help="The Avro schemas: check them, serve them.", no_args_is_help=True)


class Answer(NamedTuple):
    """Status and JSON body."""

    status: HTTPStatus
    body: Any


def answer(method: str, path: str, body: bytes = b"") -> Answer:  # noqa: PLR0911  # one a route
    """Answer one request; pure. Unknown things are 404 with Confluent's error codes, writes are 405."""
    parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
    match (method, *parts):
        case ("GET", "subjects"):
            return Answer(HTTPStatus.OK, sorted({one.subject for one in ALL}))
        case ("GET", "schemas", "types"):
            return Answer(HTTPStatus.OK, ["AVRO"])
        case ("GET", "schemas", "ids", text):
            return _by_id(text)
        case ("GET", "subjects", subject, "versions"):
            versions = [one.version for one in ALL if one.subject == _plain(subject)]
            return Answer(HTTPStatus.OK, versions) if versions else _missing(SUBJECT_NOT_FOUND, "Subject not found.")
        case ("GET", "subjects", subject, "versions", version):
            return _by_version(_plain(subject), version)
        case ("POST", "subjects", subject):
            return _look_up(_plain(subject), body)
        case ("GET", *_):
            return _missing(404, "Not found.")
        case _:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error_code": 405, "message": "This registry is read-only."})


def _plain(subject: str) -> str:
    """Clients ask for `<topic>-value`; our subjects are the alert types, so the topic's own word is found in it."""
    plain = subject.removesuffix("-value")
    return next((word for word in plain.split(".") if any(one.subject == word for one in ALL)), plain)


def _missing(code: int, message: str) -> Answer:
    return Answer(HTTPStatus.NOT_FOUND, {"error_code": code, "message": message})


def _by_id(text: str) -> Answer:
    try:
        return Answer(HTTPStatus.OK, {"schema": schema_by_id(int(text)).text})
    except (UnknownSchema, ValueError):
        return _missing(SCHEMA_NOT_FOUND, "Schema not found.")


def _by_version(subject: str, version: str) -> Answer:
    if not any(one.subject == subject for one in ALL):
        return _missing(SUBJECT_NOT_FOUND, "Subject not found.")
    try:
        return Answer(HTTPStatus.OK, _described(schema(subject, None if version == "latest" else int(version))))
    except (UnknownSchema, ValueError):
        return _missing(VERSION_NOT_FOUND, "Version not found.")


def _look_up(subject: str, body: bytes) -> Answer:
    try:
        asked = json.loads(json.loads(body)["schema"])
    except (ValueError, KeyError, TypeError):
        return Answer(HTTPStatus.UNPROCESSABLE_ENTITY, {"error_code": 42201, "message": "Not an Avro schema."})
    for one in ALL:
        if one.subject == subject and json.loads(one.text) == asked:
            return Answer(HTTPStatus.OK, _described(one))
    return _missing(SCHEMA_NOT_FOUND, "Schema not found.")


def _described(one: Schema) -> dict[str, Any]:
    return {"subject": one.subject, "version": one.version, "id": one.id, "schema": one.text}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def _reply(self) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), BODY_BYTES_MAX)
        found = answer(self.command, self.path, self.rfile.read(length))
        content = json.dumps(found.body).encode()
        self.send_response(found.status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _reply  # noqa: N815  # the base class calls them so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Stay quiet."""


def server(port: int) -> ThreadingHTTPServer:
    """A server on 127.0.0.1; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), _Handler)


@schemas_app.command()
def serve(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8081) -> None:
    """Serve the schemas, read-only; Ctrl-C ends it."""
    with server(port) as serving:
        console.print(f"schemas at http://127.0.0.1:{serving.server_port}; Ctrl-C ends it")
        serving.serve_forever()


@schemas_app.command()
def lint() -> None:
    """Check hygiene, that published versions are unchanged, and full transitive compatibility."""
    wrong = lint_all() + check_all()
    for line in wrong:
        console.print(line, soft_wrap=True)
    console.print(f"{len(ALL)} schemas: " + (f"{len(wrong)} problems" if wrong else "sound"))
    if wrong:
        raise typer.Exit(1)
