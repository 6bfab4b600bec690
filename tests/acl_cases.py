"""Random sets of ACLs and questions about them, where near misses are the rule."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.oracle import Question
from tocsin.consumers.acl import OPERATIONS, AclRow
from tocsin.schemas.names import DELIVERY_HOST

LOCALHOST = "127.0.0.1"

# neighbours in every way: prefixes of one another, differing in a letter, a separator or a case
NAMES = (
    "alerts.us.site-taken-down.amber",
    "alerts.us.site-taken-down.amber-strict",
    "alerts.usa.site-taken-down.amber",
    "alerts.us",
    "alerts.usa",
    "alerts.US.site-taken-down.amber",
    "alerts_us.site-taken-down.amber",
    "inbox.bank-fr",
    "a",
)
PREFIXES = ("alerts.us", "alerts.us.", "alerts.usa", "alerts.", "alerts", "a", "b", "*", "alerts.us.site-taken-down.")
PRINCIPALS = (
    "User:bank-fr",
    "User:bank-f",
    "User:bank-fr.eu",
    "User:a:b",
    "User:CN=bank-fr,O=Bank",
    "User:",
    "User:Bänk",
    "user:bank-fr",
    "Group:bank-fr",
    "Role:*",
)
EVERYONE = "User:*"
HOSTS = ("*", DELIVERY_HOST, LOCALHOST, "192.0.2.10", "::1", "0:0:0:0:0:0:0:1")
# as Java writes the address of a client
ASKED_HOSTS = (DELIVERY_HOST, LOCALHOST, "192.0.2.10", "0:0:0:0:0:0:0:1")
# KIP-1276's ranges, and what somebody might type for one
RANGES = ("192.0.2.0/24", "0.0.0.0/0", "10.0.0.0/8", "::/0", "192.0.2.*", "bank-fr.example", "192.0.2.1,127.0.0.1", "")
RESOURCES = ("TOPIC", "GROUP", "TRANSACTIONAL_ID", "CLUSTER")

_USUAL_OPERATIONS = ("READ", "READ", "READ", "ALL", "DESCRIBE", "WRITE", "ALTER_CONFIGS", "DESCRIBE_CONFIGS")


class Case(NamedTuple):
    """A set of ACLs, and questions about it."""

    rows: list[AclRow]
    questions: list[Question]


def cases(seed: int, count: int, *, hosts: tuple[str, ...] = HOSTS) -> Iterator[Case]:
    """`count` cases, the same for the same `seed`."""
    for number in range(count):
        yield _case(random.Random(f"{seed}/{number}"), hosts)


def _case(rng: random.Random, hosts: tuple[str, ...]) -> Case:
    # few words a case, so that rows and questions meet
    names = rng.sample(NAMES, 3)
    prefixes = rng.sample(PREFIXES, 3)
    principals = rng.sample(PRINCIPALS, 2)
    rows = {_row(rng, names, prefixes, [*principals, EVERYONE], hosts) for _ in range(rng.randint(0, 16))}
    questions = [Question(who, DELIVERY_HOST, "READ", "TOPIC", name) for who in principals for name in names]
    questions += [_question(rng, names, principals) for _ in range(6)]
    # the order in which rows are read must not matter
    return Case(rng.sample(sorted(rows, key=AclRow.text), len(rows)), questions)


def _row(
    rng: random.Random, names: Sequence[str], prefixes: Sequence[str], principals: Sequence[str], hosts: tuple[str, ...]
) -> AclRow:
    prefixed = rng.random() < 0.4
    return AclRow(
        _resource(rng),
        rng.choice([*prefixes, names[0]]) if prefixed else rng.choice([*names, *names, "*"]),
        "PREFIXED" if prefixed else "LITERAL",
        rng.choice(principals),
        "*" if rng.random() < 0.4 else rng.choice(hosts),
        _operation(rng),
        "DENY" if rng.random() < 0.25 else "ALLOW",
    )


def _question(rng: random.Random, names: Sequence[str], principals: Sequence[str]) -> Question:
    name = rng.choice([*names, *NAMES, "*"])
    operation = rng.choice(["DESCRIBE", "DESCRIBE_CONFIGS", _operation(rng)])
    return Question(rng.choice(principals), rng.choice(ASKED_HOSTS), operation, _resource(rng), name)


def _resource(rng: random.Random) -> str:
    return "TOPIC" if rng.random() < 0.85 else rng.choice(RESOURCES)


def _operation(rng: random.Random) -> str:
    return rng.choice(_USUAL_OPERATIONS) if rng.random() < 0.8 else rng.choice(OPERATIONS)
