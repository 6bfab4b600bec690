"""The contract of the exchange: alerts, signatures, tokens, names. No Kafka and no clock in here."""

from tocsin.schemas.bundle import Bundle
from tocsin.schemas.errors import Reason, Rejection, TocsinSchemaError
from tocsin.schemas.models import Alert, DescriptorReused, Header, MerchantTerminated, SiteTakenDown
from tocsin.schemas.names import AlertTopic, AlertType, Tlp
from tocsin.schemas.tokens import TokenKey

__all__ = [
    "Alert",
    "AlertTopic",
    "AlertType",
    "Bundle",
    "DescriptorReused",
    "Header",
    "MerchantTerminated",
    "Reason",
    "Rejection",
    "SiteTakenDown",
    "Tlp",
    "TocsinSchemaError",
    "TokenKey",
]
