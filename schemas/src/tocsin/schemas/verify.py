"""Verification of a record, in a fixed order, each failure with a reason of its own.

size -> key -> signature -> schema -> bounded decoding -> semantics -> content guard; replay is judged by the ledger.
Nothing is decoded before its signature held. A signature names a schema; one that we do not have is UNKNOWN_SCHEMA.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tocsin.schemas.catalog import ALL, Schema
from tocsin.schemas.codec import VALUE_BYTES_MAX, decode_strict, schema_of
from tocsin.schemas.directory import Directory, DirectoryKey
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.guard import check_content
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.semantics import check_published, check_semantics
from tocsin.schemas.signing import (
    DSSE_HEADERS,
    KEY_HEADER,
    SIGNATURE_HEADER,
    TYPE_HEADER,
    pae,
    payload_type,
    verify,
)


class Signed(NamedTuple):
    """A value whose signature held. `schema` is the one that the signature names."""

    value: bytes
    sha256: bytes
    headers: tuple[tuple[str, bytes], ...]
    key_id: str
    member: str
    schema: Schema


class Verified(NamedTuple):
    """An alert that passed every check but replay. `headers` are its dsse headers, as published."""

    schema: Schema
    record: Mapping[str, Any]
    header: Mapping[str, Any]
    value: bytes
    sha256: bytes
    headers: tuple[tuple[str, bytes], ...]
    key_id: str
    member: str


class Verifier:
    """Verifies by one directory of one coalition."""

    def __init__(self, coalition: str, directory: Directory) -> None:
        self.directory = directory
        self._types = {payload_type(coalition, schema).encode(): schema for schema in ALL}
        known = payload_type(coalition, ALL[0]).encode()
        self._type_length = len(known)
        self._type_prefix = known.removesuffix(ALL[0].sha256.encode())

    def check_signature(
        self,
        topic: str,
        offset: int,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | None,
        at_ms: int,
    ) -> Signed:
        """Size, key and signature of a record appended to `topic` at `offset` and broker time `at_ms`.

        Raises:
            Rejection: NO_VALUE, TOO_LARGE, UNSIGNED, UNKNOWN_KEY, KEY_NOT_VALID, UNKNOWN_SCHEMA or BAD_SIGNATURE.
                `.signer` is set for UNKNOWN_SCHEMA alone, when the signature held.
        """
        if value is None:
            raise Rejection(Reason.NO_VALUE, "value: a tombstone has no meaning in this topic")
        if len(value) > VALUE_BYTES_MAX:
            raise Rejection(Reason.TOO_LARGE, f"value: more than {VALUE_BYTES_MAX} bytes")
        dsse = _dsse_headers(headers)
        key_id = dsse[KEY_HEADER].decode("ascii", "replace")
        key = self.directory.keys.get(key_id)
        if key is None:
            raise Rejection(Reason.UNKNOWN_KEY, f"{KEY_HEADER}: not in the directory")
        if not key.counts(topic, offset, at_ms):
            raise Rejection(Reason.KEY_NOT_VALID, f"{KEY_HEADER}: not valid at that time, or revoked")
        schema = self._types.get(dsse[TYPE_HEADER])
        if schema is None:
            raise self._unknown_schema(dsse, value, key)
        if not verify(key.public, pae(dsse[TYPE_HEADER], value), dsse[SIGNATURE_HEADER]):
            raise Rejection(Reason.BAD_SIGNATURE, f"{SIGNATURE_HEADER}: does not verify")
        return Signed(value, hashlib.sha256(value).digest(), tuple(dsse.items()), key_id, key.member, schema)

    def _unknown_schema(self, dsse: Mapping[str, bytes], value: bytes, key: DirectoryKey) -> Rejection:
        """Names the signer, who has a newer release and must hear of it; not when it signed for another coalition."""
        kind = dsse[TYPE_HEADER]
        ours = len(kind) == self._type_length and kind.startswith(self._type_prefix)
        signer = key.member if ours and verify(key.public, pae(kind, value), dsse[SIGNATURE_HEADER]) else None
        return Rejection(
            Reason.UNKNOWN_SCHEMA, f"{TYPE_HEADER}: no schema of this coalition and release", signer=signer
        )

    def check_record(
        self, signed: Signed, topic: AlertTopic, key: bytes | None, *, appended_ms: int | None, now_ms: int
    ) -> Verified:
        """Schema, decoding, semantics and content of a signed record.

        `appended_ms` is the broker's time of the record; None for a copy, whose original was compared with its own.

        Raises:
            Rejection: the remaining reasons but those of replay; `.signer` is set.
        """
        try:
            return self._check_record(signed, topic, key, appended_ms, now_ms)
        except Rejection as refusal:
            refusal.signer = signed.member
            raise

    def _check_record(
        self, signed: Signed, topic: AlertTopic, key: bytes | None, appended_ms: int | None, now_ms: int
    ) -> Verified:
        if not self.directory.is_active(signed.member):
            raise Rejection(Reason.KEY_NOT_VALID, f"{KEY_HEADER}: its member is not active")
        check_schema(signed, topic.type.value)
        _, record = decode_strict(signed.value)
        header: Mapping[str, Any] = record["header"]
        if not self.directory.may_revise(signed.member, header["publisher"]):
            raise Rejection(
                Reason.WRONG_PUBLISHER, "header.publisher: not the signer, nor is the signer the secretariat"
            )
        publisher = self.directory.members.get(header["publisher"])
        if publisher is None:
            raise Rejection(Reason.WRONG_PUBLISHER, "header.publisher: not a member")
        check_topic(header, topic)
        if publisher.jurisdiction != topic.jurisdiction:
            raise Rejection(Reason.WRONG_TOPIC, "header.jurisdiction: not the publisher's")
        if key != header["lineage_id"].encode():
            raise Rejection(Reason.WRONG_KEY, "key: not header.lineage_id")
        check_semantics(signed.schema.subject, record)
        if appended_ms is not None:
            check_published(header, appended_ms)
        check_content(signed.schema.subject, record)
        if header["expires_at"] <= now_ms:
            raise Rejection(Reason.EXPIRED, "header.expires_at: in the past")
        return Verified(
            signed.schema, record, header, signed.value, signed.sha256, signed.headers, signed.key_id, signed.member
        )


def check_schema(signed: Signed, subject: str) -> None:
    """The signed schema, the framed schema and the expected subject are one.

    Raises:
        Rejection: UNDECODABLE, UNKNOWN_SCHEMA or WRONG_SCHEMA.
    """
    framed = schema_of(signed.value)
    if framed is not signed.schema:
        raise Rejection(Reason.WRONG_SCHEMA, "value: the schema id is not the schema that was signed")
    if framed.subject != subject:
        raise Rejection(Reason.WRONG_SCHEMA, f"value: a {framed.subject} where a {subject} belongs")


def check_topic(header: Mapping[str, Any], topic: AlertTopic) -> None:
    """The header's jurisdiction and TLP are the topic's.

    Raises:
        Rejection: WRONG_TOPIC.
    """
    if header["jurisdiction"] != topic.jurisdiction:
        raise Rejection(Reason.WRONG_TOPIC, "header.jurisdiction: not the topic's")
    if header["tlp"] != topic.tlp.value:
        raise Rejection(Reason.WRONG_TOPIC, "header.tlp: not the topic's")


def _dsse_headers(headers: Sequence[tuple[str, bytes | None]] | None) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, content in headers or ():
        if name in DSSE_HEADERS:
            if name in found or not isinstance(content, bytes):
                raise Rejection(Reason.UNSIGNED, f"{name}: given twice, or empty")
            found[name] = content
    if len(found) != len(DSSE_HEADERS):
        raise Rejection(Reason.UNSIGNED, "headers: dsse-type, dsse-keyid and dsse-sig are needed")
    return found
