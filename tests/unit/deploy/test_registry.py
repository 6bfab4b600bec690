"""The registry answers as Confluent's does, for reading."""

from __future__ import annotations

import gc
import importlib
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from typer.testing import CliRunner

from tocsin.deploy.errors import RegistryError
from tocsin.deploy.registry import BODY_BYTES_MAX, answer, schemas_app, server
from tocsin.schemas.catalog import ALL, Schema, schema
from tocsin.schemas.codec import encode


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a registry that runs on loopback."""
    with server(0) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield serving.server_port
        finally:
            serving.shutdown()
            thread.join()


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.subject)
def test_every_schema_by_id_version_and_text(one: Schema) -> None:
    """Each schema is found by id, by version, as the latest, and by its own text."""
    assert answer("GET", f"/schemas/ids/{one.id}").body == {"schema": one.text}
    described = {"subject": one.subject, "version": one.version, "id": one.id, "schema": one.text}
    for version in (str(one.version), "latest"):
        assert answer("GET", f"/subjects/{one.subject}/versions/{version}").body == described
    asked = json.dumps({"schema": one.text}).encode()
    assert answer("POST", f"/subjects/{one.subject}", asked).body == described


def test_topic_name_strategy() -> None:
    """A client that asks for `<topic>-value` finds the schema of the topic's type."""
    found = answer("GET", "/subjects/alerts.de.merchant-terminated.amber-value/versions/latest")
    assert found.body["id"] == schema("merchant-terminated").id


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/schemas/ids/9", HTTPStatus.NOT_FOUND, 40403),
        ("GET", "/schemas/ids/x", HTTPStatus.NOT_FOUND, 40403),
        ("GET", "/subjects/nothing/versions/latest", HTTPStatus.NOT_FOUND, 40401),
        ("GET", "/schemas/ids/-101", HTTPStatus.NOT_FOUND, 40403),
        ("GET", "/subjects/nothing/versions", HTTPStatus.NOT_FOUND, 40401),
        ("GET", "/subjects/notice/versions/0", HTTPStatus.UNPROCESSABLE_ENTITY, 42202),
        ("GET", "/subjects/notice/versions/newest", HTTPStatus.UNPROCESSABLE_ENTITY, 42202),
        ("GET", "/subjects/alerts.de.nothing.amber-value/versions/1", HTTPStatus.NOT_FOUND, 40401),
        ("PUT", "/config", HTTPStatus.METHOD_NOT_ALLOWED, 405),
        ("GET", "/subjects/notice/versions/7", HTTPStatus.NOT_FOUND, 40402),
        ("GET", "/nowhere", HTTPStatus.NOT_FOUND, 404),
        ("POST", "/subjects/notice/versions", HTTPStatus.METHOD_NOT_ALLOWED, 405),
        ("DELETE", "/subjects/notice", HTTPStatus.METHOD_NOT_ALLOWED, 405),
        ("POST", "/subjects/notice", HTTPStatus.UNPROCESSABLE_ENTITY, 42201),
    ],
)
def test_what_is_missing_or_forbidden(method: str, path: str, status: HTTPStatus, code: int) -> None:
    """Unone things are 404 with Confluent's codes, writes are 405."""
    found = answer(method, path)
    assert (found.status, found.body["error_code"]) == (status, code)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"schema": 1}', b'{"schema": "{"}', b"\xff", b'{"schema": "' + b"[" * 100_000 + b'"}'],
    ids=["empty", "list", "number", "cut", "not UTF-8", "deep"],
)
def test_a_body_that_is_no_schema(body: bytes) -> None:
    """Whatever is posted for look-up, the answer is 42201."""
    assert answer("POST", "/subjects/notice", body).body["error_code"] == 42201


def test_look_up_ignores_spacing_and_order_and_finds_no_stranger() -> None:
    """A schema is the same however its JSON is laid out; another one is not found."""
    text = json.loads(schema("receipt").text)
    turned = json.dumps(dict(reversed(text.items())), separators=(",", ":"))
    assert answer("POST", "/subjects/receipt", json.dumps({"schema": turned}).encode()).body["id"] == 205
    other = json.dumps({"schema": json.dumps({**text, "name": "Other"})}).encode()
    assert answer("POST", "/subjects/receipt", other).body["error_code"] == 40403


