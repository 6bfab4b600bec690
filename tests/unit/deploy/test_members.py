"""Joining: a request proves that its sender holds the keys; what is sealed for a member is for that member alone."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import trustme

from tests.world import tocsin
from tocsin.deploy.errors import MemberRefused
from tocsin.deploy.members.opening import REQUEST, open_sealed
from tocsin.deploy.members.request import Request
from tocsin.deploy.members.sealed import SEALING_KEY, Parcel, SealingKey
from tocsin.schemas.bundle import CA, CONFIG, PASSWORD, SIGNING_KEY, TOKEN_KEYS, Bundle, BundleConfig
from tocsin.schemas.errors import TocsinSchemaError
from tocsin.schemas.signing import SigningKey, fingerprint

COALITION, MEMBER = "efc", "bank-de"
CA_PEM = trustme.CA().cert_pem.bytes().decode()
ROOTS = tuple(SigningKey.generate("root").public.hex() for _ in range(2))
PAPER = [fingerprint(bytes.fromhex(root)) for root in ROOTS]
TOKENS = json.dumps([{"key_id": "private-2026", "plane": "private", "secret": "00" * 32}])
NEW_TOKENS = json.dumps([{"key_id": "private-2026-2", "plane": "private", "secret": "11" * 32}])


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The folder of a member that has made its keys."""
    return _keys(tmp_path / "keys")


def _keys(folder: Path, member: str = MEMBER, coalition: str = COALITION) -> Path:
    key, sealing = SigningKey.generate(member), SealingKey.generate()
    key.save(folder / SIGNING_KEY)
    sealing.save(folder / SEALING_KEY)
    Request.make(coalition, key, sealing.public).save(folder / REQUEST)
    return folder


def _parcel(password: str = "secret", roots: tuple[str, ...] = ROOTS, member: str = MEMBER) -> Parcel:  # noqa: S107
    config = BundleConfig(
        coalition=COALITION,
        member=member,
        login=member,
        role="bank",
        jurisdiction="de",
        bootstrap="localhost:1",
        roots=roots,
        roots_threshold=2,
    )
    files = {CONFIG: config.model_dump_json(), PASSWORD: f"{password}\n", CA: CA_PEM, TOKEN_KEYS: TOKENS}
    return Parcel(coalition=COALITION, member=member, login=member, files=files)


def _seal(parcel: Parcel, keys: Path) -> Path:
    path = keys.parent / "parcel.sealed"
    parcel.seal(path, bytes.fromhex(Request.load(keys / REQUEST).sealing))
    return path


# -- the request -----------------------------------------------------------------------------------------------------


def test_the_command_makes_keys_that_only_their_owner_reads_and_a_request_that_holds(tmp_path: Path) -> None:
    """And never overwrites keys."""
    folder = tmp_path / "keys"
    words = ["keys", "new", str(folder), "--member", MEMBER, "--coalition", COALITION]
    [made] = tocsin(*words)
    request = Request.load(folder / REQUEST)
    request.check(COALITION, MEMBER)
    assert (made["key"], made["fingerprint"]) == (request.key_id, request.fingerprint)
    assert SealingKey.load(folder / SEALING_KEY).public.hex() == request.sealing
    assert SigningKey.load(folder / SIGNING_KEY, MEMBER).public.hex() == request.signing
    for name in (SIGNING_KEY, SEALING_KEY):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert tocsin(*words, code=1) == []


def test_approvers_and_root_holders_make_their_keys_with_the_same_command(tmp_path: Path) -> None:
    """Each gets one key, and says publicly what belongs into the policy or into roots/."""
    [person] = tocsin("keys", "new", str(tmp_path / "ada"), "--person", "ada")
    assert SigningKey.load(tmp_path / "ada" / SIGNING_KEY, "ada").public.hex() == person["public"]
    [root] = tocsin("keys", "new", str(tmp_path / "root"), "--root", "2")
    assert (tmp_path / "root" / "2.pub").read_text().strip() == root["public"]
    assert SigningKey.load(tmp_path / "root" / "2.pem", "root").public.hex() == root["public"]
    for wrong in (["--person", "ada", "--root", "1"], [], ["--member", MEMBER], ["--root", "1", "--coalition", "x"]):
        tocsin("keys", "new", str(tmp_path / "wrong"), *wrong, code=2)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    ("coalition", "member", "message"),
    [("other", MEMBER, "for coalition efc, not other"), (COALITION, "bank-fr", "of member bank-de, not bank-fr")],
)
def test_a_request_is_for_one_member_of_one_coalition(keys: Path, coalition: str, member: str, message: str) -> None:
    """Whoever it is handed in for."""
    with pytest.raises(MemberRefused, match=message):
        Request.load(keys / REQUEST).check(coalition, member)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("coalition", "other"),
        ("member", "bank-fr"),
        ("signing", "11" * 32),
        ("sealing", "11" * 32),
        ("at", "2026-01-01T00:00:00Z"),
        ("signature", "11" * 64),
    ],
)
def test_a_request_that_was_changed_is_refused(keys: Path, field: str, value: str) -> None:
    """All of it is signed, the sealing key too: else who carries it could read what is sealed."""
    path = keys / REQUEST
    content = {**json.loads(path.read_text()), field: value}
    path.write_text(json.dumps(content))
    with pytest.raises(MemberRefused, match="not signed by the key that it names"):
        Request.load(path).check(content["coalition"], content["member"])


