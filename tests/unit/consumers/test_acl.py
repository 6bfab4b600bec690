"""The evaluator by hand: each rule of StandardAuthorizer in one small case, and what we add on the safe side."""

from __future__ import annotations

import dataclasses
import random

import pytest

from tests.acl_cases import LOCALHOST, cases
from tocsin.consumers.acl import AclRow, AclSet, Verdict
from tocsin.schemas.names import DELIVERY_HOST

TOPIC = "alerts.us.site-taken-down.amber"
WHO = "User:bank-fr"


def row(text: str, *, resource_type: str = "TOPIC") -> AclRow:
    """The row of `ALLOW READ User:bank-fr 192.0.2.1 LITERAL name`."""
    permission, operation, principal, host, pattern, name = text.split(" ")
    return AclRow(resource_type, name, pattern, principal, host, operation, permission)


def may(*rows: str, who: str = WHO, host: str = DELIVERY_HOST, operation: str = "READ", topic: str = TOPIC) -> Verdict:
    """The verdict where `rows` are all there is."""
    return AclSet(row(text) for text in rows).decide(who, host, operation, "TOPIC", topic)


ALLOW = f"ALLOW READ {WHO} {DELIVERY_HOST} LITERAL {TOPIC}"


def test_nothing_matching_is_a_denial_without_a_rule() -> None:
    """No ACLs, no access."""
    assert may() == Verdict(allowed=False, rule=None)


def test_exact_grant_allows_and_is_the_rule() -> None:
    """The usual grant, and the text that goes on record."""
    verdict = may(ALLOW)
    assert verdict.allowed
    assert verdict.rule is not None
    assert verdict.rule.text() == ALLOW


@pytest.mark.parametrize(
    "deny",
    [
        f"DENY READ {WHO} {DELIVERY_HOST} LITERAL {TOPIC}",
        f"DENY ALL {WHO} * LITERAL {TOPIC}",
        f"DENY READ {WHO} * PREFIXED alerts.",
        f"DENY READ {WHO} * PREFIXED a",
        f"DENY READ {WHO} * LITERAL *",
        f"DENY READ User:* * LITERAL {TOPIC}",
        "DENY ALL User:* * LITERAL *",
    ],
)
def test_any_matching_deny_wins(deny: str) -> None:
    """However specific the ALLOW and however wide the DENY, in either order."""
    for rows in ((ALLOW, deny), (deny, ALLOW)):
        verdict = may(*rows)
        assert not verdict.allowed
        assert verdict.rule == row(deny)


@pytest.mark.parametrize(
    "deny",
    [
        f"DENY WRITE {WHO} * LITERAL {TOPIC}",
        f"DENY DESCRIBE {WHO} * LITERAL {TOPIC}",
        f"DENY READ {WHO} {LOCALHOST} LITERAL {TOPIC}",
        f"DENY READ User:bank-f * LITERAL {TOPIC}",
        f"DENY READ User:bank-fr.eu * LITERAL {TOPIC}",
        f"DENY READ Group:bank-fr * LITERAL {TOPIC}",
        f"DENY READ user:bank-fr * LITERAL {TOPIC}",
        "DENY READ User:bank-* * LITERAL *",
        f"DENY READ {WHO} * LITERAL alerts.us",
        f"DENY READ {WHO} * PREFIXED alerts.usa",
        f"DENY READ {WHO} * PREFIXED {TOPIC}-strict",
        f"DENY READ {WHO} * PREFIXED *",
        f"DENY READ {WHO} * LITERAL {TOPIC.upper()}",
    ],
)
def test_deny_on_something_else_changes_nothing(deny: str) -> None:
    """Another operation, host, principal or name: the grant stands."""
    assert may(ALLOW, deny).allowed


@pytest.mark.parametrize("operation", ["READ", "WRITE", "DELETE", "ALTER", "DESCRIBE", "ALL"])
def test_allow_implies_describe(operation: str) -> None:
    """READ, WRITE, DELETE, ALTER and ALL allow DESCRIBE."""
    assert may(f"ALLOW {operation} {WHO} * LITERAL {TOPIC}", operation="DESCRIBE").allowed


@pytest.mark.parametrize("operation", ["CREATE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE"])
def test_other_operations_do_not_imply_describe(operation: str) -> None:
    """What is not in Kafka's list implies nothing."""
    assert not may(f"ALLOW {operation} {WHO} * LITERAL {TOPIC}", operation="DESCRIBE").allowed


def test_alter_configs_implies_describe_configs_only_for_allow() -> None:
    """The second implication of StandardAuthorizer."""
    assert may(f"ALLOW ALTER_CONFIGS {WHO} * LITERAL {TOPIC}", operation="DESCRIBE_CONFIGS").allowed
    describe = f"ALLOW DESCRIBE_CONFIGS {WHO} * LITERAL {TOPIC}"
    assert may(describe, f"DENY ALTER_CONFIGS {WHO} * LITERAL {TOPIC}", operation="DESCRIBE_CONFIGS").allowed


