"""The three alerts as pydantic models: the Python face of the Avro schemas, under the same rules as at the fan-out."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import model_validator

from tocsin.schemas.catalog import Schema, schema
from tocsin.schemas.codec import encode
from tocsin.schemas.details import (
    Acquirer,
    Descriptor,
    DescriptorReusedDetails,
    FieldMatch,
    FieldMatches,
    MerchantTerminatedDetails,
    Observed,
    ObservedDescriptor,
    Payfac,
    PaymentLink,
    Prior,
    Rail,
    SiteTakenDownDetails,
    TerminationReason,
)
from tocsin.schemas.errors import Rejection
from tocsin.schemas.guard import check_content
from tocsin.schemas.header import CaseRef, Header, Related
from tocsin.schemas.model_types import Day, Model, Time
from tocsin.schemas.names import AlertTopic, AlertType, Tlp
from tocsin.schemas.semantics import check_semantics

__all__ = [
    "MODELS",
    "Acquirer",
    "Alert",
    "CaseRef",
    "Day",
    "Descriptor",
    "DescriptorReused",
    "DescriptorReusedDetails",
    "FieldMatch",
    "FieldMatches",
    "Header",
    "MerchantTerminated",
    "MerchantTerminatedDetails",
    "Observed",
    "ObservedDescriptor",
    "Payfac",
    "PaymentLink",
    "Prior",
    "Rail",
    "Related",
    "SiteTakenDown",
    "SiteTakenDownDetails",
    "TerminationReason",
    "Time",
    "from_avro",
]


class _Alert(Model):
    subject: ClassVar[AlertType]
    header: Header

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        try:
            check_semantics(self.subject.value, self.model_dump())
        except Rejection as refusal:
            raise ValueError(refusal.detail) from refusal
        return self

    @property
    def topic(self) -> AlertTopic:
        """The topic that this alert belongs to."""
        return AlertTopic(self.header.jurisdiction, self.subject, Tlp(self.header.tlp))

    def check_content(self) -> None:
        """Run the content guard.

        Raises:
            Rejection: CONTENT, with field and rule.
        """
        check_content(self.subject.value, self.model_dump())

    def to_avro(self) -> bytes:
        """The framed bytes, as signed and published."""
        return encode(schema(self.subject.value), self.model_dump())


class MerchantTerminated(_Alert):
    """A member ended its contract with a merchant."""

    subject: ClassVar[AlertType] = AlertType.MERCHANT_TERMINATED
    details: MerchantTerminatedDetails | None


class DescriptorReused(_Alert):
    """A terminated merchant's statement descriptor was met again."""

    subject: ClassVar[AlertType] = AlertType.DESCRIPTOR_REUSED
    details: DescriptorReusedDetails | None


class SiteTakenDown(_Alert):
    """A site was taken down."""

    subject: ClassVar[AlertType] = AlertType.SITE_TAKEN_DOWN
    details: SiteTakenDownDetails | None


Alert = MerchantTerminated | DescriptorReused | SiteTakenDown

MODELS: dict[str, type[Alert]] = {
    model.subject.value: model for model in (MerchantTerminated, DescriptorReused, SiteTakenDown)
}


def from_avro(schema: Schema, record: dict[str, Any]) -> Alert:
    """The alert that a decoded record is. Raises pydantic.ValidationError when it breaks a rule."""
    return MODELS[schema.subject].model_validate(record)
