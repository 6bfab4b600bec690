"""The registry answers as Confluent's does, for reading."""

from __future__ import annotations

import json
import threading
import urllib.request
from http import HTTPStatus

import pytest

from tocsin.deploy.registry import answer, server
from tocsin.schemas.catalog import ALL, schema


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.subject)
def test_every_schema_by_id_version_and_text(one: object) -> None:
    """Each schema is found by id, by version, as the latest, and by its own text."""
    known = next(schema for schema in ALL if schema is one)
    assert answer("GET", f"/schemas/ids/{known.id}").body == {"schema": known.text}
    described = {"subject": known.subject, "version": known.version, "id": known.id, "schema": known.text}
    for version in (str(known.version), "latest"):
        assert answer("GET", f"/subjects/{known.subject}/versions/{version}").body == described
    asked = json.dumps({"schema": known.text}).encode()
    assert answer("POST", f"/subjects/{known.subject}", asked).body == described


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
        ("GET", "/subjects/notice/versions/7", HTTPStatus.NOT_FOUND, 40402),
        ("GET", "/nowhere", HTTPStatus.NOT_FOUND, 404),
        ("POST", "/subjects/notice/versions", HTTPStatus.METHOD_NOT_ALLOWED, 405),
        ("DELETE", "/subjects/notice", HTTPStatus.METHOD_NOT_ALLOWED, 405),
        ("POST", "/subjects/notice", HTTPStatus.UNPROCESSABLE_ENTITY, 42201),
    ],
)
def test_what_is_missing_or_forbidden(method: str, path: str, status: HTTPStatus, code: int) -> None:
    """Unknown things are 404 with Confluent's codes, writes are 405."""
    found = answer(method, path)
    assert (found.status, found.body["error_code"]) == (status, code)


def test_over_http() -> None:
    """The server gives the same answers, on the loopback interface."""
    with server(0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            assert serving.server_address[0] == "127.0.0.1"
            with urllib.request.urlopen(f"http://127.0.0.1:{serving.server_port}/subjects") as reply:
                assert json.load(reply) == answer("GET", "/subjects").body
        finally:
            serving.shutdown()
            thread.join()
