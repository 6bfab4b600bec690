"""The directory document: what makes it count, and every way in which it must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.schemas.coalition import COALITION, KEYS, PUBLISHER, ROOT_KEYS, ROOTS, directory, directory_key
from tests.unit.schemas.samples import NOW_MS
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.directory import (
    DOCUMENT_BYTES_MAX,
    Directory,
    DirectoryMember,
    Roots,
    VersionFloor,
    from_record,
    open_directory,
    sign_directory,
    to_record,
)
from tocsin.schemas.errors import DirectoryInvalid
from tocsin.schemas.signing import SigningKey, key_id_of, sign_headers_by

SCHEMA = schema("directory")
DOCUMENT = directory(directory_key(KEYS[PUBLISHER], revoked=True, trusted={"alerts.de.site-taken-down.amber": 41}))
VALUE, HEADERS = sign_directory(DOCUMENT, ROOT_KEYS[:2])
TYPE, *PAIRS = HEADERS
FIRST, SECOND = PAIRS[:2], PAIRS[2:]


def _open(value: bytes = VALUE, headers: Any = HEADERS, **given: Any) -> Directory:
    return open_directory(value, headers, given.pop("roots", ROOTS), coalition=COALITION, now_ms=NOW_MS, **given)


def test_a_document_is_read_back_as_it_was_signed() -> None:
    """Members, keys, and the trusted offsets of a revoked key."""
    assert _open() == DOCUMENT


@pytest.mark.parametrize("signers", [(0, 1), (1, 0), (0, 2), (1, 2), (2, 1, 0)])
def test_any_two_of_three_roots_are_enough(signers: tuple[int, ...]) -> None:
    """In whatever order they signed."""
    value, headers = sign_directory(DOCUMENT, [ROOT_KEYS[number] for number in signers])
    assert _open(value, headers).version == DOCUMENT.version


STRANGER = SigningKey.generate("root")
BY_STRANGER = sign_headers_by([ROOT_KEYS[0], STRANGER], COALITION, SCHEMA, VALUE)
RENAMED = [FIRST[0], SECOND[0]]
UNSIGNED: dict[str, Any] = {
    "none": [],
    "no headers at all": None,
    "one root": [TYPE, *FIRST],
    "the same root twice": [TYPE, *FIRST, *FIRST],
    "the same root twice under two names": [TYPE, FIRST[0], FIRST[1], SECOND[0], FIRST[1]],
    "a root that is not pinned": BY_STRANGER,
    "a member's key": sign_headers_by([ROOT_KEYS[0], KEYS[PUBLISHER]], COALITION, SCHEMA, VALUE),
    "another coalition": sign_headers_by(ROOT_KEYS, "other", SCHEMA, VALUE),
    "another schema": sign_headers_by(ROOT_KEYS, COALITION, schema("notice"), VALUE),
    "another value": sign_directory(replace(DOCUMENT, version=8), ROOT_KEYS)[1],
    "two types": [TYPE, *HEADERS],
    "no type": PAIRS,
    "a type that is no bytes": [(TYPE[0], TYPE[1].decode()), *PAIRS],
    "a signature that is null": [TYPE, *FIRST, SECOND[0], ("dsse-sig", None)],
    "a signature that is text": [TYPE, *FIRST, SECOND[0], ("dsse-sig", "x" * 64)],
    "a signature cut short": [TYPE, *FIRST, SECOND[0], ("dsse-sig", SECOND[1][1][:63])],
    "a signature without key id": [TYPE, *FIRST, SECOND[1]],
    "more signatures than roots": [*HEADERS, *FIRST, *FIRST],
}


@pytest.mark.parametrize("headers", UNSIGNED.values(), ids=UNSIGNED)
def test_too_few_root_signatures_are_refused(headers: Any) -> None:
    """Two different pinned keys must have signed this value in this coalition."""
    with pytest.raises(DirectoryInvalid, match=r"signed by [01] pinned root keys, 2 are needed"):
        _open(headers=headers)


def test_the_names_of_root_keys_prove_nothing() -> None:
    """Key ids are not signed: with other ids the signatures still count, and a pinned id alone does not."""
    ids = [("dsse-keyid", b"x"), ("dsse-keyid", b"")]
    assert _open(headers=[TYPE, ids[0], FIRST[1], ids[1], SECOND[1]]).version == DOCUMENT.version
    forged = dict(BY_STRANGER)["dsse-sig"]
    with pytest.raises(DirectoryInvalid, match="signed by 1 "):
        _open(headers=[TYPE, *FIRST, SECOND[0], ("dsse-sig", forged)])


@pytest.mark.parametrize("at", range(0, len(VALUE), 7))
def test_a_flipped_bit_is_refused(at: int) -> None:
    """Anywhere in the document."""
    changed = bytearray(VALUE)
    changed[at] ^= 1
    with pytest.raises(DirectoryInvalid, match="signed by 0 "):
        _open(bytes(changed))


def test_an_older_version_is_refused_and_the_same_is_not() -> None:
    """The highest version seen is the floor; reading it again after a restart is no rollback."""
    assert _open(version_min=7).version == 7
    with pytest.raises(DirectoryInvalid, match="version 7 is older than 8"):
        _open(version_min=8)


def test_an_expired_document_is_refused_from_its_last_millisecond() -> None:
    """`expires_at` is the first moment at which it does not count."""
    assert _open(*sign_directory(replace(DOCUMENT, expires_at=NOW_MS + 1), ROOT_KEYS)).expires_at == NOW_MS + 1
    with pytest.raises(DirectoryInvalid, match="has expired; the secretariat must publish"):
        _open(*sign_directory(replace(DOCUMENT, expires_at=NOW_MS), ROOT_KEYS))


def test_a_document_of_another_coalition_is_refused_whatever_its_type_says() -> None:
    """The roots signed it under our type, but it names another coalition."""
    value = encode(SCHEMA, to_record(replace(DOCUMENT, coalition="other")))
    with pytest.raises(DirectoryInvalid, match="of coalition other, not test"):
        _open(value, sign_headers_by(ROOT_KEYS, COALITION, SCHEMA, value))


@pytest.mark.parametrize("value", [b"", b"\0", VALUE[:-1], VALUE + b"\0", b"\0\0\0\0\x07" + VALUE[5:]])
def test_signed_garbage_is_refused(value: bytes) -> None:
    """Root signatures make no document of it."""
    with pytest.raises(DirectoryInvalid):
        _open(value, sign_headers_by(ROOT_KEYS, COALITION, SCHEMA, value))


def test_a_signed_record_of_another_schema_is_refused() -> None:
    """Roots that sign an acknowledgement under the directory's type have not signed a directory."""
    word = {"member": "m", "publisher": "p", "lineage_id": "l", "notice_id": "n", "issued_at": 0}
    value = encode(schema("acknowledgement"), word)
    with pytest.raises(DirectoryInvalid, match="of schema acknowledgement"):
        _open(value, sign_headers_by(ROOT_KEYS, COALITION, SCHEMA, value))


