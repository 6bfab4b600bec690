"""A service's next password: beside the old one, until every process of the service has been started again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient

from tocsin.deploy.errors import ServiceRefused
from tocsin.deploy.policy.passwords import Passwords
from tocsin.deploy.policy.users import scram_users
from tocsin.schemas.bundle import CONFIG, Bundle

SERVICES: Final = "services"


def rotate_service(admin: AdminClient, home: Path, login: str) -> Bundle:
    """Give a service a second password, by the mechanism that it does not use, and write it into its bundle.

    What runs goes on with the old one, which works until `finish_service`. A run that was interrupted is taken up by
    running it again: the old password is kept first, so until the bundle has the new one it has the old one.

    Raises:
        ServiceRefused: there is no such service, or the rotation before this one is not finished.
        KafkaException: refused; running it again is safe.
    """
    passwords = Passwords(_bundle(home, login).path, login)
    if passwords.followed:
        raise ServiceRefused(
            f"{login} still has the password from before its last rotation; once every process of it was started again,"
            f" run `tocsin service rotate {login} --finish`"
        )
    passwords.follow(admin)
    return _bundle(home, login)


def finish_service(admin: AdminClient, home: Path, login: str) -> bool:
    """Delete a service's old password; whether it had one.

    Raises:
        ServiceRefused: there is no such service.
        KafkaException: refused; running it again is safe.
    """
    return Passwords(_bundle(home, login).path, login).finish(admin, scram_users(admin))


def _bundle(home: Path, login: str) -> Bundle:
    folders = sorted(path.parent.name for path in (home / SERVICES).glob(f"*/{CONFIG}"))
    if login not in folders:
        raise ServiceRefused(f"no service {login!r}; there are: {', '.join(folders) or 'none'}")
    return Bundle.load(home / SERVICES / login)
