"""The bills of materials: all that the locks name, with their hashes, in CycloneDX's own form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.container.sbom import FILES, LOCK, component, document, main, python_components
from tocsin.deploy.cluster.jars import locked_jars


def _hashes(file: Path) -> dict[str, list[str]]:
    found = json.loads(file.read_text())["components"]
    return {one["purl"]: sorted(each["content"] for each in one.get("hashes", [])) for one in found}


def test_every_line_of_both_locks_is_in_them_with_its_hashes(tmp_path: Path) -> None:
    """Each pinned package and each jar is there once, and no hash is missing."""
    main(tmp_path)
    python, kafka = (_hashes(tmp_path / name) for name in FILES)
    text = LOCK.read_text()
    pins = [line.split()[0] for line in text.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    # a package's extras are no part of its name
    parts = [pin.partition("==") for pin in pins]
    names = {f"pkg:pypi/{name.partition('[')[0]}@{version}" for name, _, version in parts}
    assert python.keys() == names
    assert len(names) == len(pins) > 50
    assert sum(map(len, python.values())) == text.count("--hash=sha256:")
    assert all(python.values())
    assert kafka == {f"pkg:maven/{one.group}/{one.artifact}@{one.version}": [one.sha256] for one in locked_jars()}


def test_a_package_without_its_hash_is_told_from_one_with_it() -> None:
    """The hashes come from the lock's own lines, each package's from its own."""
    first, second = "a" * 64, "b" * 64
    found = [*python_components(f"x==1 \\\n    --hash=sha256:{first} \\\n    --hash=sha256:{second}\ny[z]==2 ; os\n")]
    assert [(one.name, one.version, len(one.hashes)) for one in found] == [("x", "1", 2), ("y", "2", 0)]


def test_what_is_not_cyclonedx_is_refused() -> None:
    """A component that breaks the schema is not written."""
    broken = component("pypi", None, "x", "1", ["no hash"])
    with pytest.raises(ValueError, match="not CycloneDX"):
        document([broken])
