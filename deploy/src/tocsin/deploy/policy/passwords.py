"""A login's password and the one before it, in the folder of its bundle: how one follows the other without a gap."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from pathlib import Path

from confluent_kafka.admin import AdminClient

from tocsin.deploy.policy.users import Credential, delete_credentials, other_than, set_users
from tocsin.schemas.bundle import CA, PASSWORD, Bundle, Mechanism, write_bundle
from tocsin.schemas.files import SECRET_MODE, read_file, read_secret, write_file

OLD_PASSWORD = "password.old"  # noqa: S105  # the file's name


class Passwords:
    """The passwords of `login`, whose bundle is in `folder`."""

    def __init__(self, folder: Path, login: str) -> None:
        self._folder = folder
        self._login = login
        self._old = folder / OLD_PASSWORD

    @property
    def current(self) -> str:
        """The password in the bundle."""
        return read_secret(self._folder / PASSWORD).decode().strip()

    @property
    def old(self) -> str | None:
        """The password before it; None when there is none, or it was forgotten."""
        return read_secret(self._old).decode().strip() if self._old.exists() else None

    @property
    def followed(self) -> bool:
        """Whether the password was followed by another, and the old one not deleted yet."""
        return self.old not in (None, self.current)

    def follow(self, admin: AdminClient | None) -> None:
        """Make a next password and write it into the bundle, unless that is done and not finished yet.

        By the mechanism that the login does not use, so that the old password works on; a login that is no user of the
        cluster yet (no `admin`) keeps its own. A run that was interrupted is taken up by running it again: the old
        password is kept first, so until the new one is in the bundle, what is there is the old one.

        Raises:
            KafkaException: refused.
        """
        if self.followed:
            return
        write_file(self._old, read_secret(self._folder / PASSWORD), mode=SECRET_MODE)
        bundle = Bundle.load(self._folder)
        credential = Credential(bundle.config.mechanism, secrets.token_urlsafe(24))
        if admin is not None:
            credential = Credential(other_than(credential.mechanism), credential.password)
            set_users(admin, {self._login: credential})
        config = bundle.config.model_copy(update={"mechanism": credential.mechanism})
        write_bundle(bundle.path, config, password=credential.password, ca_pem=read_file(bundle.path / CA))

    def finish(self, admin: AdminClient, users: Mapping[str, Collection[Mechanism]]) -> bool:
        """Delete the old password, on the cluster, whose `users` these are, and here; whether there was one.

        Raises:
            KafkaException: refused.
        """
        current = Bundle.load(self._folder).config.mechanism
        old: list[tuple[str, Mechanism]] = [(self._login, one) for one in users.get(self._login, ()) if one != current]
        delete_credentials(admin, old)
        had = bool(old) or self._old.exists()
        self._old.unlink(missing_ok=True)
        return had
