"""From a row's facts to its alert: tokens, lineage, revision, header and the key that makes a repetition harmless."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from tocsin.producers.errors import ImportFailed
from tocsin.producers.imports.profile import Profile
from tocsin.producers.imports.rows import Accepted, RowRefused, refusal_of
from tocsin.producers.revisions import clock_revision
from tocsin.schemas.descriptors import NORM_VERSION, cut_keys, normalise
from tocsin.schemas.errors import IdentifierInvalid, Rejection
from tocsin.schemas.models import MODELS, Alert
from tocsin.schemas.names import AlertType
from tocsin.schemas.tokens import TokenKey, TokenKind
from tocsin.schemas.uuid7 import uuid7

ALERT_SIZE_BYTES_MAX: Final = 65_536
EXPIRES_AFTER_DAYS: Final = {
    AlertType.MERCHANT_TERMINATED: 5 * 365,
    AlertType.DESCRIPTOR_REUSED: 2 * 365,
    AlertType.SITE_TAKEN_DOWN: 365,
}
_VOLATILE: Final = frozenset({"alert_id", "revision", "observed_at", "published_at", "expires_at"})


@dataclass(frozen=True, slots=True)
class Context:
    """Who imports, with which token keys (newest first), and when."""

    publisher: str
    jurisdiction: str
    token_keys: tuple[TokenKey, ...]
    now: datetime


@dataclass(slots=True)
class AlertMaker:
    """Makes the alerts of one file.

    Raises:
        ImportFailed: the profile names a token key or a jurisdiction that this member does not have.
    """

    profile: Profile
    context: Context
    key: TokenKey = field(init=False)
    _lineage_key: TokenKey = field(init=False)
    _revisions: dict[str, tuple[str, int]] = field(init=False, default_factory=dict[str, tuple[str, int]])

    def __post_init__(self) -> None:
        if self.profile.jurisdiction not in (None, self.context.jurisdiction):
            raise ImportFailed(f"profile: jurisdiction: this member's is {self.context.jurisdiction}")
        self.key = self._find_key("token_key", self.profile.token_key, 0)
        self._lineage_key = self._find_key("lineage_key", self.profile.lineage_key, -1)

    def _find_key(self, setting: str, key_id: str | None, default: int) -> TokenKey:
        keys = self.context.token_keys
        if not keys:
            raise ImportFailed("this member has no token key; ask the secretariat for token-keys.json")
        if key_id is None:
            return keys[default]
        for key in keys:
            if key.key_id == key_id:
                return key
        raise ImportFailed(f"profile: {setting}: no such key; token-keys.json has {', '.join(k.key_id for k in keys)}")

    def token(self, kind: TokenKind, canonical: str) -> str:
        """The token of a canonical form, under the profile's key."""
        return self.key.token(kind, canonical)

    def descriptor(self, raw: str, field_name: str) -> dict[str, Any]:
        """The tokens of a descriptor as `key_token`, `skeleton_token`, `cut_tokens` and `aggregator`.

        Raises:
            RowRefused: nothing is left of it.
        """
        try:
            found = normalise(raw)
            cuts = cut_keys(raw)
        except IdentifierInvalid as error:
            raise RowRefused(field_name, str(error)) from error
        if not found.key:
            raise RowRefused(field_name, "descriptor: no letters or digits")
        return {
            "key_token": self.token(TokenKind.DESCRIPTOR, found.key),
            "skeleton_token": self.token(TokenKind.DESCRIPTOR_SKELETON, found.skeleton),
            "cut_tokens": [self.token(TokenKind.DESCRIPTOR, cut) for cut in cuts],
            "aggregator": found.aggregator,
        }

    def lineage_id(self, source: str, source_key: str) -> str:
        """The lineage of one matter of this publisher: always the same for the same key of the same source.

        A UUIDv8 (RFC 9562 §5.8) of an HMAC and not of a plain hash: it stands in clear in every copy, and merchant ids
        can be enumerated.
        """
        token = self._lineage_key.token("lineage", f"{self.context.publisher}\0{source}\0{source_key}")
        value = int(token.rpartition(":")[2][:32], 16)
        value = value & ~(0xF << 76) | 0x8 << 76  # version
        value = value & ~(0x3 << 62) | 0x2 << 62  # variant
        return str(uuid.UUID(int=value))

    def accept(
        self,
        line: int,
        kind: AlertType,
        header: Mapping[str, Any],
        details: Mapping[str, Any] | None,
        *,
        given: Collection[str] = (),
        left_out: tuple[str, ...] = (),
    ) -> Accepted:
        """The alert of a row.

        `header` has `lineage_id` and `observed_at`, and wins over the profile; `given` are those of its fields that
        the row itself states, and would state again.

        Raises:
            RowRefused: it breaks a rule of the models or of the content guard.
        """
        lineage_id = str(header["lineage_id"])
        record: dict[str, Any] = {"header": {**self._defaults(kind), **header}, "details": details}
        digest = _digest(_model(kind, record), given)
        record["header"]["revision"] = header.get("revision", self._revision(lineage_id, digest))
        alert = _model(kind, record)
        _check(alert)
        self._revisions[lineage_id] = (digest, alert.header.revision)
        return Accepted(line, alert, f"{self.profile.source}:{lineage_id}:{digest}", left_out)

    def _defaults(self, kind: AlertType) -> dict[str, Any]:
        days = self.profile.expires_after_days or EXPIRES_AFTER_DAYS[kind]
        return {
            **self.profile.header,
            "alert_id": str(uuid7()),
            "publisher": self.context.publisher,
            "jurisdiction": self.context.jurisdiction,
            "tlp": self.profile.tlp,
            "published_at": self.context.now,
            "expires_at": self.context.now + timedelta(days=days),
            "token_key_id": self.key.key_id,
            "norm_version": NORM_VERSION,
        }

    def _revision(self, lineage_id: str, digest: str) -> int:
        """A later import rises above an earlier one."""
        clock = clock_revision(self.context.now)
        before = self._revisions.get(lineage_id)
        if before is None:
            return clock
        return before[1] if before[0] == digest else max(clock, before[1] + 1)


def _model(kind: AlertType, record: Mapping[str, Any]) -> Alert:
    try:
        return MODELS[kind.value].model_validate(record)
    except ValidationError as error:
        raise refusal_of(error) from error


def _check(alert: Alert) -> None:
    try:
        alert.check_content()
        size = len(alert.to_avro())
    except Rejection as error:
        raise refusal_of(error) from error
    except (ValueError, TypeError, OverflowError) as error:  # a number beyond 64 bits, half of a surrogate pair
        raise RowRefused("", "cannot be encoded: a number too large, or text that is not UTF-8") from error
    if size > ALERT_SIZE_BYTES_MAX:
        raise RowRefused("", f"larger than {ALERT_SIZE_BYTES_MAX} bytes")


def _digest(alert: Alert, given: Collection[str]) -> str:
    """Of what the row and the profile say, leaving out what differs each time it is read."""
    content = alert.model_dump(mode="json")
    for name in _VOLATILE.difference(given):
        del content["header"][name]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
