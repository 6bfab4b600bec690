"""A bundle: what is missing, unsafe or broken is refused with the file's name and what to do."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.unit.schemas.coalition import KEYS, PUBLISHER, ROOTS
from tocsin.schemas.bundle import (
    CA,
    CLIENT_PROPERTIES,
    CONFIG,
    PASSWORD,
    SIGNING_KEY,
    TOKEN_KEYS,
    Bundle,
    BundleConfig,
    write_bundle,
)
from tocsin.schemas.errors import BundleInvalid, DirectoryInvalid, UnsafePermissions
from tocsin.schemas.tokens import TokenKey, write_token_keys

WORD = 'pass"word\\ü'
CA_PEM = trustme.CA().cert_pem.bytes()
TOKEN_KEY = TokenKey("k2026", "private", bytes(32))
SECRETS = (PASSWORD, SIGNING_KEY, TOKEN_KEYS)
READ: dict[str, Callable[[Bundle], Any]] = {
    PASSWORD: Bundle.kafka_config,
    SIGNING_KEY: Bundle.signing_key,
    TOKEN_KEYS: Bundle.token_keys,
    CA: Bundle.kafka_config,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle with everything in it."""
    config = BundleConfig(
        coalition="test",
        member=PUBLISHER,
        login=f"{PUBLISHER}.app",
        role="acquirer",
        jurisdiction="de",
        bootstrap="localhost:9092",
        roots=ROOTS.public_keys,
        roots_threshold=2,
    )
    found = write_bundle(tmp_path / "bundle", config, password=WORD, ca_pem=CA_PEM)
    KEYS[PUBLISHER].save(found.path / SIGNING_KEY)
    write_token_keys(found.path / TOKEN_KEYS, (TOKEN_KEY,))
    return found.path


def test_a_bundle_is_read_back(folder: Path) -> None:
    """Configuration, roots, keys, and the settings to connect with."""
    bundle = Bundle.load(str(folder))
    assert (bundle.coalition, bundle.member, bundle.roots) == ("test", PUBLISHER, ROOTS)
    assert bundle.signing_key().key_id == KEYS[PUBLISHER].key_id
    assert bundle.token_keys() == (TOKEN_KEY,)
    kafka = bundle.kafka_config()
    assert (kafka["sasl.username"], kafka["sasl.password"]) == (f"{PUBLISHER}.app", WORD)
    assert (kafka["security.protocol"], kafka["ssl.ca.location"]) == ("SASL_SSL", str(folder / CA))


def test_only_secrets_are_hidden_and_nobody_else_enters(folder: Path) -> None:
    """0600 for what holds a password or key; the folder is the owner's."""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    secret = {*SECRETS, CLIENT_PROPERTIES}
    assert modes == {name: 0o600 if name in secret else 0o644 for name in (*secret, CONFIG, CA)}
    assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0


def test_writing_again_leaves_the_keys_alone(folder: Path) -> None:
    """A refreshed connection is no new identity."""
    config = Bundle.load(folder).config
    write_bundle(folder, config.model_copy(update={"bootstrap": "other:1"}), password="new", ca_pem=CA_PEM)  # noqa: S106
    bundle = Bundle.load(folder)
    assert (bundle.config.bootstrap, bundle.kafka_config()["sasl.password"]) == ("other:1", "new")
    assert bundle.signing_key().key_id == KEYS[PUBLISHER].key_id
    assert bundle.token_keys() == (TOKEN_KEY,)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_secret_that_others_can_reach_is_refused(folder: Path, name: str, mode: int) -> None:
    """The message is the command that puts it right."""
    path = folder / name
    path.chmod(mode)
    with pytest.raises(UnsafePermissions, match=rf"{name}: mode {mode:04o} .*; run: chmod 600 {path}"):
        READ[name](Bundle.load(folder))
    path.chmod(0o400)
    READ[name](Bundle.load(folder))


