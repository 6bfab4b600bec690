"""Credentials and keys, made once and kept in files of mode 0600: never on a terminal, never in the policy file."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.compile import logins, member_of
from tocsin.deploy.policy.document import POLICE, Policy
from tocsin.deploy.policy.member_keys import KEYS, MemberKeys
from tocsin.deploy.policy.passwords import Passwords
from tocsin.deploy.policy.rows import SIGNERS
from tocsin.deploy.policy.users import Credential
from tocsin.schemas.bundle import (
    CA,
    CONFIG,
    PASSWORD,
    SIGNING_KEY,
    TOKEN_KEYS,
    Bundle,
    BundleConfig,
    write_bundle,
)
from tocsin.schemas.directory import ROOT_SIGNER
from tocsin.schemas.files import SECRET_MODE, read_file, read_secret, write_file
from tocsin.schemas.signing import SigningKey, key_id_of
from tocsin.schemas.tokens import Plane, TokenKey, read_token_keys, write_token_keys

PUBLIC_BYTES: Final = 32
TOKEN_KEYS_MAX: Final = 6


class MemberKey(NamedTuple):
    """A public signing key, 32 bytes, and whose it is.

    `ends_ms` is when it ends, if that was brought forward; `trusted` the last offsets at which it counts, if revoked.
    """

    member: str
    public: bytes
    ends_ms: int | None = None
    trusted: Mapping[str, int] | None = None

    @property
    def key_id(self) -> str:
        """The key's name in the directory."""
        return key_id_of(self.member, self.public)


class RootKey(Protocol):
    """A root key, of which at least the public part is here."""

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        ...


class PublicRoot(NamedTuple):
    """A root key that is kept offline."""

    public: bytes


@dataclass(frozen=True, slots=True)
class RootKeys:
    """The root keys; `signing` is empty when not all of them are here, and then nothing is signed here."""

    keys: Sequence[RootKey]
    signing: Sequence[SigningKey] = ()

    @property
    def offline(self) -> bool:
        """Whether their holders sign."""
        return not self.signing


def bundle_config(
    policy: Policy, login: str, member: str, role: str, place: str, *, bootstrap: str, roots: RootKeys
) -> BundleConfig:
    """The configuration of the bundle of `login`."""
    return BundleConfig(
        coalition=policy.coalition,
        member=member,
        login=login,
        role=role,
        jurisdiction=place,
        bootstrap=bootstrap,
        roots=tuple(root.public.hex() for root in roots.keys),
        roots_threshold=policy.roots_threshold,
    )


