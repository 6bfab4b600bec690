"""A member's request: its public keys, signed by its own signing key. Pure, but for the files it is read from.

The signature proves that who asks holds the key, and for which member of which coalition it asks. Who that is, it does
not prove: the fingerprint is compared over another channel.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tocsin.deploy.errors import MemberRefused
from tocsin.deploy.policy.document import PublicKey
from tocsin.schemas.files import write_file
from tocsin.schemas.signing import SigningKey, fingerprint, key_id_of, pae, verify

SignatureHex = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
FILE_BYTES_MAX = 4_096


class Request(BaseModel):
    """`request.json`. `signing` is an Ed25519 public key, `sealing` an X25519 one, both in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    coalition: str
    member: str
    signing: PublicKey
    sealing: PublicKey
    at: AwareDatetime
    signature: SignatureHex

    @classmethod
    def make(cls, coalition: str, key: SigningKey, sealing: bytes) -> Self:
        """The request of `key`'s member, made now."""
        words = {
            "coalition": coalition,
            "member": key.member,
            "signing": key.public.hex(),
            "sealing": sealing.hex(),
            "at": datetime.now(UTC),
        }
        asked = cls.model_validate({**words, "signature": "00" * 64})
        return asked.model_copy(update={"signature": key.sign(asked.signed()).hex()})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The request in a file.

        Raises:
            MemberRefused: it is none.
        """
        try:
            with path.open("rb") as file:
                return cls.model_validate_json(file.read(FILE_BYTES_MAX))
        except (OSError, ValidationError) as error:
            raise MemberRefused(
                f"{path}: no request that `tocsin keys new` wrote; ask the member for it again"
            ) from error

    def save(self, path: Path) -> None:
        """Write it to a file."""
        write_file(path, self.model_dump_json(indent=2).encode() + b"\n")

    def signed(self) -> bytes:
        """What is signed: everything but the signature, under a type of its own that names the coalition."""
        content = json.dumps(self.model_dump(mode="json", exclude={"signature"}), sort_keys=True)
        return pae(f"application/vnd.tocsin.{self.coalition}.key-request".encode(), content.encode())

    @property
    def public(self) -> bytes:
        """The signing key, 32 bytes."""
        return bytes.fromhex(self.signing)

    @property
    def key_id(self) -> str:
        """The signing key's name in the directory."""
        return key_id_of(self.member, self.public)

    @property
    def fingerprint(self) -> str:
        """What the member reads out when it is asked whether the request is its own."""
        return fingerprint(self.public)

    def check(self, coalition: str, member: str) -> None:
        """Make sure that it is for this member of this coalition, and by who holds the key.

        Raises:
            MemberRefused: it is not.
        """
        if self.coalition != coalition:
            raise MemberRefused(f"the request is for coalition {self.coalition}, not {coalition}: a new one is needed")
        if self.member != member:
            raise MemberRefused(f"the request is of member {self.member}, not {member}: correct the id")
        if not verify(self.public, self.signed(), bytes.fromhex(self.signature)):
            raise MemberRefused(
                "the request is not signed by the key that it names, or was changed since: ask the member for it again"
            )
