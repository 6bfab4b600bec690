"""A certificate authority for one local cluster, and the brokers' certificate under it."""

from __future__ import annotations

import ipaddress
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tocsin.schemas.files import SECRET_MODE, write_file

BROKER_NAME = "tocsin-broker"
LIFE = timedelta(days=825)


def make_certificates(ca_path: Path, broker_path: Path, life: timedelta = LIFE) -> None:
    """Write the CA's certificate to `ca_path`, and the brokers' key and chain to `broker_path` (PEM, mode 0600).

    The CA's key is not kept: nothing else is ever signed with it. EC P-256 keeps handshakes cheap. Each CA has a name
    of its own: OpenSSL looks for an issuer by its name, and finds no successor of the same name beside the first one.
    """
    ca_key, broker_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, broker_name = _name(f"Tocsin local CA {secrets.token_hex(4)}"), _name(BROKER_NAME)
    ca = (
        _builder(ca_name, ca_name, ca_key, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    broker = (
        _builder(broker_name, ca_name, broker_key, life)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = broker_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_file(ca_path, ca.public_bytes(Encoding.PEM))
    write_file(broker_path, private + broker.public_bytes(Encoding.PEM), mode=SECRET_MODE)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + life)
    )
