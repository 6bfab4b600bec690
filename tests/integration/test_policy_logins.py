"""The secretariat's commands with a login of their own, the administrator's locked away; drift with one that looks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.load import TOPIC, publish
from tests.world import World, agreement, guarded_policy, small_policy, takedown, tocsin
from tocsin.consumers.acl import AclRow
from tocsin.deploy.policy.acls import create_acls, delete_acls, read_acls
from tocsin.deploy.policy.rows import acl_row
from tocsin.deploy.policy.users import delete_credentials, scram_users
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.directory import ROOT_SIGNER
from tocsin.schemas.names import DELIVERY_HOST
from tocsin.schemas.signing import SigningKey

MEMBER, GAINING = "reader-00", "reader-03"
DE_TOPIC = "alerts.de.site-taken-down.green"


class Coalition:
    """A coalition whose administrator's bundle is in a safe."""

    def __init__(self, world: World, safe: Path) -> None:
        self.world = world
        self.files = [str(world.policy_file), "--home", str(world.home)]
        self.words = ["--policy", *self.files]
        shutil.move(world.home / "services" / "admin", safe)
        self.admin = AdminClient(Bundle.load(safe).kafka_config())

    def policy(self, verb: str, *words: str, code: int = 0) -> list[dict[str, Any]]:
        """`tocsin policy VERB FILE`."""
        return tocsin("policy", verb, *self.files, *words, code=code)

    def edit(self, **changes: Any) -> None:
        """Change the policy file."""
        policy = yaml.safe_load(self.world.policy_file.read_text())
        self.world.policy_file.write_text(yaml.safe_dump({**policy, **changes}))


@pytest.fixture(scope="module")
def coalition(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coalition]:
    """A new cluster, to which the administrator has applied the first policy."""
    world = World(tmp_path_factory.mktemp("logins") / "home", guarded_policy())
    try:
        world.cluster.up()
        files = [str(world.policy_file), "--home", str(world.home), "--make-member-keys"]
        tocsin("policy", "plan", *files, code=3)
        tocsin("policy", "apply", *files)
        yield Coalition(world, tmp_path_factory.mktemp("safe") / "admin")
    finally:
        world.down()


def test_what_the_secretariat_does_it_does_without_the_administrator(coalition: Coalition, tmp_path: Path) -> None:
    """A change with topics, settings, users and ACLs; a member and services rotated; a directory published."""
    world, home = coalition.world, ["--home", str(coalition.world.home)]
    publish(world.member("hotline-se"), takedown(world.member("hotline-se"), 1))
    members = yaml.safe_load(world.policy_file.read_text())["members"]
    coalition.edit(
        members={**members, "hotline-fr": {"role": "hotline", "jurisdiction": "fr", "publishes": ["site-taken-down"]}},
        agreements=[*small_policy()["agreements"], agreement("more", ["se", "fr"], [GAINING])],
        retention={"audit_access_days": 800},
    )
    planned = coalition.policy("plan", "--make-member-keys", code=3)
    assert {"policy", "sight", "topic", "user", "ACL"} <= {row["what"] for row in planned}
    done = {row["what"]: row["count"] for row in coalition.policy("apply", "--make-member-keys")}
    assert (done["users set"], done["topics configured"]) == (1, 1)
    assert done["topics created"] > 0
    assert done["ACLs created"] > 0
    assert coalition.policy("plan") == []
    coalition.policy("tick")
    assert [row["invariant"] for row in coalition.policy("prove")] == ["nobody-sees-amber"]
    tocsin("policy", "explain", GAINING, TOPIC, *coalition.words)

    _rotate_member(coalition, tmp_path / "keys")
    tocsin("member", "suspend", GAINING, "--why", "a test", "--lock-out", *coalition.words)
    assert GAINING not in scram_users(coalition.admin)
    tocsin("member", "resume", GAINING, "--why", "a test", *coalition.words)
    assert GAINING in scram_users(coalition.admin)
    tocsin("policy", "break-glass", GAINING, DE_TOPIC, "--why", "a test", *coalition.words)
    for login in ("auditor", "policy", "drift"):
        tocsin("service", "rotate", login, *home)
        tocsin("service", "rotate", login, "--finish", *home)
    _publish_directory(coalition, tmp_path)
    assert {row["kind"] for row in coalition.policy("drift", code=3)} == {"break-glass"}


def _rotate_member(coalition: Coalition, keys: Path) -> None:
    old = coalition.world.member(MEMBER).config.mechanism
    tocsin("keys", "new", str(keys), "--member", MEMBER, "--coalition", coalition.world.member(MEMBER).coalition)
    tocsin("member", "rotate", MEMBER, "--request", str(keys / "request.json"), "--revoke", *coalition.words)
    tocsin("member", "rotate", MEMBER, "--finish", *coalition.words)
    [left] = scram_users(coalition.admin)[MEMBER]
    assert left != old


