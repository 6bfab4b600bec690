"""Schema hygiene and compatibility: ours are sound, and each rule bites."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any, cast

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.schemas.catalog import ALL, schema
from tocsin.schemas.compat import cannot_read, check_all
from tocsin.schemas.lint import check_files, check_published, lint, lint_all, published
from tocsin.schemas.uuid7 import uuid7


def _record(kind: Any, **field: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": "f", "type": kind, **field}]}


def test_ours_are_sound() -> None:
    """The schemas of this release pass."""
    assert lint_all() == []
    assert check_all() == []


@pytest.mark.parametrize(
    "kind",
    [
        ["null", "R"],
        {"type": "map", "values": "string"},
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}},
        {"type": "bytes", "logicalType": "decimal", "precision": 9},
        "double",
        {"type": "fixed", "name": "F", "size": 0},
        ["null", "string", "int"],
        ["string", "null"],
        ["null", {"type": "array", "items": ["null", {"type": "map", "values": "int"}]}],
    ],
)
def test_each_rule_bites(kind: Any) -> None:
    """Recursion, maps, items of no size, decimals and floats are found."""
    assert list(lint(_record(kind), "x"))


def test_depth_bites() -> None:
    """Nine levels of records and arrays are too deep, eight are not."""
    records: Any = "string"
    arrays: Any = "string"
    for level in range(9):
        assert not list(lint(records, "x"))
        assert not list(lint(arrays, "x"))
        records = {"type": "record", "name": f"L{level}", "fields": [{"name": "f", "type": records}]}
        arrays = {"type": "array", "items": arrays}
    assert list(lint(records, "x")) == [f"x{'.f' * 8}: deeper than 8"]
    assert list(lint(arrays, "x")) == ["x: deeper than 8"]


def test_an_optional_field_can_be_left_out() -> None:
    """A union has the default null."""
    assert list(lint(_record(["null", "string"]), "x")) == ["x.f: optional, and without the default null"]
    assert not list(lint(_record(["null", "string"], default=None), "x"))


def test_a_published_schema_cannot_change_or_go() -> None:
    """A changed, an unlisted and a missing version are each said."""
    pins = dict(published())
    first, second, third = list(pins)[:3]
    changed = {**pins, first: "0" * 64, "gone.v1.avsc": pins[third]}
    del changed[second]
    said = check_published(ALL, changed)
    assert [line.partition(",")[0].partition(";")[0] for line in said] == [
        f"{first}: changed after it was published",
        f"{second}: not in published.json",
        "gone.v1.avsc: published",
    ]


def test_every_file_has_an_id() -> None:
    """An .avsc file that the catalogue does not name is said."""
    said = check_files(["notice.v1.avsc", "notice.v2.avsc"], ALL)
    assert said == ["notice.v2.avsc: has no id; add it to the table in catalog.py"]


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (_record("string"), _record("int")),
        (_record("long"), _record("int")),
        (
            _record({"type": "enum", "name": "E", "symbols": ["A", "B"]}),
            _record({"type": "enum", "name": "E", "symbols": ["A"]}),
        ),
        ({"type": "record", "name": "R", "fields": []}, _record("string")),
        (_record(["null", "string"]), _record("string")),
        (_record("int"), _record(["null", "string"])),
        (_record({"type": "array", "items": "long"}), _record({"type": "array", "items": "int"})),
        (_record({"type": "long", "logicalType": "timestamp-millis"}), _record("long")),
        ({**_record("int"), "name": "Q"}, _record("int")),
    ],
)
def test_incompatible_changes_are_found(writer: Any, reader: Any) -> None:
    """A reader that cannot take what the writer wrote is named."""
    assert cannot_read(writer, reader)


def test_compatible_changes_pass() -> None:
    """A new field with a default, and a promotion, are fine."""
    assert cannot_read({"type": "record", "name": "R", "fields": []}, _record(["null", "string"], default=None)) == []
    assert cannot_read(_record("int"), _record("long")) == []
    assert cannot_read(_record("int"), _record(["null", "long"])) == []
    assert cannot_read(_record("string"), {"type": "record", "name": "R", "fields": []}) == []
    text = json.loads(schema("merchant-terminated").text)
    assert cannot_read(text, text) == []


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_we_call_compatible_avro_reads(data: st.DataObject) -> None:
    """Versions with and without new optional fields read each other's records, and fastavro agrees."""
    old = json.loads(schema("acknowledgement").text)
    names = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, min_size=1))
    added = [{"name": name, "type": ["null", "string"], "default": None} for name in names]
    at = data.draw(st.integers(0, len(old["fields"])))
    new = {**old, "fields": [*old["fields"][:at], *added, *old["fields"][at:]]}
    assert cannot_read(old, new) == cannot_read(new, old) == []
    record = {"member": "m", "publisher": "p", "lineage_id": "l", "notice_id": str(uuid7()), "issued_at": 3}
    assert _resolve(old, new, record).keys() == record.keys() | set(names)
    assert _resolve(new, old, {**record, names[0]: "x"}).keys() == record.keys()


def _resolve(writer: Any, reader: Any, record: dict[str, Any]) -> dict[str, Any]:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(writer), record)
    out.seek(0)
    return cast("dict[str, Any]", fastavro.schemaless_reader(out, writer, reader))
