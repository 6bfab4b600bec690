"""A small coalition with real keys: two publishers, a secretariat, the exchange; of three root keys two sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tests.unit.schemas.samples import DAY_MS, NOW_MS, sample
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.directory import EXCHANGE, ROOT_SIGNER, Directory, DirectoryKey, DirectoryMember, Roots
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.signing import SigningKey, sign_headers

COALITION: Final = "test"
SUBJECT: Final = "site-taken-down"
TOPIC: Final = AlertTopic.parse(f"alerts.de.{SUBJECT}.amber")
LINEAGE: Final = str(sample(SUBJECT)["header"]["lineage_id"]).encode()

PUBLISHER, OTHER, SECRETARIAT = "acquirer-de", "bank-fr", "secretariat"
_ROLES: Final = {
    PUBLISHER: ("acquirer", "de"),
    OTHER: ("bank", "fr"),
    SECRETARIAT: ("secretariat", "eu"),
    EXCHANGE: ("exchange", "eu"),
}
KEYS: Final = {member: SigningKey.generate(member) for member in _ROLES}
ROOT_KEYS: Final = tuple(SigningKey.generate(ROOT_SIGNER) for _ in range(3))
ROOTS: Final = Roots(tuple(key.public.hex() for key in ROOT_KEYS), 2)

Headers = Sequence[tuple[str, Any]]


def directory_key(key: SigningKey, **changes: Any) -> DirectoryKey:
    """The directory's entry for `key`, valid for a day before and after NOW_MS unless `changes` say otherwise."""
    found = DirectoryKey(key.key_id, key.member, key.public, NOW_MS - DAY_MS, NOW_MS + DAY_MS)
    return replace(found, **changes)


def directory(*keys: DirectoryKey, **changes: Any) -> Directory:
    """Everybody is active; `keys` replace the entries of the same key id."""
    known = {key.key_id: directory_key(key) for key in KEYS.values()}
    made = Directory(
        coalition=COALITION,
        version=7,
        issued_at=NOW_MS,
        expires_at=NOW_MS + DAY_MS,
        members={name: DirectoryMember(name, role, place, "ACTIVE") for name, (role, place) in _ROLES.items()},
        keys={**known, **{key.key_id: key for key in keys}},
    )
    return replace(made, **changes)


def alert(record: Mapping[str, Any] | None = None, *, by: str = PUBLISHER) -> tuple[bytes, Headers]:
    """Value and headers of an alert, signed by a member as it should be."""
    value = encode(schema(SUBJECT), record or sample(SUBJECT))
    return value, sign_headers(KEYS[by], COALITION, schema(SUBJECT), value)
