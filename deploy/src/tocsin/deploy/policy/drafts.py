"""Drafts of the directory: what the holders of offline root keys are asked to sign, and their signatures beside it.

A draft is the very bytes that are published, so what a holder is shown is what is signed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tocsin.deploy.errors import DraftRefused
from tocsin.deploy.moments import moment_text
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode_strict, encode
from tocsin.schemas.directory import DOCUMENT_BYTES_MAX, ROOT_SIGNER, Directory, Roots, from_record, to_record
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
    verify,
)

_SCHEMA: Final = schema("directory")
SIGNATURE: Final = ".signature"


def draft_path(home: Path, version: int) -> Path:
    """Where the draft of a version is."""
    return home / "directory" / f"version-{version}.draft"


def write_draft(path: Path, document: Directory) -> None:
    """Write an unsigned document."""
    write_file(path, encode(_SCHEMA, to_record(document)))


def delete_draft(path: Path) -> None:
    """Delete a draft that is not to be published any more, and its signatures."""
    for file in (path, *path.parent.glob(f"{path.name}.*{SIGNATURE}")):
        file.unlink(missing_ok=True)


def read_draft(path: Path) -> Directory:
    """The document in a draft.

    Raises:
        DraftRefused: it is none.
    """
    try:
        kind, record = decode_strict(path.read_bytes(), bytes_max=DOCUMENT_BYTES_MAX)
        if kind is not _SCHEMA:
            raise DraftRefused(f"{path}: a record of schema {kind.subject}, not a draft of the directory")
        return from_record(record)
    except (OSError, Rejection, DirectoryInvalid) as error:
        raise DraftRefused(f"{path}: no draft of the directory that `tocsin policy apply` wrote: {error}") from error


def sign_draft(path: Path, root: SigningKey) -> Path:
    """Put a root key's signature over the draft beside it. Raises DraftRefused."""
    message = _message(read_draft(path).coalition, path.read_bytes())
    beside = path.with_name(f"{path.name}.{fingerprint(root.public)[:16]}{SIGNATURE}")
    content = {"public": root.public.hex(), "signature": root.sign(message).hex()}
    write_file(beside, json.dumps(content, indent=2).encode() + b"\n")
    return beside


def headers_of(path: Path, roots: Roots) -> Headers:
    """The headers with which the draft is published: the signatures beside it of these root keys, each once.

    Raises:
        DraftRefused: fewer than their threshold hold.
    """
    coalition = read_draft(path).coalition
    message = _message(coalition, path.read_bytes())
    held = {
        public: signature
        for public, signature in _beside(path)
        if public in roots.pinned() and verify(public, message, signature)
    }
    if len(held) < roots.threshold:
        wanting = [fingerprint(public)[:16] for public in roots.pinned() if public not in held]
        raise DraftRefused(
            f"{path}: signed by {len(held)} root keys, {roots.threshold} are needed: let holders of"
            f" {', '.join(wanting)} run `tocsin directory sign DRAFT --root KEY.pem`, and put what it writes beside it"
        )
    headers: Headers = [(TYPE_HEADER, payload_type(coalition, _SCHEMA).encode())]
    for public, signature in held.items():
        headers += [(KEY_HEADER, key_id_of(ROOT_SIGNER, public).encode()), (SIGNATURE_HEADER, signature)]
    return headers


def _message(coalition: str, value: bytes) -> bytes:
    return pae(payload_type(coalition, _SCHEMA).encode(), value)


def _beside(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Key and signature of each file beside a draft; what is none is left out, and so wanting."""
    for file in sorted(path.parent.glob(f"{path.name}.*{SIGNATURE}")):
        try:
            found: Mapping[str, str] = json.loads(file.read_bytes())
            yield bytes.fromhex(found["public"]), bytes.fromhex(found["signature"])
        except (ValueError, KeyError, TypeError):
            continue


def changes(before: Directory | None, after: Directory) -> Iterator[tuple[str, str, str]]:
    """What `after` has otherwise: sign, what, and in words."""
    members, keys = (before.members, before.keys) if before else ({}, {})
    for name, member in after.members.items():
        was = members.get(name)
        said = f"{name}: {member.role} in {member.jurisdiction}, {member.status}"
        if was is None:
            yield "+", "member", said
        elif was != member:
            yield "~", "member", f"{said} (was {was.role} in {was.jurisdiction}, {was.status})"
    for key_id, key in after.keys.items():
        old = keys.get(key_id)
        if old is None:
            yield "+", "key", f"{key_id} (fingerprint {fingerprint(key.public)}), until {moment_text(key.valid_to)}"
        elif old != key:
            yield "~", "key", f"{key_id}: {'revoked' if key.revoked else f'until {moment_text(key.valid_to)}'}"
    yield from (("-", "member", name) for name in members if name not in after.members)
    yield from (("-", "key", key_id) for key_id in keys if key_id not in after.keys)
