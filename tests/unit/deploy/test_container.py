"""The image and the compose file, as far as they can be checked without a container engine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.manifests import LOGINS, WITHOUT_KAFKA, parsed
from tocsin.deploy.policy.rows import SERVICE_ROWS

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "container"
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
IGNORED = (FOLDER / "Containerfile.dockerignore").read_text().split("\n")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


def _lines(word: str) -> list[str]:
    return re.findall(rf"^{word} (.+)$", CONTAINERFILE, re.MULTILINE)


def test_what_is_copied_is_there_and_let_through() -> None:
    """Each source of a COPY exists, and the ignore file lets it and nothing else in."""
    sources = [line.split()[0] for line in _lines("COPY") if not line.startswith("--from")]
    assert all((ROOT / one).exists() for one in sources)
    assert IGNORED[1] == "*"
    assert sorted(one[1:] for one in IGNORED if one.startswith("!")) == sorted(sources)


def test_the_image_runs_the_command_without_root() -> None:
    """The last user is not root, the entry point is our command, and packages come by their hashes."""
    assert _lines("USER") == ["10001:10001"]
    assert json.loads(_lines("ENTRYPOINT")[0]) == ["tocsin"]
    installs = [json.loads(line) for line in _lines("RUN") if '"install"' in line]
    assert ["--require-hashes" in one or "--no-deps" in one for one in installs] == [True, True]
    assert not re.search(r"(?i)password|secret|token", CONTAINERFILE)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_the_compose_file_is_one_that_can_run(name: str) -> None:
    """Its arguments parse, its bundle is where it looks, and it has no rights to spare."""
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["user"]) == (True, ["ALL"], "10001:10001")
    assert "environment" not in service
    assert "env_file" not in service
    assert all(one.startswith("127.0.0.1:") for one in service.get("ports", []))
    command, values, _ = parsed(service["command"])
    if command in WITHOUT_KAFKA:
        return
    login = LOGINS[command]
    assert login in SERVICE_ROWS
    # the variable's own text has a colon, too
    targets = [re.sub(r"\$\{[^}]*\}", "", one).split(":")[1] for one in service["volumes"]]
    assert f"{values['home']}/services/{login}" in targets
    assert {values[key] for key in ("policy", "state") if values.get(key)} <= {*targets}
