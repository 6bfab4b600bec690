"""Credentials and keys, made once and kept in files of mode 0600: never on a terminal, never in the policy file."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tocsin.deploy.policy.compile import FANOUT, logins
from tocsin.deploy.policy.document import POLICE, Policy
from tocsin.schemas.bundle import PASSWORD, SIGNING_KEY, TOKEN_KEYS, Bundle, BundleConfig, write_bundle
from tocsin.schemas.directory import EXCHANGE, ROOT_SIGNER
from tocsin.schemas.files import read_secret
from tocsin.schemas.signing import SigningKey, key_id_of
from tocsin.schemas.tokens import Plane, TokenKey, read_token_keys, write_token_keys


class MemberKey(NamedTuple):
    """A public signing key, 32 bytes, and whose it is."""

    member: str
    public: bytes

    @property
    def key_id(self) -> str:
        """The key's name in the directory."""
        return key_id_of(self.member, self.public)


class SecretStore:
    """The folders under `home`: `roots/`, `token-keys/`, `members/<member>/`, `services/<login>/`."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def roots(self, count: int) -> list[SigningKey]:
        """The root keys, made when missing. In production they are kept offline; only public parts are here."""
        paths = [self.home / "roots" / f"{n}.pem" for n in range(1, count + 1)]
        return [_key(path, ROOT_SIGNER) for path in paths]

    def member(self, name: str) -> Path:
        """The folder to hand to a member."""
        return self.home / "members" / name

    def service(self, login: str) -> Path:
        """The folder of a service of the exchange."""
        return self.home / "services" / login

    def known_keys(self, policy: Policy) -> list[MemberKey]:
        """The signing keys that there are: the exchange's and those of the policy's members."""
        found = self._keys_in(self.service(FANOUT), EXCHANGE)
        for name in policy.members:
            for login in logins(policy, name):
                found += self._keys_in(self.member(login), name)
        return found

    def lacks_keys(self, policy: Policy) -> bool:
        """Whether a member's login has no key yet."""
        return any(
            not self._keys_in(self.member(login), name) for name in policy.members for login in logins(policy, name)
        )

    def keys(self, folder: Path, member: str) -> list[MemberKey]:
        """The signing keys of a bundle; one is made when there is none."""
        if not self._keys_in(folder, member):
            SigningKey.generate(member).save(folder / SIGNING_KEY)
        return self._keys_in(folder, member)

    @staticmethod
    def _keys_in(folder: Path, member: str) -> list[MemberKey]:
        path = folder / SIGNING_KEY
        return [MemberKey(member, SigningKey.load(path, member).public)] if path.exists() else []

    def bundle(self, folder: Path, config: BundleConfig, ca_pem: bytes) -> tuple[Bundle, bool]:
        """Write a bundle. Returns it, and whether its password is new and has to be set in Kafka."""
        fresh = not (folder / PASSWORD).exists()
        password = secrets.token_urlsafe(24) if fresh else read_secret(folder / PASSWORD).decode().strip()
        return write_bundle(folder, config, password=password, ca_pem=ca_pem), fresh

    def token_keys(self, plane: Plane) -> tuple[TokenKey, ...]:
        """The token keys of a plane, made when missing. They are the members', not the exchange's."""
        path = self.home / "token-keys" / f"{plane}.json"
        if not path.exists():
            key_id = f"{plane}-{datetime.now(UTC).year}"
            write_token_keys(path, (TokenKey(key_id, plane, secrets.token_bytes(32)),))
        return read_token_keys(path)

    def give_token_keys(self, policy: Policy) -> None:
        """Put the private plane's keys into every member's bundle; the police hold both planes'."""
        for name, member in policy.members.items():
            police = self.token_keys("police") if member.role == POLICE else ()
            keys = (*police, *self.token_keys("private"))
            for login in logins(policy, name):
                path = self.member(login) / TOKEN_KEYS
                if not path.exists() or read_token_keys(path) != keys:
                    write_token_keys(path, keys)


def _key(path: Path, member: str) -> SigningKey:
    if not path.exists():
        SigningKey.generate(member).save(path)
    return SigningKey.load(path, member)
