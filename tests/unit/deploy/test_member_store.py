"""What the secretariat keeps of its members, and what the directory comes to by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tocsin.deploy.errors import DraftRefused, MemberRefused, PolicyInvalid
from tocsin.deploy.policy.compile import compile_policy
from tocsin.deploy.policy.directory import Current, stay_withdrawn, successor
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.drafts import changes, draft_path, headers_of, read_draft, sign_draft, write_draft
from tocsin.deploy.policy.journal import Change, Journal, Kind, Step, acl_name
from tocsin.deploy.policy.member_keys import KnownKey, MemberKeys
from tocsin.deploy.policy.rows import barring_rows
from tocsin.deploy.policy.secrets import SecretStore
from tocsin.schemas.directory import Directory, Roots, open_directory
from tocsin.schemas.errors import DirectoryInvalid
from tocsin.schemas.signing import SigningKey

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1_000)
DAY = timedelta(days=1)
OLD, NEW, OTHER = (SigningKey.generate("bank-de") for _ in range(3))
POLICY = Policy.model_validate(
    {
        "coalition": "test",
        "roots": 3,
        "roots_threshold": 2,
        "members": {
            "bank-de": {"role": "bank", "jurisdiction": "de", "logins": {"in": "receive"}},
            "police-gb": {"role": "police", "jurisdiction": "gb"},
        },
    }
)
SEALING = "11" * 32


def _known(key: SigningKey) -> MemberKeys:
    return MemberKeys(sealing=SEALING, signing=(KnownKey(public=key.public.hex(), since=NOW),))


def _until(key: SigningKey, ends: datetime) -> KnownKey:
    return KnownKey(public=key.public.hex(), since=NOW, ends=ends)


def _directory(store: SecretStore, before: Directory | None = None, now_ms: int = NOW_MS) -> Directory:
    current = Current(before, POLICY.roots) if before else None
    found = successor(POLICY, store.known_keys(POLICY), current, now_ms)
    assert found is not None
    return found


# -- members' keys ---------------------------------------------------------------------------------------------------


def test_who_was_not_onboarded_takes_no_part_until_keys_are_made_for_it(tmp_path: Path) -> None:
    """All logins of a member come in with its key; a key that is made here is for one login."""
    store = SecretStore(tmp_path)
    assert not store.takes_part("bank-de")
    assert store.lacks_keys(POLICY)
    store.keep_keys("bank-de", _known(OLD))
    assert store.takes_part("bank-de")
    assert store.takes_part("bank-de.in")
    assert not store.takes_part("police-gb")
    store.make_key(store.member("police-gb"), "police-gb")
    assert store.takes_part("police-gb")
    assert not store.lacks_keys(POLICY)
    assert {key.member for key in store.known_keys(POLICY)} == {"bank-de", "police-gb"}
    assert list(store.member("bank-de").glob("*.pem")) == []


def test_a_key_that_follows_another_ends_it_after_the_overlap(tmp_path: Path) -> None:
    """Both count until then, and the end is never put off."""
    store = SecretStore(tmp_path)
    store.keep_keys("bank-de", _known(OLD))
    first = _directory(store)
    assert first.keys[OLD.key_id].valid_to > NOW_MS + 300 * 86_400_000
    keys = _known(OLD).followed(NEW.public.hex(), SEALING, NOW).ended(NOW + DAY)
    store.keep_keys("bank-de", keys)
    second = _directory(store, first)
    assert second.keys[OLD.key_id].valid_to == round((NOW + DAY).timestamp() * 1_000)
    assert second.keys[NEW.key_id].valid_to > NOW_MS + 300 * 86_400_000
    assert second.version == first.version + 1
    assert successor(POLICY, store.known_keys(POLICY), Current(second, POLICY.roots), NOW_MS) is None
    assert keys.ended(NOW + 9 * DAY) == keys
    store.keep_keys("bank-de", keys.model_copy(update={"signing": (_until(OLD, NOW + 9 * DAY), keys.signing[1])}))
    assert successor(POLICY, store.known_keys(POLICY), Current(second, POLICY.roots), NOW_MS) is None
    third = keys.followed(OTHER.public.hex(), SEALING, NOW).ended(NOW + 9 * DAY)
    assert [key.ends for key in third.signing] == [NOW + DAY, NOW + 9 * DAY, None]


def test_a_revoked_key_counts_up_to_its_last_trusted_offsets_for_ever(tmp_path: Path) -> None:
    """A later revocation does not give it more, and the directory carries it on when the store has lost it."""
    topic = "alerts.de.site-taken-down.green"
    store = SecretStore(tmp_path)
    store.keep_keys("bank-de", _known(OLD))
    first = _directory(store)
    revoked = _known(OLD).followed(NEW.public.hex(), SEALING, NOW).revoked({topic: 7})
    store.keep_keys("bank-de", revoked)
    second = _directory(store, first)
    key = second.keys[OLD.key_id]
    assert [key.counts(topic, offset, NOW_MS) for offset in (7, 8)] == [True, False]
    assert not key.counts("outbox.bank-de", 0, NOW_MS)
    assert second.keys[NEW.key_id].counts(topic, 8, NOW_MS)
    assert revoked.followed(OTHER.public.hex(), SEALING, NOW).revoked({topic: 99}).signing[0].trusted == {topic: 7}
    store.keep_keys("bank-de", _known(OTHER))
    assert _directory(store, second).keys[OLD.key_id] == key


def test_what_is_no_store_of_keys_is_named(tmp_path: Path) -> None:
    """Rather than taken for a member without keys, whose key somebody would then make anew."""
    store = SecretStore(tmp_path)
    store.keep_keys("bank-de", _known(OLD))
    (store.member("bank-de") / "keys.json").write_text("{")
    with pytest.raises(MemberRefused, match=r"bank-de/keys\.json: not what"):
        store.known_keys(POLICY)


# -- token keys ------------------------------------------------------------------------------------------------------


def test_when_somebody_leaves_the_newest_token_key_is_first_and_six_stay(tmp_path: Path) -> None:
    """Once for each that leaves, however often it is said; the key of a plane that it never held stays."""
    store = SecretStore(tmp_path)
    [first], [police] = store.token_keys("private"), store.token_keys("police")
    assert store.change_token_keys(["private"], "bank-fr") == ()
    assert store.change_token_keys(["private"], "bank-fr") == ()
    second, again = store.token_keys("private")
    assert again == first
    assert second.key_id == f"{first.key_id}-2"
    for number in range(4):
        assert store.change_token_keys(["private"], f"isp-{number}") == ()
    assert store.change_token_keys(["private"], "isp-9") == (first,)
    keys = store.token_keys("private")
    assert len(keys) == len({key.key_id for key in keys}) == len({key.secret for key in keys}) == 6
    assert store.token_keys("police") == (police,)


def test_who_has_left_gets_no_newer_token_keys(tmp_path: Path) -> None:
    """What it has, it keeps."""
    store = SecretStore(tmp_path)
    for name in POLICY.members:
        store.make_key(store.member(name), name)
    store.give_token_keys(POLICY)
    before = (store.member("bank-de") / "token-keys.json").read_bytes()
    members = {**POLICY.members, "bank-de": POLICY.members["bank-de"].model_copy(update={"status": "withdrawn"})}
    store.change_token_keys(["private"], "bank-de")
    store.give_token_keys(POLICY.model_copy(update={"members": members}))
    assert (store.member("bank-de") / "token-keys.json").read_bytes() == before
    assert b"-2" in (store.member("police-gb") / "token-keys.json").read_bytes()


# -- the journal -----------------------------------------------------------------------------------------------------


def _said(kind: Kind, *steps: Step) -> Change:
    return Change(change_id="c", kind=kind, at=NOW, by="ada", why="a test", member="bank-de", steps=steps)


def test_a_suspension_is_on_record_with_the_denies_that_are_ours_to_take_back() -> None:
    """And with the logins whose passwords are gone, until it is over."""
    rows = [*barring_rows("bank-de")]
    journal = Journal()
    steps = [Step("CREATE", "ACL", acl_name(row), ("a test",)) for row in rows]
    journal.apply(_said(Kind.SUSPENDED, *steps, Step("DELETE", "USER", "bank-de.in")))
    assert journal.denies == {*rows}
    assert journal.reasons(rows[0]) == ("a test",)
    assert journal.locked == {"bank-de.in"}
    assert journal.effective(POLICY).members["bank-de"].status == "suspended"
    assert {*rows} <= compile_policy(journal.effective(POLICY), NOW).rows
    journal.apply(_said(Kind.RESUMED))
    assert journal.locked == set()
    assert journal.denies == {*rows}, "until they are deleted"
    assert journal.effective(POLICY).members["bank-de"].status == "active"


def test_who_has_left_never_comes_back() -> None:
    """Whatever is said afterwards, by the journal or by a policy that has forgotten it."""
    journal = Journal()
    for kind in (Kind.SUSPENDED, Kind.WITHDRAWN, Kind.RESUMED, Kind.SUSPENDED):
        journal.apply(_said(kind))
    left = journal.effective(POLICY)
    assert left.members["bank-de"].status == "withdrawn"
    document = successor(left, [], None, NOW_MS)
    assert document is not None
    assert document.members["bank-de"].status == "WITHDRAWN"
    with pytest.raises(PolicyInvalid, match="has left, and ids are never used again"):
        stay_withdrawn(POLICY, Current(document, 1))
    without = POLICY.model_copy(update={"members": {"police-gb": POLICY.members["police-gb"]}})
    assert stay_withdrawn(without, Current(document, 1)).members["bank-de"].status == "withdrawn"


def test_the_graver_of_what_journal_and_policy_say_counts() -> None:
    """A suspension does not bring back whom the policy withdraws, nor a resumption whom it suspends."""
    for kind, said, meant in (
        (Kind.SUSPENDED, "withdrawn", "withdrawn"),
        (Kind.RESUMED, "suspended", "suspended"),
        (Kind.SUSPENDED, "active", "suspended"),
    ):
        journal = Journal()
        journal.apply(_said(kind))
        members = {**POLICY.members, "bank-de": POLICY.members["bank-de"].model_copy(update={"status": said})}
        assert journal.effective(POLICY.model_copy(update={"members": members})).members["bank-de"].status == meant


# -- offline root keys -----------------------------------------------------------------------------------------------


def _offline(store: SecretStore, count: int = 3) -> list[SigningKey]:
    roots = [SigningKey.generate("root") for _ in range(count)]
    (store.home / "roots").mkdir(parents=True)
    for number, root in enumerate(roots, 1):
        (store.home / "roots" / f"{number}.pub").write_text(root.public.hex() + "\n")
    return roots


def test_root_keys_are_made_here_only_where_none_is_kept_offline(tmp_path: Path) -> None:
    """A missing public part is asked for by name, and nothing is made in its place."""
    here = SecretStore(tmp_path / "here")
    assert len(here.root_keys(2).signing) == 2
    assert not here.root_keys(2).offline
    there = SecretStore(tmp_path / "there")
    roots = _offline(there)
    assert [key.public for key in there.root_keys(3).keys] == [root.public for root in roots]
    assert there.root_keys(3).offline
    for content in (None, "", "zz", "11" * 31):
        path = there.home / "roots" / "2.pub"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(PolicyInvalid, match=r"2\.pub: no public root key; its holder runs"):
            there.root_keys(3)
    assert list((there.home / "roots").glob("*.pem")) == []


def test_a_draft_counts_once_enough_pinned_root_keys_have_signed_it(tmp_path: Path) -> None:
    """Signatures over another draft, by strangers, twice by one, or broken, are none."""
    store = SecretStore(tmp_path)
    roots = _offline(store)
    store.keep_keys("bank-de", _known(OLD))
    pinned = Roots(tuple(root.public.hex() for root in roots), 2)
    document = _directory(store)
    path = draft_path(tmp_path, document.version)
    write_draft(path, document)
    assert read_draft(path) == document
    sign_draft(path, roots[0])
    sign_draft(path, roots[0])
    sign_draft(path, SigningKey.generate("root"))
    other = tmp_path / "other.draft"
    write_draft(other, replace(document, version=2))
    stray = sign_draft(other, roots[1])
    stray.rename(path.with_name(stray.name.replace(other.name, path.name)))
    path.with_name(f"{path.name}.zz.signature").write_text("{")
    with pytest.raises(DraftRefused, match="signed by 1 root keys, 2 are needed: let holders of"):
        headers_of(path, pinned)
    sign_draft(path, roots[2])
    headers = headers_of(path, pinned)
    opened = open_directory(path.read_bytes(), headers, pinned, coalition="test", now_ms=NOW_MS)
    assert opened == document
    with pytest.raises(DirectoryInvalid, match="signed by 0"):
        open_directory(path.read_bytes() + b"\0", headers, pinned, coalition="test", now_ms=NOW_MS)


def test_a_draft_says_what_changes(tmp_path: Path) -> None:
    """Who joins, whose standing or key is another, and who is gone, which must never be."""
    store = SecretStore(tmp_path)
    store.keep_keys("bank-de", _known(OLD))
    first = _directory(store)
    store.keep_keys("bank-de", _known(OLD).followed(NEW.public.hex(), SEALING, NOW).revoked({}))
    said = [*changes(first, _directory(store, first))]
    assert [(sign, what) for sign, what, _ in said] == [("~", "key"), ("+", "key")]
    assert said[0][2] == f"{OLD.key_id}: revoked"
    assert [sign for sign, *_ in changes(None, first)] == ["+"] * 4
    assert {sign for sign, *_ in changes(first, Directory("test", 2, 0, 0, {}, {}))} == {"-"}


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0\0\0\0\x07x"])
def test_what_is_no_draft_is_named(tmp_path: Path, content: bytes) -> None:
    """And not signed."""
    path = tmp_path / "version-1.draft"
    path.write_bytes(content)
    with pytest.raises(DraftRefused, match=rf"{path}: no draft"):
        sign_draft(path, SigningKey.generate("root"))
    assert [*tmp_path.iterdir()] == [path]
