"""A bundle: the folder that a member, or a service of the exchange, is given. Everything it needs to take part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography.x509 import load_pem_x509_certificates
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tocsin.schemas.directory import Roots
from tocsin.schemas.errors import BundleInvalid
from tocsin.schemas.files import SECRET_MODE, read_file, read_secret, write_file
from tocsin.schemas.signing import SigningKey
from tocsin.schemas.tokens import TokenKey, read_token_keys

Mechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512"]
"""How a login proves itself. It can have a password by each at once, so that one can follow the other."""

KafkaConfig = dict[str, str | int | float | bool]
"""librdkafka settings, as confluent-kafka's clients take them."""

CONFIG: Final = "config.json"
PASSWORD: Final = "password"  # noqa: S105  # the file's name
CA: Final = "ca.pem"
SIGNING_KEY: Final = "signing.pem"
TOKEN_KEYS: Final = "token-keys.json"  # noqa: S105  # the file's name
CLIENT_PROPERTIES: Final = "client.properties"


class BundleConfig(BaseModel):
    """`config.json`: nothing in it is secret. `roots` are public keys in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    coalition: str
    member: str
    login: str
    role: str
    jurisdiction: str
    bootstrap: str
    roots: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()
    roots_threshold: Annotated[int, Field(ge=1)] = 1
    mechanism: Mechanism = "SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that has been read. Secrets are read when they are used, and only from files of mode 0600."""

    path: Path
    config: BundleConfig

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """The bundle in the folder `path`.

        Raises:
            BundleInvalid: a file is missing or wrong; the message names it.
        """
        folder = Path(path)
        try:
            return cls(folder, BundleConfig.model_validate_json(read_file(folder / CONFIG)))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BundleInvalid(f"{folder / CONFIG}: {where}: {first['msg']}") from error

    @property
    def coalition(self) -> str:
        """The coalition's name, part of every signature."""
        return self.config.coalition

    @property
    def member(self) -> str:
        """The member id."""
        return self.config.member

    @property
    def roots(self) -> Roots:
        """The pinned root keys. Raises DirectoryInvalid when there are none, or fewer than the threshold."""
        return Roots(self.config.roots, self.config.roots_threshold)

    def signing_key(self) -> SigningKey:
        """The member's signing key. Raises BundleInvalid."""
        return SigningKey.load(self.path / SIGNING_KEY, self.member)

    def token_keys(self) -> tuple[TokenKey, ...]:
        """The token keys of the member's groups, the newest first. Raises BundleInvalid."""
        return read_token_keys(self.path / TOKEN_KEYS)

    def kafka_config(self) -> KafkaConfig:
        """The librdkafka settings to connect: TLS, SCRAM. Raises BundleInvalid."""
        return {
            "bootstrap.servers": self.config.bootstrap,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": self.config.mechanism,
            "sasl.username": self.config.login,
            "sasl.password": self._password(),
            "ssl.ca.location": str(self._ca()),
            "client.id": self.config.login,
            # the client library's own warnings about retries go nowhere; what matters is raised or logged by us
            "log_level": 2,
        }

    def _ca(self) -> Path:
        path = self.path / CA
        try:
            load_pem_x509_certificates(read_file(path))
        except ValueError:
            raise BundleInvalid(f"{path}: not a PEM certificate; copy the file again") from None
        return path

    def _password(self) -> str:
        path = self.path / PASSWORD
        try:
            found = read_secret(path).decode().strip()
        except UnicodeDecodeError:  # its text would show the secret
            raise BundleInvalid(f"{path}: not UTF-8; copy the file again") from None
        if not found:
            raise BundleInvalid(f"{path}: empty; copy the file again")
        return found


def write_bundle(path: Path, config: BundleConfig, *, password: str, ca_pem: bytes) -> Bundle:
    """Write or refresh a bundle's connection: configuration, password, CA and the same for Kafka's own tools.

    A signing key and token keys that are already there are left alone.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(path / CA, ca_pem)
    write_file(path / PASSWORD, password.encode() + b"\n", mode=SECRET_MODE)
    write_file(path / CLIENT_PROPERTIES, client_properties(path, config, password).encode(), mode=SECRET_MODE)
    write_file(path / CONFIG, json.dumps(config.model_dump(), indent=2).encode() + b"\n")
    return Bundle(path, config)


def client_properties(path: Path, config: BundleConfig, password: str) -> str:
    """The settings file that Kafka's own command-line tools take (`--command-config`)."""
    jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    return "\n".join(
        (
            f"bootstrap.servers={config.bootstrap}",
            "security.protocol=SASL_SSL",
            f"sasl.mechanism={config.mechanism}",
            f'sasl.jaas.config={jaas} username="{config.login}" password="{_quoted(password)}";',
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={(path / CA).resolve()}",
            "",
        )
    )


def _quoted(text: str) -> str:
    """`text` for a quoted JAAS word in a properties file: escaped for the one, then for the other (as JSON, ASCII)."""
    word = text.replace("\\", "\\\\").replace('"', '\\"')
    return json.dumps(word)[1:-1]
