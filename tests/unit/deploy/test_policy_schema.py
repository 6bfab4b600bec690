"""The schema of policy files: what editors are told is what the command says, and what is committed is current."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.json_schema import wrong
from tests.unit.deploy.test_policy import EXAMPLE, random_policy
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.schema import policy_schema, reference, schema_text
from tocsin.deploy.policy.yaml_file import read_yaml

POLICIES = sorted(Path("deploy/policies").glob("*.yaml"))
GOLDEN = sorted(Path("tests/golden").rglob("*.yaml"))
SCHEMA = Path("deploy/policies/policy.schema.json")
MANUAL = Path("docs/policy-files.md")
# errors of one value by itself, which a schema can find too
BY_SHAPE = {
    *("extra_forbidden", "missing", "literal_error", "enum", "too_short", "dict_type", "model_type", "tuple_type"),
    *("bool_type", "bool_parsing", "int_type", "int_parsing", "string_type", "string_pattern_mismatch"),
    *("string_too_short", "string_too_long", "greater_than_equal", "less_than_equal"),
}


def _as_json(content: Any) -> Any:
    """As an editor reads YAML: days and times are texts."""
    return json.loads(json.dumps(content, default=lambda one: one.isoformat() if isinstance(one, date) else str(one)))


def _wrong(content: Any) -> list[str]:
    return [*wrong(_as_json(content), policy_schema())]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_every_policy_that_we_give_is_valid(path: Path) -> None:
    """And names the schema on its first line, for editors."""
    assert _wrong(read_yaml(path).content) == []
    assert path.read_text().startswith("# yaml-language-server: $schema=policy.schema.json\n")


@pytest.mark.parametrize("seed", range(100))
def test_a_random_policy_is_valid_and_so_is_each_part_of_it(seed: int) -> None:
    """A file may hold any part of a policy; several are read as one."""
    content = random_policy(seed).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert _wrong(content) == []
    for key, part in content.items():
        assert _wrong({key: part}) == []


def _errors(content: Any) -> set[str]:
    try:
        Policy.model_validate(content)
    except ValidationError as error:
        return {one["type"] for one in error.errors() if (one["type"], len(one["loc"])) != ("missing", 1)}
    return set()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_is_wrong_by_itself_an_editor_shows(path: Path) -> None:
    """A wrong word, a key that there is not, one that is missing: the schema refuses what the command refuses."""
    try:
        content = read_yaml(path).content
    except PolicyInvalid:
        return  # no YAML that a person would mean, which an editor shows by itself
    if isinstance(content, Mapping) and _errors(_as_json(content)) & BY_SHAPE:
        assert _wrong(content) != []


def test_the_golden_policies_try_the_schema() -> None:
    """A schema that refuses nothing would pass the test above only if that tried nothing."""
    tried = 0
    for path in GOLDEN:
        try:
            tried += bool(_errors(_as_json(read_yaml(path).content)) & BY_SHAPE)
        except PolicyInvalid:
            continue
    assert tried > 15


def test_every_key_is_described() -> None:
    """In the schema, and so in the editor and in the manual."""
    schema = policy_schema()
    for name, part in (("policy", schema), *schema["$defs"].items()):
        assert part.get("description"), name
        for key, value in part.get("properties", {}).items():
            assert value.get("description"), f"{name}.{key}"


def test_nothing_is_required_at_the_top() -> None:
    """A file may hold only a part of a policy."""
    assert "required" not in policy_schema()
    assert _wrong({}) == []


def test_the_committed_schema_is_current() -> None:
    """Run `tocsin policy schema --out deploy/policies/policy.schema.json` when it is not."""
    assert SCHEMA.read_text() == schema_text()


def test_the_manual_is_current() -> None:
    """Put what `tocsin policy schema --format markdown` prints between the marks when it is not."""
    _, _, rest = MANUAL.read_text().partition("<!-- keys -->\n")
    keys, _, _ = rest.partition("<!-- /keys -->")
    assert keys == reference()


def test_the_example_is_refused_with_a_wrong_word() -> None:
    """The reader of schemas that these tests have can say no."""
    content = _as_json(read_yaml(EXAMPLE).content)
    content["members"]["bank-de"]["role"] = "king"
    [found] = _wrong(content)
    assert found.startswith("/members/bank-de/role")
