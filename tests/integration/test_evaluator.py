"""Our evaluator is Kafka's equal: thousands of random ACL sets, put to the real StandardAuthorizer as well."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acl_cases import EVERYONE, HOSTS, PRINCIPALS, RANGES, Case, cases
from tests.oracle import Answer, Oracle, Question
from tocsin.consumers import acl
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.schemas.names import DELIVERY_HOST

SETS = 2_500
SEED = 20_260_601


class Judged(NamedTuple):
    """A case with Kafka's answers."""

    case: Case
    answers: list[Answer]


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """The real class, running."""
    with Oracle() as running:
        yield running


@pytest.fixture(scope="module")
def judged(oracle: Oracle) -> list[Judged]:
    """The random sets, with what Kafka answers."""
    return [Judged(case, oracle.ask(*case)) for case in cases(SEED, SETS)]


def _differences(judged: list[Judged], evaluator: Callable[[list[AclRow]], Any]) -> Iterator[str]:
    """Where verdict or rule of `evaluator` (rows -> AclSet) is not Kafka's."""
    for (rows, questions), answers in judged:
        ours = evaluator(rows)
        for question, kafka in zip(questions, answers, strict=True):
            verdict = ours.decide(*question)
            if (verdict.allowed, _text(verdict.rule)) != (kafka.allowed, _text(kafka.rule)):
                yield f"{question}: ours {verdict}, Kafka's {kafka}, rows {rows}"


def _text(rule: Any) -> str | None:
    return rule and f"{rule.resource_type} {rule.text()}"


def test_every_verdict_and_its_rule_are_kafkas(judged: list[Judged]) -> None:
    """No verdict differs, and the row that we name is the one that Kafka decided by."""
    assert list(_differences(judged, AclSet)) == []


def test_random_sets_are_worth_asking(judged: list[Judged]) -> None:
    """Each kind of outcome is common, rows compete, and sets are not all alike: agreement on them means something."""
    kinds = Counter(_kind(answer) for one in judged for answer in one.answers)
    total = kinds.total()
    assert total >= 10 * SETS
    assert kinds["allowed"] > total / 10
    assert kinds["denied by a row"] > total / 20
    assert kinds["nothing matched"] > total / 5
    assert len({frozenset(one.case.rows) for one in judged}) > 0.9 * SETS
    rules = [answer.rule for one in judged for answer in one.answers if answer.rule]
    for word in ("LITERAL *", "PREFIXED alerts.us", EVERYONE, DELIVERY_HOST, "ALLOW ALL", "DENY READ", "User:a:b"):
        assert sum(word in rule.text() for rule in rules) > 50, word


def _kind(answer: Answer) -> str:
    if answer.allowed:
        return "allowed"
    return "denied by a row" if answer.rule else "nothing matched"


def test_readers_are_those_whom_kafka_lets_read(oracle: Oracle, judged: list[Judged]) -> None:
    """`readers`, which the fan-out uses, names exactly the principals that Kafka allows from the delivery host."""
    for case, _ in judged[::5]:
        topic = case.questions[0].name
        answers = oracle.ask(case.rows, [Question(who, DELIVERY_HOST, "READ", "TOPIC", topic) for who in PRINCIPALS])
        allowed = {who: answer.rule for who, answer in zip(PRINCIPALS, answers, strict=True) if answer.allowed}
        assert AclSet(case.rows).readers(topic, DELIVERY_HOST, PRINCIPALS) == allowed


def test_ranges_of_hosts_only_ever_narrow(oracle: Oracle) -> None:
    """KIP-1276's ranges mean nothing to 4.3.1: we never allow what it denies, and differ only by a DENY on a range."""
    narrowed = 0
    for case in cases(SEED, 300, hosts=HOSTS + RANGES):
        ours = AclSet(case.rows)
        for question, kafka in zip(case.questions, oracle.ask(*case), strict=True):
            verdict = ours.decide(*question)
            if verdict.allowed:
                assert kafka.allowed
                assert verdict.rule == kafka.rule
            elif kafka.allowed:
                assert verdict.rule is not None
                assert (verdict.rule.permission, verdict.rule.host in RANGES) == ("DENY", True)
                narrowed += 1
    assert narrowed > 20


class Bug(NamedTuple):
    """A change to the evaluator's source, and what it gets wrong."""

    name: str
    right: str
    wrong: str


BUGS = (
    Bug("an ALLOW beats a DENY", "if denying:", "if len(denying) == len(rows):"),
    Bug("a more specific ALLOW beats a DENY", "if denying:", "if min(rows, key=_scan_order) in denying:"),
    Bug("the name * is no wildcard", "if name != WILDCARD:", "if False:"),
    Bug("a prefix is taken literally", "self.prefixed.get(name[:length], ())", "self.prefixed.get(name, ())"),
    Bug("a prefix needs more behind it", "if length <= len(name):", "if length < len(name):"),
    Bug(
        "a prefix ends at a separator",
        "if length <= len(name):",
        "if length <= len(name) and name[length : length + 1] in ('', '.'):",
    ),
    Bug("User:* is forgotten", "for who in {principal, WILDCARD_PRINCIPAL}", "for who in {principal}"),
    Bug(
        "a principal's type is ignored",
        "row.principal), _Rows())",
        "'User:' + row.principal.split(':', 1)[1]), _Rows())",
    ),
    Bug("a principal's case is ignored", "row.principal), _Rows())", "row.principal.capitalize()), _Rows())"),
    Bug(
        "a principal ends at its second colon", "row.principal), _Rows())", "row.principal.rsplit(':', 1)[0]), _Rows())"
    ),
    Bug("the resource type is ignored", "setdefault((row.resource_type,", "setdefault(('TOPIC',"),
    Bug("DENY implies DESCRIBE", "allows and row.operation in", "row.operation in"),
    Bug("READ does not imply DESCRIBE", 'frozenset({"READ", ', "frozenset({"),
    Bug("CREATE implies DESCRIBE", 'frozenset({"READ", ', 'frozenset({"CREATE", "READ", '),
    Bug("ALTER_CONFIGS implies nothing", 'frozenset({"ALTER_CONFIGS"})', "frozenset[str]()"),
    Bug("ALL is one operation of many", 'not in (operation, "ALL")', "!= operation"),
    Bug("hosts are ignored", "return row.host in (host, WILDCARD)", "return True"),
    Bug("the host * is forgotten", "row.host in (host, WILDCARD)", "row.host == host"),
    Bug("hosts are compared as addresses", "row.host in (host,", "row.host.replace('::', '0:0:0:0:0:0:0:') in (host,"),
    Bug("hosts match by their beginning", "row.host in (host, WILDCARD)", "row.host.startswith((host, WILDCARD))"),
    Bug("the rule is any row", "max(rows, key=_scan_order)", "rows[0]"),
)


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_planted_bug_is_found(bug: Bug, judged: list[Judged], tmp_path: Path) -> None:
    """Each of these bugs, planted in the evaluator's own source, shows as a difference."""
    assert next(_differences(judged, _with_bug(bug, tmp_path)), None) is not None


def _with_bug(bug: Bug, folder: Path) -> Callable[[list[AclRow]], Any]:
    source = Path(acl.__file__).read_text(encoding="utf-8")
    assert source.count(bug.right) == 1, f"{bug.right!r} stands {source.count(bug.right)} times in acl.py"
    path = folder / "acl_with_bug.py"
    path.write_text(source.replace(bug.right, bug.wrong), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    return module.AclSet  # type: ignore[no-any-return]  # a module made at run time
