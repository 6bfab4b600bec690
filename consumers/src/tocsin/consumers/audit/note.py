"""Signed notes, checkpoints and cosignatures with Ed25519, as C2SP has them. Pure.

https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint and https://c2sp.org/tlog-cosignature. Whatever can be
written in one way only is refused in any other, so that a note's bytes and its meaning are one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from tocsin.consumers.audit.merkle import EMPTY_ROOT, HASH_BYTES
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.signing import SigningKey, verify

NOTE_BYTES_MAX: Final = 131_072
SIGNATURES_MAX: Final = 100
NAME_BYTES_MAX: Final = 255
SIZE_MAX: Final = 2**63 - 1
"""The most leaves of a log, and the last second at which a witness can sign."""

_KEY_ID_BYTES: Final = 4
_PUBLIC_BYTES: Final = 32
_TIME_BYTES: Final = 8
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NO_NAME: Final = re.compile(r"[\s+\x00-\x1f\ud800-\udfff]")
_KEY: Final = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")
_LINE: Final = re.compile(r"— (\S+) (\S+)")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class KeyKind(IntEnum):
    """What a key signs, by C2SP's signature type."""

    NOTE = 0x01
    COSIGNATURE = 0x04


class Signature(NamedTuple):
    """A signature line. `key_id` is 4 bytes; `value` is what the key made, for a cosignature with its time in front."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """`— name base64`, with its newline."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key of a log (kind NOTE) or of a witness (COSIGNATURE): its name, and 32 bytes.

    Raises:
        NoteInvalid: the name is empty, too long, or has a space or a plus.
    """

    name: str
    public: bytes
    kind: KeyKind = KeyKind.NOTE

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise NoteInvalid(f"{self.name!r}: a key's name has 1 to {NAME_BYTES_MAX} bytes, no space and no plus")

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """The key that `name+hex(id)+base64(kind || public)` says.

        Raises:
            NoteInvalid: it is not such a text, of another kind, or its id is not its own.
        """
        parts = _KEY.fullmatch(text)
        if parts is None:
            raise NoteInvalid(f"{text!r}: not a verifier key; it reads name+id+key")
        material = decode_base64(parts[3], 1 + _PUBLIC_BYTES)
        if material[0] not in set(KeyKind):
            raise NoteInvalid(f"{text!r}: a key of kind {material[0]}; only Ed25519 (1, and 4 of witnesses) is known")
        found = cls(parts[1], material[1:], KeyKind(material[0]))
        if found.key_id.hex() != parts[2]:
            raise NoteInvalid(f"{text!r}: the id of this key is {found.key_id.hex()}; copy it again from its owner")
        return found

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256 over name, newline, kind and public key."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._material()).digest()[:_KEY_ID_BYTES]

    def text(self) -> str:
        """`name+hex(id)+base64(kind || public)`, as `parse` reads it."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._material()).decode()}"

    def made(self, signature: Signature) -> bool:
        """Whether `signature` says that it is by this key."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verifies(self, text: str, value: bytes) -> bool:
        """Whether `value` is this key's over the text of a note."""
        if self.kind is KeyKind.NOTE:
            return verify(self.public, text.encode(), value)
        at_s = int.from_bytes(value[:_TIME_BYTES], "big")
        return at_s <= SIZE_MAX and verify(self.public, _cosigned(text, at_s), value[_TIME_BYTES:])

    def _material(self) -> bytes:
        return bytes([self.kind]) + self.public


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs the notes of a log under its name. A key has one name and one use."""

    name: str
    key: SigningKey

    @property
    def verifier(self) -> Verifier:
        """The key that verifies what this one signs."""
        return Verifier(self.name, self.key.public)

    def sign(self, text: str) -> Signature:
        """The signature over the text of a note."""
        return Signature(self.name, self.verifier.key_id, self.key.sign(text.encode()))


@dataclass(frozen=True, slots=True)
class Cosigner:
    """Signs checkpoints as a witness: that it knows of no greater head of this log, and of none that differs."""

    name: str
    key: SigningKey

    @property
    def verifier(self) -> Verifier:
        """The key that verifies what this one signs."""
        return Verifier(self.name, self.key.public, KeyKind.COSIGNATURE)

    def sign(self, text: str, at_s: int) -> Signature:
        """The cosignature over the text of a checkpoint; `at_s` is the POSIX time in seconds."""
        value = at_s.to_bytes(_TIME_BYTES, "big") + self.key.sign(_cosigned(text, at_s))
        return Signature(self.name, self.verifier.key_id, value)


def _cosigned(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


# -- notes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Note:
    """A text, which ends with a newline, and its signatures. Believe nothing of it before `verified`."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """The note that `data` is.

        Raises:
            NoteInvalid: it is no signed note, or too large.
        """
        if len(data) > NOTE_BYTES_MAX:
            raise NoteInvalid(f"a note of {len(data)} bytes; {NOTE_BYTES_MAX} is the most that is read")
        try:
            content = data.decode()
        except UnicodeDecodeError as error:
            raise NoteInvalid("a note that is not UTF-8") from error
        text, blank, lines = content.rpartition("\n\n")
        if _CONTROL.search(content) or not text or not blank or not lines.endswith("\n"):
            raise NoteInvalid("not a signed note: a text, an empty line, and lines of signatures")
        signed = lines.removesuffix("\n").split("\n")
        if len(signed) > SIGNATURES_MAX:
            raise NoteInvalid(f"a note of {len(signed)} signatures; {SIGNATURES_MAX} is the most that is read")
        return cls(f"{text}\n", tuple(_signature(line) for line in signed))

    def encode(self) -> bytes:
        """The note's bytes, as `parse` reads them."""
        return "".join([self.text, "\n", *(signature.line() for signature in self.signatures)]).encode()

    def verified(self, verifiers: Iterable[Verifier]) -> frozenset[Verifier]:
        """Those who signed it. Signatures by others count for nothing.

        Raises:
            NoteInvalid: none of them did, or a signature that says it is by one of them is not.
        """
        found: set[Verifier] = set()
        for verifier in verifiers:
            for signature in filter(verifier.made, self.signatures):
                if not verifier.verifies(self.text, signature.value):
                    raise NoteInvalid(f"a signature by {verifier.name} that is not theirs over this text")
                found.add(verifier)
        if not found:
            raise NoteInvalid("not signed by any key that is trusted here")
        return frozenset(found)