def test_the_smaller_questions() -> None:
    """What clients ask beside schemas: versions, subjects of an id, raw schema, types, mode, compatibility level."""
    subjects = answer("GET", "/subjects").body
    assert subjects == sorted(one.subject for one in ALL)
    for subject in subjects:
        assert answer("GET", f"/subjects/{subject}/versions").body == [1]
    assert answer("GET", "/schemas/ids/205/schema").body == json.loads(schema("receipt").text)
    assert answer("GET", "/subjects/receipt/versions/-1/schema").body == json.loads(schema("receipt").text)
    assert answer("GET", "/schemas/ids/205/subjects").body == ["receipt"]
    assert answer("GET", "/schemas/ids/205/versions?deleted=true").body == [{"subject": "receipt", "version": 1}]
    assert answer("GET", "/schemas/types").body == ["AVRO"]
    assert answer("GET", "/config/receipt").body == {"compatibilityLevel": "FULL_TRANSITIVE"}
    assert answer("GET", "/mode").body == {"mode": "READONLY"}
    assert answer("GET", "/").body == {}


def test_over_http(port: int) -> None:
    """The server gives the same answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/subjects") as reply:
        assert reply.headers["Content-Type"] == "application/vnd.schemaregistry.v1+json"
        assert json.load(reply) == answer("GET", "/subjects").body


def test_it_listens_on_loopback_only() -> None:
    """Unless told otherwise, nobody but this machine can reach it."""
    with server(0) as serving:
        assert serving.server_address[0] == "127.0.0.1"


def _speak(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(request)
        line.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: line.recv(65_536), b""))


@pytest.mark.parametrize(
    "header",
    ["Content-Length: x", "Content-Length: -1", f"Content-Length: {BODY_BYTES_MAX + 1}", "Transfer-Encoding: chunked"],
)
def test_a_body_that_cannot_be_read_ends_the_connection(port: int, header: str) -> None:
    """What follows an unreadable body is never taken for a second request."""
    request = f"POST /subjects/notice HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\nGET /subjects HTTP/1.1\r\nHost: x\r\n\r\n"
    reply = _speak(port, request.encode())
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert reply.count(b"HTTP/1.1 ") == 1


def test_a_taken_port_is_said_with_its_remedy(port: int) -> None:
    """The error names the address and the option that changes it."""
    with pytest.raises(RegistryError, match=rf"127\.0\.0\.1:{port}: .*--port"):
        server(port)


def test_lint_command() -> None:
    """`tocsin schemas lint` passes on this release."""
    found = CliRunner().invoke(schemas_app, ["lint"])
    assert (found.exit_code, found.output) == (0, f"{len(ALL)} schemas: sound\n")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_confluents_own_client(port: int) -> None:
    """Confluent's client looks schemas up, and its deserializer reads our bytes without our code."""
    registry: Any = importlib.import_module("confluent_kafka.schema_registry")
    avro: Any = importlib.import_module("confluent_kafka.schema_registry.avro")
    serialization: Any = importlib.import_module("confluent_kafka.serialization")
    client = registry.SchemaRegistryClient({"url": f"http://127.0.0.1:{port}"})
    assert client.get_latest_version("receipt").schema_id == 205
    topic = "alerts.de.merchant-terminated.amber"
    assert client.get_latest_version(f"{topic}-value").schema_id == 101
    receipt = {
        "member": "bank-fr",
        "topic": "inbox.bank-fr",
        "group": "bank-fr.inbox",
        "series": "0198",
        "first_offset": 1,
        "last_offset": 9,
        "count": 2,
        "root": bytes(32),
        "origins": [{"topic": "alerts.de.site-taken-down.green", "rule": "ALLOW"}],
        "copies": [{"offset": 1, "origin": 0, "source_offset": 7, "sha256": bytes(32)}],
        "erasures": [{"offset": 9, "key": "bank-de/1"}],
        **dict.fromkeys(("last_appended_at", "began_at", "issued_at"), 5),
    }
    context = serialization.SerializationContext("outbox.bank-fr", "value")
    found = avro.AvroDeserializer(client)(encode(schema("receipt"), receipt), context)
    assert {**found, **dict.fromkeys(("last_appended_at", "began_at", "issued_at"), 5)} == receipt
    del client
    gc.collect()  # the client leaves its connection open, which must be noticed here and not in another test
