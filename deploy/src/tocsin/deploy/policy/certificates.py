"""When the certificates end without which no client can connect: the brokers', and their authority's."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final

from confluent_kafka.admin import AdminClient
from cryptography import x509

from tocsin.deploy.policy.by_time import Ending
from tocsin.schemas.bundle import CA, Bundle

CERTIFICATE: Final = "certificate"
AUTHORITY: Final = "authority"
_WAIT_S: Final = 5.0


def certificates(bundle: Bundle) -> Iterator[Ending]:
    """Of every broker that answers, as it shows it; and of the authority by which all members know the brokers.

    One that has ended is still told of. It is read before it is believed, and nothing but its dates is.

    Raises:
        KafkaException: no broker tells which ones there are.
    """
    for one in x509.load_pem_x509_certificates((bundle.path / CA).read_bytes()):
        yield Ending(AUTHORITY, one.subject.rfc4514_string(), one.not_valid_after_utc)
    admin = AdminClient(bundle.kafka_config())  # held, or it ends before it has answered
    for broker in admin.list_topics(timeout=_WAIT_S).brokers.values():
        host, port = str(broker.host), int(broker.port)  # typed as None by the library
        try:
            shown = ssl.get_server_certificate((host, port), timeout=_WAIT_S)
        except OSError:  # that a broker is down, others say
            continue
        certificate = x509.load_pem_x509_certificate(shown.encode())
        yield Ending(CERTIFICATE, f"{host}:{port}", certificate.not_valid_after_utc)
