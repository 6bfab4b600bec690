"""Tokens against their vectors, and the file of token keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tocsin.schemas.errors import BundleInvalid, UnsafePermissions
from tocsin.schemas.tokens import TokenKey, TokenKind, live_tokens, read_token_keys, write_token_keys

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "descriptors.json").read_text("utf-8"))
KEY = TokenKey(VECTORS["key_id"], "private", bytes.fromhex(VECTORS["hmac_test_key_hex"]))


@pytest.mark.parametrize("vector", VECTORS["tokens"], ids=lambda vector: vector["kind"])
def test_every_token_vector_holds(vector: dict[str, str]) -> None:
    """The token is the vector's, and its kind is one that the contract names."""
    assert KEY.token(vector["kind"], vector["value"]) == vector["token"]
    assert vector["kind"] in set(TokenKind)


def test_equal_text_of_two_kinds_has_two_tokens() -> None:
    """The kind is part of what is hashed."""
    assert len({KEY.token(kind, "BLUELAGOON") for kind in TokenKind}) == len(TokenKind)


def test_screening_looks_up_every_live_key() -> None:
    """One token for each key, in the keys' order."""
    older = TokenKey("k2025", "private", b"\1" * 32)

    found = live_tokens((KEY, older), TokenKind.DESCRIPTOR, "BLUELAGOON")

    assert [token.partition(":")[0] for token in found] == ["k2026q4", "k2025"]
    assert len({token.partition(":")[2] for token in found}) == 2


def test_keys_come_back_from_their_file(tmp_path: Path) -> None:
    """Written and read, mode 0600, order kept."""
    keys = (KEY, TokenKey("k2025", "police", b"\2" * 32))
    path = tmp_path / "token-keys.json"

    write_token_keys(path, keys)

    assert path.stat().st_mode & 0o777 == 0o600
    assert read_token_keys(path) == keys


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The error names the file and its mode."""
    path = tmp_path / "token-keys.json"
    write_token_keys(path, (KEY,))
    path.chmod(0o644)

    with pytest.raises(UnsafePermissions):
        read_token_keys(path)


def test_neither_the_key_nor_a_broken_file_shows_the_secret(tmp_path: Path) -> None:
    """No secret in a repr or in an error."""
    path = tmp_path / "token-keys.json"
    path.write_text(json.dumps([{"key_id": "k", "plane": "moon", "secret": "5ec4e7"}]))
    path.chmod(0o600)

    with pytest.raises(BundleInvalid) as failure:
        read_token_keys(path)

    assert "5ec4e7" not in str(failure.value)
    assert VECTORS["hmac_test_key_hex"] not in repr(KEY)
    assert repr(KEY.secret) not in repr(KEY)
