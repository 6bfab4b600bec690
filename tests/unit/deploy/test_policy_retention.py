"""For how long topics are kept is the policy's to say, within bounds, and each topic is set to it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.world import small_policy
from tocsin.consumers.lane import REMEMBERED_MS
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.compile import RETENTION, compile_policy
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.retention import DAY_MS, RECORD_DAYS_MIN, Retention, kept
from tocsin.schemas.names import AlertType
from tocsin.schemas.semantics import expiry_cap_ms

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def _days(**retention: int) -> dict[str, int]:
    """Of each topic that is kept by age, how many days."""
    policy = Policy.model_validate({**small_policy(), "retention": retention})
    topics = compile_policy(policy, NOW).topics
    return {topic.name: int(topic.config[RETENTION]) // DAY_MS for topic in topics if RETENTION in topic.config}


def test_what_is_left_out_is_kept_as_ever() -> None:
    """A month, ten years, two years."""
    found = _days()
    alerts = {days for name, days in found.items() if name.startswith("alerts.")}
    assert (alerts, found["audit.se"], found["audit.access"], found["audit.acls"]) == ({30}, 3_650, 730, 3_710)
    assert found["audit.policy"] == found["audit.checkpoints"] == 3_650


def test_each_kind_of_topic_is_kept_as_the_policy_says() -> None:
    """And the ACLs for longer than the decisions that name them; compacted topics not by age."""
    keys = {f"audit_{name}_days": days for name, days in (("policy", 4_000), ("checkpoints", 5_000), ("access", 400))}
    found = _days(alerts_days=14, audit_days=3_000, **keys)
    assert {days for name, days in found.items() if name.startswith("alerts.")} == {14}
    assert (found["audit.se"], found["audit.de"], found["audit.acls"]) == (3_000, 3_000, 3_060)
    assert (found["audit.policy"], found["audit.checkpoints"], found["audit.access"]) == (4_000, 5_000, 400)
    assert not [name for name in found if name.startswith(("inbox.", "outbox.", "ledger.", "directory"))]


def test_the_record_outlives_every_alert_and_its_retraction() -> None:
    """By the same figures by which alerts are refused and lineages forgotten."""
    longest = max(expiry_cap_ms(kind.value, relapsed=True) for kind in AlertType)
    assert longest + REMEMBERED_MS <= RECORD_DAYS_MIN * DAY_MS


@pytest.mark.parametrize(
    ("retention", "said"),
    [
        ("alerts_days: 91", "retention.alerts_days: 91 is more than 90"),
        ("alerts_days: 6", "retention.alerts_days: 6 is less than 7"),
        ("alerts_days: soon", "retention.alerts_days: 'soon' is no whole number"),
        ("audit_days: 2195", "retention.audit_days: 2195 is less than 2196"),
        ("audit_days: 4000", "retention.audit_policy_days: less than audit_days (4000)"),
        ("audit_policy_days: 4000", "retention.audit_checkpoints_days: less than what the heads seal (4000)"),
        ("audit_access_days: 30", "retention.audit_access_days: 30 is less than 365"),
        ("alert_days: 20", "retention.alert_days: no such key here; did you mean 'alerts_days'"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_its_key(retention: str, said: str, tmp_path: Path) -> None:
    """With what may be written instead."""
    path = tmp_path / "policy.yaml"
    path.write_text(Path("deploy/policies/coalition.yaml").read_text() + f"\nretention: {{ {retention} }}\n")
    with pytest.raises(PolicyInvalid) as refusal:
        read_policy(path)
    assert said in str(refusal.value)


def test_what_is_shown_is_what_may_be_written() -> None:
    """Every key once, with its bounds: each bound is a policy, one day beyond it is none."""
    shown: list[Any] = [*kept(Retention())]
    assert {one.key.removeprefix("retention.") for one in shown} == {*Retention.model_fields}
    for one in shown:
        key = one.key.removeprefix("retention.")
        for bound in (one.least, one.most):
            assert getattr(Retention.model_validate({key: bound}), key) == bound
        for beyond in (one.least - 1, one.most + 1):
            with pytest.raises(ValueError, match=key):
                Retention.model_validate({key: beyond})