def _publish_directory(coalition: Coalition, safe: Path) -> None:
    """The root keys are kept offline from now on; a suspension is what there is to sign."""
    keys = [_lock_away(path, safe) for path in sorted((coalition.world.home / "roots").glob("*.pem"))]
    tocsin("member", "suspend", "reader-02", "--why", "a test", *coalition.words)
    [draft] = (coalition.world.home / "directory").glob("*.draft")
    for key in keys:
        tocsin("directory", "sign", str(draft), "--root", str(key))
    [published] = tocsin("directory", "publish", str(draft), *coalition.words)
    assert published["signatures"] == len(keys)
    assert {"what": "member", "is": "reader-02: isp in se, SUSPENDED"} in tocsin("directory", "show", *coalition.words)


def _lock_away(key: Path, safe: Path) -> Path:
    key.with_suffix(".pub").write_text(SigningKey.load(key, ROOT_SIGNER).public.hex())
    return Path(shutil.move(key, safe))


@pytest.fixture
def lookout(coalition: Coalition, tmp_path: Path) -> list[str]:
    """A home as in a pod of its own: the bundle `drift`, the public root keys, the policy, and no more."""
    home = tmp_path / "pod"
    shutil.copytree(coalition.world.home / "services" / "drift", home / "services" / "drift")
    (home / "roots").mkdir()
    for key in (coalition.world.home / "roots").glob("*.pub"):
        shutil.copy(key, home / "roots")
    for folder in (home / "roots", home):
        folder.chmod(0o500)
    policy = shutil.copy(coalition.world.policy_file, tmp_path / "policy.yaml")
    return ["policy", "drift", str(policy), "--home", str(home)]


def test_drift_sees_as_much_with_nothing_but_its_bundle_and_the_public_root_keys(
    coalition: Coalition, lookout: list[str]
) -> None:
    """ACLs, settings and users that are not as the policy has them, and no others; it writes nothing."""
    home = Path(lookout[-1])
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    calm = tocsin(*lookout, code=3)
    assert calm == coalition.policy("drift", code=3)
    assert {row["kind"] for row in calm} == {"break-glass"}
    lost = _sight_of("reader-01")
    assert lost in read_acls(coalition.admin)
    stolen = acl_row("policy", "READ", "TOPIC", "ledger.")
    delete_acls(coalition.admin, [lost])
    create_acls(coalition.admin, [stolen])
    setting = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, "ledger.se", incremental_configs=[setting])
    coalition.admin.incremental_alter_configs([changed])[changed].result(20)
    delete_credentials(coalition.admin, [("reader-01", one) for one in scram_users(coalition.admin)["reader-01"]])
    try:
        found = tocsin(*lookout, code=3)
        assert _whats(found) == _whats(coalition.policy("drift", code=3))
    finally:
        delete_acls(coalition.admin, [stolen])
    said = {(row["kind"], row["what"].rpartition(" ")[2]) for row in found}
    assert {("missing", TOPIC), ("missing", "reader-01"), ("changed", "ledger.se"), ("foreign", "ledger.")} <= said
    assert any(row["kind"] == "breach" and "User:policy" in row["what"] for row in found)
    coalition.policy("apply", "--make-member-keys")
    assert tocsin(*lookout, code=3) == calm
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def _whats(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["kind"], row["what"]) for row in found}


def _sight_of(member: str) -> AclRow:
    return acl_row(member, "READ", "TOPIC", TOPIC, host=DELIVERY_HOST)


def test_what_the_policy_tool_does_is_on_record_with_the_brokers(coalition: Coalition) -> None:
    """Also when nothing but the ACLs is changed, and who publishes the directory; it reads what it may, and no more."""
    tocsin("audit", "ship", "--once", "--home", str(coalition.world.home))
    rows = tocsin("audit", "access", "--principal", "policy", "--home", str(coalition.world.home))
    told = [row for row in rows if row["kind"] == "access" and row["verdict"] == "ALLOWED"]
    assert {("CreateAcls", "ALTER"), ("DeleteAcls", "ALTER"), ("AlterUserScramCredentials", "ALTER")} <= {
        (row["request"], row["operation"]) for row in told
    }
    assert {("WRITE", "directory"), ("WRITE", "audit.policy"), ("CREATE", "inbox.hotline-fr")} <= {
        (row["operation"], row["resource"]) for row in told
    }
    assert {row["resource"] for row in told if row["operation"] == "READ"} == {"audit.policy"}
    [drift] = {
        (row["operation"], row["resource"])
        for row in tocsin("audit", "access", "--principal", "drift", "--home", str(coalition.world.home))
        if row["kind"] == "access"
    }
    assert drift == ("READ", "audit.policy")