def test_a_request_for_another_coalition_cannot_be_turned_into_one_for_ours(keys: Path) -> None:
    """Even by who signs it: the coalition is part of what is signed."""
    mine = Request.load(keys / REQUEST)
    other = Request.make("other", SigningKey.load(keys / SIGNING_KEY, MEMBER), bytes.fromhex(mine.sealing))
    with pytest.raises(MemberRefused, match="not signed"):
        other.model_copy(update={"coalition": COALITION}).check(COALITION, MEMBER)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b" " * 5_000])
def test_what_is_no_request_is_named(tmp_path: Path, content: bytes) -> None:
    """Cut short, or something else."""
    path = tmp_path / REQUEST
    path.write_bytes(content)
    with pytest.raises(MemberRefused, match=rf"{path}: no request that `tocsin keys new` wrote"):
        Request.load(path)


# -- what is sealed --------------------------------------------------------------------------------------------------


def test_only_the_holder_of_the_sealing_key_opens_it(keys: Path, tmp_path: Path) -> None:
    """It becomes a bundle with the member's own signing key; the secrets in it are not readable in the sealed file."""
    sealed = _seal(_parcel(), keys)
    assert b"secret" not in sealed.read_bytes()
    bundle = open_sealed(sealed, keys, fingerprints=PAPER)
    assert Bundle.load(keys / MEMBER).signing_key().public.hex() == Request.load(keys / REQUEST).signing
    assert bundle.kafka_config()["sasl.password"] == "secret"
    assert bundle.token_keys()[0].key_id == "private-2026"
    assert str(bundle.path) in (bundle.path / "client.properties").read_text()
    for name in (PASSWORD, SIGNING_KEY, TOKEN_KEYS, "client.properties"):
        assert stat.S_IMODE((bundle.path / name).stat().st_mode) == 0o600
    with pytest.raises(MemberRefused, match="sealed for another key"):
        open_sealed(sealed, _keys(tmp_path / "others"))
    assert not (tmp_path / "others" / MEMBER).exists()


def test_a_sealed_file_that_was_changed_or_cut_opens_nothing(keys: Path) -> None:
    """Wherever."""
    sealed = _seal(_parcel(), keys)
    content = sealed.read_bytes()
    for changed in (content[:-1], content[:20], b"", content[:40] + b"x" + content[41:], content + b"x"):
        sealed.write_bytes(changed)
        with pytest.raises(MemberRefused, match="sealed for another key, or changed"):
            open_sealed(sealed, keys)


def test_what_is_sealed_for_another_member_or_coalition_is_refused(keys: Path) -> None:
    """Though somebody sealed it with the right key."""
    with pytest.raises(MemberRefused, match="these keys are another's"):
        open_sealed(_seal(_parcel(member="bank-fr"), keys), keys)
    with pytest.raises(MemberRefused, match="these keys are another's"):
        open_sealed(_seal(_parcel().model_copy(update={"coalition": "other"}), keys), keys)


@pytest.mark.parametrize("paper", [PAPER[:1], [*PAPER, "ab" * 32], [PAPER[0], "ab" * 32], ["ab" * 32]])
def test_root_keys_that_are_not_those_on_paper_are_refused(keys: Path, paper: list[str]) -> None:
    """One too few or too many is another set; nothing is written."""
    with pytest.raises(MemberRefused, match="root keys are not the known ones"):
        open_sealed(_seal(_parcel(), keys), keys, fingerprints=paper)
    assert not (keys / MEMBER).exists()


def test_what_changes_a_bundle_is_vouched_for_by_its_password(keys: Path) -> None:
    """Anybody could seal other token keys for a member, and read its tokens from then on."""
    open_sealed(_seal(_parcel(), keys), keys, fingerprints=PAPER)
    update = Parcel(coalition=COALITION, member=MEMBER, login=MEMBER, files={TOKEN_KEYS: NEW_TOKENS})
    for forged in (update, update.vouch("guess"), update.vouch("secret").model_copy(update={"files": {}})):
        with pytest.raises(MemberRefused, match="nobody who knows this bundle's password"):
            open_sealed(_seal(forged, keys), keys)
    assert Bundle.load(keys / MEMBER).token_keys()[0].key_id == "private-2026"
    open_sealed(_seal(update.vouch("secret"), keys), keys)
    assert Bundle.load(keys / MEMBER).token_keys()[0].key_id == "private-2026-2"
    other_roots = _parcel("next", roots=(ROOTS[0], SigningKey.generate("root").public.hex())).vouch("secret")
    with pytest.raises(MemberRefused, match="root keys are not the known ones"):
        open_sealed(_seal(other_roots, keys), keys)
    open_sealed(_seal(_parcel("next").vouch("secret"), keys), keys)
    assert Bundle.load(keys / MEMBER).kafka_config()["sasl.password"] == "next"


def test_new_token_keys_alone_make_no_bundle(keys: Path) -> None:
    """There must be one."""
    update = Parcel(coalition=COALITION, member=MEMBER, login=MEMBER, files={TOKEN_KEYS: NEW_TOKENS})
    with pytest.raises(MemberRefused, match="only brings a bundle up to date"):
        open_sealed(_seal(update.vouch("secret"), keys), keys)


def test_a_sealing_key_that_others_can_read_is_refused(keys: Path) -> None:
    """As every secret."""
    sealed = _seal(_parcel(), keys)
    (keys / SEALING_KEY).chmod(0o644)
    with pytest.raises(TocsinSchemaError, match="chmod 600"):
        open_sealed(sealed, keys)
    (keys / SEALING_KEY).chmod(0o600)
    (keys / SEALING_KEY).write_bytes((keys / SIGNING_KEY).read_bytes())
    with pytest.raises(MemberRefused, match="not an X25519 key"):
        open_sealed(sealed, keys)
