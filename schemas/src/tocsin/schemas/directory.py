"""The directory: members and their public keys, one versioned, expiring document signed by n of m offline root keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    pae,
    payload_type,
    sign_headers_by,
    verify,
)

EXCHANGE = "exchange"
SECRETARIAT_ROLE = "secretariat"
ROOT_SIGNER = "root"
# 1,000 members with several keys each
DOCUMENT_BYTES_MAX = 32 * VALUE_BYTES_MAX

_SCHEMA = schema("directory")


@dataclass(frozen=True, slots=True)
class Roots:
    """The pinned root keys: public keys as hex, and how many of them must have signed."""

    public_keys: tuple[str, ...]
    threshold: int

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """What stands on the paper that a member is given."""
        return tuple(fingerprint(bytes.fromhex(key)) for key in self.public_keys)


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
        found = self.members.get(signer)
        return signer == publisher or (found is not None and found.role == SECRETARIAT_ROLE)


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
    """The directory that `record` describes."""
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


def sign_directory(directory: Directory, roots: Iterable[SigningKey]) -> tuple[bytes, Headers]:
    """Value and headers of the record for the topic `directory`."""
    value = encode(_SCHEMA, to_record(directory))
    return value, sign_headers_by(roots, directory.coalition, _SCHEMA, value)


def open_directory(
    value: bytes,
    headers: Sequence[tuple[str, bytes]],
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
    signed = _count_roots(value, headers, roots, coalition)
    if signed < roots.threshold:
        raise DirectoryInvalid(f"directory: signed by {signed} pinned root keys, {roots.threshold} are needed")
    try:
        found = from_record(decode_strict(value, bytes_max=DOCUMENT_BYTES_MAX)[1])
    except Rejection as refusal:
        raise DirectoryInvalid(f"directory: {refusal}") from refusal
    if found.coalition != coalition:
        raise DirectoryInvalid(f"directory: of coalition {found.coalition}, not {coalition}")
    if found.version < version_min:
        raise DirectoryInvalid(f"directory: version {found.version} is older than {version_min}, seen before")
    if found.expires_at <= now_ms:
        raise DirectoryInvalid(
            f"directory: version {found.version} has expired; the secretariat must publish a new one"
        )
    return found


def _count_roots(value: bytes, headers: Sequence[tuple[str, bytes]], roots: Roots, coalition: str) -> int:
    kind = payload_type(coalition, _SCHEMA).encode()
    if [content for name, content in headers if name == TYPE_HEADER] != [kind]:
        return 0
    message = pae(kind, value)
    signatures = [content for name, content in headers if name == SIGNATURE_HEADER]
    if len(signatures) > len(roots.public_keys):
        return 0
    named = [content for name, content in headers if name == KEY_HEADER]
    if len(named) != len(signatures):
        return 0
    pinned = {bytes.fromhex(key) for key in roots.public_keys}
    return sum(any(verify(public, message, signature) for signature in signatures) for public in pinned)


class VersionFloor:
    """The highest directory version seen, kept in a file: an older document is a replay, after a restart too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.version = int(path.read_text()) if path.exists() else 0

    def raise_to(self, version: int) -> None:
        """Remember `version`, if it is higher."""
        if version > self.version:
            self.version = version
            write_file(self._path, str(version).encode())
