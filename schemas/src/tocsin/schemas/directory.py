"""The directory: members and their public keys, one versioned, expiring document signed by n of m offline root keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nacl.bindings import crypto_sign_PUBLICKEYBYTES

from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import VALUE_BYTES_MAX, decode_strict, encode
from tocsin.schemas.errors import DirectoryInvalid, Rejection
from tocsin.schemas.files import write_file
from tocsin.schemas.signing import (
    KEY_HEADER,
    SIGNATURE_HEADER,
    TYPE_HEADER,
    Headers,
    SigningKey,
    fingerprint,
    key_id_of,
    pae,
    payload_type,
    sign_headers_by,
    verify,
)

EXCHANGE: Final = "exchange"
SECRETARIAT_ROLE: Final = "secretariat"
ROOT_SIGNER: Final = "root"
# 1,000 members with several keys each
DOCUMENT_BYTES_MAX: Final = 32 * VALUE_BYTES_MAX

_SCHEMA: Final = schema("directory")
_ROOTS_REMEDY: Final = "ask the secretariat for the bundle's config.json"


@dataclass(frozen=True, slots=True)
class Roots:
    """The pinned root keys: public keys as hex, and how many of them must have signed.

    Raises:
        DirectoryInvalid: a key is no Ed25519 key or pinned twice, or the threshold is not between 1 and their number.
    """

    public_keys: tuple[str, ...]
    threshold: int

    def __post_init__(self) -> None:
        pinned = self.pinned()
        if any(len(key) != crypto_sign_PUBLICKEYBYTES for key in pinned):
            raise DirectoryInvalid(f"roots: a key is not 32 bytes; {_ROOTS_REMEDY}")
        # with none needed anybody's word would do, with more than there are nobody's
        if len(set(pinned)) != len(pinned) or not 1 <= self.threshold <= len(pinned):
            raise DirectoryInvalid(f"roots: {self.threshold} of {len(pinned)} different keys; {_ROOTS_REMEDY}")

    def pinned(self) -> tuple[bytes, ...]:
        """The public keys, 32 bytes each."""
        try:
            return tuple(bytes.fromhex(key) for key in self.public_keys)
        except ValueError as error:
            raise DirectoryInvalid(f"roots: a key is not hex; {_ROOTS_REMEDY}") from error

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """What stands on the paper that a member is given."""
        return tuple(fingerprint(key) for key in self.pinned())


@dataclass(frozen=True, slots=True)
class DirectoryMember:
    """An organisation. Withdrawn members are still sent withdrawal notices."""

    member: str
    role: str
    jurisdiction: str
    status: str


@dataclass(frozen=True, slots=True)
class DirectoryKey:
    """A public key and when it counts (milliseconds since 1970, both ends included).

    A revoked key counts only up to the last trusted offset of each topic.
    """

    key_id: str
    member: str
    public: bytes
    valid_from: int
    valid_to: int
    revoked: bool = False
    trusted: Mapping[str, int] = field(default_factory=dict[str, int])

    def counts(self, topic: str, offset: int, at_ms: int) -> bool:
        """Whether a record appended to `topic` at `offset` and time `at_ms` may carry this key's signature."""
        if self.revoked and offset > self.trusted.get(topic, -1):
            return False
        return self.valid_from <= at_ms <= self.valid_to


@dataclass(frozen=True, slots=True)
class Directory:
    """A document that has been verified."""

    coalition: str
    version: int
    issued_at: int
    expires_at: int
    members: Mapping[str, DirectoryMember]
    keys: Mapping[str, DirectoryKey]

    def is_active(self, member: str) -> bool:
        """Whether `member` may be given alerts and may publish."""
        found = self.members.get(member)
        return found is not None and found.status == "ACTIVE"

    def may_revise(self, signer: str, publisher: str) -> bool:
        """Whether `signer` may publish in `publisher`'s name: itself, or the secretariat."""
        return signer == publisher or self.is_secretariat(signer)

    def is_secretariat(self, member: str) -> bool:
        """Whether `member` has that role, whatever its status."""
        found = self.members.get(member)
        return found is not None and found.role == SECRETARIAT_ROLE


def to_record(directory: Directory) -> dict[str, Any]:
    """The Avro record of `directory`."""
    return {
        "coalition": directory.coalition,
        "version": directory.version,
        "issued_at": directory.issued_at,
        "expires_at": directory.expires_at,
        "members": [
            {"member": m.member, "role": m.role, "jurisdiction": m.jurisdiction, "status": m.status}
            for m in directory.members.values()
        ],
        "keys": [
            {
                "key_id": k.key_id,
                "member": k.member,
                "public": k.public,
                "valid_from": k.valid_from,
                "valid_to": k.valid_to,
                "status": "REVOKED" if k.revoked else "ACTIVE",
                "trusted": [{"topic": topic, "offset": offset} for topic, offset in k.trusted.items()],
            }
            for k in directory.keys.values()
        ],
    }


