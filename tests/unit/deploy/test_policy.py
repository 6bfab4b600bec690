"""The policy: random ones mean what a slow reading says, lead from one to the next, and hostile files are refused."""

from __future__ import annotations

import random
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.changes import AclChanges, acl_changes
from tocsin.deploy.policy.compile import compile_policy
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic, AlertType, Tlp

TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
NOTHING: dict[str, Any] = {}
ENDS_NOW: dict[str, Any] = {"valid_from": None, "valid_to": NOW}
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
    members: dict[str, dict[str, Any]] = {
        name: {
            "role": rng.choice(ROLES),
            "jurisdiction": rng.choice(PLACES),
            "publishes": _some(rng, kinds),
            "status": rng.choice(["active", "active", "active", "suspended", "withdrawn"]),
        }
        for name in names
    }
    known = sorted({str(one["jurisdiction"]) for one in members.values()} | {"eea"})
    logins = {"in": "receive", "out": "publish", "officer": "audit"}
    for member in members.values():
        member["logins"] = {name: logins[name] for name in _some(rng, logins)}
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
                "purposes": ["FRAUD_PREVENTION"],
                "legal_basis": "GDPR_6_1_F",
                "direct": rng.random() < 0.2,
                **_times(rng),
            }
        )
    transfers = [
        {
            "from": _some(rng, known, 1),
            "to": _some(rng, known, 1),
            "plane": rng.choice(["private", "private", "police"]),
            "mechanism": "SCC",
            "reference": f"contract {number}",
            **_times(rng),
        }
        for number in range(rng.randint(0, 4))
    ]
    prohibitions = [
        {
            "id": f"p-{number}",
            "to": {"roles": _some(rng, ROLES, 1)} if rng.random() < 0.5 else {"outside": _some(rng, known, 1)},
            "reason": "it is the law",
            **({"alerts_of": _some(rng, known, 1)} if rng.random() < 0.5 else {}),
            **({"types": _some(rng, kinds, 1)} if rng.random() < 0.5 else {}),
            **({"above": rng.choice(list(Tlp)[:3])} if rng.random() < 0.5 else {}),
            **_times(rng),
        }
        for number in range(rng.choice([0, 0, 1, 2]))
    ]
    return Policy.model_validate(
        {
            "coalition": "t1",
            "groups": {"eea": ["de", "fr"]},
            "members": members,
            "agreements": agreements,
            "transfers": transfers,
            "prohibitions": prohibitions,
        }
    )


def _times(rng: random.Random) -> dict[str, Any]:
    """Days and times on both sides of NOW; a day counts to its end, a time does not."""
    begins = rng.choice([None, None, TODAY, TODAY + timedelta(days=1), NOW, NOW + timedelta(seconds=1)])
    ends = [None, None, None, TODAY + timedelta(days=1), NOW + timedelta(days=2)]
    return {
        "valid_from": begins,
        "valid_to": rng.choice([*ends, TODAY] if begins in (None, TODAY) else ends),
        **(rng.choice([NOTHING] * 9 + [ENDS_NOW])),
    }


def _counts(one: Any) -> bool:
    """Whether a part with days or times counts at NOW, read off slowly."""
    begun = one.valid_from is None or (
        one.valid_from <= NOW if isinstance(one.valid_from, datetime) else one.valid_from <= TODAY
    )
    ended = one.valid_to is not None and (
        one.valid_to <= NOW if isinstance(one.valid_to, datetime) else one.valid_to < TODAY
    )
    return begun and not ended


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


def _places(names: Any) -> set[str]:
    return {place for name in names for place in (["de", "fr"] if name == "eea" else [name])}


def _is_party(policy: Policy, parties: Any, name: str) -> bool:
    member = policy.members[name]
    return (
        name not in parties.without
        and (not parties.members or name in parties.members)
        and (not parties.roles or member.role in parties.roles)
        and (not parties.jurisdictions or member.jurisdiction in _places(parties.jurisdictions))
        and member.jurisdiction not in _places(parties.outside)
    )


def _may_travel(policy: Policy, place: str, name: str) -> bool:
    member = policy.members[name]
    plane = "police" if member.role == "police" else "private"
    return place == member.jurisdiction or any(
        _counts(row) and row.plane == plane and place in _places(row.source) and member.jurisdiction in _places(row.to)
        for row in policy.transfers
    )


def _is_forbidden(policy: Policy, topic: AlertTopic, name: str) -> bool:
    return any(
        _counts(one)
        and _is_party(policy, one.to, name)
        and (not one.alerts_of or topic.jurisdiction in _places(one.alerts_of))
        and (not one.types or topic.type in one.types)
        and (one.above is None or list(Tlp).index(topic.tlp) > list(Tlp).index(one.above))
        for one in policy.prohibitions
    )


