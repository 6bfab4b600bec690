"""The schemas of this release, by fixed id. Ids are the same for every coalition, so any decoder can be set up once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

import fastavro

from tocsin.schemas.errors import UnknownSchema

# id -> (subject, version). A published pair never changes; a new version gets the next id of its hundred.
_IDS: Final = {
    101: ("merchant-terminated", 1),
    102: ("descriptor-reused", 1),
    103: ("site-taken-down", 1),
    201: ("notice", 1),
    202: ("decision", 1),
    203: ("ledger-entry", 1),
    204: ("subscription", 1),
    205: ("receipt", 1),
    206: ("directory", 1),
    207: ("ledger-mark", 1),
    208: ("ledger-position", 1),
    209: ("acknowledgement", 1),
    210: ("ledger-inbox", 1),
    211: ("dispute", 1),
    212: ("hold", 1),
    213: ("release", 1),
    214: ("policy-change", 1),
    215: ("acl-snapshot", 1),
    216: ("sight", 1),
    217: ("cosignature", 1),
    218: ("access", 1),
}


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """One version of one schema. `text` is what the registry serves, `sha256` the hex digest of its bytes.

    `parsed` is for fastavro and leaves logical types out: times stay integers, which is what the hot path wants.
    """

    id: int
    subject: str
    version: int
    text: str = field(repr=False)
    sha256: str
    parsed: Any = field(repr=False)


def _plain(node: Any) -> Any:
    """The schema without logical types."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items() if key != "logicalType"}
    return [_plain(item) for item in node] if isinstance(node, list) else node


def _load(schema_id: int, subject: str, version: int) -> Schema:
    text = (files("tocsin.schemas") / "avsc" / f"{subject}.v{version}.avsc").read_text(encoding="utf-8")
    parsed = fastavro.parse_schema(_plain(json.loads(text)))
    return Schema(schema_id, subject, version, text, hashlib.sha256(text.encode()).hexdigest(), parsed)


ALL: Final = tuple(_load(schema_id, subject, version) for schema_id, (subject, version) in _IDS.items())
_BY_ID: Final = {schema.id: schema for schema in ALL}


def schema_by_id(schema_id: int) -> Schema:
    """The schema under `schema_id`.

    Raises:
        UnknownSchema: there is none in this release.
    """
    found = _BY_ID.get(schema_id)
    if found is None:
        raise UnknownSchema(f"schema id {schema_id}: not in this release; a newer tocsin-schemas may have it")
    return found


@cache
def schema(subject: str, version: int | None = None) -> Schema:
    """The schema of `subject`, its newest version unless one is named.

    Raises:
        UnknownSchema: there is none in this release.
    """
    found = [one for one in ALL if one.subject == subject and version in (None, one.version)]
    if not found:
        raise UnknownSchema(f"schema {subject} version {version or 'latest'}: not in this release")
    return max(found, key=lambda one: one.version)
