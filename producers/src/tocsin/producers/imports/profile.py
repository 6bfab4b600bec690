"""Import profiles: what a source does not say and an alert must, in one TOML file per source: docs/imports.md."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from tocsin.producers.errors import ImportFailed
from tocsin.schemas.errors import IdentifierInvalid
from tocsin.schemas.identifiers import country
from tocsin.schemas.models import Header, Rail
from tocsin.schemas.names import AlertType

Source = Literal["match", "takedown", "jsonlines"]

HEADER_FIELDS: Final = frozenset(
    {
        "handling",
        "handling_note",
        "purposes",
        "legal_basis",
        "basis_ref",
        "data_categories",
        "notify_subject",
        "evidence_kind",
        "confidence",
        "human_reviewed",
        "test",
        "note",
    }
)
"""The header fields that `[header]` of a profile may set for every row."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MatchDefaults(_Table):
    """`[match]`: what an AddMerchant request lacks."""

    decided_by: Literal["ACQUIRER", "MERCHANT", "SCHEME", "AUTHORITY"] = "ACQUIRER"
    subject_category: Literal[
        "MERCHANT",
        "PAYMENT_FACILITATOR",
        "ISO",
        "MARKETPLACE",
        "STAGED_DIGITAL_WALLET_OPERATOR",
        "SPONSORED_MERCHANT",
    ] = "MERCHANT"
    payfac_id: str | None = None
    acquirer_country: str | None = None
    rails: tuple[Rail, ...] = ("CARD",)
    listed_on: tuple[Literal["MATCH", "VMSS"], ...] = ("MATCH",)

    @field_validator("acquirer_country")
    @classmethod
    def _known_country(cls, code: str | None) -> str | None:
        try:
            return None if code is None else country(code)
        except IdentifierInvalid as error:
            raise ValueError(str(error)) from error


class TakedownDefaults(_Table):
    """`[takedown]`: how the CSV is written."""

    delimiter: Literal[",", ";", "\t"] = ","


class JsonLinesDefaults(_Table):
    """`[jsonlines]`: the type of lines that do not name one."""

    type: AlertType | None = None


class Profile(_Table):
    """One import profile.

    `jurisdiction` must be the publisher's if given. `token_key` is the id of the token key to use, by default the
    newest; `lineage_key` that of the key that names lineages, by default the oldest that is still alive.
    """

    source: Source
    jurisdiction: str | None = None
    tlp: Literal["CLEAR", "GREEN", "AMBER", "AMBER_STRICT"]
    token_key: str | None = None
    lineage_key: str | None = None
    expires_after_days: int | None = Field(default=None, ge=1)
    header: dict[str, Any]
    match: MatchDefaults = MatchDefaults()
    takedown: TakedownDefaults = TakedownDefaults()
    jsonlines: JsonLinesDefaults = JsonLinesDefaults()

    @field_validator("header")
    @classmethod
    def _known_fields(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            if name not in HEADER_FIELDS:
                raise ValueError(f"{name} cannot be set for a whole file; known: {', '.join(sorted(HEADER_FIELDS))}")
            try:
                TypeAdapter[Any](cast("Any", Header.model_fields[name].annotation)).validate_python(value)
            except ValidationError as error:
                raise ValueError(f"{name}: {error.errors()[0]['msg']}") from error
        return values

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """The profile in the file `path`.

        Raises:
            ImportFailed: it cannot be read; the message names file and key.
        """
        try:
            return cls.model_validate(tomllib.loads(Path(path).read_text("utf-8")))
        except OSError as error:
            raise ImportFailed(f"{path}: {error.strerror}; name the profile with --profile") from error
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ImportFailed(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from error
        except ValueError as error:  # bad TOML, or not UTF-8
            raise ImportFailed(f"{path}: not TOML in UTF-8: {error}") from error