class SecretStore:
    """The folders under `home`: `roots/`, `token-keys/`, `members/<member>/`, `services/<login>/`."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def roots(self, count: int) -> list[SigningKey]:
        """The root keys, made when missing. In production they are kept offline; only public parts are here."""
        paths = [self.home / "roots" / f"{n}.pem" for n in range(1, count + 1)]
        return [_key(path, ROOT_SIGNER) for path in paths]

    def root_keys(self, count: int) -> RootKeys:
        """The root keys, of which `N.pub` (hex) stands for one that is kept offline; made when there are none.

        Raises:
            PolicyInvalid: some are kept offline, and the public part of one is missing or wrong.
        """
        if not self.roots_offline(count):
            found = self.roots(count)
            return RootKeys(found, found)
        return RootKeys([_public_root(self.home / "roots", n) for n in range(1, count + 1)])

    def roots_offline(self, count: int) -> bool:
        """Whether a root key is not here, and its public part is; nothing is made."""
        paths = [self.home / "roots" / f"{n}" for n in range(1, count + 1)]
        return any(path.with_suffix(".pub").exists() and not path.with_suffix(".pem").exists() for path in paths)

    def member(self, login: str) -> Path:
        """The folder of a member's login."""
        return self.home / "members" / login

    def member_keys(self, member: str) -> MemberKeys | None:
        """The public keys of a member that was onboarded; None when it was not. Raises MemberRefused."""
        return MemberKeys.load(self.member(member) / KEYS)

    def keep_keys(self, member: str, keys: MemberKeys) -> None:
        """Keep a member's public keys."""
        keys.save(self.member(member) / KEYS)

    def passwords(self, login: str) -> Passwords:
        """The passwords of a member's login."""
        return Passwords(self.member(login), login)

    def forget_keys(self, login: str) -> None:
        """Delete a signing key that was made here: from now on it is the member's own to keep."""
        (self.member(login) / SIGNING_KEY).unlink(missing_ok=True)

    def takes_part(self, login: str) -> bool:
        """Whether a member's login has keys: its member was onboarded, or a key was made for it here."""
        return (self.member(login) / SIGNING_KEY).exists() or (self.member(member_of(login)) / KEYS).exists()

    def service(self, login: str) -> Path:
        """The folder of a service of the exchange."""
        return self.home / "services" / login

    def known_keys(self, policy: Policy) -> list[MemberKey]:
        """The signing keys that there are: those of the exchange's services and those of the policy's members."""
        found = [key for login, signer in SIGNERS.items() for key in self.keys_in(self.service(login), signer)]
        for name in policy.members:
            found += self._own_keys(name)
            for login in logins(policy, name):
                found += self.keys_in(self.member(login), name)
        return found

    def _own_keys(self, name: str) -> Iterator[MemberKey]:
        keys = self.member_keys(name)
        for key in keys.signing if keys else ():
            ends = None if key.ends is None else round(key.ends.timestamp() * 1_000)
            yield MemberKey(name, bytes.fromhex(key.public), ends, key.trusted)

    def lacks_keys(self, policy: Policy) -> bool:
        """Whether a member's login has no key yet."""
        return any(not self.takes_part(login) for name in policy.members for login in logins(policy, name))

    def make_key(self, folder: Path, member: str) -> bool:
        """Make the signing key of a bundle when there is none; whether it was made. A member's own is better."""
        missing = not (folder / SIGNING_KEY).exists()
        if missing:
            SigningKey.generate(member).save(folder / SIGNING_KEY)
        return missing

    @staticmethod
    def keys_in(folder: Path, member: str) -> list[MemberKey]:
        """The signing key that is in a folder, if there is one."""
        path = folder / SIGNING_KEY
        return [MemberKey(member, SigningKey.load(path, member).public)] if path.exists() else []

    def bundle(self, folder: Path, config: BundleConfig, ca_pem: bytes) -> tuple[Bundle, bool]:
        """Write a bundle. Returns it, and whether its password is new and has to be set in Kafka."""
        credential, fresh = self.credential(folder, config)
        config = config.model_copy(update={"mechanism": credential.mechanism})
        return write_bundle(folder, config, password=credential.password, ca_pem=ca_pem), fresh

    @staticmethod
    def credential(folder: Path, config: BundleConfig) -> tuple[Credential, bool]:
        """The password of a bundle, made when missing, before there need be a bundle; and whether it was made.

        The mechanism of a bundle that is there already stays.
        """
        path = folder / PASSWORD
        fresh = not path.exists()
        if fresh:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_file(path, secrets.token_urlsafe(24).encode() + b"\n", mode=SECRET_MODE)
        there = Bundle.load(folder).config if (folder / CONFIG).exists() else config
        return Credential(there.mechanism, read_secret(path).decode().strip()), fresh

    def outdated(self, folder: Path, config: BundleConfig, ca_pem: bytes) -> bool:
        """Whether a bundle is there and would be written otherwise now: other brokers, roots or authorities."""
        if not (folder / CONFIG).exists():
            return False
        bundle = Bundle.load(folder)
        by = config.model_copy(update={"mechanism": bundle.config.mechanism})
        return bundle.config != by or read_file(folder / CA) != ca_pem

    def token_keys(self, plane: Plane) -> tuple[TokenKey, ...]:
        """The token keys of a plane, made when missing. They are the members', not the exchange's."""
        path = self._token_keys(plane)
        if not path.exists():
            write_token_keys(path, (_next_token_key(plane, ()),))
        return read_token_keys(path)

    def change_token_keys(self, planes: Sequence[Plane], left: str) -> tuple[TokenKey, ...]:
        """Put a new key before those of some planes, once for each member that has left. Returns what fell out of use.

        At most six stay: with the last, what was published under it can no longer be looked up.
        """
        mark = self.home / "token-keys" / "left" / left
        if mark.exists():
            return ()
        dropped: list[TokenKey] = []
        for plane in planes:
            old = self.token_keys(plane)
            keys = (_next_token_key(plane, old), *old)
            write_token_keys(self._token_keys(plane), keys[:TOKEN_KEYS_MAX])
            dropped += keys[TOKEN_KEYS_MAX:]
        write_file(mark, b"")
        return tuple(dropped)

    def _token_keys(self, plane: Plane) -> Path:
        return self.home / "token-keys" / f"{plane}.json"

    def give_token_keys(self, policy: Policy) -> None:
        """Put the private plane's keys into every member's bundle; the police hold both planes'."""
        for name, member in policy.members.items():
            if member.status == "withdrawn":
                continue  # it keeps what it has, and gets no newer ones
            for login in filter(self.takes_part, logins(policy, name)):
                self.give_login_token_keys(login, police=member.role == POLICE)

    def give_login_token_keys(self, login: str, *, police: bool) -> None:
        """Put the token keys of its planes into the bundle of one login."""
        keys = (*(self.token_keys("police") if police else ()), *self.token_keys("private"))
        path = self.member(login) / TOKEN_KEYS
        if not path.exists() or read_token_keys(path) != keys:
            write_token_keys(path, keys)


def _next_token_key(plane: Plane, known: Sequence[TokenKey]) -> TokenKey:
    """Named after the year, and a number that no key of the year has had."""
    year = f"{plane}-{datetime.now(UTC).year}"
    numbers = [_number(key.key_id, year) for key in known]
    number = max((one for one in numbers if one is not None), default=0) + 1
    return TokenKey(year if number == 1 else f"{year}-{number}", plane, secrets.token_bytes(32))


def _number(key_id: str, year: str) -> int | None:
    rest = key_id.removeprefix(year)
    if rest == key_id:
        return None
    return int(rest[1:]) if rest[1:].isdigit() else 1


def _public_root(folder: Path, number: int) -> PublicRoot:
    path, pem = folder / f"{number}.pub", folder / f"{number}.pem"
    if not path.exists() and pem.exists():
        return PublicRoot(SigningKey.load(pem, ROOT_SIGNER).public)
    try:
        public = bytes.fromhex(path.read_text())
    except (OSError, ValueError):
        public = b""
    if len(public) != PUBLIC_BYTES:
        raise PolicyInvalid(
            f"{path}: no public root key; its holder runs `tocsin keys new FOLDER --root {number}` offline and gives"
            f" you {number}.pub, or lower `roots` in the policy"
        )
    return PublicRoot(public)


def _key(path: Path, member: str) -> SigningKey:
    if not path.exists():
        SigningKey.generate(member).save(path)
    return SigningKey.load(path, member)