def _signature(line: str) -> Signature:
    parts = _LINE.fullmatch(line)
    if parts is None or not _is_name(parts[1]):
        raise NoteInvalid("a line of signatures that reads otherwise than: — name base64")
    value = decode_base64(parts[2])
    if len(value) <= _KEY_ID_BYTES:
        raise NoteInvalid(f"a signature by {parts[1]} of nothing but its key's id")
    return Signature(parts[1], value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


def _is_name(name: str) -> bool:
    return not _NO_NAME.search(name) and 0 < len(name.encode()) <= NAME_BYTES_MAX


def decode_base64(text: str, length: int | None = None) -> bytes:
    """What `text` stands for in RFC 4648's section 4, `length` bytes if that is given.

    Raises:
        NoteInvalid: it is not what encoding its bytes gives, or not of this length.
    """
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteInvalid(f"{text[:80]!r}: not base64") from error
    # some decoders pass over what is in the last, unused bits
    if base64.b64encode(found).decode() != text or length not in (None, len(found)):
        raise NoteInvalid(f"{text[:80]!r}: not the base64 of {'these' if length is None else length} bytes")
    return found


def parse_number(text: str) -> int:
    """A number as logs write it: decimal digits without leading zeros, at most SIZE_MAX.

    Raises:
        NoteInvalid: it is none.
    """
    if not _NUMBER.fullmatch(text) or int(text) > SIZE_MAX:
        raise NoteInvalid(f"{text[:80]!r}: not a number up to {SIZE_MAX} without leading zeros")
    return int(text)


# -- checkpoints -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: its origin, how many leaves it has, and their root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint that a note's text is. Extension lines are refused: no monitor of a log can audit them.

        Raises:
            NoteInvalid: it is none, or says that an empty tree has another root than it must.
        """
        match text.split("\n"):
            case [origin, size, root, ""] if origin:
                found = cls(origin, parse_number(size), decode_base64(root, HASH_BYTES))
            case _:
                raise NoteInvalid("not a checkpoint: three lines of origin, size and root")
        if found.size == 0 and found.root != EMPTY_ROOT:
            raise NoteInvalid("a checkpoint of no leaves whose root is not that of an empty tree")
        return found

    def text(self) -> str:
        """The text of a note, as `parse` reads it."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def open_checkpoint(signed: bytes, log: Verifier) -> Checkpoint:
    """The checkpoint in a note that is signed by `log`, whose name is its origin.

    Raises:
        NoteInvalid: it is no such note.
    """
    note = Note.parse(signed)
    note.verified([log])
    found = Checkpoint.parse(note.text)
    if found.origin != log.name:
        raise NoteInvalid(f"a checkpoint of {found.origin}, signed by {log.name}")
    return found
