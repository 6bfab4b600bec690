"""Signatures: DSSE's encoding, Ed25519 as RFC 8032 has it, and the forgeries that lax verifiers accept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tocsin.schemas.catalog import ALL, schema
from tocsin.schemas.errors import BundleInvalid, UnsafePermissions
from tocsin.schemas.signing import (
    SigningKey,
    fingerprint,
    pae,
    payload_type,
    sign_headers,
    sign_headers_by,
    verify,
)

KEY = SigningKey.generate("bank-fr")
# RFC 8032, 5.1: the order of the base point
ORDER = 2**252 + 27742317777372353535851937790883648493
IDENTITY = (1).to_bytes(32, "little")
# the points of order 1, 2, 4 and 8 that have a canonical encoding
SMALL_ORDER = (
    IDENTITY,
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes(32),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
)


def test_pae_is_that_of_the_specification() -> None:
    """The example of DSSE v1.0.2, protocol.md."""
    assert pae(b"http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_tells_type_from_body() -> None:
    """Bytes moved over the border between type and body are signed differently."""
    assert pae(b"a", b"b c") != pae(b"a b", b"c")
    assert pae(b"", b"") == b"DSSEv1 0  0 "


def test_verify_holds_for_rfc_8032() -> None:
    """Test 3 of RFC 8032, 7.1."""
    public = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert verify(public, b"\xaf\x82", signature)
    assert not verify(public, b"\xaf\x83", signature)


def test_every_flipped_bit_breaks_a_signature() -> None:
    """In the signature, in the message and in the key."""
    message = b"an alert"
    signature = KEY.sign(message)
    assert verify(KEY.public, message, signature)
    assert not any(verify(KEY.public, message, flipped) for flipped in _flipped(signature))
    assert not any(verify(KEY.public, flipped, signature) for flipped in _flipped(message))
    assert not any(verify(flipped, message, signature) for flipped in _flipped(KEY.public))


def _flipped(data: bytes) -> list[bytes]:
    whole = int.from_bytes(data, "big")
    return [(whole ^ (1 << bit)).to_bytes(len(data), "big") for bit in range(8 * len(data))]


def test_a_malleable_signature_is_refused() -> None:
    """S plus the group's order satisfies the same equation; RFC 8032 wants it refused."""
    message = b"an alert"
    signature = KEY.sign(message)
    scalar = int.from_bytes(signature[32:], "little")
    assert not verify(KEY.public, message, signature[:32] + (scalar + ORDER).to_bytes(32, "little"))


@pytest.mark.parametrize("public", SMALL_ORDER)
def test_a_key_of_small_order_signs_nothing(public: bytes) -> None:
    """A signature that anybody can make for such a key, and that OpenSSL accepts, does not count."""
    forged = IDENTITY + bytes(32)
    message = next(one for one in (b"%d" % n for n in range(1_000)) if _openssl_accepts(public, one, forged))
    assert not verify(public, message, forged)


def _openssl_accepts(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_signature_whose_point_has_small_order_is_refused(point: bytes) -> None:
    """R of small order comes from no honest signer."""
    signature = point + KEY.sign(b"an alert")[32:]
    assert not verify(KEY.public, b"an alert", signature)


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    """Shorter ones would take bytes of the message, longer ones would give it some."""
    message = b"m" * 100
    signature = (KEY.sign(message) + message)[:size]
    assert not verify(KEY.public, message, signature)
    assert not verify(KEY.public, message[1:], KEY.sign(message) + message[:1])


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_signs_nothing(size: int) -> None:
    """Libsodium would read 32 bytes wherever the key ends."""
    assert not verify((KEY.public + b"x")[:size], b"m", KEY.sign(b"m"))


def test_a_payload_type_names_coalition_and_schema() -> None:
    """No two schemas or coalitions share one."""
    types = {payload_type(coalition, one) for coalition in ("a", "b") for one in ALL}
    assert len(types) == 2 * len(ALL)
    site = schema("site-taken-down")
    assert payload_type("a", site) == f"application/vnd.tocsin.a+avro; schema={site.sha256}"


def test_headers_carry_type_key_id_and_raw_signature() -> None:
    """In this order, and the signature is over PAE of the exact value."""
    site, value = schema("site-taken-down"), b"\0\0\0\0\x67value"
    kind = payload_type("test", site).encode()
    headers = sign_headers(KEY, "test", site, value)
    assert [name for name, _ in headers] == ["dsse-type", "dsse-keyid", "dsse-sig"]
    assert headers[0][1] == kind
    assert headers[1][1] == f"bank-fr.{hashlib.sha256(KEY.public).hexdigest()[:16]}".encode()
    assert verify(KEY.public, pae(kind, value), headers[2][1])


def test_several_keys_sign_under_one_type() -> None:
    """One type, then a pair of key id and signature for each key."""
    other = SigningKey.generate("root")
    headers = sign_headers_by([KEY, other], "test", schema("directory"), b"v")
    assert [name for name, _ in headers] == ["dsse-type", *["dsse-keyid", "dsse-sig"] * 2]
    assert [content for name, content in headers if name == "dsse-keyid"] == [
        KEY.key_id.encode(),
        other.key_id.encode(),
    ]


def test_a_key_file_is_read_back(tmp_path: Path) -> None:
    """The same key, in a file of mode 0600."""
    path = tmp_path / "signing.pem"
    KEY.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = SigningKey.load(path, "bank-fr")
    assert (again.key_id, again.sign(b"m")) == (KEY.key_id, KEY.sign(b"m"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The message says which command puts it right."""
    path = tmp_path / "signing.pem"
    KEY.save(path)
    path.chmod(mode)
    with pytest.raises(UnsafePermissions, match=f"{mode:04o}.*chmod 600"):
        SigningKey.load(path, "bank-fr")


def test_what_is_no_key_file_is_refused_by_name(tmp_path: Path) -> None:
    """Missing, garbage, and a key of another kind; the content is not in the message."""
    path = tmp_path / "signing.pem"
    with pytest.raises(BundleInvalid, match=r"signing\.pem"):
        SigningKey.load(path, "bank-fr")
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"hunter2", other):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(BundleInvalid, match=r"signing\.pem: not a") as caught:
            SigningKey.load(path, "bank-fr")
        assert "hunter2" not in str(caught.value)


def test_a_key_does_not_show_its_secret() -> None:
    """Not in its repr; the fingerprint is the public key's SHA-256."""
    assert "private" not in repr(KEY).lower()
    assert fingerprint(KEY.public) == hashlib.sha256(KEY.public).hexdigest()
