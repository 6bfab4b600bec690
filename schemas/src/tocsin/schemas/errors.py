"""What goes wrong with the contract.

TocsinSchemaError
├── UnknownSchema        a schema id, subject or version that this release does not have
├── NameInvalid          a member id, jurisdiction or topic name that breaks the naming rules
├── Rejection            a record from somebody else failed verification; `.reason` says at which step
├── DirectoryInvalid     the directory document is not signed by enough pinned roots, expired or older than one seen
├── BundleInvalid        a bundle folder lacks a file, or a file is wrong
│   └── UnsafePermissions   a file with a secret can be read by others
├── ReadFailed           in `bus`: a topic cannot be read; `.kind` says why
└── IdentifierInvalid    a phone number, IBAN, domain ... that has no canonical form
"""

from __future__ import annotations

from enum import StrEnum


class TocsinSchemaError(Exception):
    """Root of this package's errors."""


class UnknownSchema(TocsinSchemaError):
    """No schema under this id, subject or version."""


class NameInvalid(TocsinSchemaError):
    """A name breaks the naming rules; the message says which rule."""


class DirectoryInvalid(TocsinSchemaError):
    """The directory document must not be used."""


class BundleInvalid(TocsinSchemaError):
    """A member's folder cannot be used; the message names the file."""


class UnsafePermissions(BundleInvalid):
    """A file with a secret has a mode other than 0600."""


class IdentifierInvalid(TocsinSchemaError):
    """A value has no canonical form. The message names the kind and the rule, never the value."""


class Reason(StrEnum):
    """Why a record is rejected, in the order in which it is checked."""

    NO_VALUE = "no-value"
    TOO_LARGE = "too-large"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    KEY_NOT_VALID = "key-not-valid"
    UNKNOWN_SCHEMA = "unknown-schema"
    BAD_SIGNATURE = "bad-signature"
    WRONG_SCHEMA = "wrong-schema"
    UNDECODABLE = "undecodable"
    NOT_CANONICAL = "not-canonical"
    WRONG_PUBLISHER = "wrong-publisher"
    WRONG_TOPIC = "wrong-topic"
    WRONG_KEY = "wrong-key"
    INVALID = "invalid"
    CONTENT = "content"
    EXPIRED = "expired"
    REPLAYED = "replayed"
    STALE = "stale"
    CONFLICT = "conflict"
    TRANSITION = "transition"


class Rejection(TocsinSchemaError):
    """A record failed verification. `detail` names field and rule, never content.

    `signer` is the member whose signature held, once it has been checked; None before that.
    """

    def __init__(self, reason: Reason, detail: str = "", *, signer: str | None = None) -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail
        self.signer = signer
