"""Kafka users through the administrator's client: a password by SCRAM-SHA-256, by SCRAM-SHA-512, or both."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, cast

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from tocsin.deploy.policy.acls import ANSWERED_S
from tocsin.schemas.bundle import Mechanism

SCRAM_ITERATIONS: Final = 4096
_MECHANISMS: Final[Mapping[Mechanism, ScramMechanism]] = {
    "SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256,
    "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512,
}
_NAMES: Final[Mapping[Any, Mechanism]] = {one.value: name for name, one in _MECHANISMS.items()}


class Credential(NamedTuple):
    """A password and the mechanism that it is for."""

    mechanism: Mechanism
    password: str


def other_than(mechanism: Mechanism) -> Mechanism:
    """The mechanism by which a login can have a second password."""
    return "SCRAM-SHA-256" if mechanism == "SCRAM-SHA-512" else "SCRAM-SHA-512"


def scram_users(admin: AdminClient) -> dict[str, frozenset[Mechanism]]:
    """Every user, with the mechanisms by which it has a password. Raises KafkaException."""
    described: Any = admin.describe_user_scram_credentials()
    found: Mapping[str, Any] = described.result(ANSWERED_S)
    return {
        login: frozenset(_NAMES[info.mechanism.value] for info in one.scram_credential_infos)
        for login, one in found.items()
    }


def set_users(admin: AdminClient, credentials: Mapping[str, Credential]) -> None:
    """Give each login its password by one mechanism; what it has by the other one stays. Raises KafkaException."""
    _alter(
        admin,
        [
            UserScramCredentialUpsertion(
                login, ScramCredentialInfo(_MECHANISMS[one.mechanism], SCRAM_ITERATIONS), one.password.encode()
            )
            for login, one in credentials.items()
        ],
    )


def delete_credentials(admin: AdminClient, credentials: Collection[tuple[str, Mechanism]]) -> None:
    """Take passwords from logins. Sessions that are open end within `connections.max.reauth.ms`.

    Raises:
        KafkaException: refused.
    """
    # a user can be altered once in a request
    for mechanism in _MECHANISMS:
        mine = [login for login, of in credentials if of == mechanism]
        _alter(admin, [UserScramCredentialDeletion(login, _MECHANISMS[mechanism]) for login in mine])


def _alter(admin: AdminClient, changes: Collection[UserScramCredentialAlteration]) -> None:
    if changes:
        for future in admin.alter_user_scram_credentials(cast("Any", [*changes])).values():
            future.result(ANSWERED_S)
