"""Models and `.avsc` files are the same contract, field by field, and an alert survives the way to Avro and back."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tests.unit.schemas.samples import NOW_MS, SUBJECTS, put, sample
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode_strict, encode
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.models import MODELS, Day, Header, Time, from_avro
from tocsin.schemas.names import AlertType, Tlp

TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}
DATE = {"type": "int", "logicalType": "date"}


def _from_avsc(node: Any, named: dict[str, Any]) -> Any:  # noqa: PLR0911  # one a kind of type
    """An Avro type as nested plain data: records as dicts, enums as sets, optional as ("optional", X)."""
    if isinstance(node, list):
        return ("optional", _from_avsc(node[1], named))
    if isinstance(node, str):
        return named.get(node, "int" if node == "long" else node)
    if node["type"] == "record":
        return {field["name"]: _from_avsc(field["type"], named) for field in node["fields"]}
    if node["type"] == "array":
        return ("array", _from_avsc(node["items"], named))
    if node["type"] == "enum":
        named[node["name"]] = frozenset(node["symbols"])
        return named[node["name"]]
    if node in (TIMESTAMP, DATE):
        return node["logicalType"]
    assert node == {"type": "string", "logicalType": "uuid"}
    return "string"


def _from_python(kind: Any) -> Any:  # noqa: PLR0911  # one a kind of type
    """A model's type in the same form."""
    if kind == Time:
        return "timestamp-millis"
    if kind == Day:
        return "date"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return frozenset(arguments)
    if origin is tuple:
        assert arguments[1] is ...
        return ("array", _from_python(arguments[0]))
    if NoneType in arguments:
        (inner,) = set(arguments) - {NoneType}
        return ("optional", _from_python(inner))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        hints = get_type_hints(kind, include_extras=True)
        return {name: _from_python(hints[name]) for name in kind.model_fields}
    return {str: "string", int: "int", bool: "boolean"}[kind]


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    """One entry a field, so that a difference names it."""
    if isinstance(node, tuple):
        return {path: node[0], **_flat(node[1], f"{path}[]")}
    if isinstance(node, dict):
        order = {f"{path}{{}}": tuple(node)}
        return order | {
            key: kind for name, inner in node.items() for key, kind in _flat(inner, f"{path}.{name}").items()
        }
    return {path: node}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_models_and_schemas_agree_field_by_field(subject: str) -> None:
    """Same fields in the same order, same types, same symbols, same optionality."""
    ours, theirs = _from_python(MODELS[subject]), _from_avsc(json.loads(schema(subject).text), {})
    assert _flat(ours) == _flat(theirs)
    assert len(_flat(ours)) > 50


def test_one_model_and_one_schema_for_each_type() -> None:
    """Types, models and subjects are the same three; the TLP enum is the header's."""
    assert set(MODELS) == set(SUBJECTS) == {kind.value for kind in AlertType}
    assert frozenset(Tlp) == _from_python(get_type_hints(Header, include_extras=True)["tlp"])


@pytest.mark.parametrize("subject", SUBJECTS)
def test_there_and_back(subject: str) -> None:
    """Record -> model -> bytes -> record -> model loses nothing; so does JSON."""
    record = sample(subject)
    alert = from_avro(schema(subject), record)
    kind, found = decode_strict(alert.to_avro())
    assert found == record
    assert from_avro(kind, found) == alert
    assert type(alert).model_validate_json(alert.model_dump_json()) == alert
    assert alert.to_avro() == encode(schema(subject), record)


TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9990, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds it


@settings(deadline=None)
@given(
    observed=TIMES,
    life=st.timedeltas(timedelta(milliseconds=1), timedelta(days=300)),
    day=st.dates(),
    confidence=st.integers(0, 100),
    handling=st.lists(st.sampled_from(["H0", "H1", "H2", "H3"]), unique=True),
    number=st.integers(1, 2**31 - 1),
)
def test_models_round_trip_through_avro(
    observed: datetime, life: timedelta, day: date, confidence: int, handling: list[str], number: int
) -> None:
    """Whatever a valid alert says is read back: times to the millisecond, days, numbers to their limits."""
    record = sample("merchant-terminated")
    record["header"] |= {
        "observed_at": observed,
        "published_at": observed,
        "expires_at": observed + life + timedelta(milliseconds=1),
        "confidence": confidence,
        "handling": handling,
        "revision": number,
    }
    record["details"]["terminated_at"] = day
    alert = MODELS["merchant-terminated"].model_validate(record)
    back = from_avro(*decode_strict(alert.to_avro()))
    assert back == alert
    assert back.header.observed_at == observed.replace(microsecond=observed.microsecond // 1000 * 1000)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("header.confidence", 101),
        ("header.tlp", "RED"),
        ("header.tlp", "TLP:RED"),
        ("header.surprise", 1),
        ("header.observed_at", "2026-11-23T10:00:00"),
        ("header.observed_at", 10**20),
        ("header.observed_at", -1),
        ("details.terminated_at", 10**9),
        ("details.descriptors", []),
        ("details.dba_token", "Blue Shop"),
        ("details.reasons.0.scheme", "OTHER"),
    ],
)
def test_what_breaks_a_rule_is_no_model(path: str, value: Any) -> None:
    """Naive or impossible times, unknown fields, RED and broken rules are refused when an alert is made."""
    with pytest.raises(ValidationError):
        MODELS["merchant-terminated"].model_validate(put(sample("merchant-terminated"), path, value))


@pytest.mark.parametrize(
    ("label", "tlp"),
    [
        ("TLP:WHITE", "CLEAR"),
        ("white", "CLEAR"),
        ("TLP:AMBER+STRICT", "AMBER_STRICT"),
        ("amber-strict", "AMBER_STRICT"),
        ("tlp:green", "GREEN"),
    ],
)
def test_tlp_spellings(label: str, tlp: str) -> None:
    """TLP 1.0's WHITE is CLEAR, and the usual spellings are read."""
    record = put(sample("site-taken-down"), "header.tlp", label)
    assert MODELS["site-taken-down"].model_validate(record).header.tlp == tlp


def test_topic_and_content_of_an_alert() -> None:
    """An alert knows its topic, and the guard sees its text."""
    alert = from_avro(schema("site-taken-down"), sample("site-taken-down"))
    assert alert.topic.name == "alerts.de.site-taken-down.amber"
    alert.check_content()
    with pytest.raises(Rejection) as refusal:
        from_avro(
            schema("site-taken-down"), put(sample("site-taken-down"), "header.note", "www.example.top")
        ).check_content()
    assert refusal.value.reason is Reason.CONTENT


def test_models_are_frozen() -> None:
    """What was checked cannot change afterwards."""
    alert = from_avro(schema("site-taken-down"), sample("site-taken-down"))
    assert alert.header.published_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=NOW_MS)
    with pytest.raises(ValidationError):
        alert.header.confidence = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # the point