def test_an_oversized_document_is_refused_before_anything_is_read() -> None:
    """Its size is the first thing that is looked at."""
    with pytest.raises(DirectoryInvalid, match=f"larger than {DOCUMENT_BYTES_MAX}"):
        _open(b"x" * (DOCUMENT_BYTES_MAX + 1))


def _twice(record: dict[str, Any], name: str) -> None:
    record[name].append(record[name][0])


def _same_key_for_two(record: dict[str, Any]) -> None:
    first = record["keys"][0]
    record["keys"].append({**first, "member": "bank-fr", "key_id": key_id_of("bank-fr", first["public"])})


def _trusted_twice(record: dict[str, Any]) -> None:
    record["keys"][0]["trusted"] = [{"topic": "t", "offset": offset} for offset in (1, 9)]


AMBIGUOUS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a member twice": (lambda record: _twice(record, "members"), "a member stands there twice"),
    "a key twice": (lambda record: _twice(record, "keys"), "a key stands there twice"),
    "one key for two members": (_same_key_for_two, "a key stands there twice"),
    "a trusted topic twice": (_trusted_twice, "a trusted topic of key .* stands there twice"),
    "a short key": (lambda record: record["keys"][0].update(public=b"x" * 31), "is not 32 bytes"),
    "an empty key": (lambda record: record["keys"][0].update(public=b""), "is not 32 bytes"),
    "a key under another's name": (
        lambda record: record["keys"][0].update(key_id=KEYS["bank-fr"].key_id),
        "is not named after",
    ),
    "a key of another member": (lambda record: record["keys"][0].update(member="bank-fr"), "is not named after"),
}


