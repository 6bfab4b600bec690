"""Detached DSSE v1.0.2 signatures with Ed25519 over the exact value bytes, carried in record headers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from nacl.bindings import crypto_sign_BYTES, crypto_sign_open, crypto_sign_PUBLICKEYBYTES
from nacl.exceptions import BadSignatureError

from tocsin.schemas.catalog import Schema
from tocsin.schemas.errors import BundleInvalid
from tocsin.schemas.files import SECRET_MODE, read_secret, write_file

TYPE_HEADER: Final = "dsse-type"
KEY_HEADER: Final = "dsse-keyid"
SIGNATURE_HEADER: Final = "dsse-sig"
DSSE_HEADERS: Final = frozenset({TYPE_HEADER, KEY_HEADER, SIGNATURE_HEADER})

Headers = list[tuple[str, bytes]]


def pae(payload_type: bytes, body: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed."""
    return b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type, len(body), body)


def payload_type(coalition: str, schema: Schema) -> str:
    """Names coalition and schema: a record can be read neither in another coalition nor under another schema."""
    return f"application/vnd.tocsin.{coalition}+avro; schema={schema.sha256}"


def fingerprint(public: bytes) -> str:
    """SHA-256 of a public key, in hex: what is pinned on paper."""
    return hashlib.sha256(public).hexdigest()


def key_id_of(member: str, public: bytes) -> str:
    """`<member>.<first 16 hex digits of the public key's SHA-256>`: the key's name in the directory."""
    return f"{member}.{fingerprint(public)[:16]}"


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is `public`'s over `message`; libsodium refuses malleable ones and small-order keys."""
    # PyNaCl compares neither length: from a short key libsodium would read on into other memory
    if len(signature) != crypto_sign_BYTES or len(public) != crypto_sign_PUBLICKEYBYTES:
        return False
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A member's Ed25519 key."""

    member: str
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, member: str) -> SigningKey:
        """A new key."""
        return cls(member, Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, member: str) -> SigningKey:
        """The key in the PEM file `path` (PKCS #8).

        Raises:
            UnsafePermissions: the file's mode is not 0600.
            BundleInvalid: it is missing or holds no Ed25519 key.
        """
        try:
            private = load_pem_private_key(read_secret(path), None)
        except ValueError as error:
            raise BundleInvalid(f"{path}: not a PEM private key") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise BundleInvalid(f"{path}: not an Ed25519 key")
        return cls(member, private)

    def save(self, path: Path) -> None:
        """Write the PEM file, mode 0600."""
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_file(path, pem, mode=SECRET_MODE)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def key_id(self) -> str:
        """The key's name in the directory."""
        return key_id_of(self.member, self.public)

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, 64 bytes."""
        return self._private.sign(message)


def sign_headers(key: SigningKey, coalition: str, schema: Schema, value: bytes) -> Headers:
    """The three headers that carry `key`'s signature over `value`."""
    return sign_headers_by([key], coalition, schema, value)


def sign_headers_by(keys: Iterable[SigningKey], coalition: str, schema: Schema, value: bytes) -> Headers:
    """As `sign_headers`, by several keys: one type, then a pair of key id and signature for each."""
    kind = payload_type(coalition, schema).encode()
    message = pae(kind, value)
    headers: Headers = [(TYPE_HEADER, kind)]
    for key in keys:
        headers += [(KEY_HEADER, key.key_id.encode()), (SIGNATURE_HEADER, key.sign(message))]
    return headers