def test_deny_read_does_not_deny_describe() -> None:
    """DENY implies nothing: the name stays visible, the records do not."""
    rows = (f"ALLOW ALL {WHO} * LITERAL {TOPIC}", f"DENY READ {WHO} * LITERAL {TOPIC}")
    assert may(*rows, operation="DESCRIBE").allowed
    assert not may(*rows, operation="READ").allowed


def test_describe_does_not_imply_read() -> None:
    """Seeing a topic's name is not sight."""
    assert not may(f"ALLOW DESCRIBE {WHO} * LITERAL {TOPIC}").allowed


def test_all_covers_every_operation() -> None:
    """ALLOW ALL and DENY ALL cover operations that rows do not name."""
    assert may(f"ALLOW ALL {WHO} * LITERAL {TOPIC}", operation="TWO_PHASE_COMMIT").allowed
    rows = (f"ALLOW DESCRIBE {WHO} * LITERAL {TOPIC}", f"DENY ALL {WHO} * LITERAL {TOPIC}")
    assert not may(*rows, operation="DESCRIBE").allowed


def test_prefix_has_no_separator() -> None:
    """`alerts.us` covers alerts.usa and amber covers amber-strict, which is why our prefixes end with a dot."""
    prefix = f"ALLOW READ {WHO} * PREFIXED alerts.us"
    assert may(prefix, topic="alerts.usa.site-taken-down.amber").allowed
    assert may(prefix, topic="alerts.us").allowed
    assert not may(prefix, topic="alerts.u").allowed
    assert may(f"ALLOW READ {WHO} * PREFIXED {TOPIC}", topic=f"{TOPIC}-strict").allowed
    dotted = f"ALLOW READ {WHO} * PREFIXED alerts.us."
    assert may(dotted).allowed
    assert not may(dotted, topic="alerts.usa.site-taken-down.amber").allowed


def test_star_is_a_wildcard_as_a_literal_name_only() -> None:
    """A prefix `*` matches names that begin with a star; a literal one everything."""
    assert may(f"ALLOW READ {WHO} * LITERAL *").allowed
    assert not may(f"ALLOW READ {WHO} * PREFIXED *").allowed
    assert may(f"ALLOW READ {WHO} * PREFIXED *", topic="*x").allowed
    assert may(f"ALLOW READ {WHO} * LITERAL *", topic="*").allowed
    assert not may(f"ALLOW READ {WHO} * LITERAL alerts.*").allowed


def test_everyone_is_user_star_only() -> None:
    """`User:*` covers every principal, of other types too; a star elsewhere covers nobody."""
    everyone = f"ALLOW READ User:* * LITERAL {TOPIC}"
    assert may(everyone).allowed
    assert may(everyone, who="Group:ops").allowed
    for nobody in ("Group:*", "User:bank-*", "*:*", "user:*"):
        assert not may(f"ALLOW READ {nobody} * LITERAL {TOPIC}").allowed


def test_principals_are_compared_whole() -> None:
    """Names may hold colons, commas and nothing at all."""
    for who in ("User:a:b", "User:CN=a,O=b", "User:", "User:Bänk"):
        assert may(f"ALLOW READ {who} * LITERAL {TOPIC}", who=who).allowed
        assert not may(f"ALLOW READ {who} * LITERAL {TOPIC}", who="User:a").allowed


def test_host_is_an_exact_text_or_star() -> None:
    """The delivery host's grant is no grant for a client, and Kafka compares addresses as texts."""
    assert not may(ALLOW, host=LOCALHOST).allowed
    assert not may(ALLOW, host="192.0.2.10").allowed
    assert may(f"ALLOW READ {WHO} * LITERAL {TOPIC}", host=LOCALHOST).allowed
    assert not may(f"ALLOW READ {WHO} ::1 LITERAL {TOPIC}", host="0:0:0:0:0:0:0:1").allowed


@pytest.mark.parametrize("host", ["192.0.2.0/24", "10.0.0.0/8", "::/0", "192.0.2.*", "bank.example", "192.0.2.01", ""])
def test_host_that_is_no_address_denies_and_never_allows(host: str) -> None:
    """KIP-1276's ranges, and whatever else may come: fail closed."""
    assert not may(f"ALLOW READ {WHO} {host} LITERAL {TOPIC}").allowed
    verdict = may(ALLOW, f"DENY READ {WHO} {host} LITERAL {TOPIC}")
    assert not verdict.allowed
    assert verdict.rule is not None
    assert verdict.rule.host == host


def test_range_on_another_operation_denies_nothing() -> None:
    """Only the host is taken at its worst."""
    assert may(ALLOW, f"DENY WRITE {WHO} 10.0.0.0/8 LITERAL {TOPIC}").allowed


