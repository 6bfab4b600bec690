"""Quotas: what each login may use, what differs, and what Kafka's tool says."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.unit.deploy.test_policy import random_policy
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.compile import logins
from tocsin.deploy.policy.document import Policy, Quota, Quotas
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.quotas import KEYS, quota_changes, quotas_of, read_off

SAID = """\
Quota configs for user-principal 'bank-de' are consumer_byte_rate=2.0E7, producer_byte_rate=1048576.0
Quota configs for user-principal 'bank-de.soc' are request_percentage=12.5
Quota configs for the default user-principal are producer_byte_rate=1.0
SCRAM credential configs for user-principal 'bank-de' are SCRAM-SHA-512=iterations=4096
"""


def _random_quota(rng: random.Random) -> Quota:
    return Quota.model_validate({key: rng.randint(1, 3) for key in KEYS if rng.random() < 0.5})


def _with_quotas(seed: int) -> Policy:
    rng = random.Random(seed)
    policy = random_policy(seed)
    own = {member: _random_quota(rng) for member in policy.members if rng.random() < 0.5}
    return policy.model_copy(update={"quotas": Quotas(default=_random_quota(rng), members=own)})


@pytest.mark.parametrize("seed", range(60))
def test_a_members_bound_counts_before_the_default(seed: int) -> None:
    """For each bound by itself, and for all of its logins; for nobody else."""
    policy = _with_quotas(seed)
    bounds = quotas_of(policy)
    assert sorted(bounds) == sorted(login for member in policy.members for login in logins(policy, member))
    for login, some in bounds.items():
        own = policy.quotas.members.get(login.partition(".")[0])
        for key in KEYS:
            said = None if own is None else getattr(own, key)
            assert some.get(key) == (getattr(policy.quotas.default, key) if said is None else said)


@pytest.mark.parametrize("seed", range(60))
def test_changes_lead_from_what_is_to_what_is_wanted(seed: int) -> None:
    """Other logins and other bounds stay, and then there is nothing to change."""
    now = {
        login: {**bounds, "controller_mutation_rate": 1.0} for login, bounds in quotas_of(_with_quotas(seed)).items()
    }
    now["watcher"] = {"producer_byte_rate": 5.0, "controller_mutation_rate": 1.0}
    wanted = quotas_of(_with_quotas(seed + 1_000))
    after = {login: dict(bounds) for login, bounds in now.items()}
    for change in quota_changes(now, wanted):
        bounds = after.setdefault(change.login, {})
        assert bounds.pop(change.key, None) == change.now
        assert (change.action == "DELETE") == (change.wanted is None)
        if change.wanted is not None:
            bounds[change.key] = change.wanted
    for login, wants in wanted.items():
        assert {key: bound for key, bound in after.get(login, {}).items() if key in KEYS} == wants
    assert quota_changes(after, wanted) == []
    for login, bounds in now.items():
        if login not in wanted:
            assert after[login] == bounds
        assert after[login]["controller_mutation_rate"] == 1.0


def test_what_the_tool_says_is_read() -> None:
    """The quotas of users, neither passwords nor the default for all."""
    assert read_off(SAID) == {
        "bank-de": {"consumer_byte_rate": 20_000_000.0, "producer_byte_rate": 1_048_576.0},
        "bank-de.soc": {"request_percentage": 12.5},
    }


@pytest.mark.parametrize(
    ("quotas", "said"),
    [
        ("members: {bank-fr: {request_percentage: 5}}", "quotas.members.bank-fr: 'bank-fr' is no member; "),
        ("default: {request_percentage: 0}", "quotas.default.request_percentage: "),
        ("default: {byte_rate: 5}", "quotas.default.byte_rate: no such key"),
    ],
)
def test_a_quota_that_cannot_be_is_refused(tmp_path: Path, quotas: str, said: str) -> None:
    """With its line."""
    file = tmp_path / "policy.yaml"
    members = "members: {bank-de: {role: bank, jurisdiction: de}}"
    file.write_text(f"coalition: efc\n{members}\nquotas:\n  {quotas}\n")
    with pytest.raises(PolicyInvalid, match=rf":4: {re.escape(said)}"):
        read_policy(file)
