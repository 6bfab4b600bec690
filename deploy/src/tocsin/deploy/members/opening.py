"""The member's side: opens what the secretariat sealed for it, into a bundle with the member's own signing key."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from tocsin.deploy.errors import MemberRefused
from tocsin.deploy.members.request import Request
from tocsin.deploy.members.sealed import SEALING_KEY, Parcel, SealingKey
from tocsin.schemas.bundle import CA, CONFIG, PASSWORD, SIGNING_KEY, TOKEN_KEYS, Bundle, BundleConfig, write_bundle
from tocsin.schemas.files import SECRET_MODE, read_secret, write_file
from tocsin.schemas.signing import SigningKey

REQUEST: Final = "request.json"


def open_sealed(sealed: Path, keys: Path, to: Path | None = None, fingerprints: Collection[str] = ()) -> Bundle:
    """The bundle that `sealed` makes, or brings up to date, in the folder `to`; beside the keys if not given.

    `fingerprints` are those of the root keys, from the paper: the bundle's must be the same ones.

    Raises:
        MemberRefused: it is not for these keys, its root keys are others, or nobody vouches for it to a bundle that is
            there already. Nothing was written.
        BundleInvalid: a key cannot be read.
    """
    parcel = Parcel.open(sealed, SealingKey.load(keys / SEALING_KEY))
    request = Request.load(keys / REQUEST)
    if (parcel.coalition, parcel.member) != (request.coalition, request.member):
        raise MemberRefused(f"{sealed}: for {parcel.member} of {parcel.coalition}, and these keys are another's")
    folder = to or keys / parcel.login
    there = Bundle.load(folder) if (folder / CONFIG).exists() else None
    if there is not None:
        _check_same(parcel, there)
        parcel.check_vouched(read_secret(folder / PASSWORD).decode().strip())
    if CONFIG in parcel.files:
        config = _config(parcel, there, fingerprints)
        _write(folder, config, parcel, SigningKey.load(keys / SIGNING_KEY, parcel.member))
    elif there is None:
        raise MemberRefused(f"{sealed}: only brings a bundle up to date, and there is none in {folder}; name it (--to)")
    else:
        _write_token_keys(folder, parcel)
    return Bundle.load(folder)


def _check_same(parcel: Parcel, there: Bundle) -> None:
    mine = (there.coalition, there.member, there.config.login)
    if mine != (parcel.coalition, parcel.member, parcel.login):
        raise MemberRefused(f"{there.path}: the bundle of {there.config.login}, not of {parcel.login}; name another")


def _config(parcel: Parcel, there: Bundle | None, fingerprints: Collection[str]) -> BundleConfig:
    """The configuration, once its root keys are the known ones."""
    try:
        config = BundleConfig.model_validate_json(parcel.files[CONFIG])
    except ValidationError as error:
        raise MemberRefused(f"{CONFIG}: of another release than this one; upgrade, and open it again") from error
    if (config.coalition, config.member, config.login) != (parcel.coalition, parcel.member, parcel.login):
        raise MemberRefused(f"{CONFIG}: of {config.login}, and sealed as {parcel.login}'s; ask the secretariat")
    offered = {*Bundle(Path(), config).roots.fingerprints}
    known = {one.lower().replace(" ", "") for one in fingerprints}
    if not known and there is not None:
        known = {*there.roots.fingerprints}
    if known and offered != known:
        raise MemberRefused(
            f"its root keys are not the known ones ({len(offered - known)} are others, {len(known - offered)} are"
            " missing): do not use it, and call the secretariat by a number that you had before"
        )
    return config


def _write(folder: Path, config: BundleConfig, parcel: Parcel, key: SigningKey) -> None:
    for name in (PASSWORD, CA, TOKEN_KEYS):
        if name not in parcel.files:
            raise MemberRefused(f"{name} is missing in what was sealed; ask the secretariat")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_token_keys(folder, parcel)
    ca_pem = parcel.files[CA].encode()
    write_bundle(folder, config, password=parcel.files[PASSWORD].strip(), ca_pem=ca_pem)
    key.save(folder / SIGNING_KEY)


def _write_token_keys(folder: Path, parcel: Parcel) -> None:
    write_file(folder / TOKEN_KEYS, parcel.files[TOKEN_KEYS].encode(), mode=SECRET_MODE)
