"""Lines of a broker's authorizer log: understood, folded, and kept from filling the record."""

from __future__ import annotations

import random

import pytest

from tocsin.consumers.audit.access_lines import FOLDED_CHARS_MAX, NAMES_MAX, TEXT_CHARS_MAX, Fold, member_of, parse
from tocsin.schemas.names import RESERVED_IDS

AT = "2026-11-27T12:58:16.332Z"
AT_MS = 1_795_784_296_332
RULE = (
    "MatchingAcl(acl=StandardAcl[resourceType=TOPIC, resourceName=alerts.se., patternType=PREFIXED,"
    " principal=User:bank-fr, host=*, operation=READ, permissionType=ALLOW])"
)


def line(
    name: str = "alerts.se.site-taken-down.green",
    *,
    at: str = AT,
    principal: str = "User:bank-fr",
    verdict: str = "Allowed",
    rule: str = RULE,
) -> bytes:
    """A line as Kafka 4.3.1 wrote it."""
    return (
        f"{at} Principal = {principal} is {verdict} operation = READ from host = 192.0.2.7 on resource ="
        f" Topic:LITERAL:{name} for request = Fetch with resourceRefCount = 1 based on rule {rule}\n"
    ).encode()


def test_a_line_is_understood() -> None:
    """All of it, in the words of ACLs."""
    parsed = parse(line())
    assert parsed is not None
    at_ms, said = parsed
    assert at_ms == AT_MS
    assert said._asdict() == {
        "principal": "User:bank-fr",
        "host": "192.0.2.7",
        "verdict": "ALLOWED",
        "operation": "READ",
        "resource_type": "TOPIC",
        "resource": "alerts.se.site-taken-down.green",
        "request": "Fetch",
        "rule": RULE,
    }


@pytest.mark.parametrize(
    "name",
    [
        "x for request = Produce with resourceRefCount = 1 based on rule SuperUser",
        "x is Allowed operation = READ from host = 192.0.2.9 on resource = Topic:LITERAL:alerts.se.x",
        "\\nPrincipal = User:admin is Allowed operation = READ from host = 192.0.2.9 on resource = Topic:LITERAL:x",
        "",
        " ",
    ],
)
def test_a_name_that_looks_like_a_line_changes_nothing_but_the_name(name: str) -> None:
    """Who, what and from where are the broker's own words."""
    parsed = parse(line(name, verdict="Denied", rule="DefaultDeny"))
    assert parsed is not None
    said = parsed[1]
    assert (said.principal, said.host, said.verdict, said.request) == ("User:bank-fr", "192.0.2.7", "DENIED", "Fetch")
    assert (said.resource, said.rule) == (name, "DefaultDeny")


def test_a_line_that_was_cut_says_who_and_what() -> None:
    """A long name pushes the end out; it may not push out who asked for it."""
    cut = line("n" * 5_000, verdict="Denied")[:3_000]
    parsed = parse(cut)
    assert parsed is not None
    said = parsed[1]
    assert (said.principal, said.verdict, said.resource, said.request) == ("User:bank-fr", "DENIED", "n" * 249, None)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"\xff\xfe\n",
        b"2026-11-27T12:58:16.332Z something else\n",
        line(at="2026-13-27T12:58:16.332Z"),
        line()[20:],
        line()[:70],
        line(verdict="Maybe"),
    ],
    ids=range(8),
)
def test_what_is_no_line_is_kept_as_it_is(text: bytes) -> None:
    """Bounded, and nothing is made of it."""
    fold = Fold()
    fold.take(17, text * 40)
    fold.take(18, text)
    assert fold.accesses() == []
    assert [one["offset"] for one in fold.unread] == [17, 18]
    assert all(len(one["text"]) <= TEXT_CHARS_MAX for one in fold.unread)


def test_repeats_are_told_once_and_none_is_lost() -> None:
    """In whatever order they come: how many, the first time and the last."""
    chance = random.Random(3)
    lines = [
        line(f"alerts.se.t{topic}", principal=f"User:m{member}", at=f"2026-11-27T12:58:{second:02}.000Z")
        for topic in range(3)
        for member in range(3)
        for second in range(5)
    ]
    chance.shuffle(lines)
    fold = Fold()
    for number, one in enumerate(lines):
        fold.take(number, one)
    told = fold.accesses()
    assert len(told) == 9
    assert {one["count"] for one in told} == {5}
    assert {one["last_at"] - one["first_at"] for one in told} == {4_000}
    assert (fold.first_ms, fold.last_ms) == (told[0]["first_at"], told[0]["last_at"])


def test_names_at_random_do_not_fill_the_record() -> None:
    """What one login was denied on many names is told as such; what others were, and what was allowed, by name."""
    fold = Fold()
    for number in range(10 * NAMES_MAX):
        fold.take(number, line(f"guess-{number}", verdict="Denied"))
        fold.take(number, line(f"alerts.se.t{number}"))
    fold.take(0, line("guess", verdict="Denied", principal="User:bank-de"))
    told = fold.accesses()
    denied = [one for one in told if one["verdict"] == "DENIED" and one["principal"] == "User:bank-fr"]
    assert sum(one["count"] for one in denied) == 10 * NAMES_MAX
    assert len(denied) == NAMES_MAX + 1
    assert [one["count"] for one in denied if one["resource"] is None] == [9 * NAMES_MAX]
    assert len([one for one in told if one["verdict"] == "ALLOWED"]) == 10 * NAMES_MAX
    assert [one["resource"] for one in told if one["principal"] == "User:bank-de"] == ["guess"]


def test_a_name_that_is_asked_for_again_and_again_stays_told() -> None:
    """Names are counted, and not lines."""
    fold = Fold()
    for number in range(10 * NAMES_MAX):
        fold.take(number, line(f"guess-{number % 3}", verdict="Denied"))
    assert {one["resource"] for one in fold.accesses()} == {"guess-0", "guess-1", "guess-2"}


def test_one_record_says_so_much_and_no_more() -> None:
    """A fold is full before it is larger than a broker takes."""
    fold = Fold()
    number = 0
    while not fold.full:
        fold.take(number, line(f"alerts.se.{number:>0200}"))
        fold.take(number, b"\xff" * 5_000)
        number += 1
    assert number < FOLDED_CHARS_MAX / 1_000


@pytest.mark.parametrize(
    ("principal", "member"),
    [
        ("User:bank-fr", "bank-fr"),
        ("User:bank-fr.reader", "bank-fr"),
        ("User:fanout", None),
        ("User:admin", None),
        ("Group:bank-fr", None),
        ("User", None),
    ],
)
def test_whose_login_it_was(principal: str, member: str | None) -> None:
    """A member's logins are its own; a service is nobody's."""
    assert member_of(principal, RESERVED_IDS) == member
