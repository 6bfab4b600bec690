"""The typed faces of the exchange's own records are their `.avsc` files, field by field."""

from __future__ import annotations

from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from tocsin.schemas import records
from tocsin.schemas.catalog import ALL, schema
from tocsin.schemas.names import AlertType

FACES: dict[str, type] = {
    "notice": records.Notice,
    "sight": records.Sight,
    "decision": records.Decision,
    "ledger-entry": records.LedgerEntry,
    "ledger-mark": records.LedgerMark,
    "ledger-position": records.LedgerPosition,
    "ledger-inbox": records.LedgerInbox,
    "subscription": records.Subscription,
    "receipt": records.Receipt,
    "dispute": records.Dispute,
    "hold": records.Hold,
    "release": records.Release,
    "cosignature": records.Cosignature,
    "acknowledgement": records.Acknowledgement,
    "directory": records.DirectoryDocument,
    "policy-change": records.PolicyChange,
    "acl-snapshot": records.AclSnapshot,
    "access": records.AccessLog,
}
SCALARS = {"int": int, "long": int, "string": str, "bytes": bytes, "boolean": bool}


def _check(node: Any, kind: Any, path: str) -> None:
    if isinstance(node, list):
        (inner,) = set(get_args(kind)) - {NoneType}
        assert NoneType in get_args(kind), path
        _check(node[1], inner, path)
    elif isinstance(node, str):
        # a record that was named before is named again
        assert SCALARS.get(node) is kind or kind.__name__ == node.rpartition(".")[2], path
    elif node["type"] == "record":
        hints = get_type_hints(kind)
        assert list(hints) == [field["name"] for field in node["fields"]], path
        for field in node["fields"]:
            _check(field["type"], hints[field["name"]], f"{path}.{field['name']}")
    elif node["type"] == "array":
        assert get_origin(kind) is list, path
        _check(node["items"], get_args(kind)[0], f"{path}[]")
    elif node["type"] == "enum":
        assert get_origin(kind) is Literal, path
        assert list(get_args(kind)) == node["symbols"], path
    else:
        _check(node["type"], kind, path)


@pytest.mark.parametrize("subject", FACES)
def test_face_and_schema_agree(subject: str) -> None:
    """Same fields in the same order, same types, same symbols."""
    _check(schema(subject).parsed, FACES[subject], subject)


def test_every_subject_has_a_face() -> None:
    """What is no alert has a face here."""
    assert {one.subject for one in ALL} == set(FACES) | {kind.value for kind in AlertType}
