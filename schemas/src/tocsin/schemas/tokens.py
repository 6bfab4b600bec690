"""Tokens: identifiers shared without sharing them.

`<key id>:<hex HMAC-SHA256(K, "tocsin/v1/" + kind + NUL + canonical)>`. A plain hash would not do: descriptors, phone
numbers, IBANs and domains can be enumerated. A key belongs to one plane (private or police) and one year; the exchange
never holds one, and destroying it shreds its tokens.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from tocsin.schemas.errors import BundleInvalid
from tocsin.schemas.files import SECRET_MODE, read_secret, write_file

Plane = Literal["private", "police"]


class TokenKind(StrEnum):
    """What a token stands for; part of what is hashed, so equal text of two kinds has two tokens.

    The canonical form of each is made in `tocsin.schemas.identifiers`, of the first three in `.descriptors`.
    """

    DESCRIPTOR = "descriptor"
    DESCRIPTOR_SKELETON = "descriptor_skel"
    DBA = "dba"
    PHONE = "phone_e164"
    IBAN = "iban"
    EMAIL = "email"
    DOMAIN = "domain"
    SLD_LABEL = "sld_label"
    URL = "url"
    MERCHANT = "mid"
    TAX = "tax"
    PRINCIPAL = "principal"


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key. `secret` is 32 bytes."""

    key_id: str
    plane: Plane
    secret: bytes = field(repr=False)

    def token(self, kind: str, canonical: str) -> str:
        """The token of the canonical form of an identifier of `kind`."""
        message = b"tocsin/v1/" + kind.encode() + b"\0" + canonical.encode()
        return f"{self.key_id}:{hmac.digest(self.secret, message, 'sha256').hex()}"


def live_tokens(keys: Iterable[TokenKey], kind: str, canonical: str) -> tuple[str, ...]:
    """The token of one identifier under each live key, in the keys' order: what a screening member looks up."""
    return tuple(key.token(kind, canonical) for key in keys)


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key_id: str
    plane: Plane
    secret: str


_KEY_FILES = TypeAdapter(list[_KeyFile])


def read_token_keys(path: Path) -> tuple[TokenKey, ...]:
    """The keys in the file `path`, in its order: the newest first.

    Raises:
        BundleInvalid: it is missing, unsafe or wrong.
    """
    try:
        found = _KEY_FILES.validate_json(read_secret(path))
        return tuple(TokenKey(one.key_id, one.plane, bytes.fromhex(one.secret)) for one in found)
    except ValueError:  # pydantic's is one; its text would show the secret
        raise BundleInvalid(f"{path}: not a list of {{key_id, plane, secret}}") from None


def write_token_keys(path: Path, keys: tuple[TokenKey, ...]) -> None:
    """Write `keys` to `path`, mode 0600."""
    content = [{"key_id": key.key_id, "plane": key.plane, "secret": key.secret.hex()} for key in keys]
    write_file(path, json.dumps(content, indent=2).encode() + b"\n", mode=SECRET_MODE)
