"""A service's next password: beside the old one, until every process of the service has been started again."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient

from tocsin.deploy.errors import ServiceRefused
from tocsin.deploy.policy.secrets import OLD_PASSWORD
from tocsin.deploy.policy.users import Credential, delete_credentials, other_than, scram_users, set_users
from tocsin.schemas.bundle import CA, CONFIG, PASSWORD, Bundle, Mechanism, write_bundle
from tocsin.schemas.files import SECRET_MODE, read_file, read_secret, write_file

SERVICES: Final = "services"


def rotate_service(admin: AdminClient, home: Path, login: str) -> Bundle:
    """Give a service a second password, by the mechanism that it does not use, and write it into its bundle.

    What runs goes on with the old one, which works until `finish_service`. A run that was interrupted is taken up by
    running it again: the old password is kept first, so until the bundle has the new one it has the old one.

    Raises:
        ServiceRefused: there is no such service, or the rotation before this one is not finished.
        KafkaException: refused; running it again is safe.
    """
    bundle = _bundle(home, login)
    old = bundle.path / OLD_PASSWORD
    if old.exists() and read_secret(old) != read_secret(bundle.path / PASSWORD):
        raise ServiceRefused(
            f"{login} still has the password from before its last rotation; once every process of it was started again,"
            f" run `tocsin service rotate {login} --finish`"
        )
    write_file(old, read_secret(bundle.path / PASSWORD), mode=SECRET_MODE)
    credential = Credential(other_than(bundle.config.mechanism), secrets.token_urlsafe(24))
    set_users(admin, {login: credential})
    config = bundle.config.model_copy(update={"mechanism": credential.mechanism})
    return write_bundle(bundle.path, config, password=credential.password, ca_pem=read_file(bundle.path / CA))


def finish_service(admin: AdminClient, home: Path, login: str) -> bool:
    """Delete a service's old password; whether it had one.

    Raises:
        ServiceRefused: there is no such service.
        KafkaException: refused; running it again is safe.
    """
    bundle = _bundle(home, login)
    current = bundle.config.mechanism
    found: list[tuple[str, Mechanism]] = [(login, one) for one in scram_users(admin).get(login, ()) if one != current]
    delete_credentials(admin, found)
    (bundle.path / OLD_PASSWORD).unlink(missing_ok=True)
    return bool(found)


def _bundle(home: Path, login: str) -> Bundle:
    folders = sorted(path.parent.name for path in (home / SERVICES).glob(f"*/{CONFIG}"))
    if login not in folders:
        raise ServiceRefused(f"no service {login!r}; there are: {', '.join(folders) or 'none'}")
    return Bundle.load(home / SERVICES / login)