@pytest.mark.parametrize(("change", "message"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_document_that_can_be_read_in_two_ways_is_refused(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    """Which of two entries counts must not depend on who reads: one of them may be revoked."""
    record = to_record(DOCUMENT)
    change(record)
    value = encode(SCHEMA, record)
    with pytest.raises(DirectoryInvalid, match=message):
        _open(value, sign_headers_by(ROOT_KEYS, COALITION, SCHEMA, value))


def test_the_record_face_holds_everything() -> None:
    """To the record and back is the same directory."""
    assert from_record(to_record(DOCUMENT)) == DOCUMENT


PUBLIC = ROOTS.public_keys


@pytest.mark.parametrize(
    ("keys", "threshold"),
    [
        (PUBLIC, 0),
        (PUBLIC, -1),
        (PUBLIC, 4),
        ((), 0),
        ((), 1),
        ((PUBLIC[0], PUBLIC[0]), 2),
        ((PUBLIC[0], PUBLIC[0].upper()), 2),
        (("00",), 1),
        (("zz" * 32,), 1),
    ],
)
def test_roots_that_anybody_could_satisfy_cannot_be_pinned(keys: tuple[str, ...], threshold: int) -> None:
    """The threshold lies between 1 and the number of different keys, each of 32 bytes."""
    with pytest.raises(DirectoryInvalid, match=r"roots: .*config\.json"):
        Roots(keys, threshold)


def test_members_are_judged_by_status_and_role() -> None:
    """Only the active publish; only the secretariat revises for others; strangers do neither."""
    for status, active in (("ACTIVE", True), ("SUSPENDED", False), ("WITHDRAWN", False)):
        found = directory(members={"m": DirectoryMember("m", "bank", "de", status)})
        assert (found.is_active("m"), found.is_active("stranger")) == (active, False)
    assert DOCUMENT.may_revise("secretariat", PUBLISHER)
    assert DOCUMENT.may_revise(PUBLISHER, PUBLISHER)
    assert not DOCUMENT.may_revise("bank-fr", PUBLISHER)
    assert not DOCUMENT.may_revise(PUBLISHER, "secretariat")
    assert not DOCUMENT.may_revise("stranger", PUBLISHER)


def test_the_floor_is_kept_and_only_rises(tmp_path: Path) -> None:
    """It survives a restart; a lower version leaves the file alone."""
    path = tmp_path / "state" / "directory-version"
    floor = VersionFloor(path)
    assert floor.version == 0
    floor.raise_to(7)
    floor.raise_to(6)
    assert floor.version == 7
    assert VersionFloor(path).version == 7


def test_two_processes_share_a_floor(tmp_path: Path) -> None:
    """One that lags behind does not lower what the other remembered, and learns of it."""
    path = tmp_path / "directory-version"
    ahead, behind = VersionFloor(path), VersionFloor(path)
    ahead.raise_to(9)
    behind.raise_to(7)
    assert behind.version == 9
    assert VersionFloor(path).version == 9


@pytest.mark.parametrize("content", [b"", b"seven", b"-1", b"7.0", "\N{ARABIC-INDIC DIGIT SEVEN}".encode(), b"\xff"])
def test_a_damaged_floor_is_no_floor_of_zero(tmp_path: Path, content: bytes) -> None:
    """Starting from 0 would let an old document back in, so a person has to say what was seen."""
    path = tmp_path / "directory-version"
    path.write_bytes(content)
    with pytest.raises(DirectoryInvalid, match=r"directory-version: no version; write the number"):
        VersionFloor(path)