def test_rows_on_other_resources_have_no_say() -> None:
    """A group or transactional id of the topic's name is something else."""
    rows = [row(ALLOW, resource_type=kind) for kind in ("GROUP", "TRANSACTIONAL_ID", "CLUSTER")]
    assert not AclSet(rows).decide(WHO, DELIVERY_HOST, "READ", "TOPIC", TOPIC).allowed
    denied = [row(ALLOW), row(ALLOW.replace("ALLOW", "DENY"), resource_type="GROUP")]
    assert AclSet(denied).decide(WHO, DELIVERY_HOST, "READ", "TOPIC", TOPIC).allowed


def test_empty_prefix_covers_everything_and_empty_name_nothing() -> None:
    """Kafka refuses empty names; the evaluator is still of its authorizer's mind."""
    assert may(f"ALLOW READ {WHO} * PREFIXED ").allowed
    assert not may(f"ALLOW READ {WHO} * LITERAL ").allowed
    assert may(f"ALLOW READ {WHO} * LITERAL ", topic="").allowed


def test_permission_that_is_not_allow_denies() -> None:
    """As in Kafka: a permission of an unknown kind can only take away."""
    assert not may(ALLOW, f"UNKNOWN READ {WHO} * LITERAL {TOPIC}").allowed


def test_pattern_of_unknown_kind_is_refused() -> None:
    """A row whose pattern cannot be evaluated is no row to guess about."""
    with pytest.raises(ValueError, match="MATCH"):
        may(f"ALLOW READ {WHO} * MATCH {TOPIC}")


def test_rule_does_not_depend_on_the_order_of_rows() -> None:
    """Brokers list ACLs in any order; what is put on record stays."""
    rows = [
        row(ALLOW),
        row(f"ALLOW ALL {WHO} * LITERAL {TOPIC}"),
        row(f"ALLOW READ {WHO} * PREFIXED alerts."),
        row("ALLOW READ User:* * LITERAL *"),
    ]
    for seed in range(20):
        shuffled = random.Random(seed).sample(rows, len(rows))
        # the last of Kafka's scan, as its authorizer log shows it
        assert AclSet(shuffled).decide(WHO, DELIVERY_HOST, "READ", "TOPIC", TOPIC).rule == rows[3]


def test_readers_names_each_principal_with_its_row() -> None:
    """Own grants, and `User:*` for those who are asked about; a DENY takes out one, or all."""
    own, everyone = row(ALLOW), row(f"ALLOW READ User:* {DELIVERY_HOST} PREFIXED alerts.us.")
    denied = row(f"DENY READ User:isp-de * LITERAL {TOPIC}")
    acls = AclSet([own, everyone, denied])
    asked = ["User:isp-de", "User:bank-se"]
    assert AclSet([own, denied]).readers(TOPIC, DELIVERY_HOST, asked) == {WHO: own}
    assert acls.readers(TOPIC, DELIVERY_HOST, asked) == {"User:bank-se": everyone, WHO: everyone}
    assert acls.readers(TOPIC, LOCALHOST, asked) == {}
    for_all = row("DENY READ User:* * PREFIXED alerts.")
    assert AclSet([own, everyone, for_all]).readers(TOPIC, DELIVERY_HOST, asked) == {}
    assert AclSet([]).readers(TOPIC, DELIVERY_HOST, asked) == {}


def test_readers_agrees_with_decide() -> None:
    """The two ways to ask give one answer on random sets."""
    for case in cases(7, 300):
        acls = AclSet(case.rows)
        topic = case.questions[0].name
        named = {one.principal for one in case.rows if one.principal != "User:*"} | {WHO}
        readers = acls.readers(topic, DELIVERY_HOST, sorted(named))
        for who in named:
            verdict = acls.decide(who, DELIVERY_HOST, "READ", "TOPIC", topic)
            assert readers.get(who) == (verdict.rule if verdict.allowed else None)


def test_digest_is_of_the_set() -> None:
    """Order and repetition do not count; every field does, and no two fields can be mistaken for one."""
    rows = [row(ALLOW), row(f"DENY ALL {WHO} * PREFIXED alerts.")]
    digest = AclSet(rows).digest()
    assert AclSet([*reversed(rows), *rows]).digest() == digest
    assert len(digest) == 32
    seen = {digest, AclSet([]).digest(), AclSet(rows[:1]).digest()}
    for name in AclRow.__dataclass_fields__:
        changed: AclRow = dataclasses.replace(rows[0], **{name: "x"})
        seen.add(AclSet([changed, rows[1]]).digest())
    blank = dataclasses.replace(rows[0], principal=f"{WHO} *", host="b")
    moved = dataclasses.replace(rows[0], principal=WHO, host="* b")
    seen |= {AclSet([blank]).digest(), AclSet([moved]).digest()}
    assert len(seen) == 3 + 7 + 2