@pytest.mark.parametrize("name", READ)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """When it is used, not before."""
    (folder / name).unlink()
    bundle = Bundle.load(folder)
    with pytest.raises(BundleInvalid, match=rf"{folder / name}: No such file.*tocsin policy apply"):
        READ[name](bundle)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (PASSWORD, b" \n", "empty; copy the file again"),
        (PASSWORD, b"\xff\xfe", "not UTF-8; copy the file again"),
        (CA, b"", "not a PEM certificate; copy the file again"),
        (CA, b"-----BEGIN CERTIFICATE-----", "not a PEM certificate; copy the file again"),
        (SIGNING_KEY, b"", "not a PEM private key"),
        (TOKEN_KEYS, b"{", "not a list of"),
        (TOKEN_KEYS, b'[{"key_id": "k", "plane": "public", "secret": "00"}]', "not a list of"),
        (TOKEN_KEYS, b'[{"key_id": "k", "plane": "police", "secret": "hunter2"}]', "not a list of"),
    ],
)
def test_a_broken_file_is_named_and_not_shown(folder: Path, name: str, content: bytes, message: str) -> None:
    """The file and what is wrong; never what it holds."""
    (folder / name).write_bytes(content)
    with pytest.raises(BundleInvalid, match=f"{folder / name}: {message}") as refusal:
        READ[name](Bundle.load(folder))
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None or "hunter2" not in str(refusal.value.__cause__)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"coalition": None}, "coalition"),
        ({"surprise": 1}, "surprise"),
        ({"roots": ["zz"]}, r"roots\.0"),
        ({"roots": ["AB" * 32]}, r"roots\.0"),
        ({"roots_threshold": 0}, "roots_threshold"),
    ],
)
def test_a_wrong_configuration_names_file_and_field(folder: Path, change: dict[str, Any], field: str) -> None:
    """One field is enough to go on with."""
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**content, **change}))
    with pytest.raises(BundleInvalid, match=rf"{folder / CONFIG}: {field}: "):
        Bundle.load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_what_is_no_configuration_is_named(folder: Path, content: bytes) -> None:
    """Cut short, or something else."""
    (folder / CONFIG).write_bytes(content)
    with pytest.raises(BundleInvalid, match=_begins_with(folder / CONFIG)):
        Bundle.load(folder)


def _begins_with(path: Path) -> str:
    """The path at the beginning of a message."""
    return f"^{path}: "


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    """Missing, or a file."""
    for path in (tmp_path / "gone", Path(__file__)):
        with pytest.raises(BundleInvalid, match=rf"^{path / CONFIG}: .*is this the folder"):
            Bundle.load(path)


def test_roots_that_cannot_be_satisfied_are_refused_when_used(folder: Path) -> None:
    """More signatures than keys: the bundle loads, and says so when the directory is asked for."""
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**content, "roots_threshold": 4}))
    bundle = Bundle.load(folder)
    with pytest.raises(DirectoryInvalid, match=r"roots: 4 of 3 .*config\.json"):
        _ = bundle.roots


def test_kafkas_own_tools_get_the_password_escaped_twice(folder: Path) -> None:
    """Once for JAAS, once for the properties file."""
    text = (folder / CLIENT_PROPERTIES).read_text()
    assert 'password="pass\\\\\\"word\\\\\\\\\\u00fc";' in text
    assert f'username="{PUBLISHER}.app"' in text


def test_the_mechanism_of_the_password_is_the_bundles(folder: Path) -> None:
    """For our clients and for Kafka's own tools; SCRAM-SHA-512 where a bundle names none."""
    assert Bundle.load(folder).kafka_config()["sasl.mechanism"] == "SCRAM-SHA-512"
    config = Bundle.load(folder).config.model_copy(update={"mechanism": "SCRAM-SHA-256"})
    write_bundle(folder, config, password=WORD, ca_pem=CA_PEM)
    assert Bundle.load(folder).kafka_config()["sasl.mechanism"] == "SCRAM-SHA-256"
    assert "sasl.mechanism=SCRAM-SHA-256\n" in (folder / CLIENT_PROPERTIES).read_text()
