"""The policy: random ones mean what a slow reading says, lead from one to the next, and hostile files are refused."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.changes import acl_changes
from tocsin.deploy.policy.compile import compile_policy
from tocsin.deploy.policy.document import Policy, read_policy
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic, AlertType, Tlp

TODAY = date(2026, 11, 23)
PLACES = ("de", "fr", "us")
ROLES = ("bank", "isp", "police", "secretariat")
CLIENT = "127.0.0.1"
EXAMPLE = Path("deploy/policies/coalition.yaml")


def _some(rng: random.Random, things: Any, least: int = 0) -> list[Any]:
    pool = list(things)
    return rng.sample(pool, rng.randint(least, len(pool)))


def random_policy(seed: int) -> Policy:
    """A small coalition with a group, dates, direct agreements, suspended members and exceptions."""
    rng = random.Random(seed)
    names = [f"m{number}" for number in range(rng.randint(2, 6))]
    kinds = [kind.value for kind in AlertType]
    members = {
        name: {
            "role": rng.choice(ROLES),
            "jurisdiction": rng.choice(PLACES),
            "publishes": _some(rng, kinds),
            "status": rng.choice(["active", "active", "active", "suspended", "withdrawn"]),
        }
        for name in names
    }
    known = sorted({str(one["jurisdiction"]) for one in members.values()} | {"eea"})
    agreements = []
    for number in range(rng.randint(0, 5)):
        to = {"roles": _some(rng, ROLES, 1), "jurisdictions": _some(rng, known, 1), "members": _some(rng, names, 1)}
        kept = _some(rng, to, 1)
        agreements.append(
            {
                "id": f"a-{number}",
                "alerts_of": _some(rng, known, 1),
                "types": _some(rng, kinds, 1),
                "up_to": rng.choice(list(Tlp)),
                "to": {**{key: to[key] for key in kept}, "without": _some(rng, names)[:1]},
                "direct": rng.random() < 0.2,
                "valid_from": rng.choice([None, TODAY, TODAY + timedelta(days=1)]),
                "valid_to": rng.choice([None, TODAY + timedelta(days=1), TODAY + timedelta(days=2)]),
            }
        )
    groups = {"eea": ["de", "fr"]}
    return Policy.model_validate({"coalition": "t1", "groups": groups, "members": members, "agreements": agreements})


def sight(rows: Any, policy: Policy, host: str = DELIVERY_HOST) -> set[tuple[str, str]]:
    """Who may be given the alerts of what, as Kafka would say."""
    acls = AclSet(rows)
    topics = [AlertTopic(place, kind, tlp).name for place in PLACES for kind in AlertType for tlp in Tlp]
    return {
        (member, topic)
        for topic in topics
        for member in policy.members
        if acls.decide(f"User:{member}", host, "READ", "TOPIC", topic).allowed
    }


def meant(policy: Policy, *, direct: bool) -> set[tuple[str, str]]:
    """The same, read off the agreements."""
    found: set[tuple[str, str]] = set()
    for one in policy.agreements:
        of = {place for name in one.alerts_of for place in (["de", "fr"] if name == "eea" else [name])}
        to = {place for name in one.to.jurisdictions for place in (["de", "fr"] if name == "eea" else [name])}
        ended = one.valid_to is not None and one.valid_to < TODAY
        early = one.valid_from is not None and one.valid_from > TODAY
        for name, member in policy.members.items():
            if (
                ended
                or early
                or (direct and not one.direct)
                or member.status != "active"
                or name in one.to.without
                or (one.to.members and name not in one.to.members)
                or (one.to.roles and member.role not in one.to.roles)
                or (to and member.jurisdiction not in to)
            ):
                continue
            for place in of & {other.jurisdiction for other in policy.members.values()}:
                for kind in one.types:
                    for tlp in list(Tlp)[: list(Tlp).index(one.up_to) + 1]:
                        found.add((name, AlertTopic(place, kind, tlp).name))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_a_policy_means_what_it_says(seed: int) -> None:
    """Sight is what the agreements give, and a client may read alert topics only where they say `direct`."""
    policy = random_policy(seed)
    desired = compile_policy(policy, TODAY)
    assert sight(desired.rows, policy) == meant(policy, direct=False)
    assert sight(desired.rows, policy, CLIENT) == meant(policy, direct=True)
    assert compile_policy(policy, TODAY) == desired
    turned = policy.model_copy(update={"agreements": policy.agreements[::-1]})
    assert compile_policy(turned, TODAY).rows == desired.rows
    assert all(row.name.endswith(".") for row in desired.rows if row.pattern == "PREFIXED")


@pytest.mark.parametrize("seed", range(60))
def test_alert_topics_are_written_by_their_publishers_and_the_secretariat(seed: int) -> None:
    """By active members only: each its own types in its jurisdiction, the secretariat all, to revise for others."""
    policy = random_policy(seed)
    acls = AclSet(compile_policy(policy, TODAY).rows)
    places = {member.jurisdiction for member in policy.members.values()}
    topics = [AlertTopic(place, kind, tlp) for place in places for kind in AlertType for tlp in Tlp]
    for name, member in policy.members.items():
        for topic in topics:
            own = topic.type in member.publishes and topic.jurisdiction == member.jurisdiction
            may = member.status == "active" and (own or member.role == "secretariat")
            assert acls.decide(f"User:{name}", CLIENT, "WRITE", "TOPIC", topic.name).allowed == may


FOREIGN = {
    AclRow("TOPIC", "alerts.de.", "PREFIXED", "User:m0", "*", "READ", "DENY"),
    AclRow("TOPIC", "metrics", "LITERAL", "User:m0", "*", "READ", "ALLOW"),
    AclRow("TOPIC", "alerts.de.site-taken-down.green", "LITERAL", "User:watcher", "*", "READ", "ALLOW"),
    AclRow("GROUP", "m0.", "PREFIXED", "User:watcher", "*", "READ", "ALLOW"),
}
STRAY = AclRow("TOPIC", "alerts.de.site-taken-down.green", "LITERAL", "User:nobody", DELIVERY_HOST, "READ", "ALLOW")


@pytest.mark.parametrize("seed", range(60))
def test_changes_lead_from_one_policy_to_the_next(seed: int) -> None:
    """What is not ours stays; who has sight before and after has it in between; a second time is idle."""
    before, after = random_policy(seed), random_policy(seed + 1_000)
    members = {*before.members, *after.members}
    wanted = compile_policy(after, TODAY).rows
    live = set(compile_policy(before, TODAY).rows) | FOREIGN | {STRAY}
    changes = acl_changes(live, wanted, members)
    seen = [sight(live - FOREIGN, after)]
    live |= set(changes.replacing)
    seen.append(sight(live - FOREIGN, after))
    live -= set(changes.gone)
    seen.append(sight(live - FOREIGN, after))
    live |= set(changes.new)
    seen.append(sight(live - FOREIGN, after))
    assert live == set(wanted) | FOREIGN
    assert seen[0] & seen[3] <= seen[1] & seen[2]
    assert seen[1] == seen[0], "sight that is new comes last"
    assert seen[2] <= seen[3], "what is to end has ended before anything begins"
    again = acl_changes(live, wanted, members)
    assert (again.replacing, again.gone, again.new) == ((), (), ())
    assert acl_changes(sorted(live, key=str), sorted(wanted, key=str), members) == again


GOOD = b"coalition: efc\nmembers:\n  bank-de: {role: bank, jurisdiction: de}\n"
BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter + 1, letter + 1, b", ".join([b"*%c" % letter] * 9)) for letter in range(97, 106)
)
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r":1: a policy has keys"),
    "a list": (b"- 1\n", r":1: a policy has keys"),
    "NUL": (b"coalition: \0", r": not YAML: "),
    "not UTF-8": (b"coalition: \xff\n", r": not YAML: .*save it as UTF-8"),
    "open brackets": (b"[" * 20_000, r":1: nested too deeply"),
    "an alias that names its own list": (b"coalition: &a [*a]\n", r":1: nested too deeply"),
    "aliases of aliases": (BOMB, r":1: more than 200000 values"),
    "a Python object": (b"\ncoalition: !!python/object/apply:os.system [ls]\n", r":2: not YAML: "),
    "a key twice": (GOOD + b"coalition: efd\n", r":4: 'coalition' stands on line 1 already"),
    "a member twice": (GOOD + b"  bank-de: {role: isp, jurisdiction: de}\n", r":4: 'bank-de' stands on line 3"),
    "a tab": (GOOD + b"groups:\n\t- b\n", r":5: not YAML: "),
    "an impossible day": (GOOD + b"agreements:\n- {id: aa, valid_from: 2026-02-30}\n", r":5: not YAML: no timestamp"),
    "no boolean": (b"coalition: !!bool x\n", r":1: not YAML: no bool"),
    "no time": (b"coalition: !!timestamp x\n", r":1: not YAML: no timestamp"),
    "a number without end": (b"roots: " + b"9" * 5_000, r":1: not YAML: no int"),
    "a list as a key": (b"? [a]\n: 1\n", r":1: not YAML: "),
    "a second document": (GOOD + b"---\na: 1\n", r":4: not YAML: "),
    "members missing": (b"coalition: efc\nmembers:\n", r":2: members: "),
    "a member that is nothing": (b"coalition: efc\nmembers:\n  bank-de:\n", r":3: members\.bank-de: "),
    "a wrong role": (GOOD.replace(b"role: bank", b"role: king"), r":3: members\.bank-de\.role: "),
    "a wrong key": (GOOD.replace(b"role", b"rolle"), r":3: members\.bank-de\.rolle: no such key here"),
    "a reserved id": (GOOD.replace(b"bank-de", b"fanout"), r":3: members\.fanout: .*reserved"),
    "an audience of nobody": (
        GOOD
        + b"agreements:\n- {id: aa, alerts_of: [de], types: [site-taken-down], up_to: GREEN,\n   to: {roles: []}}\n",
        r":6: agreements\.0\.to\.roles: is empty",
    ),
    "an unknown jurisdiction": (
        GOOD
        + b"agreements:\n- {id: aa, alerts_of: [de, fr], types: [site-taken-down], up_to: GREEN, to: {roles: [isp]}}\n",
        r":5: agreements\.0\.alerts_of\.1: 'fr' is no group",
    ),
    "RED": (
        GOOD + b"agreements:\n- {id: aa, alerts_of: [de], types: [site-taken-down], up_to: RED, to: {roles: [bank]}}\n",
        r":5: agreements\.0\.up_to: ",
    ),
    "more signatures than roots": (GOOD + b"roots_threshold: 2\n", r":4: roots_threshold: more than roots"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    """Whatever it holds, the error names it, and what to do."""
    content, message = HOSTILE[name]
    path = tmp_path / "policy.yaml"
    path.write_bytes(content)
    with pytest.raises(PolicyInvalid, match=re.escape(str(path)) + message):
        read_policy(path)


def test_a_file_that_is_missing_is_said(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(PolicyInvalid, match=r"gone\.yaml: No such file"):
        read_policy(tmp_path / "gone.yaml")


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_example_is_a_policy_or_refused_by_name(tmp_path: Path, seed: int) -> None:
    """Lines lost, doubled or cut, characters changed: never anything but an answer."""
    rng = random.Random(seed)
    lines = [line for line in EXAMPLE.read_text().splitlines(keepends=True) if not line.startswith("#")]
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        cut = rng.randrange(len(lines[at]) + 1)
        lines[at : at + 1] = rng.choice(
            [
                [],
                [lines[at]] * 2,
                [lines[at][:cut]],
                [lines[at][:cut] + rng.choice("{}[]:,*&!#\0\t'0") + lines[at][cut:]],
            ]
        )
    path = tmp_path / "policy.yaml"
    path.write_text("".join(lines))
    try:
        policy = read_policy(path)
    except PolicyInvalid as error:
        refused = str(error)
    else:
        refused = f"{path}: fine"
        assert compile_policy(policy, TODAY).topics
    assert refused.startswith(f"{path}:")