def meant(policy: Policy, *, direct: bool) -> set[tuple[str, str]]:
    """The same, read off the policy, pair by pair."""
    lanes = {member.jurisdiction for member in policy.members.values()}
    return {
        (name, topic.name)
        for name, member in policy.members.items()
        for topic in (AlertTopic(place, kind, tlp) for place in lanes for kind in AlertType for tlp in Tlp)
        if member.status == "active"
        and _may_travel(policy, topic.jurisdiction, name)
        and not _is_forbidden(policy, topic, name)
        and any(
            _counts(one)
            and (one.direct or not direct)
            and topic.jurisdiction in _places(one.alerts_of)
            and topic.type in one.types
            and list(Tlp).index(topic.tlp) <= list(Tlp).index(one.up_to)
            and _is_party(policy, one.to, name)
            for one in policy.agreements
        )
    }


@pytest.mark.parametrize("seed", range(500))
def test_a_policy_means_what_it_says(seed: int) -> None:
    """Sight is what the agreements give, and a client may read alert topics only where they say `direct`."""
    policy = random_policy(seed)
    desired = compile_policy(policy, NOW)
    assert sight(desired.rows, policy) == meant(policy, direct=False)
    assert sight(desired.rows, policy, CLIENT) == meant(policy, direct=True)
    assert compile_policy(policy, NOW) == desired
    turned = policy.model_copy(update={"agreements": policy.agreements[::-1]})
    assert compile_policy(turned, NOW).rows == desired.rows
    assert all(row.name.endswith(".") for row in desired.rows if row.pattern == "PREFIXED")


@pytest.mark.parametrize("seed", range(60))
def test_alert_topics_are_written_by_their_publishers_and_the_secretariat(seed: int) -> None:
    """By active members only: each its own types in its jurisdiction, the secretariat all, to revise for others."""
    policy = random_policy(seed)
    acls = AclSet(compile_policy(policy, NOW).rows)
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
    wanted = compile_policy(after, NOW).rows
    live = set(compile_policy(before, NOW).rows) | FOREIGN | {STRAY}
    denies = {row for row in live - FOREIGN if row.permission == "DENY"}
    changes = acl_changes(live, wanted, members, denies)
    seen = [sight(live - FOREIGN, after)]
    for made, removed in (
        (changes.barring, ()),
        (changes.replacing, ()),
        ((), changes.gone),
        ((), changes.lifted),
        (changes.new, ()),
    ):
        live = (live | {*made}) - {*removed}
        seen.append(sight(live - FOREIGN, after))
    first, last = seen[0], seen[-1]
    assert live == set(wanted) | FOREIGN
    assert all(first & last <= one <= first | last for one in seen)
    assert seen[2] == seen[1] <= first, "sight that is new comes last"
    assert seen[3] <= last, "what is to end has ended before anything begins"
    again = acl_changes(live, wanted, members, denies)
    assert again == AclChanges((), (), (), (), ())
    assert acl_changes(sorted(live, key=str), sorted(wanted, key=str), members, denies) == again


@pytest.mark.parametrize("seed", range(60))
def test_an_application_that_was_interrupted_is_taken_up_again(seed: int) -> None:
    """After any number of single changes: the same end, and on the way nobody sees more than before or after."""
    rng = random.Random(seed)
    before, after = random_policy(seed), random_policy(seed + 2_000)
    members = {*before.members, *after.members}
    wanted = compile_policy(after, NOW).rows
    live = set(compile_policy(before, NOW).rows) | FOREIGN
    first, last = sight(live - FOREIGN, after), sight(wanted, after)
    denies = {row for row in (live | wanted) - FOREIGN if row.permission == "DENY"}
    while (changes := acl_changes(live, wanted, members, denies)) != AclChanges((), (), (), (), ()):
        steps = [
            *((row, True) for row in (*changes.barring, *changes.replacing)),
            *((row, False) for row in changes.removed),
            *((row, True) for row in changes.new),
        ]
        for row, made in steps[: rng.randint(1, len(steps))]:
            live = live | {row} if made else live - {row}
            assert first & last <= sight(live - FOREIGN, after) <= first | last
    assert live == set(wanted) | FOREIGN


GOOD = b"coalition: efc\nmembers:\n  bank-de: {role: bank, jurisdiction: de}\n"
BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter + 1, letter + 1, b", ".join([b"*%c" % letter] * 9)) for letter in range(97, 106)
)
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r":1: a policy has keys"),
    "a list": (b"- 1\n", r":1: a policy has keys"),
    "NUL": (b"coalition: \0", r":1: not YAML: "),
    "not UTF-8": (b"coalition: \xff\n", r":1: not YAML: .*save it as UTF-8"),
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
    "members missing": (b"coalition: efc\nmembers:\n", r":2: members: nothing is no block"),
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
        + b"agreements:\n- {id: aa, alerts_of: [de, fr], types: [site-taken-down], up_to: GREEN, to: {roles: [isp]},\n"
        + b"   purposes: [CSE_DISRUPTION], legal_basis: LED}\n",
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
        assert compile_policy(policy, NOW).topics
    assert refused.startswith(f"{path}:")
