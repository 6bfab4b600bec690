"""What the secretariat hands to a member: files that only the holder of its sealing key can open (X25519, libsodium).

Anybody who knows a public key can seal. So who opens compares the root keys with those on paper; and what goes into a
bundle that is there already must be vouched for under the password in it, which only the secretariat knows besides.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from pydantic import BaseModel, ConfigDict, ValidationError

from tocsin.deploy.errors import MemberRefused
from tocsin.schemas.files import SECRET_MODE, read_secret, write_file

SEALING_KEY: Final = "sealing.pem"
FILE_BYTES_MAX: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A member's X25519 key, 32 bytes."""

    _private: X25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        """A new key."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The key in the PEM file `path`.

        Raises:
            UnsafePermissions, BundleInvalid: it cannot be read, or others can read it.
            MemberRefused: it holds no X25519 key.
        """
        try:
            private = load_pem_private_key(read_secret(path), None)
        except ValueError:
            private = None
        if not isinstance(private, X25519PrivateKey):
            raise MemberRefused(f"{path}: not an X25519 key in PEM; name the folder that `tocsin keys new` wrote")
        return cls(private)

    def save(self, path: Path) -> None:
        """Write the PEM file, mode 0600."""
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_file(path, pem, mode=SECRET_MODE)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def unseal(self, sealed: bytes) -> bytes:
        """What is in `sealed`.

        Raises:
            MemberRefused: it was sealed for another key, or changed since.
        """
        raw = self._private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        try:
            return SealedBox(PrivateKey(raw)).decrypt(sealed)
        except (CryptoError, ValueError, TypeError):
            raise MemberRefused("sealed for another key, or changed on its way; ask the secretariat for it") from None


class Parcel(BaseModel):
    """What is sealed: text files of the bundle of one login, by name. `vouched` is the secretariat's word for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    coalition: str
    member: str
    login: str
    files: dict[str, str]
    vouched: str | None = None

    @classmethod
    def open(cls, path: Path, key: SealingKey) -> Self:
        """The parcel in a file.

        Raises:
            MemberRefused: it was sealed for another key, was changed, or is none.
        """
        with path.open("rb") as file:
            content = key.unseal(file.read(FILE_BYTES_MAX))
        try:
            return cls.model_validate_json(content)
        except ValidationError:  # its text would show secrets
            raise MemberRefused(
                f"{path}: not what `tocsin member` of this release seals; ask the secretariat"
            ) from None

    def seal(self, path: Path, public: bytes) -> None:
        """Write it to a file, for the holder of the key `public` alone.

        Raises:
            MemberRefused: it is no key that anything can be sealed for.
        """
        try:
            sealed = SealedBox(PublicKey(public)).encrypt(self.model_dump_json().encode())
        except (CryptoError, ValueError):
            raise MemberRefused("the request's sealing key is none; ask the member for a new request") from None
        write_file(path, sealed)

    def vouch(self, password: str) -> Parcel:
        """The same, with a word that who has `password` can check."""
        return self.model_copy(update={"vouched": self._mac(password)})

    def check_vouched(self, password: str) -> None:
        """Make sure that who sealed it knows `password`.

        Raises:
            MemberRefused: it does not, or does no longer.
        """
        if self.vouched is None or not hmac.compare_digest(self.vouched, self._mac(password)):
            raise MemberRefused(
                "nobody who knows this bundle's password has sealed it: open what was sent before first, or open it"
                " into a new folder, with --root-fingerprint from the paper"
            )

    def _mac(self, password: str) -> str:
        content: Mapping[str, Any] = self.model_dump(exclude={"vouched"})
        return hmac.digest(password.encode(), json.dumps(content, sort_keys=True).encode(), "sha256").hex()