def from_record(record: Mapping[str, Any]) -> Directory:
    """The directory that `record` describes.

    Raises:
        DirectoryInvalid: it can be read in two ways: a member, key or topic stands there twice, or a key is misnamed.
    """
    _check_entries(record)
    keys = [
        DirectoryKey(
            key_id=k["key_id"],
            member=k["member"],
            public=k["public"],
            valid_from=k["valid_from"],
            valid_to=k["valid_to"],
            revoked=k["status"] == "REVOKED",
            trusted={one["topic"]: one["offset"] for one in k["trusted"]},
        )
        for k in record["keys"]
    ]
    return Directory(
        coalition=record["coalition"],
        version=record["version"],
        issued_at=record["issued_at"],
        expires_at=record["expires_at"],
        members={m["member"]: DirectoryMember(**m) for m in record["members"]},
        keys={key.key_id: key for key in keys},
    )


def _check_entries(record: Mapping[str, Any]) -> None:
    _check_once("member", [m["member"] for m in record["members"]])
    _check_once("key", [k["public"] for k in record["keys"]])
    for key in record["keys"]:
        if len(key["public"]) != crypto_sign_PUBLICKEYBYTES:
            raise DirectoryInvalid(f"directory: key {key['key_id']} is not 32 bytes")
        if key["key_id"] != key_id_of(key["member"], key["public"]):
            raise DirectoryInvalid(f"directory: key {key['key_id']} is not named after its member and public key")
        _check_once(f"trusted topic of key {key['key_id']}", [one["topic"] for one in key["trusted"]])


def _check_once(what: str, names: Sequence[object]) -> None:
    if len(set(names)) != len(names):
        raise DirectoryInvalid(f"directory: a {what} stands there twice; the secretariat must publish a new one")


def sign_directory(directory: Directory, roots: Iterable[SigningKey]) -> tuple[bytes, Headers]:
    """Value and headers of the record for the topic `directory`."""
    value = encode(_SCHEMA, to_record(directory))
    return value, sign_headers_by(roots, directory.coalition, _SCHEMA, value)


def open_directory(
    value: bytes,
    headers: Sequence[tuple[str, bytes | None]] | None,
    roots: Roots,
    *,
    coalition: str,
    now_ms: int,
    version_min: int = 0,
) -> Directory:
    """The directory in a record, verified: signatures before decoding, then coalition, version and expiry.

    Raises:
        DirectoryInvalid: it must not be used; the message says why.
    """
    if len(value) > DOCUMENT_BYTES_MAX:
        raise DirectoryInvalid(f"directory: larger than {DOCUMENT_BYTES_MAX} bytes")
    signed = _count_roots(value, headers or (), roots, coalition)
    if signed < roots.threshold:
        raise DirectoryInvalid(f"directory: signed by {signed} pinned root keys, {roots.threshold} are needed")
    try:
        kind, record = decode_strict(value, bytes_max=DOCUMENT_BYTES_MAX)
    except Rejection as refusal:
        raise DirectoryInvalid(f"directory: {refusal}") from refusal
    if kind is not _SCHEMA:
        raise DirectoryInvalid(f"directory: a record of schema {kind.subject}, not {_SCHEMA.subject}")
    found = from_record(record)
    if found.coalition != coalition:
        raise DirectoryInvalid(f"directory: of coalition {found.coalition}, not {coalition}")
    if found.version < version_min:
        raise DirectoryInvalid(f"directory: version {found.version} is older than {version_min}, seen before")
    if found.expires_at <= now_ms:
        raise DirectoryInvalid(
            f"directory: version {found.version} has expired; the secretariat must publish a new one"
        )
    return found


def _count_roots(value: bytes, headers: Sequence[tuple[str, bytes | None]], roots: Roots, coalition: str) -> int:
    """How many pinned keys signed; one that signed twice counts once. The key ids are not signed and prove nothing."""
    kind = payload_type(coalition, _SCHEMA).encode()
    if [content for name, content in headers if name == TYPE_HEADER] != [kind]:
        return 0
    message = pae(kind, value)
    signatures = [content for name, content in headers if name == SIGNATURE_HEADER and isinstance(content, bytes)]
    named = [content for name, content in headers if name == KEY_HEADER]
    if len(signatures) > len(roots.public_keys) or len(named) != len(signatures):
        return 0
    return sum(any(verify(public, message, signature) for signature in signatures) for public in roots.pinned())


class VersionFloor:
    """The highest directory version seen, kept in a file: an older document is a replay, after a restart too.

    Processes may share the file.

    Raises:
        DirectoryInvalid: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.version = self._read()

    def raise_to(self, version: int) -> None:
        """Remember `version`, if it is higher than what any process remembers."""
        if version > self.version:
            self.version = max(version, self._read())
            if self.version == version:
                write_file(self._path, str(version).encode())

    def _read(self) -> int:
        text = self._path.read_text(errors="replace").strip() if self._path.exists() else "0"
        if not (text.isascii() and text.isdigit()):
            raise DirectoryInvalid(f"{self._path}: no version; write the number of the directory last seen into it")
        return int(text)
